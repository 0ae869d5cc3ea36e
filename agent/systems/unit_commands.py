"""Each verb on units as commands for a shell: what the dry run prints, and what a person at 3 a.m. can type."""

from __future__ import annotations

from shlex import quote
from typing import Any

from agent.action import Call
from agent.schema import spoken
from agent.systems.unit_filter import IpFilter


def in_shell(one: Call) -> str:
    """The commands that do what a call of `Units` does, or that ask what it asks."""
    unit, args = quote(one.args["unit"]), one.args  # systemd writes \\x2d for a - in a name
    match one.verb:
        case "hold_down":
            return _hold_down(unit, args["triggers"], link=args["link"])
        case "let_up":
            return _let_up(unit, args["running"])
        case "restart":
            return f"systemctl restart {unit}  # if its InvocationID is still {args['invocation'] or 'empty'}"
        case "freeze" | "thaw":
            return f"systemctl {one.verb} {unit}"
        case "cut":
            return _set(unit, args["wanted"])
        case "uncut":
            return _uncut(unit, args)
    return _question(one.verb, unit, args)


def _question(verb: str, unit: str, args: Any) -> str:
    match verb:
        case "is_held_down":
            asked = _ask(" ".join((unit, *map(quote, args["triggers"]))), "LoadState,UnitFileState,ActiveState")
            return f"{asked}; systemd-cgls --unit {unit}"
        case "is_restarted":
            return f"{_ask(unit, 'ActiveState,InvocationID')}  # another than {args['invocation'] or 'none'}"
        case "is_frozen":
            events = f"/sys/fs/cgroup$(systemctl show -P ControlGroup {unit})/cgroup.events"
            return f"{_ask(unit, 'FreezerState')}\ncat {events}  # frozen 1"
        case "is_cut":
            programs = f"bpftool cgroup show /sys/fs/cgroup$(systemctl show -P ControlGroup {unit}) effective"
            return f"{_ask(unit, 'IPAddressDeny,IPAddressAllow')}\n{programs}  # each is run on made-up packets: all are dropped"
    return f"systemctl show {unit}; systemd-cgls --unit {unit}"


def _ask(units: str, properties: str) -> str:
    return f"systemctl show -p {properties} {units}"


def _hold_down(unit: str, triggers: tuple[str, ...], *, link: bool) -> str:
    mask = f"ln -s /dev/null /run/systemd/system.control/{unit}" if link else f"systemctl mask --runtime --no-reload {unit}"
    return "\n".join([mask, *(f"systemctl stop {one}" for one in (*map(quote, triggers), unit)), "systemctl daemon-reload"])


def _let_up(unit: str, running: tuple[str, ...]) -> str:
    unmask = [f"systemctl unmask --runtime --no-reload {unit}", f"rm -f /run/systemd/system.control/{unit}"]
    return "\n".join([*unmask, "systemctl daemon-reload", *(f"systemctl start {quote(one)}" for one in running)])


def _set(unit: str, wanted: IpFilter, names: tuple[str, ...] = ("IPAddressDeny", "IPAddressAllow")) -> str:
    """An empty assignment first, because systemd adds to what it has."""
    given = [f"{name}= '{name}={' '.join(map(spoken, wanted.by_property()[name]))}'" for name in names]
    return f"systemctl set-property --runtime {unit} {' '.join(given)}"


def _uncut(unit: str, args: Any) -> str:
    new = args["new"]
    rest = tuple(name for name in IpFilter().by_property() if name not in new)
    lines = [_set(unit, args["before"], rest)] if rest else []
    lines += [f"rm -f /run/systemd/system.control/{unit}.d/50-{name}.conf" for name in new]
    return "\n".join([*lines, "systemctl daemon-reload"] if new else lines)
