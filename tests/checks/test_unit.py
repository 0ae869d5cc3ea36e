"""Unit: do systemd units run, and stay running?"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agent.checks.unit import Unit
from agent.systems.units import Units
from tests.checks.asking import answers, the_answer
from tests.systemd_box import Box

FILES = {
    "steady": "[Service]\nExecStart=sleep infinity\n",
    "broken": "[Service]\nExecStart=sh -c 'exit 3'\n",
    "crashing": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=sleep 0.05\nRestart=always\nRestartSec=10ms\n",
}


@pytest.fixture(scope="module")
def units(make_box: type[Box]) -> Iterator[Units]:
    box = make_box({f"/etc/systemd/system/{name}.service": text for name, text in FILES.items()})
    try:
        box.boot().run("systemctl", "start", "--no-block", "steady", "crashing", "broken")
        until = time.monotonic() + 10
        while box.unit("broken.service", "ActiveState") != "failed":
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Units(box.bus)
    finally:
        box.close()


def test_each_unit_has_its_answer(units: Units) -> None:
    found = answers(Unit(("steady.service", "broken.service", "nowhere.service")), units=units)

    assert [(one.state, one.target, one.say) for one in found] == [
        ("good", "steady.service", "steady.service is active (running)"),
        ("bad", "broken.service", "broken.service is failed (failed): exit-code"),
        ("bad", "nowhere.service", "nowhere.service does not exist on this host"),
    ]


def test_a_service_that_crashes_and_comes_back_is_bad_also_while_it_is_active(units: Units) -> None:
    question = Unit(("crashing.service",))
    until, seen = time.monotonic() + 10, ""

    while "keeps crashing" not in seen:
        assert time.monotonic() < until
        answer = the_answer(question, units=units)
        seen = answer.say

    assert answer.state == "bad"
    assert answer.value
    assert answer.value >= 3


def test_without_systemd_it_is_unknown() -> None:
    answer = the_answer(Unit(("steady.service",)), units=Units("unix:path=/nowhere/bus"))

    assert answer.state == "unknown"
