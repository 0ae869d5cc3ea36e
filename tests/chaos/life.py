"""One agent's life in a directory of its own: started, told when to die, asked, measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from agent.evidence.files import check, named
from agent.evidence.journal_read import read_only
from agent.record import Record
from tests.running import Running, wait_for
from tests.systemd_box import Box

ROOT = Path(__file__).resolve().parents[2]
_MORTAL = ("-m", "tests.chaos.mortal")


class Figures(NamedTuple):
    """What a process holds at a moment. Memory is in KiB."""

    rss: int
    files: int
    threads: int
    children: int


class Life(Running):
    """An agent that can be told at which moment to die. `environment` goes to every process of it."""

    def __init__(self, place: Path, yaml: str, policies: str = "", **environment: str) -> None:
        super().__init__(place, f"ssh_ports: [22022]\n{yaml}", policies)
        if not policies:
            (place / "policies" / "test.yaml").unlink()
        self.moments_file, self.environment = place / "moments", environment

    def spawn(self, *options: str, **environment: str) -> None:
        """Start it, and do not wait. `options`: the moment to die at."""
        self.moments_file.unlink(missing_ok=True)
        command = [sys.executable, *_MORTAL, str(self.config), str(self.moments_file), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, **self.environment}
            )

    def moments(self) -> list[str]:
        """All that it has told of since it was started."""
        with suppress(FileNotFoundError):
            return self.moments_file.read_text(encoding="ascii").splitlines()
        return []

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def dies(self, within: float) -> bool:
        """Whether it dies at its moment; it lives on where another has been quicker, as the kernel with an end."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            status, self.process = self.process.wait(timeout=within), None
            assert status == -signal.SIGKILL, f"ended with {status}:\n{self.log.read_text()[-3000:]}"
        return self.process is None

    def figures(self) -> Figures:
        assert self.process is not None
        return measured(Path(f"/proc/{self.process.pid}"))

    def calm(self, within: float = 20.0) -> None:
        """Until nothing is in doubt or on its way, and it has no program out."""
        wait_for(lambda: self.ask("mitigations")["unsettled"] == 0, within)
        wait_for(lambda: self.figures().children == 0, within)

    def held(self) -> list[tuple[str, str]]:
        """What it says is in force, as read back a moment ago: actions and targets."""
        return sorted((one["action"], one["target"]) for one in self.in_force())

    def wrong_evidence(self) -> list[str]:
        """What `contain evidence verify` finds, and what is left open."""
        state = self.place / "state"
        with read_only(state / "journal.db") as reader:
            verdict = reader.verify((state / "signing.vkey").read_text(encoding="ascii").strip())
            files = check(state / "evidence", named(reader.leaves()))
        return [*verdict.problems, *files.problems, *(f"open: {one}" for one in verdict.open_intents)]

    def capsules(self) -> list[str]:
        """What lies beside its socket for the time after its death."""
        place = self.socket.with_suffix(".undo")
        return sorted(one.name for one in place.iterdir()) if place.exists() else []

    def litter(self) -> list[str]:
        """Files of its directory that nobody would look for."""
        known = {
            "agent.yaml",
            "control.sock",
            "control.undo",
            "log",
            "moments",
            "policies",
            "state",
            "evidence.spool",
            "auth.log",
        }
        known |= {
            "journal.db",
            "journal.db-wal",
            "journal.db-shm",
            "journal.db.ballast",
            "journal.db.lock",
            "signing.key",
            "signing.vkey",
            "evidence",
        }
        known |= {"host_clock", "host_clock.so", "canary.log", "filler", "secret-id", "bin", "expire.lock"}
        return sorted(
            str(one) for place in (self.place, self.place / "state") for one in place.iterdir() if one.name not in known
        )

    def records(self, after: int = -1) -> list[Record]:
        """All records after one."""
        with read_only(self.place / "state" / "journal.db") as reader:
            return [one.record for one in reader.records(after, limit=100_000)]


class BoxedLife(Life):
    """The same in a box with a systemd of its own, as a unit of that."""

    UNIT = "chaos-agent.service"

    def __init__(self, box: Box, name: str, yaml: str, policies: str = "") -> None:
        inside = Path("/var/lib", name)
        super().__init__(box.root / inside.relative_to("/"), yaml, policies)
        self.box, self.inside = box, inside
        self.config.write_text(self.config.read_text().replace(str(self.place), str(inside)))

    def spawn(self, *options: str, **environment: str) -> None:
        self.moments_file.unlink(missing_ok=True)
        log = f"append:{self.inside / 'log'}"
        about = [
            "--collect",
            f"--unit={self.UNIT}",
            f"--working-directory={ROOT}",
            "-p",
            f"StandardOutput={log}",
            "-p",
            f"StandardError={log}",
        ]
        given = [str(self.inside / self.config.name), str(self.inside / self.moments_file.name), *options]
        self.box.run("systemd-run", "--quiet", *about, "--", sys.executable, *_MORTAL, *given)

    def alive(self) -> bool:
        return self._pid() != "0"

    def _pid(self) -> str:
        return self.box.unit(self.UNIT, "MainPID")

    def _died(self) -> bool:
        if not self.alive():
            raise AssertionError(f"the agent ended:\n{self.log.read_text()[-3000:]}")
        return False

    def dies(self, within: float) -> bool:
        until = time.monotonic() + within
        while self.alive() and time.monotonic() < until:
            time.sleep(0.1)
        return not self.alive()

    def figures(self) -> Figures:
        return measured(Path(f"{self._seen()}/{self._pid()}"))

    def _seen(self) -> str:
        return f"/proc/{self.box.pid}/root/proc"

    def _end(self, number: signal.Signals) -> int:
        if self.alive():
            self.box.run("systemctl", "kill", "--kill-who=main", "-s", number.name, self.UNIT, check=False)
            wait_for(lambda: not self.alive())
        wait_for(lambda: self.box.unit(self.UNIT, "LoadState") == "not-found")
        return 0

    def timers(self) -> list[str]:
        listed = self.box.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "containment-undo-*")
        return [line.split()[0] for line in listed.splitlines()]


def measured(process: Path) -> Figures:
    """What the process of a directory of /proc holds."""
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    children = [pid for task in (process / "task").iterdir() for pid in _children(task)]
    return Figures(int(status["VmRSS"].split()[0]), len(list((process / "fd").iterdir())), int(status["Threads"]), len(children))


def _children(task: Path) -> Sequence[str]:
    with suppress(OSError):  # the thread has ended
        return (task / "children").read_text().split()
    return ()
