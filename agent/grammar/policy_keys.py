"""The grammar of a policy file: every key, what its value is, and one line about it.

The reader checks files against these classes, and the JSON Schema for editors is made of them, so that both always say the
same. `Node` values are read by policy_when.py, policy_steps.py and policy_examples.py, which need to know the kinds of
events. `Later` keys are refused, with what to do until they come. `elsewhere` knows words from other places and other tools.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from annotated_types import Interval
from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from agent.grammar import policy_recover
from agent.grammar.located import Node
from agent.grammar.typed import Later
from agent.policy import Count, Distinct, Held, Mode, Of, Rate, Severity
from agent.recovery.rungs import Ladder, Shares
from agent.schema import About, Duration, Flag, duration

_TIME: Final = r"\d+(\.\d+)?(ms|s|m|h|d)"
_FIELD: Final = r"[A-Za-z_][\w.]*"
_COUNT: Final = re.compile(r">= *(\d{1,6}) +in +(\S+)")
_ALMOST_COUNT: Final = re.compile(r"(>=?)? *(\d{1,6}) *(?:times +)?(?:in|per|/|within) *(\S+)")
_DISTINCT: Final = re.compile(rf"({_FIELD}) *>= *(\d{{1,6}}) +in +(\S+)")
_OF: Final = re.compile(r"(\d{1,3}) +of +(\d{1,3})")
_RATE: Final = re.compile(r"(\d{1,7}) +per +(\S+)")
_ALMOST_RATE: Final = re.compile(r"(\d{1,7}) *(?:in|/|every|within) *(\d\S*)")
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MOST_COUNTED: Final = 10_000
"""Times that one window remembers for one key."""
MOST_ANSWERS: Final = 64
T = TypeVar("T")


# Short forms --------------------------------------------------------------------------------------------------------------


def _name(text: str) -> str:
    if _NAME.fullmatch(text):
        return text
    tidy = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63]
    raise ValueError(f"`{text}` is not a name: small letters, digits and -, at most 63" + (f"; write {tidy}" if tidy else ""))


def _span(text: str) -> timedelta:
    span = duration(text)
    if not span:
        raise ValueError("a time of nothing; write for example 2m")
    return span


def _least(number: int) -> int:
    if not 0 < number <= MOST_COUNTED:
        raise ValueError(f"cannot count to {number}; a window counts from 1 to {MOST_COUNTED}")
    return number


def _count(text: Any) -> Count:
    if found := _COUNT.fullmatch(str(text)):
        return Count(_least(int(found[1])), _span(found[2]))
    almost = _ALMOST_COUNT.fullmatch(str(text))
    least = int(almost[2]) + (almost[1] == ">") if almost else 8
    raise ValueError(f'cannot read `{text}` as a count; write ">= {least} in {almost[3] if almost else "2m"}"')


def _distinct(text: Any) -> Distinct:
    if found := _DISTINCT.fullmatch(str(text)):
        return Distinct(found[1], _least(int(found[2])), _span(found[3]))
    raise ValueError(f"cannot read `{text}`; write the field, the number and the time, as in user >= 5 in 1h")


def _for(text: Any) -> Of | Held:
    if found := _OF.fullmatch(str(text)):
        least, last = int(found[1]), int(found[2])
        if not 0 < least <= last <= MOST_ANSWERS:
            raise ValueError(f"`{text}` cannot be; the first number is 1 to the second, which is at most {MOST_ANSWERS}")
        return Of(least, last)
    try:
        return Held(_span(str(text)))
    except ValueError:
        raise ValueError(f"cannot read `{text}`; write 3 of 5 (answers), or 2m (time)") from None


def _rate(text: Any) -> Rate:
    if found := _RATE.fullmatch(str(text)):
        return Rate(int(found[1]), _span(found[2]))
    almost = _ALMOST_RATE.fullmatch(str(text))
    raise ValueError(f"cannot read `{text}` as a limit; write {f'{almost[1]} per {almost[2]}' if almost else '20 per 10m'}")


def _above(text: Any) -> Rate:
    word, _, rate = str(text).partition(" ")
    if word != "above":
        raise ValueError(f"cannot read `{text}`; write above 50 per 10m")
    return _rate(rate.strip())


def _share(text: Any) -> float:
    found = _SHARE.fullmatch(str(text))
    if not found or not 0 < float(found[1]) <= 100:
        raise ValueError(f"cannot read `{text}` as a part of all; write 30%, more than 0% and at most 100%")
    return float(found[1]) / 100


def _line(read: Callable[[Any], T], pattern: str, example: str) -> Any:
    """How one line of text becomes a value, and what an editor should know of it."""
    return PlainValidator(read), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "description": f"as in {example}"})


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
CountLine = Annotated[Count, *_line(_count, rf">= *\d{{1,6}} +in +{_TIME}", '">= 8 in 2m"')]
DistinctLine = Annotated[Distinct, *_line(_distinct, rf"{_FIELD} *>= *\d{{1,6}} +in +{_TIME}", "user >= 5 in 1h")]
ForLine = Annotated[Of | Held, *_line(_for, rf"(\d{{1,3}} +of +\d{{1,3}}|{_TIME})", "3 of 5, or 2m")]
AboveLine = Annotated[Rate, *_line(_above, rf"above +\d{{1,7}} +per +{_TIME}", "above 50 per 10m")]
ShareLine = Annotated[float, *_line(_share, r"\d{1,3}(\.\d+)?%", "30%")]
AfterLine = Annotated[
    policy_recover.After, *_line(policy_recover.after, policy_recover.AFTER, "ttl, quiet 10m, ok, ok 5m, resolved, or manual")
]
ReleaseLine = Annotated[
    Ladder | Shares,
    *_line(policy_recover.release, rf"({policy_recover.SHARES}|{policy_recover.LADDER})", "limit 10m then observe 10m"),
]
RateLine = Annotated[Rate, *_line(_rate, rf"\d{{1,7}} +per +{_TIME}", "20 per 10m")]


# The keys -----------------------------------------------------------------------------------------------------------------

_IF: Final = "field maps say the same: match: {rps: {gt: 100}}"


@dataclass(frozen=True)
class PartKeys:
    """Events of one kind."""

    event: Annotated[Node, About("the kind of event; `contain events kinds` lists them", "auth.ssh.failure")]
    match: Annotated[Node | None, About("lines of `field: value`; all of them must hold", "{user: root}")] = None
    count: Annotated[CountLine | None, About('so many events, as in ">= 8 in 2m"')] = None
    distinct: Annotated[DistinctLine | None, About("so many different values of a field, as in user >= 5 in 1h")] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "by": "`by` stands beside `sequence`, once for all its parts",
        "within": "`within` stands beside `sequence`, once for all its parts",
        "for": "a part of a sequence counts: write count or distinct",
        "unless": "`unless` stands beside `when`, one level out",
    }


@dataclass(frozen=True)
class ClauseKeys:
    """One way for a policy to fire."""

    event: Annotated[Node | None, About("the kind of event; `contain events kinds` lists them", "auth.ssh.failure")] = None
    match: Annotated[Node | None, About("lines of `field: value`; all of them must hold", "{user: root}")] = None
    by: Annotated[Node | None, About("one window, and one target, for each value of this field (or fields)", "src.ip")] = None
    count: Annotated[CountLine | None, About('so many events, as in ">= 8 in 2m"')] = None
    distinct: Annotated[DistinctLine | None, About("so many different values of a field, as in user >= 5 in 1h")] = None
    for_: Annotated[ForLine | None, About("for checks and rates: true in 3 of 5 answers, or for 2m", "3 of 5")] = None
    within: Annotated[Duration | None, About("all parts of the sequence within this time")] = None
    sequence: Annotated[
        tuple[Node, ...] | None,
        About(
            "parts that must come in this order", '[{event: auth.ssh.failure, count: ">= 5 in 5m"}, {event: auth.ssh.success}]'
        ),
    ] = None
    if_: Annotated[Node | None, Later(_IF)] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "unless": "`unless` stands beside `when`, one level out",
        "kind": "the kind of event is the value of `event`",
        "maxretry": 'write count: ">= 5 in 10m" for maxretry and findtime together',
        "findtime": 'write count: ">= 5 in 10m" for maxretry and findtime together',
        "threshold": 'write count: ">= 5 in 10m"',
        "groupby": "write by: src.ip",
        "group_by": "write by: src.ip",
        "per": "write by: src.ip",
        "see": "the kind of event is the value of `event`",
    }


@dataclass(frozen=True)
class StepOptions:
    """What may stand beside the action of a step."""

    optional: Annotated[Flag | None, About("skip the step where a $field is empty")] = None
    on_error: Annotated[
        Literal["stop", "continue"] | None, About("what a failed step does to those after it: stop (default), continue")
    ] = None
    after: Annotated[Duration | None, About("wait so long, and only if the incident still fires then")] = None
    timeout: Annotated[Duration | None, About("give up the step after this time")] = None
    approve: Annotated[
        Literal["required", "never"] | None,
        About("required: a person must say yes; never: act alone, though it is destructive, where two sources speak for it"),
    ] = None
    if_: Annotated[Node | None, Later(_IF)] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "do": "the action is the key itself: - block_ip: {ip: …, ttl: …}",
        "action": "the action is the key itself: - block_ip: {ip: …, ttl: …}",
        "with": "parameters stand after the action: - block_ip: {ip: …, ttl: …}",
        "bantime": "the time is the action's ttl",
    }


@dataclass(frozen=True)
class GuardKeys:
    """What this policy must not exceed; the limits of agent.yaml hold as well."""

    max: Annotated[RateLine | None, About("at most so many mitigations, as in 20 per 10m")] = None
    max_active: Annotated[Annotated[int, Interval(ge=1, le=1_000_000)] | None, About("at most so many in force at once")] = None
    cooldown: Annotated[Duration | None, About("after acting on a target, leave it alone so long")] = None
    never: Annotated[
        tuple[Node, ...] | None, About("lists of addresses (from agent.yaml) that are never touched", "[office]")
    ] = None
    approve: Annotated[AboveLine | None, About("beyond this a person must say yes, as in above 50 per 10m")] = None
    max_share: Annotated[ShareLine | None, About("at most this part of connected clients, of running containers: 30%", "30%")] = (
        None
    )
    overflow: Annotated[
        tuple[Node, ...] | None,
        About(
            "steps, done once where there are more targets than that: a limit for the whole service",
            "[{rate_limit: {ports: [80, 443], per: all, rps: 500, ttl: 10m}}]",
        ),
    ] = None


@dataclass(frozen=True)
class RecoverKeys:
    """When the mitigations end."""

    after: Annotated[
        AfterLine | None,
        About(
            "ttl: each ends by itself; earlier after quiet 10m (nothing came), ok (its checks are good 3 times in a row), ok 5m, "
            "or resolved (the alert is over, its sender says); manual: a person lifts it",
            "quiet 10m",
        ),
    ] = None
    release: Annotated[
        ReleaseLine | None,
        About("each address by a ladder, as in limit 10m at 20/s then observe 10m; or many by shares, as in 25% every 5m"),
    ] = None
    verify: Annotated[
        tuple[Node, ...] | None,
        About("the checks that must be good before it is resolved, as in [shop-http]; unsaid: those of `when`"),
    ] = None
    watch: Annotated[Duration | None, About("after the last rung, go back up at once if it recurs within this time")] = None


@dataclass(frozen=True)
class ExampleKeys:
    """Events in, actions out, in virtual time; `contain policy test` runs them."""

    title: Annotated[str, About("what the example shows", "eight failures in two minutes block")]
    events: Annotated[
        tuple[Node, ...],
        About(
            "as in {at: 0s, repeat: 8 every 10s, event: auth.ssh.failure, src.ip: 203.0.113.7}",
            "[{at: 0s, repeat: 8 every 10s, event: auth.ssh.failure, src.ip: 203.0.113.7}]",
        ),
    ]
    expect: Annotated[
        tuple[Node, ...],
        About("the actions that follow, or finding; [] where nothing may follow", '["block_ip(ip=203.0.113.7, ttl=1h)"]'),
    ]


@dataclass(frozen=True)
class PolicyKeys:
    """A whole policy."""

    policy: Annotated[Name, About("the name: unique, small letters, digits and -", "ssh-brute-force")]
    severity: Annotated[Severity, About("P0 (all is down, or data is lost) to P3 (cosmetic)")]
    when: Annotated[
        Node,
        About(
            "what must happen: one clause, or a list of which any one is enough",
            '{event: auth.ssh.failure, by: src.ip, count: ">= 8 in 2m"}',
        ),
    ]
    version: Annotated[str, About("the version of the grammar; 1 where nothing is said", "1")] = "1"
    title: Annotated[str, About("one line for people", "Password guessing on SSH from one address")] = ""
    mode: Annotated[Mode | None, About("enforce; dry_run: only record what would be done; off")] = None
    owner: Annotated[str, About("the team to ask about this policy", "security")] = ""
    runbook: Annotated[
        str,
        About(
            "a page that says what people do then: its address, or a file beside the policies", "runbooks/unauthorized_access.md"
        ),
    ] = ""
    tags: Annotated[tuple[str, ...], About("words to find the policy by", "[ssh, brute-force]")] = ()
    unless: Annotated[
        Node | None, About("lines of `field: value`; if any of them holds, leave it alone", "{src.ip: {list: [office]}}")
    ] = None
    then: Annotated[
        Node | None,
        About("actions, in order; without any, the policy only opens an incident", "[{block_ip: {ip: $src.ip, ttl: 1h}}]"),
    ] = None
    guard: Annotated[GuardKeys | None, About("what this policy must not exceed", "{max: 200 per 10m}")] = None
    recover: Annotated[RecoverKeys | None, About("when the mitigations end", "{after: quiet 10m}")] = None
    on_evidence_failure: Annotated[
        Literal["act", "refuse"] | None,
        About("while evidence cannot be written: act (records wait, copies go to syslog) or refuse; unsaid: act for P0 and P1"),
    ] = None
    examples: Annotated[
        tuple[Node, ...],
        About(
            "events in, actions out; `contain policy test` runs them",
            "[{title: one is a person, events: [{at: 0s, event: auth.ssh.failure, src.ip: 203.0.113.7}], expect: []}]",
        ),
    ] = ()
    notify: Annotated[
        Node | None, About("channels that are told, as in [sre]; off: nobody; unsaid: as agent.yaml says", "[sre]")
    ] = None
    escalate: Annotated[
        Node | None, About("who is told when nobody answers, as in - {after: 5m, to: [phone]}", "[{after: 5m, to: [phone]}]")
    ] = None
    incident: Annotated[
        Node | None, About("what its incidents are about, and which are one, as in {class: security}", "{class: security}")
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "name": "the name is the value of `policy`",
        "actions": "actions stand under `then`",
        "do": "actions stand under `then`",
        "event": "`event` stands under `when`, one level in",
        "match": "`match` stands under `when`, one level in",
        "count": "`count` stands under `when`, one level in",
        "by": "`by` stands under `when`, one level in",
        "for": "`for` stands under `when`, one level in",
        "bantime": "the time is the ttl of the action: block_ip: {ip: …, ttl: 1h}",
        "priority": "how urgent it is stands in `severity`",
        "description": "one line for people stands in `title`",
        "about": "one line for people stands in `title`",
        "ttl": "`ttl` goes inside the action: block_ip: {ip: …, ttl: 1h}",
        "max": "`max` stands under `guard`, one level in",
        "cooldown": "`cooldown` stands under `guard`, one level in",
    }
