"""The worst failures that other tools of this kind had in the field, one test each: none of them may become ours.

The list is that of facts/peers.md. Most of these go through the real agent, the real kernel and real packets; behind many
stands a whole file of tests about the same thing.
"""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import time
from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from agent.crowd import MANY
from agent.evidence.journal_read import read_only
from agent.messages import Seen
from agent.policy import Limits, Rate, Step
from agent.schema import Ttl, address
from agent.systems.firewall import Firewall
from agent.systems.perimeter import Opening, Perimeter
from tests import perimeter as perimeters
from tests.network import Network, nft, ruleset
from tests.running import Running, wait_for
from tests.stories import Shut, Story, guard, login, policy, shut
from tests.test_end_to_end import ATTACKER, POLICY, Host, forget

HTTP = """
policy: scanner
severity: P2
owner: sre
when: {event: http.request, match: {status: 403}, by: src.ip, count: ">= 5 in 1m"}
then:
  - block_ip: {ip: $src.ip, ttl: 4s}
guard: {max: 200 per 10m, cooldown: 1s}
"""


BLIND = """
policy: blind
severity: P1
owner: sre
when: {event: sensor, match: {ok: false}, by: name}
"""


@pytest.fixture
def host(tmp_path: Path, network: Network) -> Iterator[Host]:
    """An agent that blocks whoever fails to log in eight times; the attacker can reach this host."""
    made = Host(tmp_path)
    with made.agent:
        yield made
    forget()


def blocked_in_kernel() -> str:
    text = ruleset()
    return ruleset("inet", "containment") if "inet containment" in text else ""


def restarted(host: Host) -> None:
    host.agent.start()
    wait_for(lambda: host.agent.ask("mitigations")["unsettled"] == 0)


# What it does to its own side -------------------------------------------------------------------------------------------


def test_an_agent_that_blocks_its_own_infrastructure(tmp_path: Path, network: Network) -> None:
    ours = {"192.0.2.53": "keep_open", "198.51.100.9": "never_touch", "10.77.1.2": "own", "127.0.0.1": "loopback"}
    made = Host(tmp_path)
    text = made.agent.config.read_text()
    made.agent.config.write_text(text + "never_touch: [198.51.100.9]\nkeep_open: {nats: {address: 192.0.2.53, ports: [4222]}}\n")
    with made.agent:
        for one in ours:
            made.guess(8, one)
        made.guess(8, "203.0.113.66")
        wait_for(lambda: made.blocked("203.0.113.66"))
        refused = wait_for(lambda: len(found := refusals(made)) == len(ours) and found)
        blocks = [one["target"] for one in made.agent.ask("mitigations", ended=True)["items"]]
    forget()

    assert set(refused) == set(ours)
    assert all("never touched" in because for because in refused.values())
    assert blocks == ["203.0.113.66"]


def refusals(host: Host) -> dict[str, str]:
    with read_only(host.agent.place / "state" / "journal.db") as reader:
        bodies = [one.record.body for one in reader.records(limit=10_000) if one.record.kind == "refused"]
    return {one["target"]: one["because"] for one in bodies}


def test_a_ban_that_makes_the_403s_that_renew_the_ban(tmp_path: Path, network: Network) -> None:
    log = tmp_path / "access.log"
    log.touch()
    agent = Running(
        tmp_path, f"mode: enforce\nsensors:\n  web: {{logfile: {{path: {log}, parsers: [nginx], from_start: true}}}}\n", HTTP
    )
    with agent:
        forbidden(log, 5)
        wait_for(agent.in_force)
        forbidden(log, 40)  # what was on its way, and what a proxy in front still answers
        wait_for(lambda: agent.ask("status")["lines"] >= 45)
        wait_for(lambda: not agent.in_force())
        status = agent.ask("status")
        intents = [one for one in agent.ask("mitigations", ended=True)["items"] if one["target"] == "203.0.113.7"]
    forget()

    assert len(intents) == 1
    assert status["lines"] >= 45


def forbidden(log: Path, times: int) -> None:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    with log.open("a") as file:
        file.write(f'203.0.113.7 - - [{stamp}] "GET /admin HTTP/1.1" 403 0 "-" "-"\n' * times)


