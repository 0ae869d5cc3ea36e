"""fail2ban and sshguard, as Debian packages them, each with the quickest of what its own documentation offers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.contender import Contender, Task


class Fail2ban(Contender):
    """fail2ban: one jail with its own sshd filter and its nftables action, woken by inotify, never asking the DNS."""

    name = "fail2ban"
    wants = (
        ("fail2ban-server", "fail2ban"),
        ("/usr/lib/python3/dist-packages/pyinotify.py", "python3-pyinotify"),
        ("nft", "nftables"),
    )

    def __init__(self, place: Path, task: Task) -> None:
        super().__init__(place, task)
        shutil.copytree("/etc/fail2ban", place / "etc", ignore=shutil.ignore_patterns("jail.d", "*.local"))
        (place / "etc/jail.d").mkdir()
        jail = "[{}]\nenabled = true\nfilter = sshd\nlogpath = {}\nmaxretry = {}\n"
        every = [("sshd", task.needed), *((f"more{at}", 1000 + at) for at in range(1, task.same))]
        backend = (
            "polling" if task.same else "pyinotify"
        )  # a kernel lets a user have 128 inotify instances, and each jail takes one
        (place / "etc/jail.local").write_text(
            f"[DEFAULT]\nbackend = {backend}\nusedns = no\nbanaction = nftables-allports\nfindtime = 10m\nbantime = 1h\n"
            + "".join(jail.format(name, self.log.path, needed) for name, needed in every)
        )
        (place / "etc/fail2ban.local").write_text(
            f"[DEFAULT]\nloglevel = NOTICE\nlogtarget = {place}/fail2ban.log\ndbfile = {place}/fail2ban.sqlite3\n"
        )
        own = (f"-c{place}/etc", f"-s{place}/sock", f"-p{place}/pid")
        self._server, self._client = ("fail2ban-server", *own, "-f", "start"), ("fail2ban-client", *own)

    def _start(self) -> None:
        self.run(*self._server)
        ping = [*self._client, "ping"]
        self.until(lambda: subprocess.run(ping, capture_output=True, timeout=30, check=False).returncode == 0, 60)

    def status(self) -> list[str]:
        return [*self._client, "status", "sshd"]


class Sshguard(Contender):
    """sshguard. It scores a failure with 10, so so many failures are ten times the score."""

    name = "sshguard"
    wants = (("sshguard", "sshguard"), ("nft", "nftables"))

    def _start(self) -> None:
        self.run("sshguard", "-a", str(10 * self.needed), "-s", "600", "-p", "3600", str(self.log.path))
