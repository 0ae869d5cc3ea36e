"""Stopping services: what every action promises, and what would bring them back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from actions.stop_service import StopService
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.schema import Ttl
from agent.systems.units import Units
from tests.contract import ActionContract, Systems
from tests.services import ServiceBox

HOUR = Ttl(timedelta(hours=1))


def plan(units: Units, name: str) -> list[Change]:
    return StopService(unit=name, ttl=HOUR).plan(units)


def apply(units: Units, change: Change) -> tuple[str, str]:
    ((outcome,),) = execute.apply([[("M", change)]], {"units": units})
    return outcome.result, outcome[2]


def undo(units: Units, change: Change) -> tuple[str, str]:
    (release,) = execute.undo([("M", change)], {"units": units})
    return release.result, release.say


def holds(units: Units, change: Change) -> tuple[bool | str | None, str]:
    (held,) = execute.verify([("M", change)], {"units": units})
    return held.holds, held.say


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


class ServiceContract(ActionContract):
    watched: tuple[str, ...]

    @pytest.fixture(autouse=True)
    def _world(self, services: ServiceBox) -> None:
        self.services = services

    def world(self, systems: Systems) -> object:
        return self.services.state(*self.watched)


class TestStopAPackagedService(ServiceContract):
    action = StopService(unit="packaged.service", ttl=HOUR)
    watched = ("packaged.service", "idle.service")


class TestStopAServiceOfTheAdministratorThatAlwaysComesBackAndWhatNeedsIt(ServiceContract):
    action = StopService(unit="stubborn.service", ttl=Ttl(None))
    watched = ("stubborn.service", "child.service", "packaged.service")


class TestStopASocketActivatedService(ServiceContract):
    action = StopService(unit="woken.service", ttl=HOUR)
    watched = ("woken.service", "woken.socket", "woken.timer")


class TestKeepAnIdleServiceFromStarting(ServiceContract):
    action = StopService(unit="idle.service", ttl=HOUR)
    watched = ("idle.service",)


def test_the_plan_names_everything_that_stops(units: Units) -> None:
    (stubborn,) = plan(units, "stubborn.service")
    (woken,) = plan(units, "woken.service")

    assert stubborn.describe == "stop stubborn.service, child.service, and keep stubborn.service stopped for 1h"
    assert stubborn.touches == ("unit stubborn.service", "unit child.service")
    assert woken.touches == ("unit woken.service", "unit woken.socket", "unit woken.timer")


def test_a_service_is_stopped_by_its_own_exec_stop_although_it_is_masked(services: ServiceBox, units: Units) -> None:
    results = [apply(units, *plan(units, name))[0] for name in ("packaged.service", "stubborn.service")]

    assert results == ["in_force"] * 2
    assert services.run("cat", "/run/packaged.stopped", "/run/stubborn.stopped").count("by its own ExecStop") == 2


@pytest.mark.parametrize("name", ["packaged.service", "stubborn.service", "many@1.service"])
def test_nobody_can_start_what_is_held_down(services: ServiceBox, units: Units, name: str) -> None:
    (change,) = plan(units, name)
    apply(units, change)

    services.run("systemctl", "start", name, check=False)

    assert services.unit(name, "ActiveState") == "inactive"
    assert holds(units, change) == (True, "")


def test_a_connection_does_not_wake_what_is_held_down_and_does_again_afterwards(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "woken.service")
    apply(units, change)
    while_down = services.machine.connects("127.0.0.1", 9002)

    result = undo(units, change)

    assert (while_down, result, services.machine.connects("127.0.0.1", 9002)) == (False, ("lifted", ""), True)


def test_a_service_that_ran_beside_its_socket_comes_back_with_it(services: ServiceBox, units: Units) -> None:
    services.run("systemctl", "start", "woken.service")
    (change,) = plan(units, "woken.service")
    apply(units, change)

    result = undo(units, change)

    assert result == ("lifted", "")
    assert services.run("systemctl", "is-active", "woken.service", "woken.socket", "woken.timer").split() == ["active"] * 3


def test_what_somebody_starts_again_is_stopped_again(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)
    services.run("sh", "-c", "systemctl unmask --runtime packaged.service && systemctl start packaged.service")
    seen = holds(units, change)

    healed = apply(units, change)

    assert seen == (False, "")
    assert healed == ("in_force", "")


def test_a_mask_that_is_gone_alone_is_a_part(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)

    services.run("systemctl", "unmask", "--runtime", "packaged.service")

    assert holds(units, change) == ("partly", "packaged.service is not masked, but does not run either: inactive")
    assert undo(units, change) == ("lifted", "")


def test_who_masks_it_for_good_has_the_last_word(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "packaged.service")
    apply(units, change)
    services.run("systemctl", "mask", "packaged.service")
    try:
        result = undo(units, change)
    finally:
        services.run("systemctl", "unmask", "packaged.service")

    assert result == ("lifted", "somebody else has masked packaged.service for good; it is inactive")


def test_a_service_that_does_not_start_again_is_told_and_tried_again(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "fragile.service")
    apply(units, change)
    services.run("touch", "/run/fragile.broken")
    first = undo(units, change)
    services.run("rm", "/run/fragile.broken")

    second = undo(units, change)

    said = "cannot start fragile.service: systemd says `failed`; `systemctl status fragile.service` says more"
    assert first == ("failed", said)
    assert second == ("lifted", "")


@pytest.mark.parametrize(("done", "seen"), [("mask", "partly"), ("mask, stop", True), ("stop", "partly")])
def test_a_crash_inside_apply_is_seen_and_undo_takes_it_all_away(
    services: ServiceBox, units: Units, done: str, seen: bool | str
) -> None:
    watched = ("packaged.service",)
    before = services.state(*watched)
    (change,) = plan(units, *watched)
    if "mask" in done:
        services.run("systemctl", "mask", "--runtime", "--no-reload", *watched)
    if "stop" in done:
        services.run("systemctl", "stop", *watched)
    found = holds(units, change)

    result = undo(units, change)

    assert (found[0], result) == (seen, ("lifted", ""))
    assert services.state(*watched) == before


def test_a_service_that_takes_long_to_stop_is_under_way(services: ServiceBox) -> None:
    units = Units(services.box.bus, services.root, long=timedelta(seconds=1))
    services.run("touch", "/run/slow.stop")
    (change,) = plan(units, "slow.service")

    first = apply(units, change)
    services.run("rm", "/run/slow.stop")
    wait_until(lambda: services.unit("slow.service", "ActiveState") == "inactive")

    assert first == ("under_way", "slow.service is stopping")
    assert holds(units, change)[0] == "partly"
    assert apply(units, change) == ("in_force", "")
    assert undo(units, change) == ("lifted", "")


def test_what_starts_slowly_again_does_not_hold_up_what_depends_on_it(services: ServiceBox) -> None:
    units = Units(services.box.bus, services.root, long=timedelta(seconds=1))
    services.run("systemctl", "start", "late.service", "needs-late.service")
    (change,) = plan(units, "late.service")
    apply(units, change)
    services.run("touch", "/run/late.start")

    result = undo(units, change)
    services.run("rm", "/run/late.start")
    services.wait("needs-late.service", "ActiveState", "active")

    assert result == ("lifted", "late.service is let go; stopped with it: needs-late.service is inactive")
    assert services.unit("late.service", "ActiveState") == "active"
    services.run("systemctl", "stop", "late.service")


def test_a_timer_alone_is_stopped_and_started_again(services: ServiceBox, units: Units) -> None:
    before = services.state("woken.timer", "woken.service")
    (change,) = plan(units, "woken.timer")

    results = [apply(units, change), undo(units, change)]

    assert results == [("in_force", ""), ("lifted", "")]
    assert services.state("woken.timer", "woken.service") == before


def test_processes_that_outlive_the_stop_are_told(services: ServiceBox, units: Units) -> None:
    file = Path(services.root, "run/systemd/system/leaving.service")
    file.write_text("[Service]\nKillMode=process\nExecStart=sh -c 'sleep 311 & exec sleep infinity'\n")
    services.run("systemctl", "daemon-reload")
    services.run("systemctl", "start", "leaving.service")
    wait_until(lambda: "sleep 311" in services.run("ps", "-eo", "args="))
    (change,) = plan(units, "leaving.service")
    try:
        applied = apply(units, change)

        assert applied == ("partly", _LIVES_ON)
    finally:
        services.run("systemctl", "kill", "--signal=KILL", "leaving.service")
    wait_until(lambda: holds(units, change) == (True, ""))
    assert undo(units, change) == ("lifted", "")
    services.run("sh", "-c", "systemctl kill --signal=KILL leaving.service; systemctl stop leaving.service")


_LIVES_ON = (
    "leaving.service is stopped, and its KillMode= lets 1 of its processes live on;"
    " `systemctl kill --signal=KILL leaving.service` ends them"
)


def test_a_frozen_service_is_stopped_all_the_same(services: ServiceBox, units: Units) -> None:
    services.run("systemctl", "freeze", "packaged.service")

    assert apply(units, *plan(units, "packaged.service")) == ("in_force", "")


def test_what_has_no_file_is_refused_because_it_could_not_come_back(services: ServiceBox, units: Units) -> None:
    services.run("systemd-run", "--unit=fleeting.service", "sleep", "infinity")
    try:
        with pytest.raises(CannotReach, match=r"cannot stop fleeting\.service: it has no file and would be gone"):
            plan(units, "fleeting.service")
    finally:
        services.run("systemctl", "stop", "fleeting.service")


def test_what_cannot_be_stopped_is_refused_with_a_reason(units: Units) -> None:
    refused = {
        "nowhere.service": r"nowhere\.service is not-found",
        "nginx": r"no unit is called `nginx`; write it in full",
        "a b.service": "no unit is called",
        "../x.service": "no unit is called",
        "-.mount": "for a unit of the kind",
        "multi-user.target": "for a unit of the kind",
    }

    for name, why in refused.items():
        with pytest.raises(CannotReach, match=why):
            plan(units, name)


def test_what_carries_the_host_is_never_touched_neither_planned_nor_called(units: Units) -> None:
    names = (
        *("systemd-journald.service", "dbus.service", "dbus.socket", "ssh.service", "ssh.socket", "getty@tty1.service"),
        *("user@0.service", "-.slice", "init.scope", "sshd-too.service", "NetworkManager.service"),
        "dbus-org.freedesktop.login1.service",
    )

    answers = units.perform([units.hold_down(unit=name, triggers=(), link=False) for name in names])

    assert [type(one.error) for one in answers] == [Protected] * len(names)
    for name in names:
        with pytest.raises(Protected, match="never touched"):
            plan(units, name)


def test_an_alias_does_not_hide_what_it_is_called_else(services: ServiceBox, units: Units) -> None:
    with pytest.raises(Protected, match=r"sshd-too\.service is never touched: people get in by it"):
        plan(units, "lookalike.service")


def test_the_dry_run_is_what_a_person_would_type(units: Units) -> None:
    (packaged,) = plan(units, "packaged.service")
    (stubborn,) = plan(units, "stubborn.service")

    assert units.native(packaged.apply) == (
        "systemctl mask --runtime --no-reload packaged.service\nsystemctl stop packaged.service\nsystemctl daemon-reload"
    )
    assert units.native(stubborn.apply).startswith("ln -s /dev/null /run/systemd/system.control/stubborn.service\n")
