"""Floods are found by what real traffic does to real sensors, answered without harm to others, and quiet hours find nothing."""

from __future__ import annotations

import math
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import wiring
from agent.event import Event
from agent.grammar.policy_reader import read_policies
from agent.sensors import connections, kernel
from agent.sensors.connections import Connections, Seen
from agent.sensors.kernel import COUNTERS, Kernel, Sample
from agent.streams.sensor import SENSOR
from agent.systems.firewall import Firewall
from agent.watching.watch import Watch
from agent.watching.window import MOST_TIMES
from tests.flooding import CROWD, HOLDS, PORT, SHELF, VISITORS, Eyes, Web, inside, nginx, python, scan, shipped
from tests.needs import need
from tests.network import Network, ip, nft, ruleset
from tests.running import Running as Agent
from tests.running import wait_for
from tests.sensors.conftest import Running

QUICK = timedelta(seconds=0.25)
ATTACKER = "10.77.1.1"
HOST = "10.77.1.2"


@pytest.fixture(scope="module")
def web(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """nginx; a way back for forged addresses, which nobody answers there; and a crowd of addresses on the attacker."""
    assert network
    with nginx(tmp_path_factory.mktemp("nginx")) as made:
        for forged_or_crowd in ("11.0.0.0/8", "12.0.0.0/8"):
            ip("route", "add", forged_or_crowd, "via", ATTACKER)
        ip("-n", crowd_of(network), "route", "add", "local", "12.0.0.0/8", "dev", "lo")
        yield made
        for forged_or_crowd in ("11.0.0.0/8", "12.0.0.0/8"):
            subprocess.run(["ip", "route", "del", forged_or_crowd], check=False, timeout=10)


def crowd_of(network: Network) -> str:
    return network.names[0]


def fed(running: Running, eyes: Eyes, wanted: str, seconds: float = 20.0) -> list[tuple[str, tuple[object, ...]]]:
    """Feed what the sensor says to the policies until this one fires; all that fired."""
    end, found = time.monotonic() + seconds, list[tuple[str, tuple[object, ...]]]()
    while wanted not in {name for name, _ in found}:
        assert time.monotonic() < end, f"{wanted} did not fire; {found}"
        found += eyes.found(running.batches.get(timeout=seconds).events)
    return found


def begun(sensor: Any) -> Running:
    running = Running(sensor, None, None)
    running.next(SENSOR.name)
    return running


# Each class, by real traffic ----------------------------------------------------------------------------------------------


def test_a_syn_flood_is_found_and_nobody_is_named(network: Network, web: Web) -> None:
    assert web
    running = begun(Kernel(every=QUICK))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(network.attacker.syn_flood, HOST, 22, 8000, 2.0)

        found = fed(running, Eyes(), "syn-flood")
    running.stop()

    assert set(found) == {("syn-flood", ())}


def test_a_udp_flood_is_found_with_the_port_that_cannot_keep_up(network: Network) -> None:
    running = begun(Kernel(every=QUICK))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow, ThreadPoolExecutor(1) as pool:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.bind((HOST, 5353))
        pool.submit(network.attacker.udp_flood, HOST, 5353, 10_000, 1.5)

        eyes, hits = Eyes(), list[Event]()
        while not hits:
            events = running.batches.get(timeout=20).events
            hits = [hit.event for event in events for hit in eyes.watch.feed(event, event.seen) if hit.policy.name == "udp-flood"]
    running.stop()

    assert hits[0].fields["port"] == 5353


def test_an_http_flood_is_found_by_its_address_and_not_the_visitor_beside_it(network: Network, web: Web) -> None:
    web.lines()
    eyes, rates, found = Eyes(), scan(0.5, "http.source", "http.stats"), list[tuple[str, tuple[object, ...]]]()
    wrk = (need("wrk", "wrk"), "-t1", "-c8", "-d10s", "-H", "Connection: close", f"http://{HOST}:{PORT}/")
    visitors = python(VISITORS, "10.77.2.2", PORT, 10)
    rates.tick(time.time())

    with inside(crowd_of(network), *wrk), inside(network.names[1], *visitors):
        end = time.monotonic() + 9
        while not found and time.monotonic() < end:
            found += eyes.found([*rates.events(web.lines(), time.time()), *rates.tick(time.time())])
            time.sleep(0.05)

    assert set(found) == {("http-flood", (ATTACKER,))}


def test_one_client_with_hundreds_of_connections_is_found_by_its_address(network: Network) -> None:
    running = begun(Connections(every=QUICK))

    with inside(crowd_of(network), *python(HOLDS, HOST, 22, 320)):
        found = fed(running, Eyes(), "conn-exhaustion")
    running.stop()

    assert set(found) == {("conn-exhaustion", (ATTACKER,))}


def test_a_program_that_accepts_nothing_any_more_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as stuck:
        port = stuck.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(9)]
        running = begun(Connections(every=QUICK))

        found = fed(running, Eyes(), "conn-exhaustion")
        running.stop()
        for one in waiting:
            one.close()

    assert set(found) == {("conn-exhaustion", (port,))}


