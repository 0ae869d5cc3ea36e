"""The whole way: a line in a log file, a packet that no longer arrives, and back again. Real agent, real kernel, real packets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.daemon import WARMED
from agent.event import Event
from agent.evidence.journal import Journal
from agent.evidence.journal_read import read_only
from agent.evidence.keys import load_or_make
from agent.evidence.redact import Redactor
from tests.network import Network, nft, ruleset
from tests.running import Running, sshd_lines, wait_for

ATTACKER, BYSTANDER = "10.77.1.1", "10.77.2.1"

POLICY = """
policy: ssh-brute-force
title: Password guessing on SSH from one address
severity: P2
owner: sre
when:
  event: auth.ssh.failure
  by: src.ip
  count: ">= 8 in 2m"
then:
  - block_ip: {ip: $src.ip, ttl: %s}
guard:
  max: 20000 per 10m
  cooldown: 1s
"""


class Host:
    """The agent on this host, and the log it follows."""

    def __init__(self, place: Path, ttl: str = "1h", mode: str = "enforce") -> None:
        self.auth = place / "auth.log"
        self.auth.touch()
        yaml = f"mode: {mode}\nssh_ports: [22022]\nlimits: {{max_active: 20000, max: 20000 per 10m}}\n"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.auth}, parsers: [sshd], from_start: true}}}}\n"
        self.agent = Running(place, yaml, POLICY % ttl)

    def log(self, *lines: str) -> None:
        with self.auth.open("a") as log:
            log.write("".join(lines))

    def guess(self, times: int, ip: str = ATTACKER) -> None:
        self.log(*sshd_lines(ip, times))

    def blocked(self, ip: str = ATTACKER) -> bool:
        return any(one["target"] == ip for one in self.agent.in_force())

    def kinds(self) -> list[str]:
        with read_only(self.agent.place / "state" / "journal.db") as reader:
            return [one.record.kind for one in reader.records(limit=100_000)]


@pytest.fixture
def host(tmp_path: Path, network: Network) -> Iterator[Host]:
    made = Host(tmp_path)
    with made.agent:
        yield made
    forget()


def forget() -> None:
    """Take the agent's table away, as the end of a test, not of the agent."""
    if "inet containment" in ruleset():
        nft("delete table inet containment")


def test_the_eighth_failure_cuts_new_and_established_connections_to_host_and_container_and_nobody_elses(
    host: Host, network: Network
) -> None:
    attacker, bystander = network.attacker, network.bystander
    held = [attacker.hold("10.77.1.2", 22), attacker.hold("10.77.1.2", 8080)]
    others = bystander.hold("10.77.2.2", 22)
    host.guess(7)
    wait_for(lambda: host.agent.ask("status")["lines"] >= 7)
    assert attacker.connects("10.77.1.2", 22)

    host.guess(1)
    wait_for(host.blocked)

    assert not attacker.connects("10.77.1.2", 22)
    assert not attacker.connects("10.77.1.2", 8080)
    assert not any(attacker.talks(one) for one in held)
    assert bystander.connects("10.77.2.2", 22)
    assert bystander.connects("10.77.2.2", 8080)
    assert bystander.talks(others)


