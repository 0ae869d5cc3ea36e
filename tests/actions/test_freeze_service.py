"""Freezing services: what every action promises, and that the process is the same afterwards."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from actions.freeze_service import FreezeService
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.schema import Ttl
from agent.systems.units import Units
from tests.contract import ActionContract, Systems
from tests.services import ServiceBox

HOUR = Ttl(timedelta(hours=1))


def plan(units: Units, name: str) -> list[Change]:
    return FreezeService(unit=name, ttl=HOUR).plan(units)


def apply(units: Units, change: Change) -> str:
    ((outcome,),) = execute.apply([[("M", change)]], {"units": units})
    return outcome.result


class TestFreezeAService(ActionContract):
    action = FreezeService(unit="packaged.service", ttl=HOUR)

    @pytest.fixture(autouse=True)
    def _world(self, services: ServiceBox) -> None:
        self.services = services

    def world(self, systems: Systems) -> object:
        return self.services.state("packaged.service", "echo.service"), self.services.unit("packaged.service", "MainPID")


def test_a_frozen_process_answers_nobody_and_goes_on_with_its_memory_and_connections(services: ServiceBox, units: Units) -> None:
    connection = services.hold(9001)
    pid = services.unit("echo.service", "MainPID")
    (change,) = plan(units, "echo.service")
    before = services.machine.talks(connection)

    result = apply(units, change)
    frozen = services.machine.talks(connection)
    memory = Path(f"{services.root}/proc/{pid}/maps").read_text()
    execute.undo([("M", change)], {"units": units})

    assert (before, result, frozen, services.machine.talks(connection)) == (True, "in_force", False, True)
    assert services.unit("echo.service", "MainPID") == pid
    assert "python" in memory


def test_the_evidence_from_before_has_the_processes_and_no_environment(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")

    (seen,) = units.perform(change.capture)

    assert [one["command"].split()[-2:] for one in seen.value["processes"]] == [["/opt/echo.py", "9001"]]
    assert seen.value["properties"]["ActiveState"] == "active"
    assert "hunter2" not in str(seen.value)


def test_who_restarts_it_has_thawed_it_and_that_is_told(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)

    services.run("systemctl", "restart", "packaged.service")

    (held,) = execute.verify([("M", change)], {"units": units})
    assert (held.holds, held.say) == (
        False,
        "packaged.service was stopped or restarted meanwhile, which thaws it; it is active",
    )


def test_what_somebody_thaws_is_frozen_again(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)
    services.run("systemctl", "thaw", "packaged.service")
    (held,) = execute.verify([("M", change)], {"units": units})

    healed = apply(units, change)

    assert (held.holds, healed) == (False, "in_force")


def test_what_the_kernel_lets_run_is_not_frozen_whatever_systemd_believes(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)
    services.run("sh", "-c", "echo 0 > /sys/fs/cgroup/system.slice/packaged.service/cgroup.freeze")
    (held,) = execute.verify([("M", change)], {"units": units})

    healed = apply(units, change)

    assert (held.holds, held.say) == ("partly", "systemd believes that packaged.service is frozen, and the kernel lets it run")
    assert healed == "in_force"
    assert "frozen 1" in services.run("cat", "/sys/fs/cgroup/system.slice/packaged.service/cgroup.events")


def test_what_systemd_watches_is_refused_because_systemd_would_kill_it(units: Units) -> None:
    with pytest.raises(CannotReach, match=r"cannot freeze watched\.service: it has a watchdog"):
        plan(units, "watched.service")


def test_what_does_not_run_cannot_be_frozen(units: Units) -> None:
    with pytest.raises(CannotReach, match=r"cannot freeze idle\.service: it is inactive, and only what runs can be frozen"):
        plan(units, "idle.service")


def test_what_carries_the_host_is_never_frozen_neither_planned_nor_called(units: Units) -> None:
    (answer,) = units.perform([units.freeze(unit="systemd-journald.service")])

    assert isinstance(answer.error, Protected)
    with pytest.raises(Protected, match="systemd itself is made of it"):
        plan(units, "systemd-journald.service")


def test_the_dry_run_is_what_a_person_would_type(units: Units) -> None:
    (change,) = plan(units, "packaged.service")

    assert change.undo
    said = [units.native(one) for one in (change.apply, change.undo, change.verify)]
    assert said == [
        "systemctl freeze packaged.service",
        "systemctl thaw packaged.service",
        "systemctl show -p FreezerState packaged.service\n"
        "cat /sys/fs/cgroup$(systemctl show -P ControlGroup packaged.service)/cgroup.events  # frozen 1",
    ]
