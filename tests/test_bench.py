"""The benchmark measures what it says. With tiny sizes, and without a word about how quick anything is."""

from __future__ import annotations

import math
from pathlib import Path

from tests.bench import table
from tests.bench.measure import Cell, percentile
from tests.bench.run import Bench, Sizes
from tests.needs import need, need_root

TINY = Sizes(4, 1, 0.5, 2000, 20, 100, 1, 5000, 500, 0.5, 20.0, peers=False)
SANE = {"ms": (0.01, 30_000), "s": (0, 30), "CPU s": (0, 1000), "%": (0, 200), "MiB": (5, 2000)}


def test_every_row_is_measured_for_ours_and_in_its_unit(tmp_path: Path) -> None:
    need_root()
    need("nft", "nftables")
    said: list[str] = []
    bench = Bench(TINY, tmp_path, said.append)

    bench.run()

    ours = {row: bench.cells[row]["ours"].value for row in table.ROWS}
    assert {row.name: value for row, value in ours.items() if not SANE[row.unit][0] <= value <= SANE[row.unit][1]} == {}
    assert bench.cells[table.BURST]["floor"].value < math.inf
    assert any("100 offenders at once" in one for one in said)
    assert [one["row"] for one in table.plain(bench.cells)] == [row.name for row in table.ROWS]


def test_a_missed_goal_a_lost_comparison_and_what_never_came_are_shown_as_such() -> None:
    cells = {
        table.IDLE_50: {"ours": percentile([0.002 * 1000, 9.0, 5.0], 0.5), "fail2ban": Cell(50.0), "sshguard": Cell(2.5)},
        table.FLUSH: {"ours": Cell(0.05), "fail2ban": Cell(math.inf, note="0 of 1,000 came back"), "sshguard": Cell(math.inf)},
    }

    idle, flush, _, note = table.text(cells).splitlines()[1:]

    assert "5.00 ms (2.00–9.00)" in idle
    assert "2 : 1" in idle
    assert idle.endswith("missed")
    assert "never 1)" in flush
    assert "only ours" in flush
    assert flush.endswith("met")
    assert note == "1) 0 of 1,000 came back"


def test_a_try_that_never_came_is_no_quick_one() -> None:
    assert percentile([0.1] * 9 + [math.inf], 0.95).value == math.inf
    assert percentile([0.1] * 9 + [math.inf], 0.5).value == 0.1