def test_undo_lets_traffic_flow_again_and_says_who_and_why(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    done = host.agent.contain("undo", ATTACKER, "--why", "it was the scanner")

    assert done.returncode == 0, done.stderr
    assert network.attacker.connects("10.77.1.2", 22)
    assert host.kinds()[-2:] == ["lifted", "phase"]


def test_the_ttl_ends_it_without_anybody(tmp_path: Path, network: Network) -> None:
    short = Host(tmp_path, ttl="2s")
    with short.agent:
        short.guess(8)
        wait_for(short.blocked)

        wait_for(lambda: network.attacker.connects("10.77.1.2", 22))
        wait_for(lambda: short.kinds()[-2:] == ["lifted", "phase"])
    forget()


def test_kill_9_loses_no_block_and_leaves_none_behind_after_its_ttl(tmp_path: Path, network: Network) -> None:
    short = Host(tmp_path, ttl="6s")
    with short.agent:
        short.guess(8)
        wait_for(short.blocked)
        short.agent.kill()
        assert not network.attacker.connects("10.77.1.2", 22)

        short.agent.start()
        still = short.blocked()

        assert still
        assert not network.attacker.connects("10.77.1.2", 22)
        short.agent.kill()
        wait_for(lambda: network.attacker.connects("10.77.1.2", 22))
        short.agent.start()
        wait_for(lambda: "lifted" in short.kinds())
        assert short.agent.in_force() == []
    forget()


def test_failures_of_before_a_kill_count_after_it(host: Host, network: Network) -> None:
    host.guess(5)
    wait_for(lambda: len(host.agent.ask("events")["items"]) == 5)
    host.agent.kill()
    host.guess(2)

    host.agent.start()
    host.guess(1)

    wait_for(host.blocked)


def test_a_restart_remembers_the_newest_failures_however_many_there_were(host: Host, network: Network) -> None:
    host.agent.stop()
    state, now = host.agent.place / "state", time.time()
    key = load_or_make(state / "signing.key", host="db1")
    journal = Journal(state / "journal.db", host="db1", key=key, redact=Redactor(key.derive("redaction")))
    older = [failure(f"11.{at >> 16}.{at >> 8 & 255}.{at & 255}", now) for at in range(WARMED)]
    journal.commit(now, [], events=[*older, *[failure(ATTACKER, now)] * 7])
    journal.close()

    host.agent.start()
    host.guess(1)

    wait_for(host.blocked)


def failure(ip: str, seen: float) -> Event:
    return Event("auth.ssh.failure", seen, {"src.ip": ip, "user": "root"}, "auth", seen)


def test_what_somebody_flushes_is_back_at_once_and_the_evidence_names_the_process(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    nft("delete table inet containment")

    wait_for(lambda: "healed" in host.kinds())
    assert not network.attacker.connects("10.77.1.2", 22)
    with read_only(host.agent.place / "state" / "journal.db") as reader:
        drifted = next(one.record for one in reader.records(limit=1000) if one.record.kind == "drifted")
    assert "nft" in drifted.body["who"]


def test_dry_run_says_what_it_would_do_and_the_ruleset_stays_as_it_was(tmp_path: Path, network: Network) -> None:
    before = ruleset()
    dry = Host(tmp_path, mode="dry_run")
    with dry.agent:
        dry.guess(8)

        wait_for(lambda: "would" in dry.kinds())

        assert network.attacker.connects("10.77.1.2", 22)
    assert ruleset() == before


def test_a_broken_policy_file_never_becomes_live(host: Host, network: Network) -> None:
    file = host.agent.place / "policies" / "test.yaml"
    good = file.read_text()
    file.write_text(good.replace("count:", "cuont:"))

    host.agent.hangup()
    wait_for(lambda: host.agent.ask("status")["problems"])
    host.guess(8)
    wait_for(host.blocked)

    assert "unknown key `cuont`" in host.agent.ask("status")["problems"]
    file.write_text(good)
    host.agent.hangup()
    wait_for(lambda: not host.agent.ask("status")["problems"])


def test_a_stop_leaves_the_enforcement_in_place_and_a_clean_record(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    assert host.agent.stop() == 0

    assert not network.attacker.connects("10.77.1.2", 22)
    assert host.kinds()[-1] == "stopped"
    done = host.agent.contain("evidence", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_operators_own_ssh_peer_is_never_blocked(tmp_path: Path, network: Network) -> None:
    careful = Host(tmp_path)
    careful.agent.config.write_text(careful.agent.config.read_text() + f"never_touch: [{BYSTANDER}]\n")
    with careful.agent:
        careful.guess(20, BYSTANDER)

        wait_for(lambda: "refused" in careful.kinds())

        assert network.bystander.connects("10.77.2.2", 22)
        assert careful.agent.in_force() == []
    forget()


def test_the_drop_counters_are_told_per_target(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    network.attacker.connects("10.77.1.2", 22)

    (one,) = host.agent.in_force()
    assert one["packets"] >= 1
    assert one["verified"] == pytest.approx(time.time(), abs=5)


def test_a_thousand_offenders_at_once_are_all_in_the_kernel(host: Host, network: Network) -> None:
    addresses = [f"11.{at >> 8}.{at & 255}.9" for at in range(1000)]

    host.log(*(line for ip in addresses for line in sshd_lines(ip, 8)))

    wait_for(lambda: host.agent.ask("mitigations")["total"] == 1000)
    wait_for(lambda: len(host.agent.in_force()) == 1000)
    assert len(set(re.findall(r"11\.\d+\.\d+\.9\b", ruleset("inet", "containment")))) == 1000


def test_what_is_found_and_what_is_about_to_be_done_about_it_are_one_commit(host: Host, network: Network) -> None:
    offenders = [f"198.51.100.{at}" for at in range(1, 11)]
    for ip in offenders:
        host.guess(8, ip)
        wait_for(partial(host.blocked, ip))

    with read_only(host.agent.place / "state" / "journal.db") as reader:
        stored = list(reader.records(limit=1000))

    found = {one.record.incident: one.ts for one in stored if one.record.kind == "finding"}
    meant = {one.record.incident: one.ts for one in stored if one.record.kind == "intent"}
    assert len(found) == len(meant) == len(offenders)
    assert any(found[name] == at for name, at in meant.items())  # nearly all, where the machine has time for us
