"""Are file descriptors running out?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About


@check
class FileDescriptors:
    """Files and sockets can still be opened: on the whole host or, with `process`, by each process of that name."""

    process: Annotated[str, About("each process of this name; the whole host where none is named", "nginx")] = ""
    used_limit: Annotated[float, About("bad from so many percent used on", "80")] = 80

    def ask(self) -> Answer:
        """The value is percent used, of the process that is nearest to its limit."""
        found = list(_each(self.process)) if self.process else [_whole_host()]
        if not found:
            return unknown(f"cannot count the file descriptors of {self.process}: no such process runs", target=self.process)
        used, count, most, who = max((100 * count / most, count, most, who) for count, most, who in found)
        say = f"{who} uses {count:,} of {most:,} file descriptors ({used:.0f} %)"
        return (good if used < self.used_limit else bad)(say, value=used, limit=self.used_limit, target=self.process)


def _whole_host() -> tuple[int, int, str]:
    """Allocated, unused (always 0), most: proc_sys_fs(5)."""
    count, _, most = Path("/proc/sys/fs/file-nr").read_text(encoding="ascii").split()
    return int(count), int(most), "this host"


def _each(name: str) -> Iterator[tuple[int, int, str]]:
    import psutil

    for one in psutil.process_iter(["name"]):
        if one.info["name"] != name:
            continue
        try:
            limits = Path(f"/proc/{one.pid}/limits").read_text(encoding="ascii")
            inside = Path(f"/proc/{one.pid}/fd")
            # Linux 6.2 and newer say the number as the directory's size, also to those who may not look inside.
            count = inside.stat().st_size or len(list(inside.iterdir()))
        except (FileNotFoundError, ProcessLookupError):  # ended in this moment
            continue
        soft = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
        if soft:
            yield count, int(soft[1]), f"{name} (process {one.pid})"
