"""A clock of the day that tests can set, for the processes that are started with it; the machine's own is never touched."""

from __future__ import annotations

import mmap
import subprocess
from pathlib import Path

from tests.needs import need

_SOURCE = Path(__file__).with_suffix(".c")


class HostClock:
    """`environment` is for the processes that go by it, `set` moves it for all of them at once."""

    def __init__(self, place: Path) -> None:
        library, self._file = place / "host_clock.so", place / "host_clock"
        compiler = need("tcc", "tcc")
        subprocess.run([compiler, "-shared", "-nostdlib", "-o", library, _SOURCE], check=True, timeout=20, capture_output=True)
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "HOST_CLOCK": str(self._file)}
        self.by = 0

    def set(self, by: int) -> None:
        """So many seconds from what the machine's clock says."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            shared[:] = by.to_bytes(8, "little", signed=True)
        self.by = by
