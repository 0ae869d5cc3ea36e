"""Units: a real systemd in a box, asked over its own D-Bus."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.action import CannotReach
from agent.systems.units import Units, UnitState
from tests.systemd_box import Box

SECOND = timedelta(seconds=1)
FILES = {
    "steady": "[Service]\nExecStart=sleep infinity\n[Install]\nAlias=alias.service\n",
    "broken": "[Service]\nExecStart=sh -c 'exit 3'\n",
    "crashing": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=sleep infinity\nRestart=always\nRestartSec=50ms\n",
    "idle": "[Service]\nExecStart=sleep infinity\n",
}


@pytest.fixture(scope="module")
def box(make_box: type[Box]) -> Iterator[Box]:
    made = make_box({f"/etc/systemd/system/{name}.service": text for name, text in FILES.items()})
    try:
        made.boot().run("systemctl", "enable", "--now", "steady.service")
        made.run("systemctl", "start", "crashing.service")
        made.run("systemctl", "start", "broken.service", check=False)
        yield made
    finally:
        made.close()


@pytest.fixture
def units(box: Box) -> Units:
    return Units(box.bus)


def states(units: Units, *names: str) -> list[UnitState]:
    return units.states(names, restarts_within=timedelta(minutes=10), within=SECOND)


def crash(box: Box) -> None:
    """Kill the service, and wait until systemd has started it again."""
    before = int(box.unit("crashing.service", "NRestarts"))
    box.run("systemctl", "kill", "-s", "KILL", "crashing.service")
    until = time.monotonic() + 10
    while int(box.unit("crashing.service", "NRestarts")) <= before or box.unit("crashing.service", "ActiveState") != "active":
        assert time.monotonic() < until
        time.sleep(0.02)


def test_states_come_in_the_order_they_were_asked_for(units: Units) -> None:
    found = states(units, "idle.service", "steady.service", "nowhere.service")

    assert [(one.name, one.load, one.active, one.sub) for one in found] == [
        ("idle.service", "loaded", "inactive", "dead"),
        ("steady.service", "loaded", "active", "running"),
        ("nowhere.service", "not-found", "inactive", "dead"),
    ]


def test_a_unit_keeps_the_name_it_was_asked_by(units: Units) -> None:
    assert [(one.name, one.active) for one in states(units, "alias.service")] == [("alias.service", "active")]


def test_a_failed_service_says_how_it_failed(units: Units) -> None:
    (found,) = states(units, "broken.service")

    assert (found.active, found.result) == ("failed", "exit-code")


def test_restarts_count_from_the_first_question_on(box: Box, units: Units) -> None:
    crash(box)
    first = states(units, "crashing.service")[0].restarts

    crash(box)
    crash(box)

    assert (first, states(units, "crashing.service")[0].restarts) == (0, 2)


def test_a_start_by_hand_begins_the_count_again(box: Box, units: Units) -> None:
    states(units, "crashing.service")
    crash(box)

    box.run("systemctl", "restart", "crashing.service")

    assert states(units, "crashing.service")[0].restarts == 0


def test_a_hundred_units_are_one_question_and_quick(units: Units) -> None:
    started = time.monotonic()

    found = states(units, *(f"nowhere{number}.service" for number in range(100)))

    assert len(found) == 100
    assert time.monotonic() - started < 1


def test_a_name_that_no_unit_has_is_refused_with_the_mend(units: Units) -> None:
    with pytest.raises(CannotReach, match=r"cannot ask for the unit `nginx`: .* write it in full, as in nginx.service"):
        states(units, "steady.service", "nginx")


def test_without_a_system_bus_the_answer_says_so(tmp_path: Path) -> None:
    units = Units(f"unix:path={tmp_path}/none")

    with pytest.raises(CannotReach, match=r"cannot reach the system bus at .*/none: No such file or directory; is dbus running"):
        states(units, "steady.service")


def test_a_bus_that_never_answers_costs_its_time_limit_and_no_more(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "bus"))
        silent.listen()
        started = time.monotonic()

        with pytest.raises(CannotReach, match=r"cannot reach the system bus at .*: Did not auth"):
            Units(f"unix:path={tmp_path}/bus").states(["a.service"], restarts_within=SECOND, within=SECOND / 5)

        assert time.monotonic() - started < 1


def test_a_stopped_systemd_costs_its_time_limit_and_is_asked_again_later(box: Box, units: Units) -> None:
    os.kill(box.pid, signal.SIGSTOP)
    try:
        with pytest.raises(CannotReach, match=r"cannot ask systemd: no answer within 1s"):
            states(units, "steady.service")
    finally:
        os.kill(box.pid, signal.SIGCONT)

    assert states(units, "steady.service")[0].active == "active"
