"""Units: a real systemd in a box, asked and ordered over its own D-Bus."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from agent.action import Call, CannotReach, Protected
from agent.systems.system_bus import Refused
from agent.systems.unit_filter import EVERYTHING, IpFilter
from agent.systems.units import Units, UnitState
from tests.services import RUNNING, ServiceBox
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


def test_a_stopped_bus_costs_an_order_its_time_limit_and_no_more(services: ServiceBox) -> None:
    ordering = Units(services.box.bus, services.root, long=SECOND)
    pid = services.unit("dbus.service", "MainPID")
    call = ordering.hold_down(unit="packaged.service", triggers=(), link=False)
    services.run("kill", "-STOP", pid)
    started = time.monotonic()
    try:
        (answer,) = ordering.perform([call])
    finally:
        services.run("kill", "-CONT", pid)

    assert isinstance(answer.error, CannotReach)
    assert time.monotonic() - started < 3
    assert services.unit("packaged.service", "ActiveState") == "active"


def orders(units: Units) -> list[Call]:
    facts = units.facts("echo.service", "look at echo.service")
    return [
        units.hold_down(unit="packaged.service", triggers=(), link=False),
        units.hold_down(unit="stubborn.service", triggers=(), link=True),
        units.restart(unit="echo.service", invocation=facts.invocation),
        units.freeze(unit="echo.service"),
        units.cut(unit="echo.service", wanted=IpFilter(EVERYTHING)),
    ]


def test_who_may_not_give_orders_is_told_the_mend_and_changes_nothing(
    services: ServiceBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = services.state(*RUNNING)
    calls = orders(Units(services.box.bus, services.root))
    monkeypatch.chdir(f"{services.root}/run/dbus")  # nobody may go through /proc/PID/root
    os.seteuid(65534)
    try:
        answers = Units("unix:path=system_bus_socket").perform(calls)
    finally:
        os.seteuid(0)

    assert [type(one.error) for one in answers] == [CannotReach if at == 1 else Refused for at in range(5)]
    assert all("root" in str(one.error) for one in answers)
    assert services.state(*RUNNING) == before


_STOPS_ITSELF = """
import json
from agent.systems.units import Units
units = Units()
answers = units.perform([units.freeze(unit="myself.service"), units.hold_down(unit="myself.service", triggers=(), link=True)])
print(json.dumps([[type(one.error).__name__, str(one.error)] for one in answers]))
"""


def test_the_agents_own_unit_is_never_touched(services: ServiceBox) -> None:
    repository = str(Path(__file__).parents[2])
    command = ["systemd-run", "--unit=myself.service", "--pipe", "--wait", "-q", f"--working-directory={repository}"]

    said = json.loads(services.run(*command, sys.executable, "-c", _STOPS_ITSELF))

    assert [kind for kind, _ in said] == [Protected.__name__] * 2
    assert said[0][1] == "cannot freeze myself.service: this agent runs in myself.service"


def test_evidence_is_capped_and_keeps_secrets_out(services: ServiceBox) -> None:
    units = Units(services.box.bus, services.root)

    (answer,) = units.perform([units.show(unit="echo.service")])

    assert len(json.dumps(answer.value)) < 100_000
    assert answer.value["properties"]["MainPID"] == answer.value["processes"][0]["pid"]
    assert not {"Environment", "SetCredential", "StandardInputData"} & set(answer.value["properties"])


def test_many_at_once_do_not_mix_up_their_answers(services: ServiceBox) -> None:
    units = Units(services.box.bus, services.root)
    names = [one for one in RUNNING for _ in range(4)]

    with ThreadPoolExecutor(8) as several:
        found = list(several.map(lambda name: units.facts(name, f"look at {name}").name, names))

    assert found == names
