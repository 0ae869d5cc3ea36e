"""Are the file systems filling up?"""

from __future__ import annotations

from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.host import Host, Mount

MIB = 1024 * 1024


@check
class Disk:
    """File systems have space left: `used_limit` percent, and `free_floor_mib` MiB. Without `path`, every local one."""

    path: Annotated[str, About("a mount point or any path on it; every local file system where none is named", "/var")] = ""
    used_limit: Annotated[float, About("bad from so many percent used on", "90")] = 90
    free_floor_mib: Annotated[int, About("bad below so many MiB free; 0: does not count", "1024")] = 0

    def ask(self, host: Host) -> list[Answer]:
        """One answer per file system; the value is percent used, as in df(1)."""
        return [self._judge(mount) for mount in host.mounts(self.path) if mount.size]

    def _judge(self, mount: Mount) -> Answer:
        used, free = 100 * (1 - mount.free / mount.size), mount.free // MIB
        full = used >= self.used_limit or free < self.free_floor_mib
        say = f"{mount.path} is {used:.0f} % full, {free:,} MiB are free"
        return (bad if full else good)(say, value=used, limit=self.used_limit, target=mount.path)
