"""What a notice says: a first line that stands alone, then what we saw, what we did, and the one thing that is asked for. Pure.

All of it is plain text about how things stand now. Whatever a log may have brought is made visible here, and is made harmless for
its own markup by each channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from agent.gathering import Picture
from agent.incident import Incident, Mitigation
from agent.notifying.notice import MOST_LINES, MOST_TARGETS, Notice, What, fold_lines
from agent.people.approvals import Approval
from agent.people.consent import name_of
from agent.policy import Policy
from agent.schema import canonical, rough
from agent.turn import Agent
from agent.visible import visible

_TITLE: Final = 120
_TARGET: Final = 80
_LINE: Final = 280
LOOKED_AT: Final = 200
"""Of so many that are told with a lead, the latest, one by one is said what was done."""
_ALIKE: Final = 3
"""Of more than so many mitigations of one kind only their number is said."""
_NAMED: Final = re.compile(r"(M-\d+): ")
_STAGES: Final = {
    "applying": "is being done",
    "lifting": "is being taken down",
    "lifted": "is over",
    "failed": "failed",
    "done": "is done",
    "would": "would be done (dry run)",
}


class Saying(NamedTuple):
    """Why people are told, in a sentence, what waits for their yes, and whether it is a dry run."""

    what: What
    news: str
    asked: Sequence[Approval] = ()
    dry: bool = False


def compose(agent: Agent, seen: Picture, key: str, now: float, saying: Saying) -> Notice:
    """The whole notice; `key` is its name for ever."""
    lead, policy = seen.lead, agent.policies.get(seen.lead.policy)
    return Notice(
        key=key,
        incident=lead.id,
        what=saying.what,
        severity=seen.severity,
        phase=seen.phase,
        headline=headline(agent, seen, now, saying),
        news=visible(saying.news, _LINE),
        at=now,
        opened=lead.opened,
        host=agent.settings.host,
        policy=lead.policy,
        title=visible(lead.title, _TITLE),
        about=seen.about,
        saw=fold_lines(list(_saw(seen))),
        did=fold_lines(list(_did(agent, seen, now))),
        need=_need(seen, saying, policy),
        links=_links(agent, lead, policy),
        targets=tuple(visible(one, _TARGET) for one in seen.targets[:MOST_TARGETS]),
        many=seen.many,
        acked_by=lead.acked_by,
        assigned=visible(lead.assigned, _TARGET),
        dry=saying.dry,
    )


# The first line -----------------------------------------------------------------------------------------------------------


def headline(agent: Agent, seen: Picture, now: float, saying: Saying) -> str:
    """`P1 http-flood: One address floods the web server: 31 addresses. Contained in 37 s. Not acknowledged.`"""
    lead = seen.lead
    title = visible(lead.title, _TITLE).rstrip(".") or "an incident"
    head = f"{seen.severity} {lead.policy}: {title}: {whom(seen, agent.settings.host)}."
    parts = [head, _state(seen, now, saying), _who(seen)]
    return visible(" ".join(one for one in parts if one), 400)


def whom(seen: Picture, host: str) -> str:
    """What it is about, in a few words: a target, or how many of which kind."""
    if seen.many == 1:
        return visible(seen.targets[0], _TARGET)
    word = "addresses" if all(canonical(one.split(" ")[-1]) is not None for one in seen.targets[:MOST_TARGETS]) else "targets"
    return f"{seen.many} {word} on {host}"


def _state(seen: Picture, now: float, saying: Saying) -> str:
    lead = seen.lead
    if lead.false and seen.phase == "closed":
        return "It was none after all."
    if seen.phase in ("resolved", "closed"):
        word = "Closed" if seen.phase == "closed" else "Over"
        return f"{word}; it lasted {took((seen.resolved or now) - lead.since)}."
    if saying.dry:
        return "Dry run: nothing is done about it."
    if seen.contained is not None:
        more = ", and is let go step by step" if seen.phase == "recovering" else ""
        return f"Contained in {took(seen.contained - lead.since)}{more}."
    if saying.asked:
        return "It waits for a person's yes."
    return f"Open for {took(now - lead.since)}, not contained." if now - lead.since >= 1 else "Not contained."


def _who(seen: Picture) -> str:
    lead = seen.lead
    if seen.phase in ("resolved", "closed"):
        return ""
    if lead.assigned:
        return f"{visible(lead.assigned, _TARGET)} is on it."
    return f"{visible(name_of(lead.acked_by), _TARGET)} is on it." if lead.acked_by else "Not acknowledged."


def took(seconds: float) -> str:
    """A length of time for people: 1.2 s, 37 s, 3 min 5 s, 4 d 7 h."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    grain = 1 if seconds < 600 else 60
    return rough(timedelta(seconds=round(seconds / grain) * grain))


def clock(ts: float) -> str:
    """A moment, short where its day is clear: every notice has its own time beside it."""
    return f"{datetime.fromtimestamp(ts, UTC):%m-%d %H:%M:%SZ}"


# What we saw --------------------------------------------------------------------------------------------------------------