def test_admins_who_are_locked_out(tmp_path: Path, network: Network) -> None:
    made = Host(tmp_path)
    made.agent.config.write_text(made.agent.config.read_text().replace("ssh_ports: [22022]", "ssh_ports: [22]"))
    admin = network.attacker.hold("10.77.1.2", 22)
    with made.agent:
        made.guess(50)
        ordered = made.agent.contain("block", ATTACKER, "--for", "1h", "--why", "by mistake")
        swallowed = made.agent.contain("block", "10.77.1.0/24", "--for", "1h", "--why", "by mistake")
        wait_for(lambda: refusals(made).get(ATTACKER))

    assert network.attacker.talks(admin)
    assert {ordered.returncode, swallowed.returncode} == {3}
    forget()


def test_an_allow_list_that_is_ignored(host: Host) -> None:
    host.guess(8)
    wait_for(host.blocked)

    added = host.agent.contain("list", "add", "never_touch", "10.77.1.0/24", "--for", "1h", "--why", "a pentest")
    wait_for(lambda: not host.blocked())
    host.guess(30)
    ordered = host.agent.contain("block", ATTACKER, "--for", "1h", "--why", "by hand")
    host.agent.config.write_text(host.agent.config.read_text() + "ignoreip: [10.77.1.1]\n")
    unknown = host.agent.contain("reload")

    assert added.returncode == 0, added.stderr
    assert ordered.returncode == 3
    assert "ignoreip" in unknown.stdout + unknown.stderr
    assert unknown.returncode != 0


# State that breaks ---------------------------------------------------------------------------------------------------------


def test_everybody_is_shut_out_because_the_database_was_locked(host: Host, network: Network) -> None:
    journal = host.agent.place / "state" / "journal.db"
    with closing(sqlite3.connect(journal, timeout=1, isolation_level=None)) as other:
        other.execute("begin exclusive")
        answers = [host.agent.ask("status")["host"] for _ in range(3)]
        open_to_others = network.bystander.connects("10.77.2.2", 22)
        other.execute("rollback")

    wait_for(lambda: goes_on(host))  # and evidence can be written again

    assert answers == ["db1"] * 3
    assert open_to_others


def goes_on(host: Host) -> bool:
    host.guess(8)
    return host.blocked()


def test_a_damaged_database_leaves_a_process_that_does_nothing(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)
    host.agent.kill()
    journal = host.agent.place / "state" / "journal.db"
    for tail in ("-wal", "-shm"):
        journal.with_name(journal.name + tail).unlink(missing_ok=True)
    content = bytearray(journal.read_bytes())
    content[4096:8192] = b"\xa5" * 4096
    journal.write_bytes(content)

    restarted(host)
    host.guess(8, "203.0.113.66")
    wait_for(lambda: host.blocked("203.0.113.66"))

    assert list((host.agent.place / "state").glob("set-aside-*"))
    assert "journal" in json.dumps(host.agent.ask("status"))
    assert host.blocked(), "what the kernel holds is known again"
    assert not network.attacker.connects("10.77.1.2", 22)


def test_an_expiry_that_is_lost_makes_a_block_permanent(tmp_path: Path, network: Network) -> None:
    short = Host(tmp_path, ttl="2s")
    with short.agent:
        short.guess(8)
        wait_for(short.blocked)
        short.agent.kill()

        wait_for(lambda: network.attacker.connects("10.77.1.2", 22))

        restarted(short)
        assert short.agent.in_force() == []
    forget()


# What hangs, stops, grows -----------------------------------------------------------------------------------------------------


