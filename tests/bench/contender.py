"""Who competes: one program in a network namespace of its own, following its own auth.log, to block after so many failures."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from tests.bench.attack import NEEDED, Log, failures, offenders
from tests.bench.namespace import Namespace
from tests.running import wait_for

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")
_STARTS: Final = 30.0
"""Seconds that a start may take, and the first block after it."""


@dataclass(frozen=True)
class Task:
    """What a contender is set up for: the failures that make an offender, and how many policies look at the log.

    Policies beyond the first are those of the row: `other` ones, or such that all count the same failures up to thousands.
    """

    needed: int = NEEDED
    other: bool = False
    same: int = 0


class BrokenPromise(Exception):  # noqa: N818 - not an error of the benchmark: the product is wrong, and no number counts
    """Ours did something quickly that it must not do at all."""


class Contender(ABC):
    """One program that blocks; use as a context. Whatever happens inside, nothing of it is left afterwards."""

    name: ClassVar[str]
    wants: ClassVar[tuple[tuple[str, str], ...]] = ()
    """The programs that it needs, with their Debian packages."""
    process: subprocess.Popen[bytes] | None = None

    def __init__(self, place: Path, task: Task) -> None:
        place.mkdir(parents=True)
        self.place, self.needed, self.task = place, task.needed, task
        self.log = Log(place / "auth.log")

    def __enter__(self) -> Self:
        self.namespace = Namespace().__enter__()
        self.ears = self.namespace.ears
        try:
            self.prepare()
            self.start()
            self.warm()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.namespace.__exit__(None, None, None)
        if self.process:
            self.process.wait(timeout=10)
        self.log.close()

    def prepare(self) -> None:  # noqa: B027 - for most, the namespace is all they need
        """Put into the namespace what is to be there before it starts."""

    def start(self) -> None:
        """Start it."""
        self.namespace.run(self._start)

    def stop(self) -> None:
        """Stop it as its administrator would."""
        self.namespace.run(self._stop)

    @abstractmethod
    def _start(self) -> None: ...

    def _stop(self) -> None:
        self._end()

    def status(self) -> list[str]:
        """The command that shows what is in force; none where there is none."""
        return []

    def resynced(self, whole: int, patience: float) -> None:  # noqa: B027 - for most, what the kernel holds is all there is to ask
        """Wait until it says that it has so many blocks again, after a start."""

    def warm(self) -> None:
        """See the first block: only then does everybody really watch, whatever their start looks like."""
        until = time.monotonic() + _STARTS * (4 if self.task.same else 1)  # fail2ban starts a hundred jails one by one
        while not self.ears.first:  # who begins at the log's end may miss the first ones
            (one,) = offenders(1)
            self.log.write(failures(one, self.needed))
            if self.ears.wait([one], 2) or time.monotonic() > until:
                break
        if not self.ears.first:
            raise AssertionError(f"it blocked nobody soon enough after its start: {self.said()}")

    def said(self) -> str:
        """The end of what it printed."""
        printed = self.place / "printed"
        return printed.read_text(errors="replace")[-500:] if printed.exists() else ""

    def cpu(self) -> float:
        """Seconds of CPU of all its processes, in nanosecond steps, and of their children that have ended, in clock ticks."""
        return sum(_clock(pid) + sum(map(int, _stat(pid)[13:15])) / _TICK for pid in self.namespace.processes())

    def memory(self) -> float:
        """Resident memory of all its processes, in MiB."""
        return sum(int(_stat(pid)[21]) for pid in self.namespace.processes()) * _PAGE / (1 << 20)

    def flush(self) -> None:
        """Remove every rule in its namespace, as a restart of somebody's firewall script does."""
        self.namespace.run(lambda: subprocess.run(["nft", "flush", "ruleset"], check=True, timeout=60))

    def run(self, *command: str) -> None:
        """Start its program with the output in a file, in a session of its own: sshguard ends its whole process group."""
        self.process = self.spawn(*command)

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program likewise; it ends with the namespace."""
        with (self.place / "printed").open("ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the program is ready; one that has ended, as by an interrupt of the whole run, is told at once."""
        process = self.process
        assert process is not None
        wait_for(lambda: process.poll() is not None or ready(), seconds)
        if process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}: {self.said()}")

    def _end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        wait_for(lambda: not self.namespace.processes(), _STARTS)  # sshguard's shell does not wait for its children


def _clock(pid: int) -> float:
    """Seconds of CPU of a process, its ended threads included: clock_getcpuclockid(3), as linux/posix-timers.h packs it."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; proc(5) counts from 1 and the first here is its third."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 50
