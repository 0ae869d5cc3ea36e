"""The rows with their goals (those of the project's second issue), and how they are shown."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.bench.measure import Cell

Unit = Literal["ms", "s", "CPU s", "%", "MiB"]
COLUMNS: Final = ("ours", "fail2ban", "sshguard", "floor")
PEERS: Final = ("fail2ban", "sshguard")


@dataclass(frozen=True)
class Row:
    """One question to all contenders. Less is better everywhere; `goal` is in the row's unit."""

    name: str
    unit: Unit
    goal: float | None = None

    def met(self, cell: Cell) -> str:
        """Whether the goal is met."""
        return "" if self.goal is None else "met" if cell.value <= self.goal else "missed"


IDLE_50 = Row("line written → dropped, idle, p50", "ms", 3)
IDLE_95 = Row("line written → dropped, idle, p95", "ms", 6)
BUSY_50 = Row("the same under load, p50", "ms")
BUSY_95 = Row("the same under load, p95", "ms", 10)
BURST = Row("burst of 1,000: all dropped", "s")
BURST_PROVEN = Row("… and read back, and that is durable", "s", 0.2)
FLOOD = Row("burst of 10,000: all dropped", "s")
FLOOD_PROVEN = Row("… and read back, and that is durable", "s", 1)
RESTART_OPEN = Row("restart: time not all were dropped", "s", 0)
RESTART_BACK = Row("restart: started → answers and has all", "s", 1)
FLUSH = Row("outside `nft flush ruleset`: time until all are back", "s", 0.1)
STATUS = Row("status command, some dozens in force", "ms", 150)
STATUS_MANY = Row("status command, 10,000 in force", "ms", 150)
CPU = Row("CPU for a million log lines", "CPU s", 0.7)
READ = Row("… the same file merely read", "CPU s")
IDLE_CPU = Row("idle: CPU of one core", "%", 0.3)
IDLE_RSS = Row("idle: memory (RSS)", "MiB", 60)
SEEN_RSS = Row("memory after 50,000 addresses", "MiB", 90)
ROWS: Final = (
    IDLE_50, IDLE_95, BUSY_50, BUSY_95, BURST, BURST_PROVEN, FLOOD, FLOOD_PROVEN, RESTART_OPEN, RESTART_BACK, FLUSH,
    STATUS, STATUS_MANY, CPU, READ, IDLE_CPU, IDLE_RSS, SEEN_RSS,
)  # fmt: skip

Cells = Mapping[Row, Mapping[str, Cell]]


def text(cells: Cells) -> str:
    """The table, and below it what has to be said about single cells."""
    notes: list[str] = []
    lines = [["", *COLUMNS, "ours : best peer", "goal", ""]]
    for row in (one for one in ROWS if cells.get(one)):
        shown = [_cell(cells[row].get(name), row, notes) for name in COLUMNS]
        ours = cells[row].get("ours")
        goal = "" if row.goal is None else f"≤ {row.goal:g} {row.unit}"
        lines.append([row.name, *shown, _ratio(row, cells[row]), goal, row.met(ours) if ours else ""])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join([table, "", *(f"{at}) {note}" for at, note in enumerate(notes, 1))])


def _cell(cell: Cell | None, row: Row, notes: list[str]) -> str:
    if cell is None:
        return "–"
    spread = f" ({_number(cell.low)}–{_number(cell.high)})" if cell.tries > 1 else ""
    if cell.note and cell.note not in notes:
        notes.append(cell.note)
    mark = f" {notes.index(cell.note) + 1})" if cell.note else ""
    unit = "s" if row.unit == "CPU s" else row.unit
    return ("never" if math.isinf(cell.value) else f"{_number(cell.value)} {unit}{spread}") + mark


def _number(value: float) -> str:
    if math.isinf(value):
        return "never"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 or not value else 3
    return f"{value:,.{digits}f}"


def _ratio(row: Row, cells: Mapping[str, Cell]) -> str:
    """How many times more the best peer takes, or how many times more we do."""
    ours, theirs = cells.get("ours"), [cells[name].value for name in PEERS if name in cells]
    if ours is None or not theirs:
        return ""
    best = min(theirs)
    if math.isinf(ours.value) or math.isinf(best):
        return "only peers" if best < ours.value else "only ours" if ours.value < best else ""
    if not ours.value or not best:
        return "equal" if ours.value == best else "none : some" if best else "some : none"
    return f"1 : {best / ours.value:.2g}" if ours.value <= best else f"{ours.value / best:.2g} : 1"


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
    """The same for machines. A number that is infinite never came, and is null."""
    return [
        {
            "row": row.name,
            "unit": row.unit,
            "goal": row.goal,
            "met": row.met(cells[row]["ours"]) if "ours" in cells[row] else "",
            "contenders": {name: _plain(cell) for name, cell in cells[row].items()},
        }
        for row in ROWS
        if cells.get(row)
    ]


def _plain(cell: Cell) -> dict[str, Any]:
    numbers = {"value": cell.value, "low": cell.low, "high": cell.high}
    return {**{n: v if math.isfinite(v) else None for n, v in numbers.items()}, "tries": cell.tries, "note": cell.note}
