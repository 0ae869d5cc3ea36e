"""The evidence's disk fails under the real agent, and containment goes on: full, locked, read-only, broken, without a key.

Peers: `All sites 403 because the state DB was locked`, `Corrupt DB: jails off, process alive, disk filled with backups`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.evidence.journal_read import read_only
from tests.needs import need_root
from tests.network import Network, nft, ruleset
from tests.running import Running, sshd_lines, wait_for

POLICIES = """
policy: guessing
severity: P1
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 8 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: %(ttl)s}
guard: {max: 20000 per 10m, cooldown: 1s}
---
policy: cosmetic
severity: P3
owner: sre
when: {event: auth.ssh.invalid_user, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 20000 per 10m, cooldown: 1s}
"""


class Host:
    """The agent with its state on a small disk of its own, and the log it follows."""

    def __init__(self, place: Path, ttl: str = "1h") -> None:
        self.state, self.auth = place / "state", place / "auth.log"
        self.auth.touch()
        sensors = f"sensors:\n  auth: {{logfile: {{path: {self.auth}, parsers: [sshd], from_start: true}}}}\n"
        self.agent = Running(place, f"mode: enforce\nssh_ports: [22022]\n{sensors}", POLICIES % {"ttl": ttl})

    def guess(self, address: str, times: int = 8) -> None:
        with self.auth.open("a") as log:
            log.write("".join(sshd_lines(address, times)))

    def wonder(self, address: str) -> None:
        """What the P3 policy is about."""
        line = sshd_lines(address, 1)[0].replace("Failed password for root from", "Invalid user eve from")
        with self.auth.open("a") as log:
            log.write(line.replace(" ssh2", "") * 3)

    def blocked(self, address: str) -> bool:
        return any(one["target"] == address for one in self.agent.in_force())

    def evidence(self) -> dict[str, Any]:
        return dict(self.agent.ask("status")["evidence"])

    def failing(self) -> bool:
        """Whether it is noticed; something is written down for it."""
        self.wonder("203.0.113.250")
        return bool(self.evidence()["failing"])

    def records(self, aside: Path | None = None) -> list[Any]:
        with read_only((aside or self.state) / "journal.db") as reader:
            return [one.record for one in reader.records(limit=100_000)]

    def holds(self, *asides: Path) -> None:
        """The evidence verifies, and the kernel blocks nothing that no record announced."""
        with read_only(self.state / "journal.db") as reader:
            verdict = reader.verify((self.state / "signing.vkey").read_text().strip())
        assert verdict.problems == ()
        records = [one for journal in (None, *asides) for one in self.records(journal)]
        told = {one.body["target"] for one in records if one.kind in ("intent", "adopted")}
        assert set(re.findall(r"\b203\.0\.113\.\d+|\b10\.77\.1\.1\b", ruleset("inet", "containment"))) <= told


@pytest.fixture
def host(tmp_path: Path, network: Network) -> Iterator[Host]:
    need_root()
    place = tmp_path / "state"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=True, timeout=10)
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.agent.kill()
        subprocess.run(["umount", "--lazy", place], check=True, timeout=10)
        if "inet containment" in ruleset():
            nft("delete table inet containment")


def fill(place: Path) -> None:
    """Write until there is no room for another byte."""
    with contextlib.suppress(OSError), (place / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 9, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size):
                    pass


def break_disk(host: Host) -> None:
    """No room, and no ballast, as if it had been used up long ago."""
    fill(host.state)
    (host.state / "journal.db.ballast").unlink(missing_ok=True)
    fill(host.state)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True, timeout=10)


def test_a_full_disk_does_not_switch_containment_off_and_what_was_done_is_written_down_later(host: Host) -> None:
    with host.agent:
        host.guess("203.0.113.1")
        wait_for(lambda: host.blocked("203.0.113.1"))
        break_disk(host)
        wait_for(host.failing, 30)

        host.guess("10.77.1.1")
        wait_for(lambda: host.blocked("10.77.1.1"))
        host.wonder("203.0.113.9")
        told = wait_for(lambda: [one for one in host.agent.ask("why", target="203.0.113.9")["incidents"] if one["told"]])
        person = host.agent.contain("block", "203.0.113.77", "--for", "1h", "--why", "by hand")
        screen = host.agent.contain("status", "--exit-code")
        (host.state / "filler").unlink()
        wait_for(lambda: not host.evidence()["failing"])

        assert host.agent.stop() == 0
    kinds = [one.kind for one in host.records()]
    behind = kinds[kinds.index("evidence_gap") :]
    assert "evidence cannot be written: database or disk is full" in told[0]["told"][0]
    assert person.returncode == 0, person.stderr
    assert screen.returncode == 10
    assert "evidence\tfailing" in screen.stdout
    assert behind[1] == "evidence_failing"
    assert {"finding", "refused", "intent", "in_force"} <= set(behind)
    assert host.agent.log.read_text().count("evidence cannot be written: database or disk is full") < 4
    host.holds()


def test_killed_on_a_full_disk_it_starts_again_and_ends_in_time_what_only_the_spool_knew(host: Host) -> None:
    short = Host(host.agent.place, ttl="6s")
    with short.agent:
        break_disk(short)
        wait_for(short.failing, 30)
        short.guess("10.77.1.1")
        wait_for(lambda: short.blocked("10.77.1.1"))
        short.agent.kill()
        (short.state / "filler").unlink()

    with short.agent:
        known = [one["id"] for one in short.agent.ask("mitigations", ended=True)["items"] if one["target"] == "10.77.1.1"]
        wait_for(lambda: not short.blocked("10.77.1.1"))
        short.agent.stop()

    kinds = [one.kind for one in short.records()]
    assert len(known) == 1
    assert kinds.index("evidence_gap") < kinds.index("intent") < kinds.index("in_force") < kinds.index("lifted")
    short.holds()


def test_a_lock_that_somebody_holds_stops_nothing(host: Host) -> None:
    with host.agent, closing(sqlite3.connect(host.state / "journal.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        host.guess("10.77.1.1")
        wait_for(lambda: host.blocked("10.77.1.1"))
        failing = host.evidence()["failing"]
        other.execute("rollback")
        wait_for(lambda: not host.evidence()["failing"])
        host.agent.stop()

    assert failing == "database is locked"
    host.holds()


def test_on_a_read_only_disk_it_starts_contains_and_ends_what_is_in_force_in_time(host: Host) -> None:
    short = Host(host.agent.place, ttl="8s")
    with short.agent:
        short.guess("203.0.113.1")
        wait_for(lambda: short.blocked("203.0.113.1"))
        short.agent.kill()
    remount(short.state, "ro")

    with short.agent:
        failing, known = short.evidence()["failing"], short.blocked("203.0.113.1")
        short.guess("10.77.1.1")
        wait_for(lambda: short.blocked("10.77.1.1"))
        wait_for(lambda: not short.blocked("203.0.113.1"))
        remount(short.state, "rw")
        wait_for(lambda: not short.evidence()["failing"])
        short.agent.stop()

    assert "ead-only" in failing
    assert known
    kinds = [one.kind for one in short.records()]
    assert "lifted" in kinds[kinds.index("evidence_gap") :]
    short.holds()


def test_a_corrupt_journal_is_set_aside_pages_and_what_the_kernel_holds_is_shown_and_undone(host: Host, network: Network) -> None:
    with host.agent:
        host.guess("10.77.1.1")
        host.guess("203.0.113.5")
        wait_for(lambda: host.blocked("10.77.1.1") and host.blocked("203.0.113.5"))
        host.agent.stop()
    os.truncate(host.state / "journal.db", (host.state / "journal.db").stat().st_size // 2)

    with host.agent:
        wait_for(lambda: host.blocked("10.77.1.1") and host.blocked("203.0.113.5"))
        held = host.agent.in_force()
        screen = host.agent.contain("status")
        undone = host.agent.contain("undo", "10.77.1.1", "--why", "known again")
        free = network.attacker.connects("10.77.1.2", 22)
        host.guess("203.0.113.6")
        wait_for(lambda: host.blocked("203.0.113.6"))
        accepted = host.agent.contain("evidence", "accept", "--why", "seen")
        after = host.agent.contain("status").stdout
        host.agent.stop()

    (aside,) = host.state.glob("set-aside-*")
    assert all(3500 < one["left"] < 3600 for one in held)
    assert "journal_lost" in screen.stdout
    assert str(aside) in screen.stdout
    assert undone.returncode == 0, undone.stderr
    assert free
    assert {one.body["target"] for one in host.records() if one.kind == "adopted"} == {"10.77.1.1", "203.0.113.5"}
    assert accepted.returncode == 0, accepted.stderr
    assert "journal_lost" not in after
    assert "the journal was lost" in host.agent.log.read_text() or "journal lost" in host.agent.log.read_text()
    assert (aside / "journal.db").exists()
    host.holds()


def test_without_its_key_it_starts_knows_what_is_in_force_and_the_old_journal_still_verifies(host: Host) -> None:
    with host.agent:
        host.guess("10.77.1.1")
        wait_for(lambda: host.blocked("10.77.1.1"))
        before = host.agent.in_force()[0]["id"]
        host.agent.stop()
    (host.state / "signing.key").unlink()

    with host.agent:
        after = host.agent.in_force()[0]["id"]
        host.agent.stop()

    (aside,) = host.state.glob("set-aside-*")
    old = host.agent.contain("evidence", "verify", "--db", str(aside / "journal.db"))
    assert before == after
    assert old.returncode == 0, old.stdout + old.stderr
    assert "key_changed" in [one.kind for one in host.records()]
    host.holds(aside)
