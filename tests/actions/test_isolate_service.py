"""Cutting services off: what every action promises, what the kernel really drops, and when it does not."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from actions.isolate_service import IsolateService
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.schema import Ttl
from agent.systems.units import Units
from tests.contract import ActionContract, Systems
from tests.services import ServiceBox

HOUR = Ttl(timedelta(hours=1))
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
PRIVATE = ipaddress.ip_network("10.0.0.0/8")


def plan(units: Units, name: str, *allow: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[Change]:
    return IsolateService(unit=name, ttl=HOUR, allow=allow).plan(units)


def apply(units: Units, changes: list[Change]) -> list[tuple[str, str]]:
    (outcomes,) = execute.apply([[(f"M-{at}", one) for at, one in enumerate(changes)]], {"units": units})
    return [(one.result, one[2]) for one in outcomes]


def undo(units: Units, changes: list[Change]) -> list[tuple[str, str]]:
    return [(one.result, one.say) for change in reversed(changes) for one in execute.undo([("M", change)], {"units": units})]


def holds(units: Units, change: Change) -> tuple[bool | str | None, str]:
    (held,) = execute.verify([("M", change)], {"units": units})
    return held.holds, held.say


class IsolationContract(ActionContract):
    @pytest.fixture(autouse=True)
    def _world(self, services: ServiceBox) -> None:
        self.services = services

    def world(self, systems: Systems) -> object:
        watched = ("echo.service", "filtered.service", "woken.service", "woken.socket", "packaged.service")
        return self.services.state(*watched), self.services.drop_ins()


class TestCutAServiceOff(IsolationContract):
    action = IsolateService(unit="echo.service", ttl=HOUR)


class TestCutAServiceWithAFilterOfItsOwnOff(IsolationContract):
    action = IsolateService(unit="filtered.service", ttl=HOUR, allow=(PRIVATE,))


class TestCutAServiceOffWhoseFilterSomebodySetByHand(IsolationContract):
    action = IsolateService(unit="echo.service", ttl=HOUR)

    @pytest.fixture
    def systems(self, services: ServiceBox, units: Units) -> Systems:
        services.run("systemctl", "set-property", "--runtime", "echo.service", "IPAddressDeny=10.0.0.0/8 192.168.0.0/16")
        return {"units": units}


class TestCutASocketActivatedServiceOff(IsolationContract):
    action = IsolateService(unit="woken.service", ttl=HOUR)

    @pytest.fixture
    def systems(self, services: ServiceBox, units: Units) -> Systems:
        services.run("systemctl", "start", "woken.service")
        return {"units": units}


@pytest.mark.parametrize(("name", "port"), [("echo.service", 9001), ("woken.service", 9002)])
def test_open_connections_carry_nothing_any_more_and_do_again_afterwards(
    services: ServiceBox, units: Units, name: str, port: int
) -> None:
    connection = services.hold(port)
    changes = plan(units, name)
    seen = [services.machine.talks(connection)]

    applied = apply(units, changes)
    seen += [services.machine.talks(connection), services.machine.talks(connection)]
    new = services.machine.connects("127.0.0.1", port)
    undone = undo(units, changes)

    assert seen == [True, False, False]
    assert (new, {*applied}, {*undone}) == (False, {("in_force", "")}, {("lifted", "")})
    assert services.machine.connects("127.0.0.1", port)


def test_what_is_allowed_goes_on(services: ServiceBox, units: Units) -> None:
    connection = services.hold(9001)

    applied = apply(units, plan(units, "echo.service", LOOPBACK))

    assert applied == [("in_force", "")]
    assert services.machine.talks(connection)


def test_it_stays_cut_off_when_it_restarts(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")
    apply(units, [change])

    services.run("systemctl", "restart", "echo.service")

    assert holds(units, change) == (True, "")
    assert not services.machine.connects("127.0.0.1", 9001)


def test_what_somebody_allows_meanwhile_is_told_and_closed_again(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")
    apply(units, [change])
    services.run("systemctl", "set-property", "--runtime", "echo.service", "IPAddressAllow=127.0.0.1")
    seen = holds(units, change)

    healed = apply(units, [change])

    assert seen == ("partly", "echo.service may talk to 127.0.0.1, and not only to nobody")
    assert healed == [("in_force", "")]
    assert undo(units, [change]) == [("lifted", "")]


def test_an_undo_takes_our_part_away_and_leaves_what_somebody_added(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service", PRIVATE)
    apply(units, [change])
    services.run("systemctl", "set-property", "--runtime", "echo.service", "IPAddressAllow=198.51.100.0/24")

    result = undo(units, [change])

    said = "somebody else has changed the filter of echo.service: it denies nobody"
    assert result == [("lifted", said)]
    assert services.unit("echo.service", "IPAddressDeny") == ""
    assert services.unit("echo.service", "IPAddressAllow") == "198.51.100.0/24"


def test_who_sets_another_filter_has_the_last_word(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")
    apply(units, [change])
    other = ("IPAddressDeny=", "IPAddressDeny=198.51.100.0/24")
    services.run("systemctl", "set-property", "--runtime", "echo.service", *other)

    result = undo(units, [change])

    assert result == [("gone", "somebody else has changed the filter of echo.service: it denies 198.51.100.0/24")]
    assert services.unit("echo.service", "IPAddressDeny") == "198.51.100.0/24"


def test_networks_that_contain_each_other_are_one(services: ServiceBox, units: Units) -> None:
    changes = plan(units, "echo.service", PRIVATE, ipaddress.ip_network("10.1.0.0/16"), LOOPBACK)

    assert apply(units, changes) == [("in_force", "")]


def test_what_somebody_opens_altogether_is_seen(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")
    apply(units, [change])

    services.run("systemctl", "set-property", "--runtime", "echo.service", "IPAddressDeny=")

    assert holds(units, change) == (False, "")


def test_a_filter_that_the_kernel_does_not_enforce_is_taken_back_and_told(services: ServiceBox, units: Units) -> None:
    before = services.state("echo.service")
    with _another_program_that_lets_none_beside_it(f"{services.root}/sys/fs/cgroup/system.slice"):
        changes = plan(units, "echo.service")

        ((result, why),) = apply(units, changes)

    assert result == "failed"
    assert why.startswith("cannot cut echo.service off: systemd took the order, and the kernel lets its packets through")
    assert services.state("echo.service") == before


def test_a_filter_that_the_kernel_has_lost_is_only_a_part_and_is_attached_again(services: ServiceBox, units: Units) -> None:
    (change,) = plan(units, "echo.service")
    apply(units, [change])
    _detach(f"{services.root}/sys/fs/cgroup/system.slice/echo.service")
    lost = services.machine.connects("127.0.0.1", 9001), holds(units, change)

    healed = apply(units, [change])

    assert lost == (True, ("partly", "systemd has the filter of echo.service; the kernel has not"))
    assert (healed, services.machine.connects("127.0.0.1", 9001)) == ([("in_force", "")], False)
    assert undo(units, [change]) == [("lifted", "")]


def test_allowing_everything_is_refused(units: Units) -> None:
    with pytest.raises(CannotReach, match="`allow` lets nearly everything through"):
        plan(units, "echo.service", ipaddress.ip_network("0.0.0.0/0"))


def test_what_does_not_run_is_refused(units: Units) -> None:
    with pytest.raises(
        CannotReach,
        match=r"cannot cut idle\.service off: it is inactive and has no processes; stop_service keeps it from starting",
    ):
        plan(units, "idle.service")


def test_what_carries_the_host_is_never_cut_off_neither_planned_nor_called(units: Units) -> None:
    (echo,) = plan(units, "echo.service")
    (answer,) = units.perform([units.cut(unit="ssh.service", wanted=echo.apply.args["wanted"])])

    assert isinstance(answer.error, Protected)
    with pytest.raises(Protected, match=r"ssh\.service is never touched: people get in by it"):
        plan(units, "ssh.service")


def test_the_dry_run_is_what_a_person_would_type(units: Units) -> None:
    (change,) = plan(units, "filtered.service", LOOPBACK)

    assert change.undo
    assert units.native(change.apply) == (
        "systemctl set-property --runtime filtered.service IPAddressDeny= 'IPAddressDeny=::/0 0.0.0.0/0'"
        " IPAddressAllow= 'IPAddressAllow=127.0.0.0/8'"
    )
    assert units.native(change.undo).splitlines() == [
        "rm -f /run/systemd/system.control/filtered.service.d/50-IPAddressDeny.conf",
        "rm -f /run/systemd/system.control/filtered.service.d/50-IPAddressAllow.conf",
        "systemctl daemon-reload",
    ]


# The kernel's own side: programs of others on a cgroup ------------------------------------------------------------------


def _bpf(command: int, attributes: bytes) -> int:
    number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    answer = ctypes.CDLL(None, use_errno=True).syscall(number, command, attributes, len(attributes))
    assert answer >= 0, os.strerror(ctypes.get_errno())
    return int(answer)


@contextmanager
def _another_program_that_lets_none_beside_it(cgroup: str) -> Iterator[None]:
    """Attach `return 1` without BPF_F_ALLOW_MULTI: nobody can attach anything below it."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0), 16)  # r0 = 1; exit
    text = ctypes.create_string_buffer(b"GPL")
    program = _bpf(5, struct.pack("=IIQQ48x", 8, 2, ctypes.addressof(code), ctypes.addressof(text)))  # BPF_PROG_LOAD, CGROUP_SKB
    folder = os.open(cgroup, os.O_RDONLY)
    attached = []
    try:
        for hook in (0, 1):
            _bpf(8, struct.pack("=IIII", folder, program, hook, 0))  # BPF_PROG_ATTACH
            attached.append(hook)
        yield
    finally:
        for hook in attached:
            _bpf(9, struct.pack("=III", folder, program, hook))
        os.close(program)
        os.close(folder)


def _detach(cgroup: str) -> None:
    """Take away what systemd attached there."""
    folder = os.open(cgroup, os.O_RDONLY)
    for hook in (0, 1):
        ids = (ctypes.c_uint32 * 8)()
        attributes = ctypes.create_string_buffer(struct.pack("=IIIIQI36x", folder, hook, 0, 0, ctypes.addressof(ids), 8), 64)
        _bpf(16, attributes)  # type: ignore[arg-type]
        for one in list(ids)[: struct.unpack_from("=I", attributes, 24)[0]]:
            program = _bpf(13, struct.pack("=III", one, 0, 0))
            _bpf(9, struct.pack("=III", folder, program, hook))
            os.close(program)
    os.close(folder)
