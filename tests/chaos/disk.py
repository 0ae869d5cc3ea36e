"""A small disk of its own for the agent's state, which can be full."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self


class SmallDisk:
    """A tmpfs on a directory while it is entered."""

    def __init__(self, place: Path, size: str = "160m") -> None:
        self.place, self._size = place, size

    def __enter__(self) -> Self:
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        how = f"size={self._size},mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", how, "chaos", self.place], check=True, timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.place], check=True, timeout=10)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No room for another byte, and no ballast, as if it had been used up long ago."""
        self._fill()
        (self.place / "journal.db.ballast").unlink(missing_ok=True)
        self._fill()
        try:
            yield
        finally:
            (self.place / "filler").unlink()

    def _fill(self) -> None:
        with contextlib.suppress(OSError), (self.place / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1 << 9, 1):
                with contextlib.suppress(OSError):
                    while filler.write(bytes(size)):
                        pass
