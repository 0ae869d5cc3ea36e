"""Searches in a process of its own, where a text could keep an expression busy for minutes: in ours all threads would wait.

One process serves all such filters of the agent; it begins with the first text, and ends with the last filter or with the agent.
It keeps nothing that has to survive: what connections and lines said stays with each filter's `Judge`. So a text that takes
too long is given up alone. A filter whose texts take long again and again gets less time, and then none until its minute is
over: the others wait for it no longer than that. What was given up and not looked at is counted.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agent.fail2ban.search import Search, Told

_MINUTE: Final = 60.0
_USUAL: Final = 0.001
"""Seconds of CPU for a text that nobody asks after; what texts take beyond it is counted, and for one that killed, _FATAL is."""
_FATAL: Final = 1.0
_HUNG: Final = 5.0
"""Seconds that an answer may be late before the process is ended: the machine may be busy."""
_BETWEEN_STARTS: Final = 1.0
_MOST_TEXTS: Final = 256
_MOST_CHARACTERS: Final = 64 << 10
_CODE: Final = "import sys; sys.path.append(sys.argv[1]); from agent.fail2ban.child import main; main()"
_keys: Final = itertools.count()

Given = tuple[list["Told | None"], float, bool]
"""What was told of the first texts, the CPU seconds that it took, and whether the text behind them was given up."""


@dataclass(frozen=True)
class Limits:
    """Seconds of CPU. A text gets `patience`; or `haste`, once the filter's took `trouble` in a minute; after `rest`, nothing."""

    patience: float = 2.0
    haste: float = 0.05
    trouble: float = 1.0
    rest: float = 5.0


class Child:
    """The process, and its turn-taking. It is started when it is asked, once a second at most."""

    def __init__(self, hung: float = _HUNG) -> None:
        """Nobody needs it yet. `hung`: seconds that an answer may be late."""
        self._hung = hung
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")
        self._users: set[int] = set()
        self._told: set[int] = set()
        self._gone: list[int] = []

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return self._process.pid if self._process else None

    def join(self, key: int) -> None:
        """One more needs it."""
        self._users.add(key)

    def leave(self, key: int) -> None:
        """One needs it no more; with the last one it ends."""
        self._users.discard(key)
        self._gone.append(key)
        if not self._users:
            with self._turn:
                if not self._users:
                    self._end()

    def ask(self, key: int, search: Search, each: Sequence[Sequence[str]], patience: float) -> Given | None:
        """What is found in the first of these texts; None where the process died of them, or does not answer."""
        with self._turn:
            try:
                self._begin()
                self._say([*self._news(key, search), [key, patience, each]])
                answer = self._heard(time.monotonic() + patience + self._hung)
            except OSError:  # it cannot be started, or it ended
                answer = b""
            if not answer:
                self._end()
                return None
            told, spent, given_up = json.loads(answer)
            return told, spent, given_up

    def _news(self, key: int, search: Search) -> Iterator[list[Any]]:
        gone, self._gone = self._gone, []
        yield from ([other, None] for other in gone if other in self._told)
        self._told -= {*gone}
        if key not in self._told:
            yield [key, search.written()]
            self._told.add(key)

    def _begin(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        wait = self._started + _BETWEEN_STARTS - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._started = time.monotonic()
        root = str(Path(__file__).resolve().parents[2])
        command = [sys.executable, "-I", "-S", "-c", _CODE, root]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
        self._told = set()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=10)
            for pipe in (process.stdin, process.stdout):
                pipe.close()  # type: ignore[union-attr]

    def _say(self, questions: Sequence[Any]) -> None:
        assert self._process is not None  # noqa: S101 - see _begin
        assert self._process.stdin is not None  # noqa: S101
        to, until = self._process.stdin.fileno(), time.monotonic() + self._hung
        text = memoryview(b"".join(json.dumps(one).encode() + b"\n" for one in questions))
        while text:
            if not _ready(to, select.POLLOUT, until):
                raise TimeoutError
            text = text[os.write(to, text) :]

    def _heard(self, until: float) -> bytes:
        """The next line; empty where it ends or takes longer."""
        assert self._process is not None  # noqa: S101 - see _begin
        assert self._process.stdout is not None  # noqa: S101
        said, at = b"", self._process.stdout.fileno()
        while not said.endswith(b"\n"):
            if not _ready(at, select.POLLIN, until):
                return b""
            more = os.read(at, 1 << 20)
            if not more:
                return b""
            said += more
        return said


def _ready(descriptor: int, event: int, until: float) -> bool:
    waiting = select.poll()  # select cannot wait for descriptors from 1024 on
    waiting.register(descriptor, event)
    return bool(waiting.poll(1000 * max(0.0, until - time.monotonic())))


CHILD: Final = Child()
"""The one of this process: sensors know nothing of one another, and nobody above them of filters."""


class Apart:
    """One filter's searches. `slow` counts the texts that were given up, `skipped` those that nobody looked at."""

    def __init__(self, search: Search, child: Child = CHILD, limits: Limits = Limits()) -> None:
        """The process starts with the first text."""
        self._search, self._child, self._limits, self._key = search, child, limits, next(_keys)
        self._minute, self._spent = float("-inf"), 0.0
        self.slow = self.skipped = 0
        child.join(self._key)
        self._leave = weakref.finalize(self, child.leave, self._key)  # who is forgotten keeps no process

    def told(self, each: Sequence[Sequence[str]]) -> list[Told | None]:
        """As Search.told, of each of these; None also for what was given up."""
        found: list[Told | None] = []
        alone = 0  # up to there each gets a question of its own, to see which one it is
        while len(found) < len(each):
            patience = self._patience_now()
            if not patience:
                self.skipped += len(each) - len(found)
                break
            by_itself = len(found) < alone
            part = _portion(each, len(found), 1 if by_itself else _MOST_TEXTS)
            given = self._child.ask(self._key, self._search, part, patience)
            if given is None and not by_itself:
                alone = len(found) + len(part)
            told, spent, given_up = given or ([], _FATAL, by_itself)
            found += told
            if given_up:
                self.slow += 1
                found.append(None)
            self._spend(spent - _USUAL * len(told))
        return found + [None] * (len(each) - len(found))

    def close(self) -> None:
        """It is not needed any more."""
        self._leave()

    @property
    def resting(self) -> bool:
        """Whether nothing is looked at until the minute is over."""
        return not self._patience_now()

    def _patience_now(self) -> float:
        if time.monotonic() - self._minute > _MINUTE:
            self._spent = 0.0
        limits = self._limits
        return limits.patience if self._spent < limits.trouble else limits.haste if self._spent < limits.rest else 0.0

    def _spend(self, seconds: float) -> None:
        if seconds > 0:
            if not self._spent:
                self._minute = time.monotonic()
            self._spent += seconds


def _portion(each: Sequence[Sequence[str]], begin: int, most: int) -> Sequence[Sequence[str]]:
    """So many that they go into one question."""
    size = 0
    for end in range(begin, min(len(each), begin + most)):
        size += sum(map(len, each[end]))
        if size > _MOST_CHARACTERS and end > begin:
            return each[begin:end]
    return each[begin : begin + most]