def _saw(seen: Picture) -> Iterator[str]:
    lead = seen.lead
    yield visible(f"{lead.policy}: {lead.because}", _LINE)
    findings = sum(one.findings for one in seen.all)
    begun = min((one.began for one in seen.all if one.began is not None), default=lead.opened)
    again = f"{findings} findings, the latest {clock(max(one.last for one in seen.all))}" if findings > 1 else "found once"
    yield f"since {clock(begun)}; {again}"
    others = [one for one in reversed(seen.members) if one.because != lead.because]
    for one in others[: MOST_LINES // 3]:
        yield visible(f"{one.id} {one.policy}: {one.because}", _LINE)
    if len(others) > MOST_LINES // 3:
        yield f"and {len(others) - MOST_LINES // 3} more like these"
    if lead.before:
        yield f"the same was there before: {lead.before}"


# What we did --------------------------------------------------------------------------------------------------------------


def mitigations(agent: Agent, seen: Picture) -> list[Mitigation]:
    """What was done, or would be, about the lead and the latest that are told with it."""
    state = agent.state
    about = (seen.lead, *seen.members[-LOOKED_AT:])
    return [made for one in about for name in one.mitigations if (made := state.mitigations.get(name) or state.would.get(name))]


def _did(agent: Agent, seen: Picture, now: float) -> Iterator[str]:
    told = [(one, sentence) for one in (seen.lead, *seen.members[-LOOKED_AT:]) for sentence in one.told][-2 * MOST_LINES :]
    named = {found[1] for _, sentence in told if (found := _NAMED.match(sentence))}
    yield from dict.fromkeys(_made(agent, seen, now, named))
    yield from dict.fromkeys(_sentence(agent, seen, one, sentence) for one, sentence in told)


def _made(agent: Agent, seen: Picture, now: float, named: Set[str]) -> Iterator[str]:
    """What was done; of what is `named` by a sentence, that sentence says more."""
    kinds: dict[tuple[str, str], list[Mitigation]] = {}
    for one in mitigations(agent, seen):
        if one.stage != "failed" or one.id not in named:
            kinds.setdefault((one.action, one.stage), []).append(one)
    for (action, stage), made in kinds.items():
        if len(made) <= _ALIKE:
            yield from (_one(one, now) for one in made)
        else:
            last = [one.until for one in made if one.until is not None]
            until = f", the last until {clock(max(last))}" if stage == "in_force" and len(last) == len(made) else ""
            yield f"{len(made)} × {action}: {'in force' if stage == 'in_force' else _STAGES[stage]}{until}"


def _sentence(agent: Agent, seen: Picture, one: Incident, sentence: str) -> str:
    """What came of a step, in people's words instead of its number."""
    if (found := _NAMED.match(sentence)) and (made := agent.state.mitigations.get(found[1])):
        sentence = f"{made.change.describe}{sentence[found.end(1) :]}"
    return visible(f"{one.id}: {sentence}" if seen.members else sentence, _LINE)


def _one(made: Mitigation, now: float) -> str:
    does = visible(made.change.describe, 160)
    if made.stage != "in_force":
        return f"{does}: {_STAGES[made.stage]}"
    until = f"until {clock(made.until)}" if made.until is not None else "until somebody lifts it"
    holds = f"holds in part: {visible(made.short, 80)};" if made.short else "holds"
    waits = f"; it takes itself back unless confirmed: contain confirm {made.id}" if made.confirm and made.confirm > now else ""
    return f"{does}: {holds} {until}{waits}"


# What we need -------------------------------------------------------------------------------------------------------------


def _need(seen: Picture, saying: Saying, policy: Policy | None) -> tuple[str, ...]:
    """At most one command: the one thing that only a person can do now. A runbook on this host is named before it."""
    lines = _asked_for(seen, saying)
    page = policy.page if policy else ""
    here = page and "://" not in page and seen.phase not in ("resolved", "closed")
    return (f"runbook: {visible(page, _LINE)}", *lines) if here else lines


def _asked_for(seen: Picture, saying: Saying) -> tuple[str, ...]:
    lead = seen.lead
    if saying.asked:
        first, *more = saying.asked
        does = fold_lines([visible(one, 160) for one in first.describe], 4)
        behind = (f"{len(more)} more wait behind it: contain approvals",) if more else ()
        words = f"a person's yes, until {clock(first.until)}: {visible(first.because, 160)}"
        return (words, *does, *behind, f"contain approve {first.id}")
    if seen.phase == "closed" or saying.dry:
        return ()
    if seen.phase == "resolved":
        urgent = seen.severity in ("P0", "P1")
        return ("the report, before it is closed", f"contain postmortem {lead.id}") if urgent else ()
    if lead.acked is None:
        return ("say that you are on it", f"contain ack {lead.id}")
    return ()


def _links(agent: Agent, lead: Incident, policy: Policy | None) -> tuple[tuple[str, str], ...]:
    link, runbook = agent.settings.routes.link.rstrip("/"), policy.runbook if policy else ""
    pairs = [("runbook", runbook)] if runbook.startswith(("https://", "http://")) else []
    return tuple(pairs + ([("incident", f"{link}/incidents/{lead.id}")] if link else []))


def listing(seen: Iterable[Picture], now: float) -> tuple[str, ...]:
    """The lines of a daily list: one for each incident."""
    lines = []
    for one in seen:
        state = one.phase if one.phase != "open" else f"open for {took(now - one.lead.opened)}"
        lines.append(visible(f"{one.lead.id} {one.lead.policy}: {one.lead.title}: {whom(one, 'this host')}, {state}", _LINE))
    return fold_lines(lines)
