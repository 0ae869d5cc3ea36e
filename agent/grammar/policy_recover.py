"""Reads the lines under `recover:`, and says where they could have no effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from agent.event import ALERT, CHECK, Catalogue
from agent.grammar.located import Node, Problem, did_you_mean
from agent.grammar.typed import read
from agent.policy import Policy
from agent.recovery.rungs import RPS, Ladder, Proof, Shares
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
_OK: Final = re.compile(rf"ok(?: +({_TIME}|\d{{1,2}} of \d{{1,2}}))?")
AFTER: Final = rf"(ttl|manual|resolved|quiet +{_TIME}|ok( +({_TIME}|\d{{1,2}} of \d{{1,2}}))?)"
_MENDS: Final = {"quiet": "quiet 10m", "ok": "ok, ok 5 of 5, or ok 5m", "resolved": "resolved"}
LONGEST_ROW: Final = 64
"""Good answers in a row that can be asked for; also in agent.recovery.health, which is not for policies to import."""
_LADDERS: Final = "limit 10m then observe 10m"
MOST_PER_SECOND: Final = 100_000
"""What a meter in the kernel can be set to; also in agent.systems.meter, which is not for policies to import."""


@dataclass(frozen=True, slots=True)
class After:
    """The value of `after:`."""

    when: Literal["ttl", "quiet", "ok", "resolved", "manual"]
    quiet: timedelta | None = None
    ok: Proof | None = None


def after(text: Any) -> After:
    """Read `ttl`, `manual`, `resolved`, `quiet 10m`, `ok`, `ok 5 of 5`, `ok 5m`.

    Raises:
        ValueError: none of them.
    """
    if text in ("ttl", "manual", "resolved"):
        return After(text)
    if found := _QUIET.fullmatch(str(text)):
        return After("quiet", _some(found[1]))
    if found := _OK.fullmatch(str(text)):
        return After("ok", ok=_proof(found[1]))
    word = next((one for one in _MENDS if str(text).startswith(one)), "")
    mend = f"; write {_MENDS[word]}" if word else ""
    raise ValueError(f"`{text}` is not one of ttl, quiet 10m, ok, resolved, manual{mend}")


def _proof(text: str | None) -> Proof:
    if not text:
        return Proof()
    times, of, last = text.partition(" of ")
    if not of:
        return Proof(span=_some(text))
    if times != last or not 0 < int(times) <= LONGEST_ROW:
        raise ValueError(f"`ok {text}` cannot be: all of them must be good, at most {LONGEST_ROW}; write ok {last} of {last}")
    return Proof(int(times))


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


def checks(nodes: Sequence[Node], catalogue: Catalogue, found: list[Problem]) -> tuple[str, ...]:
    """The checks that are named; where no agent.yaml says which there are, any name may be one."""
    names = [(node, name) for node in nodes if (name := read(node, str, found)) is not None]
    for node, name in names:
        if catalogue.checks is not None and name not in catalogue.checks:
            hint = did_you_mean(name, catalogue.checks) or "make it in agent.yaml, as in checks: {shop: {http: {url: …}}}"
            found.append(Problem(node.place, f"no check is called `{name}`", hint))
    return tuple(dict.fromkeys(name for _, name in names))


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
    if recover.after in ("ok", "resolved") and not steps:
        yield Problem(
            pairs["after"].value.place, f"`after: {recover.after}` ends nothing: the policy does nothing", "", "warning"
        )
    if recover.after == "ok" and CHECK.name not in policy.kinds() and not recover.verify:
        hint = "name the checks: verify: [shop-http], as agent.yaml calls them"
        yield Problem(pairs["after"].value.place, "`after: ok`, and no clause is about a check", hint, "warning")
    if recover.after == "ok" and not recover.verify and (own := next((one for one in steps if "check *" in one.mutes), None)):
        text = f"`after: ok` does not come true: `{own.name}` itself keeps the checks of what it touches from being good"
        hint = "name checks that it leaves alone, as in verify: [shop-http]; or write after: ttl"
        yield Problem(pairs["after"].value.place, text, hint, "warning")
    if recover.after == "resolved" and ALERT.name not in policy.kinds():
        hint = "write after: quiet 10m; only alerts are resolved by their senders"
        yield Problem(pairs["after"].value.place, "`after: resolved`, and no clause is about an alert", hint, "warning")
    if recover.watch and not recover.release and recover.after not in ("ok", "resolved") and not recover.verify:
        hint = "add release: limit 10m then observe 10m; without it, a finding only starts the policy anew, as it does anyway"
        yield Problem(pairs["watch"].key.place, "`watch` without `release`", hint, "warning")
