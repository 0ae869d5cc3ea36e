"""The host's clock was set: what was to last an hour still lasts an hour. Pure.

Ends, windows and cool-offs are kept as Unix seconds, so that people can read them and a restart knows them. The kernel counts
its timeouts by a clock that nobody sets. When the two part by more than a moment, everything that is kept moves along.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent.incident import Incident, Mitigation

if TYPE_CHECKING:
    from agent.state import State
    from agent.turn import Turn

JUMP: Final = 2.0
"""Seconds that the clock may move against the kernel's own without meaning anything: time servers correct it by less."""


class Clock:
    """Hears of the host's clock and of one that nobody sets, and says when the first was set."""

    def __init__(self, wall: float, steady: float) -> None:
        """Begin with both, in seconds."""
        self._apart = wall - steady

    def jumped(self, wall: float, steady: float) -> float:
        """By how many seconds the host's clock was set since the last look; 0 where it was not."""
        by = wall - steady - self._apart
        self._apart += by
        return by if abs(by) >= JUMP else 0.0


def jumped(turn: Turn, by: float) -> None:
    """Move everything that is kept."""
    turn.note("clock_set", {"by": by})
    agent = turn.agent
    for name, moved in AGENT.items():
        setattr(agent, name, moved(getattr(agent, name), by))
    agent.watch.shift(by)


def shift(state: State, by: float) -> None:
    """The state's part of it; `fold` does this for a record of the kind `clock_set`."""
    for name, moved in STATE.items():
        setattr(state, name, moved(getattr(state, name), by))
    for book in state.books.values():
        book.shift(by)


# What a time can stand in -----------------------------------------------------------------------------------------------------


def _time(at: float, by: float) -> float:
    return at + by if at else at  # 0 is never


def _times(times: list[float], by: float) -> list[float]:
    return [one + by for one in times]


def _by_key(times: Mapping[Any, float], by: float) -> dict[Any, float]:
    return {key: at + by for key, at in times.items()}


def _heap(times: list[Any], by: float) -> list[Any]:
    moved = [(at + by, *rest) for at, *rest in times]
    heapq.heapify(moved)
    return moved


def _runs(later: list[Any], by: float) -> list[Any]:
    return _heap([(at, number, run._replace(since=run.since + by)) for at, number, run in later], by)


def _counted(times: Mapping[Any, tuple[int, float]], by: float) -> dict[Any, tuple[int, float]]:
    return {key: (count, at + by) for key, (count, at) in times.items()}


def _lists(times: Mapping[str, list[float]], by: float) -> dict[str, list[float]]:
    return {key: _times(each, by) for key, each in times.items()}


def _answers(answers: Mapping[Any, Any], by: float) -> dict[Any, Any]:
    return {key: one.shift(by) for key, one in answers.items()}


def _crowds(crowds: Mapping[str, Any], by: float) -> dict[str, Any]:
    return {key: replace(one, told=one.told + by) for key, one in crowds.items()}


def _found(found: Mapping[str, Mapping[str, Any]], by: float) -> dict[str, Any]:
    return {key: {**one, "at": one["at"] + by} for key, one in found.items()}


def _incidents(incidents: Mapping[str, Incident], by: float) -> dict[str, Incident]:
    times = ("opened", "last", "contained", "resolved", "acked", "closed", "began", "joined_at", "anew")
    return {key: _moved(one, by, *times) for key, one in incidents.items()}


def _mitigations(mitigations: Mapping[str, Mitigation], by: float) -> dict[str, Mitigation]:
    return {key: _moved(one, by, "since", "until", "confirm") for key, one in mitigations.items()}


def _shadows(shadows: Any, by: float) -> Any:
    shadows.shift(by)
    return shadows


def _moved(one: Any, by: float, *names: str) -> Any:
    return one._replace(**{name: at + by for name in names if (at := getattr(one, name)) is not None})


Moved = Callable[[Any, float], Any]

AGENT: Final[Mapping[str, Moved]] = {
    **dict.fromkeys(("still", "spared", "verified", "tried", "late", "clients", "cut", "descended", "muted"), _by_key),
    **dict.fromkeys(("started", "ticked", "next_look", "next_sweep", "next_tidy", "next_pause", "next_hearing"), _time),
    **dict.fromkeys(("due", "nearing"), _heap),
    "later": _runs,
    "answers": _answers,
    "healed": _times,
    **dict.fromkeys(("stopped", "told_of"), _counted),
    "crowds": _crowds,
    "looks": _shadows,
}
"""What of the agent holds times, and how it moves. A test holds this against the agent's fields."""
STATE: Final[Mapping[str, Moved]] = {
    "incidents": _incidents,
    "mitigations": _mitigations,
    "would": _mitigations,
    "unanswered": _found,
    "put_off": _found,
    "done": _lists,
    "opened": _lists,
    "repeats": _counted,
    "undone": _by_key,
    "shadows": _shadows,
}
"""The same of the state; its books move themselves."""
