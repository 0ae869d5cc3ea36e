"""Which clauses an event has to be shown to: those of its kind, less those that want another value of a field. Pure.

A hundred policies about a hundred checks all listen to `check`, and each names one of them. So for each kind one field is
chosen, the one that most of its clauses pin down with `is` or `in`; an event finds by its value of that field, with one look-up,
the clauses that may take it. What it costs grows with those, not with all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from agent.event import Event, Value
from agent.watching.clause import Live
from agent.watching.window import Key

MOST_VALUES: Final = 1_000
"""Values that one clause may pin a field down to; one that names more of them (`in`) is asked about every event of its kind."""

Together = tuple[Callable[[Event], Key | None], tuple[Live, ...]]
"""Clauses with the same `by`, one behind the other in the order of the policies; their key is made once for all of them."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The clauses for one kind of event, in the order of the policies: by its value of `field`, and for every other value.

    Where no clause pins a field down, `by_value` is empty.
    """

    field: str
    by_value: Mapping[Value, tuple[Together, ...]]
    others: tuple[Together, ...]


def listening(clauses: Sequence[Live]) -> dict[str, Listening]:
    """For every kind that some clause names, which ones listen."""
    kinds = {kind for one in clauses for kind in one.kinds}
    return {kind: _of_kind(kind, [one for one in clauses if kind in one.kinds]) for kind in kinds}


def _of_kind(kind: str, clauses: Sequence[Live]) -> Listening:
    fields = Counter(name for one in clauses for name in _fields(one) if _pinned(one, name, kind) is not None)
    if not fields:
        return Listening("", {}, _together(clauses))
    ((name, _),) = fields.most_common(1)
    pinned = [(one, _pinned(one, name, kind)) for one in clauses]
    values = {value for _, wanted in pinned for value in wanted or ()}
    by_value = {value: _together(one for one, wanted in pinned if wanted is None or value in wanted) for value in values}
    return Listening(name, by_value, _together(one for one, wanted in pinned if wanted is None))


def _pinned(one: Live, name: str, kind: str) -> frozenset[Value] | None:
    wanted = one.chosen_by(name, kind)
    return wanted if wanted is not None and len(wanted) <= MOST_VALUES else None


def _fields(one: Live) -> set[str]:
    return {test.field for part in one.clause.parts for test in part.match} - {"source"}  # that one is not in `fields`


def _together(clauses: Iterable[Live]) -> tuple[Together, ...]:
    """In groups whose keys are the same; what stands between two of them keeps its place."""
    groups = (tuple(group) for _, group in groupby(clauses, key=lambda one: one.clause.by))
    return tuple((group[0].key_of, group) for group in groups)