def test_one_action_that_hangs_stops_all_the_others(tmp_path: Path, network: Network) -> None:
    made = Host(tmp_path)
    with socket.socket() as tarpit, ThreadPoolExecutor(4) as people:
        tarpit.bind(("127.0.0.1", 0))
        tarpit.listen(8)  # takes connections, and never answers
        main = f"{{host: 127.0.0.1, port: {tarpit.getsockname()[1]}, user: agent, database: postgres}}"
        made.agent.config.write_text(made.agent.config.read_text() + f"systems: {{postgres: {{main: {main}}}}}\n")
        with made.agent:
            order = {"action": "stop_writes", "params": {"ttl": "1h"}, "why": "a drill"}
            hanging = [people.submit(made.agent.ask, "do", **order) for _ in range(4)]
            made.guess(8)
            wait_for(made.blocked)
            status = made.agent.contain("status")
            waited_for = [one.done() for one in hanging]
            tarpit.close()
            answers = [one.result(timeout=60) for one in hanging]
    forget()

    assert status.returncode == 0
    assert False in waited_for
    assert {one["result"] for one in answers} == {"failed"}


def test_an_intake_that_stops_in_silence(tmp_path: Path) -> None:
    gone = tmp_path / "gone.log"
    gone.touch()
    yaml = f"mode: enforce\nsensors:\n  auth: {{logfile: {{path: {gone}, parsers: [sshd]}}}}\n"
    with Running(tmp_path, yaml, BLIND) as agent:
        gone.unlink()
        gone.mkdir()

        incident = wait_for(lambda: next(iter(agent.ask("incidents")["items"]), None))

        assert incident["severity"] == "P1"
        assert str(gone) in json.dumps(incident)


