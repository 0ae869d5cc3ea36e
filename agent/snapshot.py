"""The state as plain JSON and back, so that a start reads the journal's tail and not all of it. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from agent import fold_incident
from agent.action import System, read_change
from agent.fold import key_of, stands
from agent.incident import Incident, Mitigation
from agent.state import BOOKS, State

_PLAIN: Final = ("unanswered", "put_off", "last_incident", "last_mitigation")
_BY_NAME: Final = ("modes", "done", "repeats", "undone", "active", "opened")
"""Written as pairs. Their keys are names that others chose (a policy `stolen_token`, a role `svc_token`), and what stands in
JSON under such a name is a secret to the redactor."""


def snapshot(state: State) -> dict[str, Any]:
    """The state as values that the journal can write as JSON. What follows from the rest is left out."""
    plain = {name: getattr(state, name) for name in _PLAIN} | {name: list(getattr(state, name).items()) for name in _BY_NAME}
    incidents = [one._asdict() for one in state.incidents.values()]
    held = {name: [_plain(one) for one in getattr(state, name).values()] for name in ("mitigations", "would")}
    books = [[name, book.plain()] for name, book in state.books.items()]
    return {**plain, "incidents": incidents, **held, "ended": list(state.ended), "books": books}


def _plain(one: Mitigation) -> dict[str, Any]:
    """Without its key, which stands in the change, and looks like a secret to the redactor (a second for 10,000 of them)."""
    plain = one._asdict()
    del plain["key"]
    return plain


def restore(plain: Mapping[str, Any] | None, systems: Mapping[str, type[System]]) -> State:
    """The state that a snapshot holds; a fresh one where there is none."""
    state = State(systems)
    if plain is None:
        return state
    for name in _PLAIN:
        setattr(state, name, plain[name])
    for name in _BY_NAME:
        setattr(state, name, dict(plain.get(name, ())))  # pairs; an older snapshot has a mapping, or none
    state.repeats = {key: (count, last) for key, (count, last) in state.repeats.items()}
    state.ended = deque(plain["ended"])
    for name, book in plain.get("books", ()):
        if name in BOOKS:
            getattr(state, name).restore(book)
    for one in plain["incidents"]:
        incident = Incident(**{**one, "mitigations": tuple(one["mitigations"]), "told": tuple(one.get("told", ()))})
        state.incidents[incident.id] = incident
        state.incident_of[incident.policy, incident.target] = incident.id
    fold_incident.follow(state)
    for name in ("mitigations", "would"):
        for one in plain[name]:
            mitigation = _mitigation(one, systems)
            getattr(state, name)[mitigation.id] = mitigation
    for mitigation in state.mitigations.values():
        _follow(state, mitigation)
    return state


def _follow(state: State, mitigation: Mitigation) -> None:
    """What follows from one that is active."""
    if mitigation.active:
        state.shadows.begin(mitigation)
    if mitigation.stage in ("in_force", "lifting"):
        stands(state, mitigation)


def _mitigation(one: Mapping[str, Any], systems: Mapping[str, type[System]]) -> Mitigation:
    change = read_change(one["change"], systems)
    given = tuple((name, value) for name, value in one.get("given", ()))
    typed = {"change": change, "key": key_of(change), "given": given}
    typed |= {name: tuple(one.get(name, ())) for name in ("pauses", "mutes")}
    return Mitigation(**{**one, **typed})
