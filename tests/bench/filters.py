"""fail2ban's own sshd filter over one auth.log: read by us, by `fail2ban-regex`, our parser instead of it, and a plain read."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.fail2ban.filters import WHERE, load
from agent.fail2ban.reading import Reading
from agent.streams.parser import Scan, discover_parsers
from tests.bench.attack import chunks

_CHUNK = 256 << 10


def measure(place: Path, lines: int) -> Mapping[str, tuple[float, int]]:
    """Lines per second, and failures found, by who reads; fail2ban-regex gets a tenth, as it takes so long."""
    log, tenth = place / "filter.log", place / "tenth.log"
    for path, many in ((log, lines), (tenth, lines // 10)):
        path.write_bytes(b"".join(chunks(many, _CHUNK)))
    reading = Reading(load(WHERE, "sshd"), "bench")
    scan = Scan.of([discover_parsers()["sshd"]], "bench", frozenset({"auth.ssh.failure"}))
    return {
        "filter sshd, ours": _rate(log, lambda: _over(log, lambda chunk: len(reading.found(chunk, time.time())))),
        "filter sshd, fail2ban-regex": _rate(tenth, lambda: _fail2ban(tenth)),
        "our parser sshd": _rate(log, lambda: _over(log, lambda chunk: len(scan.events(chunk, time.time())))),
        "a plain read": _rate(log, lambda: _over(log, lambda chunk: chunk.count(b"\n") * 0)),
    }


def _rate(log: Path, read: Callable[[], int]) -> tuple[float, int]:
    with log.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))
    began = time.perf_counter()
    found = read()
    return lines / (time.perf_counter() - began), found


def _over(log: Path, take: Callable[[bytes], int]) -> int:
    found, rest = 0, b""
    with log.open("rb", buffering=0) as file:
        while data := file.read(_CHUNK):
            whole, _, rest = (rest + data).rpartition(b"\n")
            found += take(whole + b"\n")
    return found


def _fail2ban(log: Path) -> int:
    command = ["fail2ban-regex", "--usedns", "no", "-o", "<F-ID>", str(log), "sshd"]
    return subprocess.run(command, capture_output=True, check=True, timeout=600).stdout.count(b"\n")


def text(rates: Mapping[str, tuple[float, int]]) -> str:
    """One line for each who reads."""
    rows = [f"  {name.ljust(28)} {rate:>14,.0f} lines/s  {found:>8,} found" for name, (rate, found) in rates.items()]
    return "\n".join(["an auth.log with 5 % failures", *rows])


def plain(rates: Mapping[str, tuple[float, int]]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{"who": name, "lines_per_second": round(rate), "found": found} for name, (rate, found) in rates.items()]
