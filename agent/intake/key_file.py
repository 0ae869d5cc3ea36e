"""Secrets in a file that only the agent can read: one a line, several while they are exchanged, read again when it changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.action import CannotReach

SHORTEST: Final = 16
"""Characters; a shorter one can be guessed."""
LONGEST: Final = 64 << 10
_SETTLED: Final = 2.0
"""Seconds after its last change until a file's time stamp tells a further change apart: before that it is read each time."""

Learn = Callable[[str], None]


class KeyFile:
    """The secrets of one file. Any thread may ask."""

    def __init__(self, path: Path, learn: Learn = lambda _: None) -> None:
        """Nothing is read yet; `learn` hears each secret, so that it can be kept out of evidence."""
        self.path, self._learn = path, learn
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._known: tuple[bytes, ...] = ()

    def secrets(self) -> tuple[bytes, ...]:
        """The secrets that count at this moment; at least one.

        Raises:
            CannotReach: it cannot be read, others can read it, it is empty, or a line of it is too short.
        """
        with self._lock:
            try:
                return self._read()
            except OSError as error:
                raise CannotReach(f"cannot read {self.path}: {error.strerror}") from error

    def _read(self) -> tuple[bytes, ...]:
        with self.path.open("rb") as file:
            known = os.fstat(file.fileno())
            if known.st_mode & 0o007:
                raise CannotReach(f"cannot use {self.path}: everybody can read it; chmod o= {self.path}")
            stamp = (known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns)
            if stamp == self._stamp:
                return self._known
            fresh = self._lines(file.read(LONGEST + 1))
        for one in set(fresh) - set(self._known):
            self._learn(one.decode("utf-8", "replace"))
        self._known = fresh
        self._stamp = stamp if time.time() - known.st_mtime > _SETTLED else ()
        return fresh

    def _lines(self, text: bytes) -> tuple[bytes, ...]:
        mend = f"openssl rand -hex 32 > {self.path}"
        if len(text) > LONGEST:
            raise CannotReach(f"cannot use {self.path}: it is longer than {LONGEST} bytes; {mend}")
        found = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not found:
            raise CannotReach(f"cannot use {self.path}: no secret stands in it; {mend}")
        if any(len(one) < SHORTEST for one in found):
            raise CannotReach(f"cannot use {self.path}: a line of it has less than {SHORTEST} characters; {mend}")
        return found
