"""What an alert of another tool means to policies: a repeat is no new event, what still fires is looked at again, what is not
heard of any more is over. Pure.

Senders tell again and again what fires (Alertmanager: every few hours, and whenever its group changes), so an alert counts once,
and then stands: policies without a window are asked about it once a minute, like about a check's answer. So a policy that came
later, a mode that was changed, or a block that has run out finds what still fires, and `quiet` counts from the resolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from agent.alerts.standing import LEFT_OUT, MOST, Alert, name
from agent.event import ALERT, FIRING, RESOLVED, Event
from agent.evidence.redact import telling
from agent.policy import Policy
from agent.schema import rough
from agent.turn import Agent, Turn, comes_round
from agent.watching.match import matcher
from agent.watching.watch import Hit, Watch

EVERY: Final = 60.0
"""Seconds between two looks at what fires."""
LONGEST: Final = 7 * 86400.0
"""Seconds after which one that nobody tells of any more is over, where its sender does not repeat."""
MISSED: Final = 2.0
"""So many of a sender's repeats may be missing."""
GRACE: Final = 300.0
SENDER: Final = "its sender says so"
"""Why an alert is over that was resolved."""
FRESH: Final = 5.0
"""Seconds for which a look at what fires is good enough to decide on a step that was put off."""
_NEWS: Final = ("name", "severity", "service", "instance", "user", "container", "unit", "src.ip", "dst.ip")
"""Fields that make one that fires already another one for policies: it got worse, or is about somebody else."""


def repeated(agent: Agent, event: Event) -> bool:
    """Whether an alert fires already, so that the event says nothing new."""
    if event.kind != ALERT.name or event.fields.get("status") != FIRING:
        return False
    known = agent.state.alerts.all.get(_key(event))
    return known is not None and _same(known, event)


def heard(turn: Turn, event: Event) -> bool:
    """Take in what an alert says; whether policies are to be fed with it."""
    if event.kind != ALERT.name or not event.fields.get("fingerprint"):
        return True
    key, known = _key(event), turn.agent.state.alerts.all
    if event.fields.get("status") == RESOLVED:
        turn.agent.told_of.pop(key, None)
        if key in known:
            turn.note("alert_over", _named(event) | {"because": SENDER})
        return True
    if event.fields.get("status") != FIRING:
        return True
    if key in known and _same(known[key], event):
        turn.agent.told_of[key] = (turn.agent.told_of.get(key, (1, 0.0))[0] + 1, turn.now)
        return False
    if len(known) >= MOST and key not in known:
        turn.agent.state.evict("alerts")
        return True
    if not known:  # nothing else fires: what begins now is looked at again in a minute, and not at once
        turn.agent.next_hearing = turn.now + EVERY
    fields = [[field, LEFT_OUT if telling(field) else value] for field, value in event.fields.items()]
    turn.note("alert_fires", _named(event) | {"fields": fields, "forgeable": event.forgeable})
    return True


def still(turn: Turn) -> Iterator[Hit]:
    """What policies say to all that fires, once a minute, and before a step that was put off; what is not heard of any more is
    over first.
    """
    agent = turn.agent
    waits = bool(agent.later) and agent.later[0][0] <= turn.now
    if not agent.state.alerts.all or not comes_round(agent.next_hearing - (EVERY - FRESH if waits else 0.0), EVERY, turn.now):
        return
    agent.next_hearing = turn.now + EVERY
    _let_go(turn)
    watch = _plain(agent)
    for one in list(agent.state.alerts.all.values()):
        for hit in watch.feed(one.event, turn.now):
            if _done(turn, hit, one.since):
                continue
            yield replace(hit, policy=next(each for each in agent.watch.policies if each.name == hit.policy.name))


def _done(turn: Turn, hit: Hit, since: float) -> bool:
    """Whether all that came of it since it fires is what is done once: a restart is not repeated each minute until it is over."""
    key = (hit.policy.name, hit.target(turn.agent.settings.host))
    incident, held = turn.agent.state.incident_for(*key), turn.agent.state.mitigations
    made = [one for name in (incident.mitigations if incident else ()) if (one := held.get(name)) and one.since >= since]
    if not made or made[-1].stage == "failed" or any(one.change.undo is not None for one in made):
        return False
    turn.agent.still[key] = turn.now
    return True


def standing_only(policy: Policy) -> bool:
    """Whether it goes by what fires alone: then its steps are for as long as that does."""
    return bool(policy.when) and len(_windowless(policy).when) == len(policy.when)


def tells_of(agent: Agent, policy: Policy, target: str, one: Alert) -> bool:
    """Whether an alert is one of those that a policy's finding about this target rests on."""
    event = one.event
    for clause in policy.when:
        key = " ".join(str(event.get(field)) for field in clause.by) or agent.settings.host
        tests = [part.match for part in clause.parts if part.event == ALERT.name]
        if key == target and any(matcher(each, agent.watch.lists)(event) for each in tests):
            return True
    return False


def _let_go(turn: Turn) -> None:
    agent = turn.agent
    for key, one in list(agent.state.alerts.all.items()):
        last = max(one.since, agent.started, agent.told_of.get(key, (0, 0.0))[1])
        repeats = dict(one.fields).get("repeats")
        longest = MISSED * repeats + GRACE if isinstance(repeats, int | float) and repeats > 0 else LONGEST
        if turn.now - last > longest:
            agent.told_of.pop(key, None)
            because = f"not heard of for {rough(timedelta(seconds=turn.now - last))}"
            turn.note("alert_over", {"source": one.source, "fingerprint": one.fingerprint, "because": because})


def _plain(agent: Agent) -> Watch:
    """The clauses that need no window, apart: to ask them again counts nothing."""
    return Watch([made for one in agent.watch.policies if (made := _windowless(one)).when], agent.watch.given)


def _windowless(policy: Policy) -> Policy:
    parts = tuple(one for one in policy.when if [(part.event, part.window) for part in one.parts] == [(ALERT.name, None)])
    return replace(policy, when=parts)


def _same(known: Alert, event: Event) -> bool:
    before = dict(known.fields)
    return all(before.get(field) == event.fields.get(field) for field in _NEWS)


def _key(event: Event) -> str:
    return name(event.source, str(event.fields.get("fingerprint")))


def _named(event: Event) -> dict[str, object]:
    return {"source": event.source, "fingerprint": str(event.fields["fingerprint"])}
