"""Which word goes to a channel next: the most urgent incident's first, each incident's in their order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from agent.notifying.notifier import Notifier
from agent.notifying.outbox import Line, Row

REFUSALS: Final = 3
"""After so many, what comes behind it is tried first: it may be this one alone that the channel does not want."""
TRIES: Final = 10
"""After so many that came to nothing, those of other incidents are tried first, until one of them got through."""
GIVE_UP: Final = 86400.0
"""Seconds after which what need not get through is given up."""


class Picked(NamedTuple):
    """The row and what is `left` of it to send, its next part first; None where nothing waits.

    `needless` are keys of notices that this channel has nothing to say about, or says with a newer one; `over` those too old.
    """

    row: Row | None
    left: tuple[str, ...]
    needless: tuple[str, ...]
    over: tuple[str, ...]


def pick(line: Line, notifier: Notifier, now: float) -> Picked:
    """What to send next, and what to strike off first."""
    needless, over = list[str](), list[str]()
    best: tuple[Row, tuple[str, ...]] | None = None
    for queue in line.rows.values():
        old = [row.notice.key for row in queue if now - row.since > GIVE_UP and not row.must and not row.begun]
        over += old
        found = _next([row for row in queue if row.notice.key not in old] if old else queue, notifier, needless)
        if found and (best is None or _rank(found[0], line) < _rank(best[0], line)):
            best = found
    row, left = best if best else (None, ())
    return Picked(row, left, tuple(needless), tuple(over))


def _rank(row: Row, line: Line) -> tuple[bool, bool, bool, float]:
    """A person who waits for a test comes first, then what is urgent, then what has waited for longest; last what is stuck."""
    stuck = (row.refused >= REFUSALS or row.tries >= TRIES) and row.failed > (line.told or 0.0)
    return row.notice.what != "test", stuck, not row.notice.urgent, row.since


def _next(queue: Sequence[Row], notifier: Notifier, needless: list[str]) -> tuple[Row, tuple[str, ...]] | None:
    """The first of one incident's that has something to say; those that have nothing are added to `needless`."""
    newer: set[str] = set()
    todo: list[tuple[Row, tuple[str, ...]]] = []
    for row in reversed(queue):
        parts = row.parts if row.parts is not None else tuple(notifier.parts(row.notice))
        kept = parts[:1] if row.doubtful else ()  # what may be there already is not left to a newer one, which cannot know
        left = tuple(one for one in parts if one in kept or not ((row.passed or one in newer) and notifier.replaces(one)))
        newer.update(parts)
        if left:
            todo.append((row, left))
        else:
            needless.append(row.notice.key)
    todo.reverse()
    return next((one for one in todo if one[0].refused < REFUSALS), todo[0] if todo else None)
