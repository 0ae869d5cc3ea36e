"""Thirty deaths at random moments, against the real kernel: no effect without an intent, no intent left open, no line lost."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

from agent.evidence.journal_read import read_only
from tests.network import Network, nft, ruleset
from tests.running import Running, sshd_lines, wait_for

POLICY = """
policy: one-is-enough
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 1 in 1m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 100000 per 10m, cooldown: 1s}
"""
YAML = """
mode: enforce
ssh_ports: [22022]
limits: {max_active: 100000, max: 100000 per 10m, cooldown: 1s}
sensors:
  auth: {logfile: {path: %s, parsers: [sshd], from_start: true}}
"""
DEATHS = 30


class Writer(threading.Thread):
    """Offenders arrive all the time, each once; `written` is how many so far."""

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self._log, self._stop_now, self.written = log, threading.Event(), 0

    def run(self) -> None:
        with self._log.open("a", buffering=1) as log:
            while not self._stop_now.wait(0.02) and self.written < 20_000:
                for _ in range(random.randint(1, 8)):
                    log.write(sshd_lines(self.address(self.written), 1)[0])
                    self.written += 1

    def stop(self) -> None:
        self._stop_now.set()
        self.join()

    @staticmethod
    def address(number: int) -> str:
        return f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def test_after_thirty_deaths_the_evidence_the_state_and_the_kernel_agree(tmp_path: Path, network: Network) -> None:
    auth = tmp_path / "auth.log"
    auth.touch()
    agent = Running(tmp_path, YAML % auth, POLICY)
    writer = Writer(auth)
    writer.start()
    for _ in range(DEATHS):
        agent.spawn()
        time.sleep(random.uniform(0.3, 1.1))  # anywhere: while starting, settling, reading, planning, applying
        agent.kill()
    writer.stop()

    with agent:
        wait_for(lambda: agent.ask("mitigations")["total"] == writer.written, 60)
        wait_for(lambda: agent.ask("mitigations")["unsettled"] == 0)
        in_kernel = set(re.findall(r"11\.\d+\.\d+\.\d+", ruleset("inet", "containment")))
        agent.stop()

    with read_only(tmp_path / "state" / "journal.db") as reader:
        verdict = reader.verify((tmp_path / "state" / "signing.vkey").read_text().strip())
        records = reader.records(limit=1_000_000)
        seen = Counter(str(event.get("src.ip")) for event in reader.events(limit=1_000_000))
    intents = {one.record.body["target"] for one in records if one.record.kind == "intent"}

    assert not verdict.problems
    assert not verdict.open_intents
    assert in_kernel <= intents
    assert in_kernel == {Writer.address(number) for number in range(writer.written)}
    assert set(seen.values()) == {1}
    nft("delete table inet containment")
