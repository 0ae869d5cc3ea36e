"""Restarting services: once for one order, counted, and seen in systemd's own invocation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from actions.restart_service import RestartService
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.systems.units import Units
from tests.contract import OnceContract, Systems
from tests.services import ServiceBox


def plan(units: Units, name: str, most: int = 100) -> Change:
    (change,) = RestartService(unit=name, most=most).plan(units)
    return change


def apply(units: Units, change: Change) -> tuple[str, str]:
    ((outcome,),) = execute.apply([[("M", change)]], {"units": units})
    return outcome.result, outcome[2]


class TestRestartAService(OnceContract):
    action = RestartService(unit="stubborn.service", most=100)

    @pytest.fixture(autouse=True)
    def _world(self, services: ServiceBox) -> None:
        self.services = services

    def world(self, systems: Systems) -> object:
        units = ("stubborn.service", "packaged.service")
        return [self.services.unit(one, "InvocationID") for one in units], self.services.state(*units)


def test_a_service_that_restarted_meanwhile_is_not_restarted_again(services: ServiceBox, units: Units) -> None:
    change = plan(units, "packaged.service")
    services.run("systemctl", "restart", "packaged.service")
    run = services.unit("packaged.service", "InvocationID")

    result = apply(units, change)

    assert result == ("in_force", "")
    assert services.unit("packaged.service", "InvocationID") == run


def test_a_failed_service_is_started(services: ServiceBox, units: Units) -> None:
    services.run("systemctl", "kill", "-s", "KILL", "packaged.service")
    services.wait("packaged.service", "ActiveState", "failed")
    change = plan(units, "packaged.service")

    result = apply(units, change)

    assert change.describe == "restart packaged.service; it is failed (signal)"
    assert result == ("in_force", "")
    assert services.unit("packaged.service", "ActiveState") == "active"


def test_a_service_that_does_not_come_up_again_is_told(services: ServiceBox, units: Units) -> None:
    change = plan(units, "fragile.service")
    services.run("touch", "/run/fragile.broken")

    result, why = apply(units, change)

    assert result == "failed"
    assert why.startswith("cannot restart fragile.service: systemd says `failed`")


def test_what_was_started_again_too_often_is_left_to_a_person_also_by_a_new_agent(services: ServiceBox, units: Units) -> None:
    services.run("systemctl", "start", "counted.service")
    for _ in range(2):
        apply(units, plan(units, "counted.service", most=2))

    with pytest.raises(Protected, match=r"it was started again 2 times within 10m already; .* a person has to look"):
        plan(Units(services.box.bus, services.root), "counted.service", most=2)

    assert plan(units, "counted.service", most=3)


def test_restarts_before_the_window_do_not_count(services: ServiceBox, units: Units) -> None:
    for _ in range(3):
        services.run("systemctl", "restart", "idle.service")

    found = units.restarts("idle.service", 2, timedelta(minutes=10)), units.restarts("idle.service", 2, timedelta())

    assert found == (2, 0)


def test_nobody_but_systemd_can_make_it_look_restarted(services: ServiceBox, units: Units) -> None:
    before = units.restarts("packaged.service", 100, timedelta(minutes=10))
    line = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf\nUNIT=packaged.service\nMESSAGE=Started\n_PID=1\n"

    services.run("sh", "-c", f"printf '{line}' | logger --journald; journalctl --sync")

    assert services.run("journalctl", "UNIT=packaged.service", "-o", "cat", "-n", "1") == "Started\n"
    assert units.restarts("packaged.service", 100, timedelta(minutes=10)) == before


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """The root of a host whose journal only root may read."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        journal = Path(folder, "var/log/journal", "0" * 32)
        journal.mkdir(parents=True)
        Path(folder).chmod(0o755)
        (journal / "system.journal").touch(mode=0o600)
        yield Path(folder)


def test_a_journal_that_cannot_be_read_is_no_count_of_none(unreadable: Path, tmp_path: Path) -> None:
    why = r"cannot count the restarts of a\.service: .*; journald must keep a journal, and the agent's user be in the group"
    with pytest.raises(CannotReach, match=why):
        Units(root=str(tmp_path)).restarts("a.service", 3, timedelta(minutes=10))

    os.seteuid(65534)
    try:
        with pytest.raises(CannotReach, match=why):
            Units(root=str(unreadable)).restarts("a.service", 3, timedelta(minutes=10))
    finally:
        os.seteuid(0)


def test_what_is_masked_or_frozen_is_not_restarted(services: ServiceBox, units: Units) -> None:
    services.run("systemctl", "mask", "--runtime", "packaged.service")
    services.run("systemctl", "freeze", "echo.service")

    with pytest.raises(CannotReach, match="it is masked, so that nothing starts it"):
        plan(units, "packaged.service")
    with pytest.raises(CannotReach, match="a restart would lose what was frozen"):
        plan(units, "echo.service")


def test_a_socket_is_not_a_service(units: Units) -> None:
    with pytest.raises(CannotReach, match="this is for a unit of the kind service"):
        plan(units, "woken.socket")


def test_what_carries_the_host_is_never_restarted_neither_planned_nor_called(units: Units) -> None:
    (answer,) = units.perform([units.restart(unit="dbus.service", invocation="")])

    assert isinstance(answer.error, Protected)
    with pytest.raises(Protected, match=r"dbus\.service is never touched: every order to systemd goes through it"):
        plan(units, "dbus.service")


def test_what_restarts_with_it_is_told(units: Units) -> None:
    change = plan(units, "stubborn.service")

    assert change.touches == ("unit stubborn.service", "unit child.service")
    assert change.describe == "restart stubborn.service and with it child.service; it is active"
