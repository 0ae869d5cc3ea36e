"""`make bench`: our numbers beside fail2ban's and sshguard's, taken in the same run. Only ratios of one run are claims.

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

import click

from tests.bench import filters, table, worst_line
from tests.bench.run import LONG, QUICK, Bench, Sizes

_NEEDED = {"fail2ban-server": "fail2ban", "sshguard": "sshguard", "nft": "nftables", "ip": "iproute2"}


def main() -> int:
    """Run it, print the table; the exit status says whether it could be measured, not whether the goals were met."""
    options = _options()
    if os.geteuid() != 0:
        return _cannot("network namespaces need root; run: sudo make bench")
    if missing := [package for program, package in _NEEDED.items() if not shutil.which(program)]:
        return _cannot(f"missing: apt-get install {' '.join(missing)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an end from outside tidies up, too
    began, before = time.monotonic(), table.machine()
    sizes = QUICK if options.quick else LONG if options.long else Sizes()
    with tempfile.TemporaryDirectory(prefix="contain-bench-") as place:
        bench = Bench(sizes, Path(place), _say)
        try:
            bench.run()
        except KeyboardInterrupt:
            _say("interrupted; what was measured until then:")
        _say("fail2ban's sshd filter")
        filtered = filters.measure(Path(place), sizes.lines)
    _say("the worst line for each parser")
    lines = worst_line.worst_lines(200 if options.quick else 1000)
    _say("")
    took = f"{time.monotonic() - began:.0f} s; load afterwards {os.getloadavg()[0]:.1f}"
    click.echo(f"{before}\n\n{table.text(bench.cells)}\n{worst_line.text(lines)}\n\n{filters.text(filtered)}\n\n{took}")
    if options.json:
        numbers = {
            "machine": before,
            "rows": table.plain(bench.cells),
            "lines": worst_line.plain(lines),
            "filters": filters.plain(filtered),
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Ours, fail2ban, sshguard and the floor, side by side.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="less of everything, under a minute: make bench ARGS=--quick")
    how.add_argument("--long", action="store_true", help="peers get 10,000 offenders, too: half an hour")
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