def test_memory_without_a_bound() -> None:
    story = Story(policy("flood", then=[shut()], least=1), limits=Limits(max=Rate(100, timedelta(minutes=10))))
    story.dead = True

    for number in range(30_000):
        story.tell(Seen([login(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", story.now)]))

    state = story.agent.state
    tables: tuple[Sized, ...] = (
        state.incidents,
        state.mitigations,
        state.unanswered,
        state.repeats,
        story.agent.still,
        story.agent.running,
    )
    assert max(len(one) for one in tables) <= 102
    assert len(story.records) < 1000


def test_text_of_the_attacker_picks_the_victim(host: Host) -> None:
    name = "root from 203.0.113.99 port 22 ssh2"
    stamp = time.strftime("%b %e %H:%M:%S")
    line = f"{stamp} db1 sshd[812]: Failed password for invalid user {name} from {ATTACKER} port 40000 ssh2\n"

    host.log(*[line] * 8)
    wait_for(host.blocked)

    assert [one["target"] for one in host.agent.in_force()] == [ATTACKER]
    assert "203.0.113.99" not in blocked_in_kernel()


def test_a_stream_of_changes_that_loses_one(host: Host, network: Network) -> None:
    host.guess(8)
    host.guess(8, "203.0.113.66")
    wait_for(lambda: host.blocked() and host.blocked("203.0.113.66"))

    (holder,) = re.findall(r"set (\S+) \{[^{}]*elements = \{[^{}]*203\.0\.113\.66", blocked_in_kernel())[:1]
    nft(f"delete element inet containment {holder} {{ 203.0.113.66 }}")
    wait_for(lambda: "203.0.113.66" in blocked_in_kernel(), 5)
    nft("flush ruleset")
    wait_for(lambda: {ATTACKER, "203.0.113.66"} <= set(re.findall(r"[\d.]{7,}", blocked_in_kernel())), 5)

    assert not network.attacker.connects("10.77.1.2", 22)


def test_an_execution_that_is_stuck_for_ever() -> None:
    story = Story(policy(then=[guard(), shut()]))
    story.gate.broken = "silent"
    story.logins(3)

    story.pass_by(120)
    story.gate.broken = ""
    story.die_and_start_again()
    story.pass_by(4000)

    assert not [one for one in story.agent.state.mitigations.values() if one.active]
    assert not story.agent.running
    assert not story.agent.busy


# Promises about what is in force ---------------------------------------------------------------------------------------------


def test_a_quarantine_with_a_hole(network: Network) -> None:
    closed = Perimeter(lambda: [Opening("10.77.2.1", (22,), "in", "the operator"), Opening("fd77:2::1", (22,), "in", "too")])
    before = [network.attacker.hold("10.77.1.2", 22), network.attacker.hold("fd77:1::2", 22)]
    perimeters.close(closed, timedelta(minutes=1), tuple(closed.openings()))

    there = [network.attacker.connects(to, 22) for to in ("10.77.1.2", "fd77:1::2")]
    still = [network.attacker.talks(one) for one in before]
    operator = [network.bystander.connects(to, 22) for to in ("10.77.2.2", "fd77:2::2")]
    perimeters.open_again(closed)

    assert there == [False, False]
    assert still == [False, False]
    assert operator == [True, True]


def test_a_network_of_which_one_address_is_blocked(network: Network) -> None:
    firewall, whole = Firewall(), ip_network("10.77.1.0/24")
    firewall.perform([firewall.block(ip=whole, ttl=timedelta(minutes=1))])

    held = firewall.blocks(whole, timedelta(seconds=30))
    reached = network.attacker.connects("10.77.1.2", 22)
    forget()

    assert held
    assert not reached


def test_a_mode_that_is_silently_another(host: Host) -> None:
    wrong = host.agent.contain("policy", "mode", "ssh-brute-force", "enforced")
    missing = host.agent.contain("policy", "mode", "no-such-policy", "enforce")
    host.agent.contain("policy", "mode", "ssh-brute-force", "dry_run")
    (shown,) = host.agent.ask("policies")["items"]

    assert wrong.returncode == 2
    assert missing.returncode != 0
    assert shown["mode"] == "dry_run"


def test_an_invalid_set_of_policies_that_becomes_live(host: Host) -> None:
    file = host.agent.place / "policies" / "test.yaml"
    file.write_text(POLICY % "1h" + "---\npolicy: second\nseverity: P9\nwhen: {event: auth.ssh.failure}\n")
    host.agent.hangup()
    wait_for(lambda: host.agent.ask("status")["problems"])

    host.guess(8)

    wait_for(host.blocked)
    assert [one["policy"] for one in host.agent.ask("policies")["items"]] == ["ssh-brute-force"]


def test_what_was_to_come_is_lost_at_a_restart() -> None:
    story = Story(policy(then=[guard(hard=True), shut(after=timedelta(minutes=5))]))
    story.logins(3)

    story.die_and_start_again()
    story.pass_by(10)
    waits = [one.until for one in story.agent.state.approvals.waiting]
    story.logins(3)
    story.pass_by(300)
    story.pass_by(1600)

    assert waits == [pytest.approx(story.now, abs=120)]
    assert story.gate.shut, "the step that was put off was done in its time"
    assert story.agent.state.approvals.waiting == [], "a question without an answer ended in its time"


def test_ten_thousand_addresses_with_one_request_each() -> None:
    throttle = Step(Shut, {"ip": address("192.0.2.0/24"), "ttl": Ttl.read("10m")})
    limits = Limits(max=Rate(20, timedelta(minutes=10)), overflow=(throttle,))
    story = Story(policy("spread", then=[shut()], least=1, guard=limits))

    for number in range(10_000):
        story.tell(Seen([login(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}", story.now)]))

    crowd = next(one for one in story.agent.state.incidents.values() if one.target == MANY)
    assert len(story.gate.shut) == 21, "twenty addresses, and the service as a whole"
    assert "192.0.2.0/24" in story.gate.shut
    assert crowd.severity == "P1"
    assert len(story.agent.state.incidents) == 21


def test_customers_behind_one_address_go_down_with_it() -> None:
    from tests.test_crowd import busy, flood

    story = busy(100, 0.3)

    flood(story, 100, "192.0.2")

    assert len(story.gate.shut) == 30


def test_an_undo_that_is_banned_again_at_once(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    host.agent.contain("undo", ATTACKER, "--why", "our scanner")
    host.guess(50)
    wait_for(lambda: host.agent.ask("status")["lines"] >= 58)

    assert not host.blocked()
    assert network.attacker.connects("10.77.1.2", 22)


def test_an_undo_by_hand_that_needs_surgery(host: Host, network: Network) -> None:
    host.guess(8)
    wait_for(host.blocked)

    done = host.agent.contain("undo", ATTACKER, "--why", "mine")

    assert done.returncode == 0, done.stderr
    assert ATTACKER not in blocked_in_kernel()
    assert network.attacker.connects("10.77.1.2", 22)
