"""How the rows are shown: every number, ours against the best peer, ours against the floor, and what has to be said."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.rows import COLUMNS, PEERS, ROWS, Row
from tests.bench.tries import Cell, Cells

MUST_BEAT: Final = ("fail2ban", "CrowdSec")
"""Those whom the project promises to beat in every row; sshguard and monit are programs in C, and shown for honesty."""


def text(cells: Cells) -> str:
    """The table, below it the notes, and which rows are lost."""
    notes: list[str] = []
    rows = [row for row in ROWS if cells.get(row)]
    columns = [name for name in COLUMNS if any(name in cells[row] for row in rows)]
    lines = [["", *columns, "ours : best peer", "ours : floor", "goal", ""]]
    for row in rows:
        here = cells[row]
        goal = "" if row.goal is None else f"≤ {row.goal:g} {row.unit}"
        shown = [_cell(row, here.get(name), row.without.get(name, ""), notes) for name in columns]
        lines.append([row.name, *shown, against_peers(here), against_floor(here), goal, met(row, here)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join([table, "", *(f"{at}) {note}" for at, note in enumerate(notes, 1)), *_verdict(cells)])


def _cell(row: Row, cell: Cell | None, why: str, notes: list[str]) -> str:
    note = cell.note if cell else why
    if note and note not in notes:
        notes.append(note)
    mark = f" {notes.index(note) + 1})" if note else ""
    if cell is None or cell.absent:
        return f"–{mark}" if mark else ""
    if math.isinf(cell.value):
        return f"never{mark}"
    spread = f" ({_number(cell.low)}–{_number(cell.high)})" if cell.tries > 1 else ""
    spread = f" = {1e6 / cell.value:,.0f} {row.rate}" if row.rate else spread
    return f"{'> ' if cell.beyond else ''}{_number(cell.value)} {row.unit.removeprefix('CPU ')}{spread}{mark}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "never"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 or not value else 3
    return f"{value:,.{digits}f}"


def met(row: Row, cells: Mapping[str, Cell]) -> str:
    """Whether the goal is met."""
    ours = cells.get("ours")
    if row.goal is None or ours is None or ours.absent:
        return ""
    return "met" if ours.value <= row.goal else "missed"


def against_peers(cells: Mapping[str, Cell], peers: Iterable[str] = PEERS) -> str:
    """How many times more the best peer takes, or how many times more we do, and who that is."""
    ours, name = cells.get("ours"), best_of(cells, peers)
    if ours is None or ours.absent or not name:
        return ""
    best = cells[name]
    more = ">" if best.beyond else ""
    if math.isinf(ours.value) or math.isinf(best.value):
        return f"only {name}" if best.value < ours.value else "only ours" if ours.value < best.value else ""
    if not ours.value or not best.value:
        return "equal" if ours.value == best.value else f"none : some ({name})" if best.value else f"some : none ({name})"
    ahead = ours.value <= best.value
    return f"1 : {more}{_short(best.value / ours.value)} ({name})" if ahead else f"{_short(ours.value / best.value)} : 1 ({name})"


def against_floor(cells: Mapping[str, Cell]) -> str:
    """How many times the floor ours takes."""
    ours, floor = cells.get("ours"), cells.get("floor")
    if ours is None or floor is None or not math.isfinite(ours.value) or not math.isfinite(floor.value):
        return ""
    return f"{_short(ours.value / floor.value)}×" if floor.value and ours.value else "equal" if ours.value == floor.value else ""


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"


def best_of(cells: Mapping[str, Cell], peers: Iterable[str] = PEERS) -> str:
    """The best peer that has a number; empty where none has."""
    return min(
        (name for name in peers if name in cells and not cells[name].absent), key=lambda name: cells[name].value, default=""
    )


def lost(cells: Cells, peers: Iterable[str]) -> list[Row]:
    """The rows in which one of these is better than ours, or ours has no number and one of them has."""
    among = tuple(peers)
    found = []
    for row in (one for one in ROWS if cells.get(one)):
        ours, name = cells[row].get("ours"), best_of(cells[row], among)
        if name and (ours is None or ours.absent or ours.value > cells[row][name].value):
            found.append(row)
    return found


def _verdict(cells: Cells) -> list[str]:
    rest = [name for name in PEERS if name not in MUST_BEAT]
    said = []
    for peers in (MUST_BEAT, rest):
        rows = lost(cells, peers)
        names = "; ".join(row.name.removeprefix("… ") for row in rows)
        said.append(f"behind {' or '.join(peers)}: {f'{len(rows)} rows: {names}' if rows else 'in no row'}")
    return ["", *said]


def machine() -> str:
    """What it ran on; numbers of another run on another machine, or in another hour, say nothing beside these."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    model = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine()
    )
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}, load {load}"


def _lines(path: str) -> Iterable[str]:
    return Path(path).read_text().splitlines()


def plain(cells: Cells) -> list[dict[str, Any]]:
    """The same for machines. A number that is infinite never came, and is null, as is one that there is not."""
    return [
        {
            "key": row.key,
            "row": row.name,
            "unit": row.unit,
            "goal": row.goal,
            "met": met(row, cells[row]),
            "ours : best peer": against_peers(cells[row]),
            "ours : floor": against_floor(cells[row]),
            "contenders": {name: _plain(cell) for name, cell in cells[row].items()},
        }
        for row in ROWS
        if cells.get(row)
    ]


def _plain(cell: Cell) -> dict[str, Any]:
    numbers = {"value": cell.value, "low": cell.low, "high": cell.high}
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {**finite, "never": math.isinf(cell.value), "more than": cell.beyond, "tries": cell.tries, "note": cell.note}
