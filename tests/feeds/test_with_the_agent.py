"""The whole way: a list from a real server, or from CrowdSec, chooses whom the real agent blocks in the real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.evidence.journal_read import read_only
from tests.feeds.lapi import lapi
from tests.feeds.server import Lists, reply, soon
from tests.network import Network
from tests.running import Running, sshd_lines
from tests.test_end_to_end import forget

ATTACKER = "10.77.1.1"

POLICIES = """
policy: listed-probe
severity: P2
owner: sre
when: {event: auth.ssh.failure, match: {src.ip: {list: threats}}, by: src.ip, count: ">= 2 in 1h"}
then: [{block_ip: {ip: $src.ip, ttl: 1h}}]
guard: {max: 20 per 10m, cooldown: 1s}
---
policy: decided
severity: P2
owner: sre
when: {event: crowdsec.decision, match: {type: ban}, by: src.ip}
then: [{block_ip: {ip: $src.ip, ttl: 1h}}]
guard: {max: 20 per 10m, cooldown: 1s}
"""


class Host:
    """The agent on this host, the log it follows, and lists that others keep."""

    def __init__(self, place: Path, feeds: str) -> None:
        self.auth = place / "auth.log"
        self.auth.touch()
        yaml = f"mode: enforce\nssh_ports: [22022]\nfeeds:\n{feeds}"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.auth}, parsers: [sshd], from_start: true}}}}\n"
        self.agent = Running(place, yaml, POLICIES)

    def guess(self, times: int, ip: str = ATTACKER) -> None:
        with self.auth.open("a") as log:
            log.write("".join(sshd_lines(ip, times)))

    def blocked(self) -> list[str]:
        return sorted(one["target"] for one in self.agent.in_force())

    def feed(self, name: str = "threats") -> dict[str, Any]:
        return next(one for one in self.agent.ask("status")["feeds"] if one["name"] == name)

    def records(self, kind: str) -> list[Any]:
        with read_only(self.agent.place / "state" / "journal.db") as reader:
            return [one.record for one in reader.records(limit=100_000) if one.record.kind == kind]


def fetched(server: Lists) -> str:
    return f"  threats: {{url: '{server.url}', ca_file: {server.issuer}, private: true, every: 1s}}\n"


@pytest.fixture(autouse=True)
def _tidy(network: Network) -> Iterator[None]:
    yield
    forget()


def test_a_listed_guesser_is_cut_off_sooner_over_a_kill_without_network_and_shown_to_people(
    tmp_path: Path, network: Network, server: Lists
) -> None:
    server.texts(ATTACKER, "203.0.113.7")
    host = Host(tmp_path, fetched(server))
    with host.agent:
        soon(lambda: host.feed()["entries"] == 2)
        host.guess(1)
        soon(lambda: host.agent.ask("status")["lines"] >= 1)
        host.agent.kill()
        server.say = lambda handler: reply(handler, 503)
        host.guess(1)
        host.guess(2, "10.77.2.1")

        host.agent.start()
        soon(lambda: host.blocked() == [ATTACKER])

        assert not network.attacker.connects("10.77.1.2", 22)
        assert network.bystander.connects("10.77.2.2", 22)
        assert [one.body["because"] for one in host.records("feed")] == ["refreshed", "at start, as it was kept"]
        soon(lambda: "503" in host.feed()["trouble"])
        page = host.agent.contain("list", "show", "threats", "--limit", "1")
        checked = host.agent.contain("list", "check", "203.0.113.7", "--json")
        status = host.agent.contain("status")
        assert page.stdout == f"{ATTACKER}\n"
        assert "threats: 2 networks of https://127.0.0.1:" in page.stderr
        assert "and 1 more: contain list show threats --from 1" in page.stderr
        assert json.loads(checked.stdout)["items"][0]["items"][0]["list"] == "threats"
        assert any(line.startswith("list\tthreats\t2\t") and "503" in line for line in status.stdout.splitlines())


def test_a_list_that_lost_most_of_itself_waits_for_contain_list_accept(tmp_path: Path, server: Lists) -> None:
    server.texts(*(f"203.0.113.{at}" for at in range(10)))
    host = Host(tmp_path, fetched(server))
    with host.agent:
        soon(lambda: host.feed()["entries"] == 10)
        nothing = host.agent.contain("list", "accept", "threats")
        unknown = host.agent.contain("list", "accept", "treats")
        server.texts("203.0.113.1", etag='"2"')
        soon(lambda: host.feed()["offered"] == 1)

        done = host.agent.contain("list", "accept", "threats")
        soon(lambda: host.feed()["entries"] == 1)

        assert nothing.stdout == "Nothing to accept: no text of threats waits for a person.\n"
        assert (unknown.returncode, "known: threats" in unknown.stderr) == (2, True)
        assert done.stdout == "threats has 1 networks from now on; it had 10.\n"
        assert host.records("feed")[-1].body["actor"].endswith("(uid 0)")
        assert len(host.records("feed_refused")) == 1


def test_a_decision_of_crowdsec_blocks_once_and_what_it_lists_is_no_incident(
    tmp_path: Path, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with lapi(tmp_path_factory.mktemp("lapi")) as crowdsec:
        crowdsec.decide("--ip", "203.0.113.50", why="from before")
        named = f"{{url: '{crowdsec.url}', key_file: {crowdsec.key_file}}}"
        host = Host(tmp_path, f"  threats: {{crowdsec: {named}, every: 1s, private: true}}\n")
        with host.agent:
            soon(lambda: host.feed()["entries"] == 1)

            crowdsec.decide("--ip", ATTACKER, why="crowdsecurity/ssh-bf")
            soon(lambda: host.blocked() == [ATTACKER])
            assert not network.attacker.connects("10.77.1.2", 22)
            host.agent.kill()
            host.agent.start()
            soon(lambda: host.feed()["entries"] == 2)

            assert len(host.records("finding")) == 1
            assert "10.77.1.1" in host.agent.ask("list_entries", list="threats")["items"]
            crowdsec.forget("--all")
            soon(lambda: host.feed()["entries"] == 0)
