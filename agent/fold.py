"""How each record changes what the agent knows. Pure.

`fold` is the only way state changes: live, right after flow.py decided a record, and at the next start, when the journal is
read again. So what the agent knows and what the evidence says cannot drift apart.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from agent import fold_incident
from agent.action import Change, read_change
from agent.clock import shift
from agent.incident import Mitigation
from agent.policy import ROUND
from agent.record import Record
from agent.recovery.releases import moved, told
from agent.state import BOOKS_OF, KEPT, REMEMBERED, State, finding_of, would_be

_ANSWERS: Final = frozenset(
    {"phase", "refused", "would", "asked_for", "plan_failed", "nothing_to_do", "failed", "not_verified", "partly", "skipped"}
)
"""What can come of a finding. Until one of these, a crash has left it without an answer, and the next start takes it up."""


_TOLD: Final = frozenset(
    {"refused", "plan_failed", "nothing_to_do", "failed", "not_verified", "skipped", "asked_for", "denied", "approval_over"}
    | {"recurred", "release_frozen", "awaited", "noted"}
)
"""What came of a step without anything being in force: whoever looks at the incident must see it."""


def fold(state: State, record: Record, ts: float) -> None:  # noqa: C901, PLR0912 - a table, one line a kind
    """Change the state as the record says. Records that change nothing (refusals, notes) are passed over."""
    if record.kind in _ANSWERS:
        state.unanswered.pop(record.incident, None)
    if (record.kind in _TOLD or _sunk(record)) and (incident := state.incidents.get(record.incident)):
        state.incidents[incident.id] = incident.hears(_sentence(record))
    if record.kind == "journal_lost":  # names that the lost one has given are not given again
        state.last_incident = max(state.last_incident, record.body["incident"])
        state.last_mitigation = max(state.last_mitigation, record.body["mitigation"])
    match record.kind:
        case "finding":
            _finding(state, record, ts)
        case "intent":
            _intent(state, record, ts)
        case "would":
            _would(state, record, ts)
        case "adopted":
            _adopted(state, record, ts)
        case "in_force" | "partly" | "done":
            _in_force(state, record, ts)
        case "recovered" if record.body["holds"]:
            _in_force(state, record, ts)
        case "healed":
            _whole(state, record)
        case "confirmed" | "extended":
            _lengthened(state, record)
        case "failed" | "not_verified" | "recovered":
            _end(state, record, ts, "failed")
        case "lifting" | "lift_failed":
            _stage(state, record, ts)
        case "lifted":
            _left_alone(state, record, ts)
            _end(state, record, ts, "lifted")
        case "end_moved":
            moved(state.mitigations, record)
        case "phase":
            _phase(state, record, ts)
        case "merged":
            fold_incident.merged(state, record, ts)
        case kind if kind in fold_incident.ACTS:
            fold_incident.act(state, record, ts)
        case "clock_set":
            shift(state, record.body["by"])
        case "mode":
            state.modes[record.body["policy"]] = record.body["mode"]
        case "resumed":
            state.pauses.fold(record, ts)
            _forget_shadows(state)
        case kind:
            for book in BOOKS_OF.get(kind, ()):
                getattr(state, book).fold(record, ts)
            _decided(state, record, ts)


def _sunk(record: Record) -> bool:
    """Whether nothing came of what had been left open."""
    return record.kind == "recovered" and not record.body["holds"]


def _sentence(record: Record) -> str:
    body = record.body
    match record.kind:
        case "asked_for":
            return f"{body['action']} waits for a person: {body['because']}: contain approve {body['id']}"
        case "denied":
            return f"{body['approval']}: {body['actor']} said no: {body['because']}"
        case "approval_over":
            return f"{body['approval']}: {body['because']}"
        case "recurred" | "release_frozen":
            return told(body)
        case "awaited":
            return str(body["because"])
        case "noted":
            return f"{body['actor']}: {body['text']}"
    what = body.get("action") or record.mitigation or "its steps"
    words = {"refused": "refused", "plan_failed": "cannot be planned", "nothing_to_do": "nothing to do", "skipped": "left out"}
    return f"{what}: {words.get(record.kind, 'failed')}: {body.get('because') or body.get('error', '')}"


def _finding(state: State, record: Record, ts: float) -> None:
    body = record.body
    known = state.incidents.get(record.incident)
    if known is None or known.over:
        dry = body.get("mode") == "dry_run" or body.get("pauses")
        _happened(state.opened.setdefault(would_be(body["policy"]) if dry else body["policy"], []), ts)
    found = {name: body[name] for name in ("policy", "target", "because", "event", "source")} | {"at": ts}
    found |= {"sources": body.get("sources", ()), "forged": body.get("forgeable", False)}
    if body["steps"]:
        state.unanswered[record.incident] = found | {name: body[name] for name in ("rungs",) if name in body}
    if body["later"]:
        _remember(state, "put_off", record.incident, found)
    if known:
        fold_incident.again(state, known, ts, body["because"])
        return
    fold_incident.opened(state, record, ts)
    state.last_incident = max(state.last_incident, _number(record.incident))


def _intent(state: State, record: Record, ts: float) -> None:
    made = _mitigation(state, record, ts)
    state.mitigations[made.id] = made
    state.shadows.begin(made)  # what takes half a minute to stop is down before it is in force
    _belongs(state, made)
    for whose in _counted(made):
        state.active[whose] = state.active.get(whose, 0) + 1
        _happened(state.done.setdefault(whose, []), ts)


def _counted(made: Mitigation) -> set[str]:
    """Under which names limits count it: a plan of six changes is one."""
    whose = {made.policy} if made.policy == ROUND else {"", made.policy}
    return whose if made.part == 0 else set()


def _adopted(state: State, record: Record, ts: float) -> None:
    """It holds already, and nobody did it now: it takes no room from what may be done in ten minutes."""
    made = _mitigation(state, record, ts)
    state.mitigations[made.id] = made
    for whose in _counted(made):
        state.active[whose] = state.active.get(whose, 0) + 1
    if record.body["sure"]:
        state.mitigations[made.id] = made._replace(stage="in_force")
        stands(state, made)


def _would(state: State, record: Record, ts: float) -> None:
    made = _mitigation(state, record, ts)._replace(stage="would")
    if not _shadow(state, made):
        _remember(state, "would", made.id, made)
    state.pauses.fold(record, ts)
    _belongs(state, made)
    for whose in _counted(made):
        _happened(state.done.setdefault(would_be(whose), []), ts)


def _shadow(state: State, made: Mitigation) -> bool:
    """Whether it is what a pause that is over kept from being done: nothing goes by it any more."""
    return bool(made.pauses) and not any(name in state.pauses.all for name in made.pauses)


def _forget_shadows(state: State) -> None:
    for name in [name for name, one in state.would.items() if _shadow(state, one)]:
        del state.would[name]


def _belongs(state: State, made: Mitigation) -> None:
    if incident := state.incidents.get(made.incident):
        state.incidents[incident.id] = incident._replace(mitigations=(*incident.mitigations[-99:], made.id))


def _mitigation(state: State, record: Record, ts: float) -> Mitigation:
    body = record.body
    change = body["change"] if isinstance(body["change"], Change) else read_change(body["change"], state.systems)
    state.last_mitigation = max(state.last_mitigation, _number(record.mitigation))
    return Mitigation(
        id=record.mitigation,
        incident=record.incident,
        policy=body["policy"],
        action=body["action"],
        target=body["target"],
        change=change,
        key=key_of(change),
        since=ts,
        until=body["until"],
        actor=body["actor"],
        because=body["because"],
        confirm=body.get("confirm"),
        ttl=body.get("ttl"),
        part=body.get("part", 0),
        mutes=tuple(body.get("mutes", ())),
        order=body.get("order", ""),
        pauses=tuple(body.get("pauses", ())),
        given=tuple((name, value) for name, value in body.get("given", ())),
    )


def key_of(change: Change) -> str:
    """What a change is about: two with the same undo are the same thing in the world."""
    return str(change.undo or change.verify)


def _in_force(state: State, record: Record, ts: float) -> None:
    mitigation = state.mitigations.get(record.mitigation)
    if not mitigation or not mitigation.active:
        return
    if mitigation.stage != "in_force" and mitigation.part == 0:
        _remember(state, "repeats", mitigation.aim, (state.repeated(mitigation.aim, ts) + 1, ts))
    stands(state, mitigation)
    short = record.body["error"] if record.kind == "partly" else ""
    state.mitigations[mitigation.id] = mitigation._replace(stage="in_force", short=short)
    if mitigation.change.undo is None:
        _end(state, record, ts, "done")
    incident = state.incidents.get(mitigation.incident)
    if incident and record.body.get("contains"):
        state.incidents[incident.id] = incident.moved("contained", ts)
        state.unanswered.pop(incident.id, None)


def stands(state: State, mitigation: Mitigation) -> None:
    """Let it be found by what it holds, and by what it is about."""
    state.holder[mitigation.key] = mitigation.id
    _aim_at(state, mitigation)


def _aim_at(state: State, mitigation: Mitigation) -> None:
    aimed = state.aimed.get(mitigation.aim, ())
    if mitigation.id not in aimed:
        state.aimed[mitigation.aim] = (*aimed, mitigation.id)


def _whole(state: State, record: Record) -> None:
    """Healed ones lack nothing any more."""
    for name in record.body["mitigations"]:
        if (mitigation := state.mitigations.get(name)) and mitigation.short:
            state.mitigations[name] = mitigation._replace(short="")


def _lengthened(state: State, record: Record) -> None:
    mitigation = state.mitigations.get(record.mitigation)
    if mitigation and mitigation.active:
        state.mitigations[mitigation.id] = mitigation._replace(confirm=None, until=record.body["until"])


def _stage(state: State, record: Record, ts: float) -> None:
    mitigation = state.mitigations.get(record.mitigation)
    if not mitigation or not mitigation.active:
        return
    if record.kind == "lifting":
        state.mitigations[mitigation.id] = mitigation._replace(stage="lifting")
        _left_alone(state, record, ts)
    else:
        state.holder.setdefault(mitigation.key, mitigation.id)
        _aim_at(state, mitigation)
        state.mitigations[mitigation.id] = mitigation._replace(stage="in_force", until=record.body["until"])


def _left_alone(state: State, record: Record, ts: float) -> None:
    """What a person took down, here or in the system itself, policies leave alone for a while."""
    mitigation = state.mitigations.get(record.mitigation)
    if not mitigation or not mitigation.active or not record.body.get("by_hand"):
        return
    _leave_alone(state, mitigation.incident, mitigation.target, ts)


def _decided(state: State, record: Record, ts: float) -> None:
    """A person's yes or no, and the end of what was let go step by step."""
    if record.kind == "approval_over" and record.body.get("used"):
        one = state.approvals.all.get(record.body["approval"])
        if one and one.found.get("steps") == "then":  # a crash must not take away the steps behind
            state.unanswered[record.incident] = dict(one.found)
    if record.kind == "denied" and (one := state.approvals.all.get(record.body["approval"])):
        _leave_alone(state, record.incident, one.target, ts)
    if record.kind == "released" and record.body.get("by_hand"):
        _leave_alone(state, record.incident, record.body["aim"], ts)


