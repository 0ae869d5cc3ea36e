"""Have an agent of any commit live for a few seconds, and keep the journal that it leaves: what all later ones must read.

    git archive 28cdc87 | tar x -C /tmp/old          # or any other commit; the tree itself for the version of today
    .venv/bin/python -m tests.evidence.versions.live /tmp/old tests/evidence/versions/28cdc87

It runs as root in a network namespace of its own. Orders that an old version does not know yet are left out, and said.
"""

from __future__ import annotations

import ctypes
import gzip
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

_NEWNET: Final = 0x40000000
_CONFIG: Final = """\
version: 1
host: db1
mode: enforce
state: state
socket: agent.sock
policies: [policies]
lists: {office: ["192.0.2.0/25"]}
sensors: {auth: {logfile: {path: auth.log, parsers: [sshd, sudo], from_start: true}}}
"""
_POLICIES: Final = """\
policy: guessing
title: Somebody guesses passwords
severity: P1
owner: test
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 10m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
---
policy: tried
title: Somebody tries sudo
severity: P2
owner: test
mode: dry_run
when: {event: auth.ssh.failure, by: src.ip, match: {user: oracle}, count: ">= 2 in 10m"}
then:
  - rate_limit: {ip: $src.ip, ports: [22], rps: 5, ttl: 30m}
---
policy: named
title: Only an incident
severity: P3
owner: test
when: {event: auth.ssh.failure, by: user, match: {user: backup}, count: ">= 2 in 10m"}
"""
_WHY: Final = ("--why", "a test of versions")
_ORDERS: Final = (
    ("block", "203.0.113.9", "--for", "2h", *_WHY),
    ("block", "2001:db8::9", "--for", "2h", *_WHY),
    ("do", "rate_limit", "ip=203.0.113.10", "ports=22", "rps=5", "ttl=1h", *_WHY),
    ("undo", "203.0.113.9", *_WHY),
    ("policy", "mode", "named", "off"),
    ("list", "add", "office", "192.0.2.200", "--for", "30d", *_WHY),
    ("silence", "--policy", "guessing", "--for", "1h", *_WHY),
    ("report", "the shop is slow", "--severity", "P2"),
    ("ack", "INC-1"),
    ("note", "INC-1", "it was a scanner"),
    ("incidents", "assign", "INC-1", "bob"),
    ("incidents", "resolve", "INC-3", *_WHY),
    ("do", "block_egress", "ip=203.0.113.11", "ttl=1h", *_WHY),
    ("pause", "--for", "10m", *_WHY),
)


class _Life:
    """One agent under `home`, run out of `tree`."""

    def __init__(self, tree: Path, home: Path) -> None:
        self.tree, self.home = tree, home
        (home / "policies").mkdir()
        (home / "policies" / "all.yaml").write_text(_POLICIES)
        (home / "auth.log").touch()
        (home / "agent.yaml").write_text(f"{_CONFIG}canary: off\n")
        if self.contain("policy", "check", "policies").returncode:
            (home / "agent.yaml").write_text(_CONFIG)

    def contain(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._line(*words), cwd=self.home, env=self._env(), text=True, capture_output=True, timeout=60, check=False
        )

    def start(self) -> None:
        log = (self.home / "log").open("ab")
        self.process = subprocess.Popen(self._line("run"), cwd=self.home, env=self._env(), stdout=log, stderr=log)
        self.until(lambda: self.contain("status", "--json").returncode == 0)

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def guess(self, address: str, user: str, times: int = 4) -> None:
        stamp = time.strftime("%b %e %H:%M:%S")
        with (self.home / "auth.log").open("a") as log:
            log.writelines(
                f"{stamp} db1 sshd[812]: Failed password for {user} from {address} port {40000 + n} ssh2\n" for n in range(times)
            )

    def told_of(self, text: str) -> None:
        """Wait until this stands in the listing of what is and was in force."""
        self.until(lambda: text in self.contain("mitigations", "--json").stdout + self.contain("incidents", "--json").stdout)

    def until(self, what: object) -> None:
        until = time.monotonic() + 30
        while not what():  # type: ignore[operator]
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit(f"waited in vain; the agent said:\n{(self.home / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def _line(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "agent",
            *words,
            *(() if words[0] == "policy" and words[1] == "check" else ("--config", "agent.yaml")),
        ]

    def _env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CONTAIN_CONFIG": "agent.yaml",
        }


def live(tree: Path, home: Path) -> None:
    """Attacks, orders, a stop with a snapshot, more of both, a kill -9, a start that settles it, and another kill -9."""
    one = _Life(tree, home)
    one.start()
    one.guess("203.0.113.7", "root")
    one.told_of("203.0.113.7")
    one.guess("203.0.113.8", "oracle")
    one.guess("203.0.113.12", "backup", 2)
    one.told_of("backup")
    for order in _ORDERS:
        done = one.contain(*order)
        if done.returncode:
            print(f"contain {' '.join(order)}: {done.returncode} {done.stderr.strip().splitlines()[:1]}")  # noqa: T201
    one.guess("203.0.113.13", "root")
    one.told_of("203.0.113.13")
    one.contain("resume", *(_WHY if "--why" in one.contain("resume", "--help").stdout else ()))
    one.end(signal.SIGTERM)
    one.start()
    one.guess("203.0.113.14", "root")
    one.told_of("203.0.113.14")
    one.contain("undo", "2001:db8::9", *_WHY)
    one.end(signal.SIGKILL)
    one.start()
    one.contain("block", "203.0.113.15", "--for", "1d", *_WHY)
    one.end(signal.SIGKILL)


def keep(state: Path, to: Path) -> None:
    """The journal as one file, and the key that its snapshot is sealed with."""
    to.mkdir(exist_ok=True)
    with closing(sqlite3.connect(state / "journal.db")) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    (to / "journal.db.gz").write_bytes(gzip.compress((state / "journal.db").read_bytes(), 9, mtime=0))
    for name in ("signing.key", "signing.vkey"):
        (to / name).write_bytes((state / name).read_bytes())


def main() -> None:
    """Run it."""
    tree, to = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    if ctypes.CDLL(None).unshare(_NEWNET):
        raise SystemExit("this needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    with tempfile.TemporaryDirectory(prefix="age-") as home:
        live(tree, Path(home))
        keep(Path(home) / "state", to)


if __name__ == "__main__":
    main()