# Many addresses -------------------------------------------------------------------------------------------------------------


def crowd(network: Network, begin: int, count: int) -> int:
    """One real request from each of so many addresses; how many were answered."""
    with inside(crowd_of(network), *python(CROWD, HOST, PORT, begin, count)) as asking:
        return int(asking.communicate(timeout=60)[0])


def test_many_addresses_with_one_request_each_lead_to_one_limit_for_all_and_to_no_block(
    network: Network, web: Web, firewall: Firewall
) -> None:
    web.lines()
    eyes, rates, now = Eyes(), scan(5.0, "http.source", "http.stats"), time.time()
    assert crowd(network, 0, 1) == 1
    quiet, found, hits = web.lines(), list[tuple[str, tuple[object, ...]]](), list[Event]()
    for at in range(-900, 0, 5):  # a quarter of an hour with a request every five seconds: what is usual
        found += eyes.found([*rates.events(quiet, now + at), *rates.tick(now + at)])

    for number in range(3):
        assert crowd(network, 1 + number * 1100, 1100) > 1050
        rates.events(web.lines(), now + 5 * number)
        for event in rates.tick(now + 5 * number):
            hits += [hit.event for hit in eyes.watch.feed(event, event.seen) if hit.policy.name == "http-flood-site"]
            assert event.kind == "http.stats"  # nobody asked often enough to be named

    assert found == []
    assert [round(float(str(hits[0].fields[name]))) for name in ("clients", "per_client")] == [1100, 1]
    (policy,) = shipped("http_flood_site")
    assert [step.literal["per"] for step in policy.then] == ["all"]
    step = policy.then[0]
    limit = step.action(**{**step.literal, "ports": (PORT,), "rps": 5, "burst": 10})
    assert [one.error for one in firewall.perform([change.apply for change in limit.plan(firewall)])] == [None]
    assert crowd(network, 5000, 100) < 60


def test_a_window_of_different_addresses_counts_real_requests_and_stays_bounded(network: Network, web: Web) -> None:
    web.lines()
    text = (SHELF / "http_flood_site.yaml").read_text().partition("when:")[0]
    text += "when:\n  event: http.request\n  distinct: src.ip >= 400 in 1m\nthen:\n"
    text += "  - rate_limit: {ports: [80], per: all, rps: 500, ttl: 10m}\n"
    watch = Watch(read_policies({"http_flood_site.yaml": text}, wiring.catalogue(None), wiring.parse)[0], {})
    assert crowd(network, 20_000, 399) == 399
    before = [hit for event in scan(5.0, "http.request").events(web.lines(), 1.0) for hit in watch.feed(event, 1.0)]

    assert crowd(network, 30_000, 1) == 1
    (hit,) = [hit for event in scan(5.0, "http.request").events(web.lines(), 2.0) for hit in watch.feed(event, 2.0)]

    assert before == []
    assert "400 different src.ip" in hit.because
    for number in range(5000):
        watch.feed(Event("http.request", 3.0, {"src.ip": f"198.18.{number // 250}.{number % 250}"}), 3.0)
    (window,) = [store for live in watch.live for store in live.stores]
    assert sum(len(values) for values in window.young.values()) == 400
    assert MOST_TIMES == 1_000_000


# The whole agent ------------------------------------------------------------------------------------------------------------

YAML = """\
mode: enforce
ssh_ports: [2222]
sensors:
  kernel: {kernel: {every: 300ms}}
  connections: {connections: {every: 500ms}}
"""