def _leave_alone(state: State, incident: str, aim: str, ts: float) -> None:
    """What a person decided is about what was acted on, for every policy, and about the finding, for its own."""
    if aim:
        _remember(state, "undone", aim, ts)
    if found := state.incidents.get(incident):
        _remember(state, "undone", finding_of(found.policy, found.target), ts)


def _end(state: State, record: Record, ts: float, stage: Literal["lifted", "failed", "done"]) -> None:
    mitigation = state.mitigations.get(record.mitigation)
    if not mitigation or not mitigation.active:
        return
    for whose in _counted(mitigation):
        state.active[whose] = state.active.get(whose, 1) - 1
    state.mitigations[mitigation.id] = mitigation._replace(stage=stage)
    if stage == "failed":
        state.shadows.drop(mitigation.id)
    else:
        state.shadows.over(mitigation.id, ts)
    if state.holder.get(mitigation.key) == mitigation.id:
        del state.holder[mitigation.key]
    if others := tuple(one for one in state.aimed.pop(mitigation.aim, ()) if one != mitigation.id):
        state.aimed[mitigation.aim] = others
    _let_go(state, mitigation.id)


def _phase(state: State, record: Record, ts: float) -> None:
    if fold_incident.phase(state, record, ts):
        state.put_off.pop(record.incident, None)
        _let_go(state, record.incident)


def _let_go(state: State, ended: str) -> None:
    """Keep the latest ended ones at hand, and forget the oldest. Rounds of the canary take nobody's place."""
    one = state.mitigations.get(ended) or state.incidents.get(ended)
    if one and one.policy == ROUND:
        state.mitigations.pop(ended, None)
        return
    state.ended.append(ended)
    if len(state.ended) > 2 * KEPT:
        oldest = state.ended.popleft()
        if oldest in state.incidents:
            fold_incident.forget(state, oldest)
        else:
            state.mitigations.pop(oldest, None)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _happened(done: list[float], ts: float) -> None:
    done.append(ts)
    if len(done) > 2 * REMEMBERED:
        del done[:REMEMBERED]


def _remember(state: State, table: str, key: Any, value: Any) -> None:
    """Keep it as the latest in one of the state's tables; of too many, the one untouched for longest is forgotten and counted."""
    known = getattr(state, table)
    known.pop(key, None)
    known[key] = value
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
        state.evict(table)
