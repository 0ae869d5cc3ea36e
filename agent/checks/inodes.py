"""Are the file systems running out of inodes?"""

from __future__ import annotations

from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.host import Host, Mount


@check
class Inodes:
    """File systems have room for more files. Without `path`, every local one that counts inodes (btrfs and vfat do not)."""

    path: Annotated[str, About("a mount point or any path on it; every local file system where none is named", "/var")] = ""
    used_limit: Annotated[float, About("bad from so many percent used on", "90")] = 90

    def ask(self, host: Host) -> list[Answer]:
        """One answer per file system; the value is percent used."""
        return [self._judge(mount) for mount in host.mounts(self.path) if mount.inodes]

    def _judge(self, mount: Mount) -> Answer:
        used = 100 * (1 - mount.inodes_free / mount.inodes)
        say = f"{mount.path} has used {used:.0f} % of its inodes, {mount.inodes_free:,} files more fit on it"
        return (good if used < self.used_limit else bad)(say, value=used, limit=self.used_limit, target=mount.path)
