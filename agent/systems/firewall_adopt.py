"""What the kernel holds, as changes again: each block and limit with its undo, as the action that made it would plan it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from agent.action import Adopted, Call, Change
from agent.schema import spell, spoken
from agent.systems.reading import Held

_ACTIONS: Final = {"block": "block_ip", "block_egress": "block_egress", "limit": "rate_limit"}
_ASKS: Final = {"block": "is_blocked", "block_egress": "is_blocked_egress", "limit": "is_limited"}


def adopted(held: Iterable[Held]) -> Iterator[Adopted]:
    """Everything that actions made; what else is in the table is nobody's mitigation."""
    for one in held:
        if one.verb in _ACTIONS:
            yield Adopted(_action(one), _target(one.args), _change(one), one.expires_in)


def _action(one: Held) -> str:
    return "syn_protect" if one.args.get("per") == "again" else _ACTIONS[one.verb]


def _change(one: Held) -> Change:
    ttl = None if one.expires_in is None else timedelta(seconds=round(one.expires_in))
    lasting = f"for {spell(ttl)} more" if ttl else "until it is lifted"
    return Change(
        describe=f"{one.verb.replace('_', ' ')} {_target(one.args)} {lasting}",
        apply=Call("firewall", one.verb, {**one.args, "ttl": ttl}),
        undo=one.undo,
        verify=Call("firewall", _ASKS[one.verb], one.args),
    )


def _target(args: Any) -> str:
    """As turn.aim names it: the address, else the ports."""
    if args.get("ip") is not None:
        return spoken(args["ip"])
    return ",".join(map(str, args["ports"]))
