"""Reads the lines under `recover:`, and says where they could have no effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from agent.grammar.located import Node, Problem
from agent.policy import Policy
from agent.recovery.rungs import RPS, Ladder, Shares
from agent.schema import duration

_TIME: Final = r"\d+(?:\.\d+)?(?:ms|s|m|h|d)"
LIMIT: Final = rf"limit {_TIME}( at \d{{1,6}}/s)?"
OBSERVE: Final = rf"observe {_TIME}"
SHARES: Final = rf"[1-9]\d?% +every +{_TIME}"
LADDER: Final = rf"{LIMIT}((, | then ){OBSERVE})?|{OBSERVE}"
_LIMIT: Final = re.compile(rf"limit ({_TIME})(?: at (\d{{1,6}})/s)?")
_OBSERVE: Final = re.compile(rf"observe ({_TIME})")
_SHARES: Final = re.compile(rf"([1-9]\d?)% +every +({_TIME})")
_QUIET: Final = re.compile(rf"quiet +({_TIME})")
_LADDERS: Final = "limit 10m then observe 10m"
MOST_PER_SECOND: Final = 100_000
"""What a meter in the kernel can be set to; also in agent.systems.meter, which is not for policies to import."""


@dataclass(frozen=True, slots=True)
class After:
    """The value of `after:`."""

    when: Literal["ttl", "quiet", "manual"]
    quiet: timedelta | None = None


def after(text: Any) -> After:
    """Read `ttl`, `manual`, `quiet 10m`.

    Raises:
        ValueError: none of them.
    """
    if text in ("ttl", "manual"):
        return After(text)
    if found := _QUIET.fullmatch(str(text)):
        return After("quiet", _some(found[1]))
    mend = "write quiet 10m" if str(text).startswith("quiet") else ""
    raise ValueError(f"`{text}` is not one of ttl, quiet 10m, manual" + (f"; {mend}" if mend else ""))


def release(text: Any) -> Ladder | Shares:
    """Read `limit 10m at 20/s then observe 10m`, or `25% every 5m`.

    Raises:
        ValueError: neither, with the nearest that could be meant.
    """
    if found := _SHARES.fullmatch(str(text)):
        return Shares(int(found[1]), _some(found[2]))
    if "%" in str(text):
        raise ValueError(f"cannot read `{text}` as shares; write 25% every 5m, with 1 to 99 percent")
    first, *rest = re.split(r", | then ", str(text))
    limit = _LIMIT.fullmatch(first)
    parts = rest if limit else [first, *rest]
    observe = _OBSERVE.fullmatch(parts[0]) if parts else None
    if (not limit and not observe) or len(parts) > 1 or (parts and not observe):
        raise ValueError(f"cannot read `{text}` as a ladder; write {_LADDERS}, one of the two, or 25% every 5m")
    rps = int(limit[2]) if limit and limit[2] else RPS
    if not 0 < rps <= MOST_PER_SECOND:
        raise ValueError(f"cannot limit to {rps}/s; write 1 to {MOST_PER_SECOND}")
    return Ladder(_some(limit[1]) if limit else None, rps, _some(observe[1]) if observe else None)


def _some(text: str) -> timedelta:
    span = duration(text)
    if not span:
        raise ValueError("a time of nothing; write for example 10m")
    return span


def lints(policy: Policy, nodes: Mapping[str, Node], steps: Sequence[type[Any]]) -> Iterator[Problem]:
    """What is written under `recover`, and can have no effect; `steps` are the policy's actions."""
    pairs = nodes["recover"].pairs if "recover" in nodes else {}
    recover = policy.recover
    if recover.limit and not any(hasattr(one, "milder") for one in steps):
        text = "`limit` has nothing to do: no action of this policy has a milder rung"
        yield Problem(pairs["release"].value.place, text, "block_ip has one; write observe 10m, or take the line away", "warning")
    elif recover.release and not steps:
        yield Problem(pairs["release"].value.place, "`release` has nothing to let go: the policy does nothing", "", "warning")
    if recover.shares and all(not one.by for one in policy.when):
        hint = "add by: src.ip, or write a ladder: limit 10m then observe 10m"
        text = "shares of one: without `by`, this policy has a single target"
        yield Problem(pairs["release"].value.place, text, hint, "warning")
    if recover.watch and not recover.release:
        hint = "add release: limit 10m then observe 10m; without it, a finding only starts the policy anew, as it does anyway"
        yield Problem(pairs["watch"].key.place, "`watch` without `release`", hint, "warning")
