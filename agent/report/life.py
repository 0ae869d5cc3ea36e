"""An incident's phases out of its records, by the very functions that the running agent has for them. Pure."""

from __future__ import annotations

from agent import fold_incident
from agent.gathering import Picture, picture
from agent.notifying.clocks import Clocks
from agent.record import Record
from agent.state import State

KINDS = frozenset({"finding", "in_force", "done", "phase", "merged", "clock_set", *fold_incident.ACTS})
"""Records that move an incident. `clock_set` only where times are not moved before (metrics.py)."""


class Life:
    """Incidents as they go; `take` one record after the other, with its time."""

    def __init__(self) -> None:
        """None is known."""
        self.state = State({})
        self.contained: dict[str, float] = {}
        """When each was contained for the first time."""
        self.acked: dict[str, float] = {}
        """When somebody said for the first time to be on it."""

    def take(self, record: Record, at: float) -> None:
        """One record."""
        state, body, name = self.state, record.body, record.incident
        match record.kind:
            case "finding":
                known = state.incidents.get(name)
                if known:
                    fold_incident.again(state, known, at, str(body["because"]))
                else:
                    fold_incident.opened(state, record, at)
            case "in_force" | "done" if body.get("contains") and name in state.incidents:
                state.incidents[name] = state.incidents[name].moved("contained", at)
                self.contained.setdefault(name, at)
            case "phase":
                fold_incident.phase(state, record, at)
                if body["phase"] == "contained":
                    self.contained.setdefault(name, at)
            case "merged":
                fold_incident.merged(state, record, at)
            case kind if kind in Clocks.kinds:
                state.clocks.fold(record, at)
            case kind if kind in fold_incident.ACTS:
                fold_incident.act(state, record, at)
                if kind in ("acknowledged", "assigned"):
                    self.acked.setdefault(name, at)

    def picture(self, name: str) -> Picture | None:
        """What people see as one with it."""
        return picture(self.state, name)


def first_contained(opened: dict[str, float], contained: dict[str, float]) -> float | None:
    """When all that was known then was contained, for the first time: later ones do not make that undone."""
    steps: dict[float, int] = {}
    for name, at in opened.items():
        steps[at] = steps.get(at, 0) + 1
        if name in contained:  # perhaps in the very same turn
            steps[contained[name]] = steps.get(contained[name], 0) - 1
    going = 0
    for at in sorted(steps):
        going += steps[at]
        if going == 0:
            return at
    return None