def test_the_agent_answers_a_real_syn_flood_within_seconds_and_clients_get_in(network: Network, web: Web, tmp_path: Path) -> None:
    assert web
    policies = (SHELF / "syn_flood.yaml").read_text().replace("[80, 443]", "[22]").partition("examples:")[0]
    held = network.bystander.hold("10.77.2.2", 22)
    with Agent(tmp_path, YAML, policies) as agent, ThreadPoolExecutor(1) as pool:
        flood = pool.submit(network.attacker.syn_flood, HOST, 22, 12_000, 4.0)
        (force,) = wait_for(agent.in_force, 20)
        opened = network.bystander.hold("10.77.2.2", 22)
        flood.result(timeout=30)

        (kept,) = Firewall().held()
        said = agent.contain("status")

        assert (force["action"], force["target"]) == ("syn_protect", "22")
        assert (kept.args["per"], kept.args["ports"], kept.packets > 1000) == ("again", (22,), True)
        assert [network.bystander.talks(one) for one in (held, opened)] == [True, True]
        assert "syn_protect" in said.stdout
    if "inet containment" in ruleset():
        nft("delete table inet containment")


# Quiet -----------------------------------------------------------------------------------------------------------------------


def test_benign_traffic_finds_nothing(network: Network, web: Web) -> None:
    web.lines()
    eyes, rates, found = Eyes(), scan(0.5, "http.source", "http.stats"), list[tuple[str, tuple[object, ...]]]()
    running = [begun(Kernel(every=QUICK)), begun(Connections(every=QUICK, conns=1, least=0))]

    with inside(network.names[1], *python(VISITORS, "10.77.2.2", PORT, 3)) as visitors:
        while visitors.poll() is None:
            found += eyes.found([*rates.events(web.lines(), time.time()), *rates.tick(time.time())])
            time.sleep(0.1)
    for one in running:
        one.stop()
    events = [event for one in running for batch in list(one.batches.queue) for event in batch.events]
    found += eyes.found(sorted(events, key=lambda event: event.seen))

    assert len([event for event in events if event.kind == kernel.SYN.name]) >= 10
    assert [event for event in events if event.kind == connections.CONNS.name]
    assert found == []


def test_two_quiet_hours_find_nothing() -> None:
    """In virtual time: a day's wave with noise, a crawler at night, a deploy, and a few who scan ports, as such hours are."""
    chance, eyes, found = random.Random(5), Eyes(), list[tuple[str, tuple[object, ...]]]()
    looking, telling, rates = kernel.Looking(), connections.Telling(50), scan(5.0, "http.source", "http.stats")
    counted = dict.fromkeys(COUNTERS, 10_000)

    for at in range(0, 7200, 5):
        busy = 1 + 0.4 * math.sin(at / 1500) + chance.random() * 0.4
        for name, per_second in (
            ("passive_rate", 30),
            ("udp_in", 400),
            ("udp_no_port", 2),
            ("drops_rate", 0.4),
            ("retrans_rate", 3),
        ):
            counted[name] += round(5 * per_second * busy)
        counted["cookies_rate"] += chance.choice([0, 0, 0, 20])
        tables = {"conntrack": 900, "conntrack_share": 0.01, "tcp_inuse": 300, "tcp_orphans": 1, "tcp_timewait": 400}
        found += eyes.found(list(looking.at(Sample(float(at), dict(counted), tables), float(at))))
        found += eyes.found(list(telling.of(clients(chance, busy, deploying=1800 <= at < 1806), float(at), float(at))))
        found += eyes.found([*rates.events(log(chance, round(150 * busy)), float(at)), *rates.tick(float(at))])

    assert found == []


def clients(chance: random.Random, busy: float, *, deploying: bool) -> Seen:
    """Two hundred clients with a few connections each, an office behind one address; while it is restarted nginx is slow."""
    seen = Seen(queues={443: (400 if deploying else chance.randrange(3), 511)})
    for number in range(round(200 * busy)):
        seen.clients[b"\xcb\x00\x71" + bytes([number % 256]), 443] += chance.randrange(1, 7)
    seen.clients[b"\xc6\x33\x64\x07", 443] = 80
    seen.open[443] = seen.clients.total()
    seen.close_wait[443] = chance.randrange(20)
    return seen


def log(chance: random.Random, requests: int) -> bytes:
    """Five seconds of an access log: visitors with a few pages each, a crawler, and now and then an error."""
    lines = []
    for number in range(requests):
        address = "66.249.66.1" if number % 9 == 0 else f"203.0.113.{chance.randrange(40)}"
        status = 500 if chance.random() < 0.01 else 200
        lines.append(f'{address} - - [no time] "GET /{number} HTTP/1.1" {status} 12 "-" "x"\n')
    return "".join(lines).encode()
