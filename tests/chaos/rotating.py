"""A log that is written and rotated without rest, and that says what of it nobody could be sure to read.

    python -m tests.chaos.rotating LOG RATE EVERY       until its standard input ends; then one line of JSON, `Told`

Every line has a number. Rotation goes as logrotate's does, in turn: renamed and opened anew at once; renamed and opened late,
as by nginx; copied and truncated. What is written between the copy's end and the truncate stands nowhere afterwards: its
numbers are told.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

MARKED: Final = 10_000
"""One line of so many has a policy of its own, and so a finding."""
KEPT: Final = 14
"""Files that a rotation leaves; the agent looks at sixteen."""
_TICK: Final = 0.01
_LATE: Final = 0.15
_SLOW: Final = 0.2
_PIECE: Final = 64 << 10
_NUMBER: Final = re.compile(rb"for (?:marked-)?(\d+) from")

Way = Literal["rename", "rename, late", "copytruncate"]
WAYS: Final[tuple[Way, ...]] = ("rename", "copytruncate", "rename, late")


@dataclass
class Told:
    """What was written. `between` are the lines that stood only between a copy's end and its truncate."""

    written: int = 0
    rotations: dict[str, int] = field(default_factory=dict)
    between: list[int] = field(default_factory=list)
    slowest: float = 0.0


class Writer:
    """One file under one lock: a write, and the moment of a truncate."""

    def __init__(self, log: Path, rate: int) -> None:
        self._log, self._rate, self._lock = log, rate, threading.Lock()
        self.told = Told()
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, stop: threading.Event) -> None:
        """Keep to the rate until stopped; what the machine was too slow for comes a little later."""
        began = time.monotonic()
        while not stop.wait(_TICK):
            due = int((time.monotonic() - began) * self._rate) - self.told.written
            self.told.slowest = max(self.told.slowest, due / self._rate)
            self._some(min(due, self._rate))

    def _some(self, lines: int) -> None:
        head = time.strftime("%b %e %H:%M:%S db1 sshd[812]: Failed password for ")
        first = self.told.written
        text = "".join(map(_line(head), range(first, first + lines))).encode()
        part = random.randrange(len(text) + 1)
        with self._lock:
            os.write(self._file, text[:part])  # a partial line, as a buffered writer leaves it
            os.write(self._file, text[part:])
            self.told.written += lines

    # Rotation ---------------------------------------------------------------------------------------------------------

    def rotate(self, way: Way) -> None:
        """Once, as logrotate does it."""
        self._shift()
        first = self._log.with_name(f"{self._log.name}.1")
        if way == "copytruncate":
            self._copytruncate(first)
        else:
            self._log.rename(first)
            if way == "rename, late":
                time.sleep(_LATE)
            with self._lock:
                os.close(self._file)
                self._open()
        self.told.rotations[way] = self.told.rotations.get(way, 0) + 1

    def _shift(self) -> None:
        for number in range(KEPT, 0, -1):
            rotated = self._log.with_name(f"{self._log.name}.{number}")
            if rotated.exists():
                rotated.rename(self._log.with_name(f"{self._log.name}.{number + 1}"))
        self._log.with_name(f"{self._log.name}.{KEPT + 1}").unlink(missing_ok=True)

    def _copytruncate(self, to: Path) -> None:
        source = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        copied = 0
        with to.open("xb") as copy:
            while piece := os.pread(source, _PIECE, copied):
                copied += copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())  # which takes logrotate its time
        if random.random() < _SLOW:
            time.sleep(random.uniform(0, 0.3))  # and where the disk is busy, more of it
        with self._lock:
            self.told.between += _ending_behind(source, copied)
            os.truncate(source, 0)
        os.close(source)


def _line(head: str) -> Callable[[int], str]:
    def line(number: int) -> str:
        user = number if number % MARKED else f"marked-{number}"
        return f"{head}{user} from 11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255} port 22 ssh2\n"

    return line


def _ending_behind(file: int, at: int) -> list[int]:
    """The numbers of all lines that end behind this place."""
    begin = max(0, at - 200)
    data = os.pread(file, os.fstat(file).st_size - begin, begin)
    cut = data.rfind(b"\n", 0, at - begin) + 1
    return [int(number) for number in _NUMBER.findall(data[cut:])]


def main(log: str, rate: str, every: str) -> None:
    """Write in one thread, rotate in another, until nobody wants more."""
    writer, stop = Writer(Path(log), int(rate)), threading.Event()
    pen = threading.Thread(target=writer.write, args=(stop,))
    pen.start()
    scissors = threading.Thread(target=_rotate, args=(writer, float(every), stop))
    scissors.start()
    sys.stdin.read()
    stop.set()
    scissors.join()
    pen.join()
    print(json.dumps(asdict(writer.told)), flush=True)  # noqa: T201


def _rotate(writer: Writer, every: float, stop: threading.Event) -> None:
    turn = 0
    while not stop.wait(random.uniform(0.5, 1.5) * every):
        writer.rotate(WAYS[turn % len(WAYS)])
        turn += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
