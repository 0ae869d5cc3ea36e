"""How answers are printed: aligned, with relative times and sparse colour for people; whole and tab-separated for pipes.

A colour always repeats what a word says. Whatever came from outside has its control characters made visible, so that a log
line cannot play tricks on the terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from agent.visible import CUT, visible

DAY: Final = 86400.0
_WHOLE: Final = 1 << 20
_STYLES: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
_COLOURS: Final = {
    **dict.fromkeys(("P0", "bad", "failed", "refused", "partly"), "red"),
    **dict.fromkeys(
        ("P1", "open", "unknown", "would", "applying", "lifting", "unconfirmed", "dry_run", "paused", "on"), "yellow"
    ),
    **dict.fromkeys(("good", "in_force", "contained", "recovering", "enforce", "ok"), "green"),
    **dict.fromkeys(("lifted", "resolved", "closed", "off", "P3", "over", "window"), "dim"),
}
_TIMES: Final = frozenset(
    {"since", "until", "verified", "opened", "last", "contained", "resolved", "acked", "closed", "asked", "up", "ts", "seen"}
    | {"ended", "began"}
)
"""Keys whose numbers are Unix seconds; JSON for other programs holds them as RFC 3339."""


class At(NamedTuple):
    """A cell with a moment in Unix seconds; `none` is said where there is none."""

    ts: float | None
    none: str = "-"


class Ink(NamedTuple):
    """A cell with a colour."""

    text: str
    colour: str


Cell = str | int | float | None | At | Ink
Columns = Mapping[str, Callable[[Mapping[str, Any]], Cell]]
"""A table: header → what stands in a row's cell."""


def word(text: str) -> Cell:
    """A cell with one of our own words, in the colour of its meaning."""
    colour = _COLOURS.get(text)
    return Ink(text, colour) if colour else text


def span(seconds: float) -> str:
    """A length of time in its largest unit: 42 s, 3 min, 5 h, 12 d."""
    for unit, size in (("d", DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def rfc3339(ts: float) -> str:
    """A Unix time for other programs."""
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def portable(value: Any, key: str = "") -> Any:
    """A value as `--json` prints it: times as RFC 3339, at any depth; the `fields` of an event are not ours to change."""
    if isinstance(value, Mapping) and key != "fields":
        return {name: portable(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    if key in _TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        return rfc3339(value) if value else None
    return value


@dataclass(frozen=True)
class Show:
    """Where answers go. `terminal` says whether a person reads them, `width` its columns, `now` the time they are told at."""

    json: bool = False
    terminal: bool = False
    colour: bool = False
    utc: bool = False
    width: int = 80
    now: float = field(default_factory=time.time)

    @classmethod
    def here(cls, *, json: bool = False, colour: bool = True, utc: bool = False) -> Show:
        """As this process's stdout wants it: colours only on a terminal that can, and where nobody said no."""
        terminal = sys.stdout.isatty()
        willing = colour and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        width = os.get_terminal_size(sys.stdout.fileno()).columns if terminal else 0
        return cls(json, terminal, terminal and willing, utc, width or 80)

    # For programs ---------------------------------------------------------------------------------------------------------

    def document(self, kind: str, items: Iterable[Any]) -> None:
        """One JSON document on one line; a stream is many of them. On a terminal without what could play tricks there."""
        made = {"v": 1, "kind": kind, "items": [portable(one) for one in items]}
        print(json.dumps(made, ensure_ascii=self.terminal, default=str), flush=True)

    # For people -----------------------------------------------------------------------------------------------------------

    def table(self, kind: str, items: Sequence[Mapping[str, Any]], columns: Columns, none: str) -> None:
        """Rows of a listing; `none` is said, on stderr, where there are no rows."""
        if self.json:
            self.document(kind, items)
        elif items:
            self.rows([[cell(one) for cell in columns.values()] for one in items], head=tuple(columns), cut=True)
        else:
            self.talk(none)

    def rows(self, rows: Sequence[Sequence[Cell]], *, head: Sequence[str] = (), cut: bool = False) -> None:
        """Aligned cells on a terminal, with `cut` the last one cut to fit; elsewhere tab-separated, whole, without the head."""
        if not rows:
            return
        texts = [[self.text(one) for one in row] for row in rows]
        if not self.terminal:
            self.line("\n".join("\t".join(row) for row in texts))
            return
        heads = [[one.upper() for one in head]] if head else []
        widths = [max(map(len, column)) for column in zip(*heads, *texts, strict=True)]
        for row in heads:
            self.line(self.paint(self._aligned(row, row, widths), "dim"))
        room = max(20, self.width - sum(widths[:-1]) - 2 * (len(widths) - 1))
        for row, cells in zip(texts, rows, strict=True):
            last = row[-1] if not cut or len(row[-1]) <= room else row[-1][: room - 1] + CUT
            self.line(self._aligned([*row[:-1], last], cells, widths))

    def line(self, text: str = "") -> None:
        """A line of the answer."""
        print(text)

    def talk(self, text: str) -> None:
        """Something beside the answer: on stderr, so that a pipe does not carry it."""
        sys.stdout.flush()
        print(text, file=sys.stderr)

    def text(self, cell: Cell) -> str:
        """A cell without its colour."""
        match cell:
            case At(ts, none):
                return none if ts is None else self.at(ts)
            case Ink(text, _):
                return visible(text, _WHOLE)
            case None:
                return "-"
            case _:
                return visible(cell, _WHOLE)

    def at(self, ts: float) -> str:
        """A moment: `3 min ago`, `in 59 min`; beyond a day, or with --utc, the date; always RFC 3339 where nobody reads."""
        if not self.terminal:
            return rfc3339(ts)
        away = ts - self.now
        if self.utc or abs(away) >= DAY:
            return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%SZ}"
        return f"in {span(away)}" if away > 0 else f"{span(-away)} ago"

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{_STYLES[colour]}m{text}\x1b[0m" if self.colour and colour else text

    def _aligned(self, row: Sequence[str], cells: Sequence[Cell], widths: Sequence[int]) -> str:
        """One row: every cell but the last as wide as its column."""
        padded = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)] + [row[-1]]
        inked = [self.paint(text, one.colour) if isinstance(one, Ink) else text for text, one in zip(padded, cells, strict=True)]
        return "  ".join(inked).rstrip()
