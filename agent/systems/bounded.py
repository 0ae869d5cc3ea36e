"""Looks at this host that end in time, whatever hangs: homes on a dead file server, a process that cannot be asked, a program.

A read from a dead NFS server never returns and cannot be interrupted. So each look is a thread; one that hangs is given up on,
and what it found until then counts.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from agent.action import CannotReach

SECONDS: Final = 2.0
_GRACE: Final = 0.2
"""What a look may need to notice that its time is over."""
_MOST_HUNG: Final = 8
_SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"

Row = dict[str, Any]


class Found:
    """What a look has found so far, and what it had to leave out. Written by the look's thread alone."""

    def __init__(self) -> None:
        self.at = ""
        """What is being looked at; that is told where the look hangs."""
        self.ended = False
        self._until = time.monotonic() + SECONDS
        self._taken = time.time()
        self._parts: dict[str, Any] = {}
        self._left_out: list[str] = []

    def rows(self, name: str) -> list[Row]:
        """A list to put rows into, shown from now on."""
        made: list[Row] = []
        self._parts[name] = made
        return made

    def put(self, name: str, value: Any) -> None:
        """Something found that is no list of rows."""
        self._parts[name] = value

    def leave_out(self, why: str) -> None:
        """Say that something is not there, and why; at most 100 times."""
        if len(self._left_out) < 100:
            self._left_out.append(why)

    @property
    def left(self) -> float:
        """Seconds until the look's time is over."""
        return self._until - time.monotonic()

    def over(self, what: str) -> bool:
        """Whether the time is over; then `what` is said to be left out."""
        if self.left > 0:
            return False
        self.leave_out(f"{what}: {SECONDS:g} s were over")
        return True

    def plain(self) -> dict[str, Any]:
        """A copy that nobody writes to any more, with `taken` (Unix seconds) and the sentences of what was left out."""
        parts = {
            name: [dict(row) for row in list(part)] if _are_rows(part) else part for name, part in self._parts.copy().items()
        }
        return {"taken": self._taken, **parts, "left_out": list(self._left_out)}


def _are_rows(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(row, dict) for row in list(part))


class Looks:
    """Takes looks, each in a thread of its own. May be called by many threads at once."""

    def __init__(self) -> None:
        self._hung: list[tuple[threading.Thread, Found]] = []
        self._lock = threading.Lock()

    def take(self, look: Callable[[Found], None]) -> dict[str, Any]:
        """What a look finds within 2 s.

        Raises:
            CannotReach: too many earlier looks hang still.
        """
        with self._lock:
            self._hung = [one for one in self._hung if one[0].is_alive()]
            if len(self._hung) >= _MOST_HUNG:
                raise CannotReach(f"cannot look: {_MOST_HUNG} earlier looks hang still, the last at {self._hung[-1][1].at}")
        found = Found()
        thread = threading.Thread(target=_run, args=(look, found), name=f"look-{look.__name__}", daemon=True)
        thread.start()
        thread.join(SECONDS + _GRACE)
        if thread.is_alive():
            found.leave_out(f"what comes after {found.at or 'the start'}: that hung, and was given up on after {SECONDS:g} s")
            with self._lock:
                self._hung.append((thread, found))
        elif not found.ended:
            found.leave_out("the rest: the look broke off, which is a bug of the agent")
        return found.plain()


def _run(look: Callable[[Found], None], found: Found) -> None:
    try:
        look(found)
    except OSError as error:
        found.leave_out(f"what comes after {found.at or 'the start'}: {error.filename or ''} {error.strerror or error}")
    found.ended = True


# Reading --------------------------------------------------------------------------------------------------------------


def read(path: str | Path, most: int = 65536, *, below: int | None = None) -> bytes:
    """The start of a file; of one below an open directory where that is given. A pipe in its place does not hold it up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=below)
    try:
        data = b""
        while len(data) < most and (more := os.read(descriptor, most - len(data))):  # /proc gives a page at a time
            data += more
        return data
    finally:
        os.close(descriptor)


@contextmanager
def directory(path: str | Path) -> Iterator[int]:
    """An open directory, whose entries stay those of one and the same process."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def link(name: str, below: int | None = None) -> str:
    """Where a link leads to, exactly as it is written."""
    return text(os.fsencode(os.readlink(name, dir_fd=below)))


def text(data: bytes) -> str:
    """Bytes as text; what is no UTF-8 is written as `\\xff`."""
    return data.decode(errors="backslashreplace")


def output(found: Found, command: Sequence[str], most: int, within: float = SECONDS) -> bytes | None:
    """What a command prints; None, and the reason among what is left out, where it fails, takes too long or prints too much."""
    said = " ".join(command)
    found.at = said
    program = shutil.which(command[0]) or shutil.which(command[0], path=_SBIN)
    if program is None:
        found.leave_out(f"{said}: the command {command[0]} is missing")
        return None
    environment = {"PATH": f"{os.environ.get('PATH', '')}:{_SBIN}", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        out, why = _drain(process, most, time.monotonic() + min(within, found.left))
    if why or process.returncode:
        found.leave_out(f"{said}: {why or f'it ended with {process.returncode}'}")
        return None
    return out


def _drain(process: subprocess.Popen[bytes], most: int, until: float) -> tuple[bytes, str]:
    """What it printed, and what is wrong; it is killed where it is late or prints without end."""
    pipes: Mapping[IO[bytes] | None, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for pipe in filter(None, pipes):
            waiting.register(pipe, selectors.EVENT_READ, pipes[pipe])
        while waiting.get_map():
            ready = waiting.select(max(0.0, until - time.monotonic()))
            for key, _ in ready:
                more = os.read(key.fd, 65536)
                key.data.extend(more)
                if not more:
                    waiting.unregister(key.fileobj)
            if not ready or any(len(one) > most for one in pipes.values()):
                process.kill()
                return b"", f"it printed more than {most >> 10} KiB" if ready else "it did not end in time"
    try:
        failed = process.wait(max(0.05, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return b"", "it did not end in time"
    said = text(bytes(pipes[process.stderr])).strip().splitlines()
    return bytes(pipes[process.stdout]), said[0] if failed and said else ""
