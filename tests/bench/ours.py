"""The agent, and the floor below it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tests.bench.contender import Contender, Task
from tests.running import Running, wait_for

CONTAIN: Final = str(Path(sys.executable).with_name("contain"))
_NEEDS: Final = (("nft", "nftables"), ("ip", "iproute2"))


class Ours(Contender):
    """The agent, as it is installed. Limits that would stop a benchmark are raised; everything else is as shipped."""

    name, wants = "ours", _NEEDS

    def __init__(self, place: Path, task: Task) -> None:
        super().__init__(place, task)
        yaml = "mode: enforce\nlimits: {max: 100000 per 10m, max_active: 100000, cooldown: 1s}\n"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.log.path}, parsers: [sshd, sudo], from_start: true}}}}\n"
        self.agent = Running(place / "agent", yaml, _POLICY % task.needed)
        more = (OTHERS if task.other else ()) + tuple(_SAME.format(1000 + at) for at in range(1, task.same))
        for at, when in enumerate(more):
            (self.agent.place / "policies" / f"{at}.yaml").write_text(_MORE.format(at, when))

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

    def resynced(self, whole: int, patience: float) -> None:
        wait_for(lambda: self.agent.ask("status")["mitigations"]["total"] >= whole, patience)

    def status(self) -> list[str]:
        return [CONTAIN, "status", "--config", str(self.agent.config)]

    def said(self) -> str:
        return self.agent.log.read_text()[-500:]


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

_MORE: Final = """
policy: rule-{0}
title: One more policy about the same log
severity: P3
owner: sre
mode: dry_run
when:
{1}
then:
  - block_ip: {{ip: 203.0.113.7, ttl: 1h}}
"""

_SAME: Final = '  event: auth.ssh.failure\n  by: src.ip\n  count: ">= {} in 10m"'

OTHERS: Final = (
    "  event: auth.ssh.failure\n  by: src.ip\n  distinct: user >= 5 in 1h",
    '  event: auth.ssh.failure\n  match: {user: root}\n  by: src.ip\n  count: ">= 200 in 10m"',
    '  event: auth.ssh.failure\n  match: {user: {re: "^(adm|test)"}}\n  by: src.ip\n  count: ">= 3 in 10m"',
    '  event: auth.ssh.failure\n  match: {reason: invalid user}\n  by: src.ip\n  count: ">= 5 in 10m"',
    '  event: auth.ssh.invalid_user\n  by: src.ip\n  count: ">= 10 in 10m"',
    '  event: auth.ssh.probe\n  by: src.ip\n  count: ">= 100 in 10m"',
    "  by: src.ip\n  within: 10m\n  sequence:\n"
    '    - {event: auth.ssh.failure, count: ">= 50 in 5m"}\n    - {event: auth.ssh.success}',
    '  event: auth.sudo.failure\n  by: user\n  count: ">= 5 in 10m"',
    '  event: auth.sudo.failure\n  match: {command: {has: passwd}}\n  by: user\n  count: ">= 2 in 10m"',
)
"""With the first one, ten policies about an auth.log; none of these comes true in a benchmark."""


class Floor(Contender):
    """Not a contender: what the machine allows."""

    name, wants = "floor", _NEEDS

    def _start(self) -> None:
        own = (str(self.log.path), str(self.place / "floor.db"), str(self.needed), str(max(1, self.task.same)))
        before = len(self.said())
        self.run(sys.executable, "-m", "tests.bench.floor", *own)
        wait_for(lambda: len(self.said()) > before)

    def status(self) -> list[str]:
        """No status at all: an interpreter that starts and ends, the same one that ours runs in."""
        return [sys.executable, "-c", "pass"]
