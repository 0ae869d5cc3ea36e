"""Those who compete: each in a namespace of its own, following its own auth.log, blocking after the same number of failures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final, Self

from tests.bench.attack import NEEDED, Log, failures, offenders
from tests.bench.namespace import Namespace
from tests.running import Running, wait_for

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")


class Contender(ABC):
    """One program that blocks; use as a context. `needed` are the failures that make an offender."""

    name: ClassVar[str]
    process: subprocess.Popen[bytes] | None = None

    def __init__(self, place: Path, needed: int = NEEDED) -> None:
        place.mkdir(parents=True)
        self.place, self.needed = place, needed
        self.log = Log(place / "auth.log")

    def __enter__(self) -> Self:
        self.namespace = Namespace().__enter__()
        self.ears = self.namespace.ears
        try:
            self.start()
            self.warm()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.namespace.__exit__(None, None, None)
        if self.process:
            self.process.wait(timeout=10)
        self.log.close()

    def start(self) -> None:
        """Start it."""
        self.namespace.run(self._start)

    def stop(self) -> None:
        """Stop it as its administrator would."""
        self.namespace.run(self._stop)

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    @abstractmethod
    def status(self) -> list[str]:
        """The command that shows what is in force."""

    def warm(self) -> None:
        """See the first block: only then does everybody really watch, whatever their start looks like."""
        until = time.monotonic() + 30
        while not self.ears.first:  # who begins at the log's end may miss the first ones
            (one,) = offenders(1)
            self.log.write(failures(one, self.needed))
            if self.ears.wait([one], 2) or time.monotonic() > until:
                break
        if not self.ears.first:
            raise AssertionError(f"{self.name} blocked nobody within 30 s: {self.said()}")

    def said(self) -> str:
        """The end of what it printed."""
        printed = self.place / "printed"
        return printed.read_text(errors="replace")[-2000:] if printed.exists() else ""

    def cpu(self) -> float:
        """Seconds of CPU of all its processes, those that have ended included."""
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in self.namespace.processes()) / _TICK

    def memory(self) -> float:
        """Resident memory of all its processes, in MiB."""
        return sum(int(_stat(pid)[21]) for pid in self.namespace.processes()) * _PAGE / (1 << 20)

    def flush(self) -> None:
        """Remove every rule in its namespace, as a restart of somebody's firewall script does."""
        self.namespace.run(lambda: subprocess.run(["nft", "flush", "ruleset"], check=True, timeout=60))

    def counted(self) -> int:
        """How many offenders nft itself finds in the ruleset."""
        listed = ["nft", "list", "ruleset"]
        shown = self.namespace.run(lambda: subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60))
        return shown.stdout.count(" 11.") + shown.stdout.count("\t11.")

    def _run(self, *command: str) -> None:
        """Start a program with its output in a file, in a session of its own: sshguard ends its whole process group."""
        with (self.place / "printed").open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def _end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=120)
        wait_for(lambda: not self.namespace.processes(), 30)  # sshguard's shell does not wait for its children


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; proc(5) counts from 1 and the first here is its third."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 50


class Ours(Contender):
    """The agent, as it is installed. Limits that would stop a benchmark are raised; everything else is as shipped."""

    name = "ours"

    def __init__(self, place: Path, needed: int = NEEDED, more: str = "") -> None:
        super().__init__(place, needed)
        yaml = "mode: enforce\nlimits: {max: 100000 per 10m, max_active: 100000, cooldown: 1s}\n"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.log.path}, parsers: [sshd, sudo], from_start: true}}}}\n"
        self.agent = Running(place / "agent", yaml, _POLICY % needed)
        for at, policy in enumerate(more.split("---\n")[1:]):
            (self.agent.place / "policies" / f"{at}.yaml").write_text(policy)

    @property
    def journal(self) -> Path:
        """Where it writes down what it does."""
        return self.agent.place / "state" / "journal.db"

    def __exit__(self, *_: object) -> None:
        self.agent.kill()
        super().__exit__()

    def _start(self) -> None:
        self.agent.start()

    def _stop(self) -> None:
        self.agent.stop()

    def status(self) -> list[str]:
        return [sys.executable, "-m", "agent", "status", "--config", str(self.agent.config)]

    def said(self) -> str:
        return self.agent.log.read_text()[-2000:]


