"""A service's own processes are believed by their unit, whoever they run as; the same words from elsewhere are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sensors.journald import Journald
from tests.sensors.conftest import Start
from tests.systemd_box import Box

UNITS = {"other.service": "a-stranger", "x-postfix.service": "another", "postfix.service": "bob"}
_SERVICE = '[Service]\nType=oneshot\nUser=nobody\nExecStart=/usr/bin/logger --tag postfix/smtpd "%s"\n'
SASL = "warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x, sasl_username={user}"


@pytest.fixture(scope="module")
def box(make_box: type[Box]) -> Iterator[Box]:
    made = make_box({f"/etc/systemd/system/{unit}": _SERVICE % SASL.format(user=user) for unit, user in UNITS.items()})
    try:
        yield made.boot()
    finally:
        made.close()


def test_a_unit_is_believed_and_nobody_else_with_its_name(box: Box, start: Start) -> None:
    machine = (box.root / "etc/machine-id").read_text().strip()
    directory = Path(f"/proc/{box.pid}/root/run/log/journal/{machine}")
    box.run("logger", "--tag", "postfix/smtpd", SASL.format(user="before"))
    box.run("journalctl", "--sync")
    running = start(Journald(parsers=("postfix", "sshd"), directory=str(directory)))
    running.batches.get(timeout=20)

    for unit in (*UNITS, *UNITS, *UNITS):  # journald cannot tell the unit of one that has ended before it looks
        box.run("systemctl", "start", unit)
    batch = running.next("auth.mail.failure")

    assert {(event.fields["user"], event.fields["src.ip"], event.forgeable) for event in batch.events} == {
        ("bob", "203.0.113.7", True)
    }
