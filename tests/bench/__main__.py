"""`make bench`: our numbers beside fail2ban's, CrowdSec's, sshguard's and monit's, taken in one run; only its ratios are claims.

Each contender runs in a network namespace of its own, which ends with it. Root is needed for that.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tests.bench import blocking, filters, table, watching, worst_line
from tests.bench.bench import LONG, QUICK, Bench, Sizes
from tests.bench.contender import BrokenPromise
from tests.bench.rows import KEYS, UnknownRow, chosen

PARTS = (
    blocking.quiet, blocking.load, blocking.bursts, watching.lines, watching.memory, watching.policies, watching.checks,
    watching.journal, blocking.floods,
)  # fmt: skip
"""In this order: what may have to be left out for want of time comes last."""
_NEEDED = {"nft": "nftables", "ip": "iproute2"}


def main() -> int:
    """Run it, print the table; the exit status says whether it could be measured, not whether the goals were met."""
    options = _options()
    try:
        keys = chosen(options.rows)
    except UnknownRow as error:
        return _cannot(str(error))
    if os.geteuid() != 0:
        return _cannot("network namespaces need root; run: sudo make bench")
    if missing := [package for program, package in _NEEDED.items() if not shutil.which(program)]:
        return _cannot(f"missing: apt-get install {' '.join(missing)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an end from outside tidies up, too
    began, before = time.monotonic(), table.machine()
    sizes = QUICK if options.quick else LONG if options.long else Sizes()
    with tempfile.TemporaryDirectory(prefix="contain-bench-", ignore_cleanup_errors=True) as place:
        bench = Bench(sizes, Path(place), _say, keys)
        status, beside = 0, dict[str, Any]()
        try:
            for part in PARTS:
                part(bench)
            beside = _beside(keys, sizes, Path(place))
        except KeyboardInterrupt:
            status = 130
            _say("interrupted; what was measured until then:")
        except BrokenPromise as error:
            return _cannot(str(error))
    _say("")
    cells = bench.tries.cells()
    took = f"{time.monotonic() - began:.0f} s; load afterwards {os.getloadavg()[0]:.1f}"
    click.echo("\n\n".join([before, *([table.text(cells)] if cells else []), *(text for text, _ in beside.values()), took]))
    if options.json:
        numbers = {
            "machine": before,
            "took": took,
            "rows": table.plain(cells),
            **{name: one for name, (_, one) in beside.items()},
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return status


def _beside(keys: frozenset[str], sizes: Sizes, place: Path) -> dict[str, tuple[str, Any]]:
    """What stands beside the table, as text and for machines."""
    found: dict[str, tuple[str, Any]] = {}
    if "filters" in keys and shutil.which("fail2ban-regex"):
        _say("fail2ban's sshd filter")
        filtered = filters.measure(place, sizes.lines)
        found["filters"] = filters.text(filtered), filters.plain(filtered)
    if "parsers" in keys:
        _say("the worst line for each parser")
        lines = worst_line.worst_lines(200 if sizes is QUICK else 1000)
        found["lines"] = worst_line.text(lines), worst_line.plain(lines)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Ours, its peers and the floor, side by side.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="less of everything, in five minutes: make bench ARGS=--quick")
    how.add_argument(
        "--long", action="store_true", help="more rounds, and time for peers to block 10,000 offenders: an hour or two"
    )
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help=f"only these: {' '.join(KEYS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to a file, too")
    return parser.parse_args()


def _say(what: str) -> None:
    """Progress goes to stderr: one line that is written over on a terminal."""
    head, end = ("\r\x1b[2K", "") if sys.stderr.isatty() else ("", "\n")
    if what or end == "":
        click.echo(f"{head}{what}{end}", nl=False, err=True)


def _cannot(why: str) -> int:
    click.echo(f"cannot measure: {why}", err=True)
    return 2


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
