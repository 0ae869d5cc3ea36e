"""The benchmark measures what it says. With tiny sizes, and without a word about how quick anything is."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bench import blocking, rows, table, watching
from tests.bench.bench import Bench, Sizes
from tests.bench.contender import Task
from tests.bench.ours import Floor
from tests.bench.rows import UnknownRow, chosen
from tests.bench.tries import Cell, Tries, cell
from tests.needs import need, need_root
from tests.running import wait_for

TINY = Sizes(4, 1, 0.5, 2000, 20, 100, 1, 5000, 500, 0.5, 10.0, events=500, asked_seconds=6.0, appends=20, peers=False)
SANE = {"ms": (0.01, 30_000), "s": (0, 60), "CPU s": (0, 1000), "%": (0, 200), "MiB": (5, 2000)}
SANE |= {"CPU ms": (1, 30_000), "CPU µs": (0.1, 100_000), "µs": (1, 1_000_000)}
IN_SECONDS = frozenset(rows.KEYS) - {"checks", "hung"}
"""What is measured here; the rest takes a start of a thousand checks."""


def test_every_row_is_measured_for_ours_and_in_its_unit(tmp_path: Path) -> None:
    need_root()
    need("nft", "nftables")
    said: list[str] = []
    bench = Bench(TINY, tmp_path, said.append, IN_SECONDS)

    for part in (blocking.quiet, blocking.load, blocking.bursts, blocking.floods, watching.lines, watching.memory):
        part(bench)
    for part in (watching.policies, watching.checks, watching.journal):
        part(bench)

    cells, wanted = bench.tries.cells(), [row for row in rows.ROWS if row.key in IN_SECONDS]
    ours = {row: cells[row]["ours"].value for row in wanted}
    assert {row.name: value for row, value in ours.items() if not SANE[row.unit][0] <= value <= SANE[row.unit][1]} == {}
    assert cells[rows.BURST]["floor"].value < math.inf
    assert any("100 offenders at once" in one for one in said)
    assert [one["row"] for one in table.plain(cells)] == [row.name for row in wanted]


def test_one_that_fails_leaves_a_dash_with_the_reason_and_the_others_go_on(tmp_path: Path) -> None:
    need_root()
    need("nft", "nftables")
    bench = Bench(TINY, tmp_path, lambda _: None)

    bench.alone(Hopeless, [rows.BURST], Task(), lambda _: None)
    bench.alone(Floor, [rows.BURST], Task(), lambda one: bench.put(rows.BURST, one.name, 0.5))

    shown = table.text(bench.tries.cells()).splitlines()
    assert "– 1)" in shown[1]
    assert "0.50 s" in shown[1]
    assert shown[3].startswith("1) fail2ban: ")
    assert "no such program" in shown[3]


class Hopeless(Floor):
    """One whose program ends at once."""

    name = "fail2ban"

    def _start(self) -> None:
        self.run(sys.executable, "-c", "raise SystemExit('no such program')")
        wait_for(lambda: self.said() and self._ended())

    def _ended(self) -> bool:
        raise AssertionError(self.said())


def test_an_interrupted_run_leaves_nothing_running(tmp_path: Path) -> None:
    need_root()
    need("nft", "nftables")
    need("fail2ban-server", "fail2ban")
    need("/usr/lib/python3/dist-packages/pyinotify.py", "python3-pyinotify")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rows", "idle"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        wait_for(lambda: [one for one in mentioning(str(tmp_path)) if "fail2ban-server" in one], 60)  # others are yet to start

        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)

    assert run.returncode == 130
    assert mentioning(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in out


def mentioning(word: str) -> list[str]:
    """Command lines in which this stands."""
    found = []
    for one in Path("/proc").glob("[1-9]*/cmdline"):
        with suppress(OSError):
            found.append(one.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [one for one in found if word in one]


# The table, without measuring anything -------------------------------------------------------------------------------------


def test_a_missed_goal_a_lost_comparison_and_what_never_came_are_shown_as_such() -> None:
    cells = {
        rows.IDLE_50: {"ours": cell([2.0, 9.0, 5.0]), "fail2ban": Cell(50.0), "sshguard": Cell(2.5), "floor": Cell(0.5)},
        rows.FLUSH: {"ours": Cell(0.05), "fail2ban": Cell(math.inf, note="0 of 1,000 came back"), "sshguard": Cell(math.inf)},
    }

    idle, flush, _, note, _, main, rest = table.text(cells).splitlines()[1:]

    assert "5.00 ms (2.00–9.00)" in idle
    assert "2 : 1 (sshguard)" in idle
    assert " 10×" in idle
    assert idle.endswith("missed")
    assert "never 1)" in flush
    assert "only ours" in flush
    assert flush.endswith("met")
    assert note == "1) 0 of 1,000 came back"
    assert main == "behind fail2ban or CrowdSec: in no row"
    assert rest == "behind sshguard or monit: 1 rows: line written → dropped, idle, p50"


def test_patience_that_ended_is_more_than_a_number_and_never_that_number() -> None:
    tries = Tries()
    tries.put(rows.FLOOD, "ours", 0.5)
    tries.put(rows.FLOOD, "CrowdSec", 80.0, note="CrowdSec: 6,000 of 10,000 after 80 s", beyond=True)

    shown = table.text(tries.cells()).splitlines()[1]

    assert "> 80.0 s 1)" in shown
    assert "1 : >160 (CrowdSec)" in shown


def test_whoever_has_no_number_is_no_peer_and_says_why() -> None:
    tries = Tries()
    tries.put(rows.CHECKS, "ours", 0.1)
    tries.fail(rows.CHECKS, "monit", "monit: not installed: monit")
    cells = tries.cells()

    shown = table.text(cells)

    assert table.against_peers(cells[rows.CHECKS]) == ""
    assert table.lost(cells, rows.PEERS) == []
    assert "monit: not installed: monit" in shown


def test_a_row_in_which_only_we_have_no_number_is_lost() -> None:
    tries = Tries()
    tries.fail(rows.IDLE_CPU, "ours", "ours: it did not start")
    tries.put(rows.IDLE_CPU, "fail2ban", 0.2)

    assert table.lost(tries.cells(), ["fail2ban"]) == [rows.IDLE_CPU]


def test_a_round_that_failed_does_not_take_the_number_of_another() -> None:
    tries = Tries()
    tries.put(rows.BURST, "ours", 0.1)
    tries.fail(rows.BURST, "ours", "ours: it hung")

    (found,) = tries.cells()[rows.BURST].values()

    assert found.value == 0.1
    assert found.note == "ours: it hung (in another round)"


@pytest.mark.parametrize(
    ("ours", "peer", "said"),
    [
        (0.0, 0.0, "equal"),
        (0.0, 3.0, "none : some (fail2ban)"),
        (3.0, 0.0, "some : none (fail2ban)"),
        (1.0, 250.0, "1 : 250 (fail2ban)"),
        (3.0, 2.0, "1.5 : 1 (fail2ban)"),
        (1.0, math.inf, "only ours"),
        (math.inf, 1.0, "only fail2ban"),
        (math.inf, math.inf, ""),
        (math.nan, 1.0, ""),
    ],
)
def test_ours_against_the_best_peer(ours: float, peer: float, said: str) -> None:
    assert table.against_peers({"ours": Cell(ours), "fail2ban": Cell(peer), "CrowdSec": Cell(math.nan)}) == said


def test_a_rate_is_what_a_million_of_the_number_is() -> None:
    tries = Tries()
    tries.put(rows.POLICIES, "ours", 25e-6)
    tries.put(rows.SPEED, "ours", 0.5)

    speed, policies, *_ = table.text(tries.cells()).splitlines()[1:]

    assert "25.0 µs = 40,000 events/s" in policies
    assert "0.50 s = 2,000,000 lines/s" in speed


def test_a_try_that_never_came_is_no_quick_one() -> None:
    assert cell([0.1] * 9 + [math.inf], 0.95).value == math.inf
    assert cell([0.1] * 9 + [math.inf], 0.5).value == 0.1


def test_rows_are_chosen_by_name_or_pattern_and_a_slip_is_named() -> None:
    assert chosen([]) == set(rows.KEYS)
    assert chosen(["burst", "flood-*"]) == {"burst", "flood-restart", "flood-flush"}
    with pytest.raises(UnknownRow, match="no row is called polices; did you mean policies"):
        chosen(["polices"])


def test_only_rows_that_are_wanted_are_kept(tmp_path: Path) -> None:
    bench = Bench(TINY, tmp_path, lambda _: None, chosen(["restart"]))

    bench.put(rows.BURST, "ours", 1.0)
    bench.fail("fail2ban", [rows.BURST, rows.RESTART_BACK], "not installed: fail2ban")

    assert list(bench.tries.cells()) == [rows.RESTART_BACK]