_POLICY: Final = """
policy: ssh-brute-force
title: Password guessing on SSH from one address
severity: P2
owner: sre
when:
  event: auth.ssh.failure
  by: src.ip
  count: ">= %d in 10m"
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard:
  max: 100000 per 10m
  max_active: 100000
  cooldown: 1s
"""

NINE_MORE: Final = "".join(
    f"---\npolicy: rule-{at}\ntitle: One more rule about the same log\nseverity: P3\nowner: sre\nmode: dry_run\n"
    f"when:\n{when}\nthen:\n  - block_ip: {{ip: {ip}, ttl: 1h}}\n"
    for at, (when, ip) in enumerate(
        (
            ("  event: auth.ssh.failure\n  by: src.ip\n  distinct: user >= 5 in 1h", "$src.ip"),
            ('  event: auth.ssh.failure\n  match: {user: root}\n  by: src.ip\n  count: ">= 200 in 10m"', "$src.ip"),
            (
                '  event: auth.ssh.failure\n  match: {user: {re: "^(adm|test)"}}\n  by: src.ip\n  count: ">= 3 in 10m"',
                "$src.ip",
            ),
            ('  event: auth.ssh.failure\n  match: {reason: invalid user}\n  by: src.ip\n  count: ">= 5 in 10m"', "$src.ip"),
            ('  event: auth.ssh.invalid_user\n  by: src.ip\n  count: ">= 10 in 10m"', "$src.ip"),
            ('  event: auth.ssh.probe\n  by: src.ip\n  count: ">= 100 in 10m"', "$src.ip"),
            (
                "  by: src.ip\n  within: 10m\n  sequence:\n"
                '    - {event: auth.ssh.failure, count: ">= 50 in 5m"}\n    - {event: auth.ssh.success}',
                "$src.ip",
            ),
            ('  event: auth.sudo.failure\n  by: user\n  count: ">= 5 in 10m"', "203.0.113.7"),
            ('  event: auth.sudo.failure\n  match: {command: {has: passwd}}\n  by: user\n  count: ">= 2 in 10m"', "203.0.113.7"),
        )
    )
)
"""With the first one, ten policies about an auth.log; none of these comes true in a benchmark."""


class Fail2ban(Contender):
    """fail2ban as Debian packages it: one jail with its own sshd filter, blocking through its nftables action."""

    name = "fail2ban"

    def __init__(self, place: Path, needed: int = NEEDED) -> None:
        super().__init__(place, needed)
        shutil.copytree("/etc/fail2ban", place / "etc", ignore=shutil.ignore_patterns("jail.d"))
        (place / "etc/jail.d").mkdir()
        (place / "etc/jail.local").write_text(
            f"[sshd]\nenabled = true\nlogpath = {self.log.path}\nbanaction = nftables-allports\n"
            f"maxretry = {needed}\nfindtime = 10m\nbantime = 1h\n"
        )
        (place / "etc/fail2ban.local").write_text(
            f"[DEFAULT]\nloglevel = NOTICE\nlogtarget = {place}/fail2ban.log\ndbfile = {place}/fail2ban.sqlite3\n"
        )
        own = (f"-c{place}/etc", f"-s{place}/sock", f"-p{place}/pid")
        self._server, self._client = ("fail2ban-server", *own, "-f", "start"), ("fail2ban-client", *own)

    def _start(self) -> None:
        self._run(*self._server)
        wait_for(lambda: subprocess.run([*self._client, "ping"], capture_output=True, timeout=30, check=False).returncode == 0)

    def _stop(self) -> None:
        self._end()

    def status(self) -> list[str]:
        return [*self._client, "status", "sshd"]


class Sshguard(Contender):
    """sshguard as Debian packages it. It scores a failure with 10, so so many failures are ten times the score."""

    name = "sshguard"

    def _start(self) -> None:
        self._run("sshguard", "-a", str(10 * self.needed), "-s", "600", "-p", "3600", str(self.log.path))

    def _stop(self) -> None:
        self._end()

    def status(self) -> list[str]:
        return []


class Floor(Contender):
    """Not a contender: what the machine allows."""

    name = "floor"

    def _start(self) -> None:
        own = (str(self.log.path), str(self.place / "floor.db"), str(self.needed))
        self._run(sys.executable, "-m", "tests.bench.floor", *own)

    def _stop(self) -> None:
        self._end()

    def status(self) -> list[str]:
        return []
