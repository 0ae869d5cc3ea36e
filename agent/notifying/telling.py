"""When people are told of what: each incident as it is, against what was told of it last. Pure.

What is urgent is told at once, with the containment that comes within two seconds of it; the rest waits a moment for what belongs
to it, and then changes are told at most every five minutes. Nothing here must have been seen happening: the same comparison
after a restart tells what is missing, once.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any, Final, cast

from agent import gathering
from agent.gathering import Picture
from agent.incident import Incident
from agent.messages import Tick
from agent.notifying import daily, escalation, own, regimes
from agent.notifying.compose import LOOKED_AT, Saying, clock, compose, mitigations, took
from agent.notifying.escalation import LATE
from agent.notifying.notice import What
from agent.notifying.recipients import URGENT, Way, dry, recipients, strangers, way
from agent.notifying.tellings import News, Told
from agent.people.consent import name_of
from agent.policy import ROUND, Severity
from agent.settle import active
from agent.state import State
from agent.turn import Agent, Turn
from agent.visible import visible

GROUP_WAIT: Final[dict[Severity, float]] = {"P0": 0.0, "P1": 0.0, "P2": 30.0, "P3": 300.0}
"""Seconds that the first notice waits for what belongs to it."""
AT_IT: Final = 2.0
"""Seconds that an urgent one waits while something is being done, so that one notice says that it is contained."""
CHANGES: Final = 300.0
"""Seconds between two notices of what merely moved."""
NOTES: Final = 30.0
UPDATE: Final[dict[Severity, float]] = {"P0": 900.0, "P1": 1800.0}
"""Seconds between two words about one that is not contained."""
REPEAT: Final = 4 * 3600.0
"""Seconds after which one that nobody has acknowledged is told again."""
STALE: Final = 86400.0
"""Seconds after its end beyond which nobody is told of one of which nobody was."""
POLL: Final = 60.0
FEW: Final = 20
"""An incident with so many told with it is looked at whenever it changes; a larger one at most once a second."""
_STRONGEST: Final[tuple[What, ...]] = (
    "closed", "resolved", "reopened", "opened", "escalated", "acknowledged", "changed", "noted",
)  # fmt: skip
_MOVED: Final = {"recovering": "it is let go step by step", "open": "it goes on, also elsewhere"}
_OVER: Final = ("resolved", "closed")
_ENDS: Final = dict.fromkeys(("lifting", "lifted"), "in_force")
"""Stages that are no news beside that it was done: that it ends in time was told with it."""
_NUMBERED: Final = re.compile(r"\b[MA]-\d+")
_NEVER: Final = float("inf")


def come_round(turn: Turn, message: Any = None) -> None:
    """Tell what is to be told now. Called after each message: what is not due costs next to nothing."""
    agent, looks = turn.agent, turn.agent.looks
    known = (agent.settings, agent.policies)
    if looks.settings is None or any(one is not other for one, other in zip(looks.settings, known, strict=True)):
        looks.settings, looks.all = known, True
    if isinstance(message, Tick) and agent.settings.routes.channels:
        own.come_round(turn)
    if looks.all:
        looks.all = False
        looks.dirty.update(agent.state.incidents)
    if looks.dirty:
        _plan(turn)
    for name in looks.due(turn.now):
        looks.last[name] = turn.now
        _look(turn, name)


def _plan(turn: Turn) -> None:
    """When to look at those about which something was written down."""
    agent, looks, seen = turn.agent, turn.agent.looks, set[str]()
    names, looks.dirty = looks.dirty, set()
    tells = bool(agent.settings.routes.channels)
    for name in names:
        one = agent.state.incidents.get(name)
        if one is None or one.policy == ROUND:
            continue
        policy = agent.policies.get(one.policy)
        if not tells and not agent.state.clocks.all and not (policy and policy.gathering.regimes):
            continue
        if one.lead and agent.state.tellings.of(name).number:
            looks.want(name, turn.now)
        lead = agent.state.incidents.get(one.lead, one) if one.lead else one
        if lead.id not in seen:
            seen.add(lead.id)
            looks.want(lead.id, _soonest(turn, lead))


def _soonest(turn: Turn, lead: Incident) -> float:
    """The earliest moment at which there may be something to tell; found without a look at all that belongs to it."""
    told = turn.agent.state.tellings.of(lead.id)
    if not told.number and not lead.over and turn.now < (until := lead.opened + GROUP_WAIT[lead.severity]):
        return until if lead.id in turn.agent.looks.last else turn.now
    if lead.joined < FEW:
        return turn.now
    return max(turn.now, turn.agent.looks.last.get(lead.id, -_NEVER) + 1.0)


# One incident -------------------------------------------------------------------------------------------------------------


def _look(turn: Turn, name: str) -> None:
    agent, looks, state = turn.agent, turn.agent.looks, turn.agent.state
    seen = gathering.picture(state, name)
    if seen is None or seen.lead.policy == ROUND:
        looks.last.pop(name, None)
        return
    if seen.lead.id != name:
        _merged(turn, name, seen)
        return
    regimes.begin(turn, seen)
    if not agent.settings.routes.channels:
        return
    if (until := _silent(state, seen, turn.now)) is not None:
        looks.want(name, min(until, turn.now + POLL))
        return
    usual = way(agent, seen, state.tellings.of(name))
    due = min(escalation.fire(turn, seen, state.tellings.of(name)), regimes.remind(turn, seen) if usual.any else _NEVER)
    news, at = _news(turn, seen, usual)
    if news:
        _tell(turn, seen, usual, news)
        again, at = _news(turn, seen, way(agent, seen, state.tellings.of(name)))
        due = min(due, escalation.fire(turn, seen, state.tellings.of(name)))
        at = turn.now + 1.0 if again else at
    if (soon := min(at, due)) < _NEVER:
        looks.want(name, max(soon, turn.now + 0.1))


def _silent(state: State, seen: Picture, now: float) -> float | None:
    """Until when nobody is to be told of any of it; None where people are to be told."""
    if not state.silences.all:
        return None
    found = [state.silences.about(one, now) for one in seen.all if not one.over] or [state.silences.about(seen.lead, now)]
    ends = [one.until for one in found if one is not None]
    return min(ends) if len(ends) == len(found) else None


def _was_silent(state: State, seen: Picture) -> bool:
    """Whether it came to its end while nobody was to be told of it."""
    at = seen.resolved or seen.lead.last
    silences = (*state.silences.all.values(), *state.silences.over)
    return any(one.since <= at <= (one.ended or one.until) and one.fits(seen.lead) for one in silences)


# What is news -------------------------------------------------------------------------------------------------------------


def _news(turn: Turn, seen: Picture, usual: Way) -> tuple[list[News], float]:
    """What people do not know yet and are to know now, and when there will be more if nothing happens."""
    told = turn.agent.state.tellings.of(seen.lead.id)
    if not usual.any and not (told.to and told.number):
        return [], _NEVER
    if not told.number:
        return _first(turn, seen, usual)
    if told.once:
        known = seen.severity < told.severity or any(one.policy in turn.agent.policies for one in seen.all)
        woken = known and not usual.once and seen.phase not in _OVER  # a policy that is gone is no longer in dry run, either
        return ([News("opened", "it is no longer a dry run, or more severe than it was")] if woken else []), _NEVER
    again = told.phase in _OVER and seen.phase not in _OVER
    if again and turn.now < (until := seen.lead.last + AT_IT) and _at_it(turn, seen):
        return [], until
    at_once = [*_phase(seen, told, turn.now), *_people(seen, told), *_asked(turn, seen, told)]
    waits = [*told.news, *(news for one in seen.members for news in turn.agent.state.tellings.of(one.id).news)]
    calm = [one for one in waits if one.what != "noted"]
    if waits and (at_once or calm or turn.now >= told.last + NOTES):
        at_once += waits
    if at_once:
        return at_once, _NEVER
    later = _later(turn, seen, told)
    due = [News("changed", say) for at, say in later if at <= turn.now][:1]
    return due, min([at for at, _ in later if at > turn.now] + ([told.last + NOTES] if waits else []), default=_NEVER)


def _first(turn: Turn, seen: Picture, usual: Way) -> tuple[list[News], float]:
    lead, state = seen.lead, turn.agent.state
    over = seen.phase in _OVER
    if over and (lead.false or turn.now - (seen.resolved or lead.last) > STALE or _was_silent(state, seen)):
        return [], _NEVER
    due = lead.opened + (GROUP_WAIT["P3"] if usual.once else GROUP_WAIT[seen.severity])
    if usual.daily:
        due = daily.next_list(turn.agent, due)
    elif over and not usual.once:
        due = min(due, turn.now)
    elif seen.severity in URGENT and not usual.once and seen.phase == "open" and _at_it(turn, seen):
        due = lead.opened + AT_IT
    if turn.now < due:
        return [], due
    say = visible(lead.because, 280)
    if turn.now - due > LATE and not over:
        say = f"it was opened {clock(lead.opened)}; this comes {took(turn.now - due)} late: {say}"
    if over and not usual.once:
        return [News("closed" if seen.phase == "closed" else "resolved", f"it came and went: {say}")], _NEVER
    return [News("opened", say)], _NEVER


def _at_it(turn: Turn, seen: Picture) -> bool:
    """Whether something is being done about it at this moment."""
    agent = turn.agent
    for one in (seen.lead, *seen.members[-FEW:]):
        if (one.policy, one.target) in agent.running or any(made.stage == "applying" for made in active(turn, one)):
            return True
    return False


def _phase(seen: Picture, told: Told, now: float) -> list[News]:
    lead = seen.lead
    if told.phase in _OVER and seen.phase not in _OVER:
        return [News("reopened", f"it goes on again: {visible(lead.because, 200)}")]
    if seen.phase == told.phase:
        return []
    match seen.phase:
        case "resolved" if told.phase != "closed":
            return [News("resolved", f"it is over after {took((seen.resolved or now) - lead.since)}")]
        case "closed" if lead.false:
            return [News("closed", "it was none after all")]
        case "closed" if told.phase != "resolved" or seen.severity in URGENT:
            return [News("closed", "it is closed")]
        case "contained" if told.phase == "open" and seen.contained is not None:
            return [News("changed", f"contained in {took(seen.contained - lead.since)}")]
    return []


def _people(seen: Picture, told: Told) -> list[News]:
    lead = seen.lead
    if seen.phase in _OVER:
        return []
    news = []
    if seen.severity < told.severity:
        news.append(News("changed", f"it is {seen.severity} now, and was {told.severity}"))
    if lead.acked_by and lead.acked_by != told.acked_by:
        news.append(News("acknowledged", f"{visible(name_of(lead.acked_by), 80)} is on it"))
    if lead.assigned and visible(lead.assigned, 80) != told.assigned:
        news.append(News("acknowledged", f"it is {visible(lead.assigned, 80)}'s from here on"))
    return news


def _asked(turn: Turn, seen: Picture, told: Told) -> list[News]:
    fresh = [one for one in escalation.waiting(turn.agent, seen) if one.id not in told.asked]
    if not fresh or seen.phase in _OVER:
        return []
    one, more = fresh[0], f", and {len(fresh) - 1} more" if len(fresh) > 1 else ""
    return [News("changed", f"{one.id} waits for a person's yes to {visible(f'{one.action} {one.target}', 120)}{more}")]


def _later(turn: Turn, seen: Picture, told: Told) -> list[tuple[float, str]]:
    """What can wait, with its time, the earliest first."""
    found = []
    over = seen.phase in _OVER
    if not over and (mark(turn.agent, seen) != told.mark or (seen.phase, seen.severity) != (told.phase, told.severity)):
        found.append((told.last + CHANGES, _moved(seen, told)))
    if seen.phase == "open" and (every := UPDATE.get(seen.severity)):
        found.append((told.last + every, f"it is still not contained after {took(turn.now - seen.lead.since)}"))
    if not over and seen.lead.acked is None and seen.severity != "P3":
        found.append((told.last + REPEAT, f"nobody has acknowledged it for {took(turn.now - told.since)}"))
    return sorted(found)


def _moved(seen: Picture, told: Told) -> str:
    if seen.phase != told.phase:
        return _MOVED.get(seen.phase, f"it is {seen.phase}")
    if seen.severity != told.severity:
        return f"it is {seen.severity} now, and was {told.severity}"
    if seen.many > 1:
        return f"{seen.many} targets so far, and what is done about them has changed"
    return "what is done about it has changed"


def mark(agent: Agent, seen: Picture) -> str:
    """Stands for how many it is about and what came of what was done; the same while only the same is tried again."""
    about = (seen.lead, *seen.members[-LOOKED_AT:])
    told = {_NUMBERED.sub("", sentence) for one in about for sentence in one.told}
    made = [one for one in mitigations(agent, seen) if one.stage != "applying"]
    done = {f"{one.action} {_ENDS.get(one.stage, one.stage)}" for one in made}
    text = "\n".join((*sorted(told), *sorted(done)))
    return f"{seen.many}.{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


# Telling ------------------------------------------------------------------------------------------------------------------


def _tell(turn: Turn, seen: Picture, usual: Way, news: Sequence[News]) -> None:
    agent, state = turn.agent, turn.agent.state
    if usual.daily and news[0].what == "opened":
        daily.tell(turn, seen, usual)
        return
    told = state.tellings.of(seen.lead.id)
    what = cast("What", min((one.what for one in news), key=lambda one: _STRONGEST.index(cast("What", one))))
    asked = escalation.waiting(agent, seen)
    say = "; ".join(dict.fromkeys(one.say for one in news))
    made = compose(agent, seen, f"{seen.lead.id}/{told.number + 1}", turn.now, Saying(what, say, asked, dry(agent, seen)))
    to = recipients(agent, usual, told, what, (name for one in news for name in one.to))
    body = {
        "since": _since(seen, told, turn.now),
        "mark": mark(agent, seen),
        "asked": [one.id for one in asked],
        "once": usual.once and what == "opened",
        "with": [one.id for one in seen.members if state.tellings.of(one.id).news],
    }
    turn.note("notice", {"notice": made._asdict(), "to": to, "told": body}, incident=seen.lead.id)


def _since(seen: Picture, told: Told, now: float) -> float:
    """From when escalation counts: its beginning; anew when it goes on again, or is worse than was known."""
    if not told.number:
        return seen.lead.opened
    again = told.phase in _OVER and seen.phase not in _OVER
    return now if again or told.once or seen.severity < told.severity else told.since


def _merged(turn: Turn, name: str, seen: Picture) -> None:
    """One of which people were told is told with another from here on: its own thread comes to its end."""
    agent, one = turn.agent, turn.agent.state.incidents[name]
    told = agent.state.tellings.of(name)
    if not told.number or told.phase in _OVER or told.once or not told.to:
        return
    alone = Picture(one, (), "closed", one.severity, (one.target,), 1, one.contained, turn.now)
    say = "; ".join((f"it is the same as {seen.lead.id}, and is told with that from here on", *(one.say for one in told.news)))
    made = compose(agent, alone, f"{name}/{told.number + 1}", turn.now, Saying("closed", say))
    made = made._replace(headline=f"{one.severity} {one.policy}: {name} is told with {seen.lead.id} from here on.", need=())
    to = recipients(agent, Way(public=tuple(strangers(agent, told))), told, "closed")
    turn.note("notice", {"notice": made._asdict(), "to": to, "told": {"since": told.since}}, incident=name)
