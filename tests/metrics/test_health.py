"""/healthz: 503 where attacks may go unseen or unrecorded, with sentences of our own; 200 else, whatever happens to the host."""

from __future__ import annotations

import json
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from agent.intake.settings import Listen, Tls
from agent.metrics.health import STILL, Health, Signs, health
from agent.metrics.serving import ROOM, Metrics
from agent.metrics.settings import Settings
from tests.certificates import certificate
from tests.metrics.scraped import Numbers, Page, Scraped, ask
from tests.pages.surfing import free_port
from tests.pages.test_doors import Encrypted, private
from tests.running import Running, wait_for

WELL = Signs(still=0.1)


def what(page: Page) -> tuple[int, list[str], list[str]]:
    """The status, and what the reasons and the notes are about."""
    body = json.loads(page.text)
    assert body["status"] == ("ok" if page.status == 200 else "failing")
    return page.status, [one["what"] for one in body["reasons"]], [one["what"] for one in body["notes"]]


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        (Signs(still=STILL + 1), "loop"),
        (Signs(0.0, stopping=True), "stopping"),
        (Signs(0.0, failing=True), "evidence"),
        (Signs(0.0, blind=("auth",)), "blind"),
        (Signs(0.0, silent=("auth",)), "silent"),
        (Signs(0.0, canary="lost"), "canary"),
    ],
)
def test_what_makes_an_agent_unwell(signs: Signs, reason: str) -> None:
    assert [one["what"] for one in health(signs).reasons] == [reason]


@pytest.mark.parametrize(
    ("signs", "note"),
    [(Signs(0.0, problems=True), "config"), (Signs(0.0, dry_run=True), "dry_run"), (Signs(0.0, paused=True), "paused")],
)
def test_what_one_should_know_makes_nobody_unwell(signs: Signs, note: str) -> None:
    found = health(signs)

    assert found.well
    assert [one["what"] for one in found.notes] == [note]


def test_an_agent_under_attack_is_well(scraped: Scraped) -> None:
    scraped.guess("203.0.113.35", 20)

    page = ask(scraped.port, "/healthz")

    assert what(page) == (200, [], [])
    assert page.headers["content-type"] == "application/json"


# Real trouble ---------------------------------------------------------------------------------------------------------------

POLICY = "policy: odd\nseverity: P3\nowner: sre\nwhen: {event: auth.ssh.failure, by: src.ip, count: '>= 9 in 2m'}\n"


@contextmanager
def small(place: Path, more: str = "") -> Iterator[tuple[Running, int]]:
    """An agent that does nothing, with a web server for its numbers."""
    port = free_port()
    with Running(place, f"mode: dry_run\nmetrics: {{listen: '127.0.0.1:{port}'}}\n{more}", POLICY) as agent:
        wait_for(lambda: not any(agent.ask("status")["metrics"]["listens"].values() or ["no"]))
        yield agent, port


def test_a_source_that_cannot_be_read_is_named_as_agent_yaml_calls_it(tmp_path: Path) -> None:
    with small(tmp_path, f"sensors: {{shop-log: {{logfile: {{path: {tmp_path}/gone.log, parsers: [sshd]}}}}}}\n") as (_, port):
        page = wait_for(lambda: (page := ask(port, "/healthz")).status == 503 and page)

        assert what(page) == (503, ["blind"], ["dry_run"])
        assert "the sensor shop-log cannot read its source" in page.text
        assert str(tmp_path) not in page.text
        assert 'containment_sensor_blind{sensor="shop-log"} 1.0' in ask(port, "/metrics").text


class Slow:
    """An agent whose loop answers only once it may."""

    def __init__(self) -> None:
        self.goes_on, self.asked, self.still = threading.Event(), 0, 0.0

    def ask(self, verb: str, body: Mapping[str, Any], actor: str, patience: float = 0.0) -> Mapping[str, Any]:
        self.asked += 1
        self.goes_on.wait(min(patience, 15.0))
        return {"families": {"containment_up": [[[], 1]]}, "pid": None} if self.goes_on.is_set() else {"error": "busy or stuck"}

    def health(self) -> Health:
        return health(Signs(self.still))


@contextmanager
def serving(settings: Settings, agent: Slow) -> Iterator[Metrics]:
    made = Metrics(settings)
    made.begin(agent.ask, agent.health)
    try:
        wait_for(lambda: made.status()["listens"] and not any(made.status()["listens"].values()))
        yield made
    finally:
        agent.goes_on.set()
        made.close()


def test_while_the_loop_hangs_health_is_told_at_once_and_the_loop_is_asked_once(tmp_path: Path) -> None:
    agent, port = Slow(), free_port()
    agent.still = 42.0
    pages: list[Page] = []

    with serving(Settings(Listen("127.0.0.1", port)), agent):
        scrapers = [threading.Thread(target=lambda: pages.append(ask(port, "/metrics"))) for _ in range(3 * ROOM)]
        for one in scrapers:
            one.start()
        wait_for(lambda: len(pages) == 2 * ROOM)
        begun = time.monotonic()
        page = ask(port, "/healthz")
        took = time.monotonic() - begun
        agent.goes_on.set()
        for one in scrapers:
            one.join(20)

        assert what(page) == (503, ["loop"], [])
        assert took < 2.0
        assert sorted(one.status for one in pages) == [200] * ROOM + [503] * 2 * ROOM
        assert agent.asked == 1


def test_a_loop_that_gives_no_answer_is_a_503_and_not_an_empty_page(tmp_path: Path) -> None:
    class Stuck(Slow):
        def ask(self, *_: Any, **__: Any) -> Mapping[str, Any]:
            return {"error": "the agent did not answer within 8 s; it is busy or stuck"}

    port = free_port()

    with serving(Settings(Listen("127.0.0.1", port)), Stuck()):
        page = ask(port, "/metrics")

    assert (page.status, page.text) == (503, "the agent did not answer within 8 s; it is busy or stuck\n")


def test_a_journal_that_cannot_be_written_is_told_until_it_can_be_again(tmp_path: Path) -> None:
    with small(tmp_path) as (agent, port), closing(sqlite3.connect(tmp_path / "state" / "journal.db", timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        agent.ask("report", text="the shop is slow")
        page = wait_for(lambda: (page := ask(port, "/healthz")).status == 503 and page)
        failing = Numbers(agent.contain("metrics").stdout)
        other.rollback()

        assert what(page) == (503, ["evidence"], ["dry_run"])
        assert failing("evidence_failing") == 1
        assert failing("evidence_waiting_records") >= 1
        wait_for(lambda: ask(port, "/healthz").status == 200)


# Doors ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/metrics", "127.0.0.1:1", 200),
        ("GET", "/metrics", "localhost", 200),
        ("GET", "/metrics", "[::1]:9445", 200),
        ("HEAD", "/metrics", "127.0.0.1", 200),
        ("GET", "/metrics?name[]=x", "127.0.0.1", 200),
        ("GET", "/metrics", "evil.example:9445", 421),
        ("POST", "/metrics", "127.0.0.1", 405),
        ("DELETE", "/healthz", "127.0.0.1", 405),
        ("GET", "/", "127.0.0.1", 404),
        ("GET", "/metrics/../v1/undo", "127.0.0.1", 404),
    ],
)
def test_only_those_two_pages_are_there_and_only_to_be_read(
    scraped: Scraped, method: str, path: str, host: str, status: int
) -> None:
    page = ask(scraped.port, path, method, Host=host)

    assert page.status == status
    assert method != "HEAD" or page.text == ""
    assert "evil" not in page.text


def test_over_tls_with_a_client_ca_only_its_clients_see_anything(tmp_path: Path) -> None:
    shown, issuer = certificate(tmp_path, 30, name="shop1.example.com"), certificate(tmp_path, 30, name="issuer")
    client, port, agent = certificate(tmp_path, 30, name="prometheus", issuer=issuer), free_port(), Slow()
    agent.goes_on.set()
    bare, known = (ssl.create_default_context(cafile=shown) for _ in range(2))
    known.load_cert_chain(client, private(client))

    with serving(Settings(Listen("127.0.0.1", port), tls=Tls(shown, private(shown), issuer)), agent):
        refused = Encrypted(port, bare).get("/metrics", Host="127.0.0.1")
        answered = Encrypted(port, known).get("/metrics", Host="127.0.0.1")

    assert refused.status == 403
    assert "containment_up" not in refused.text
    assert answered.status == 200
    assert "containment_up 1" in answered.text


def test_an_address_that_is_taken_is_told_and_tried_again_and_the_agent_goes_on(tmp_path: Path) -> None:
    port = free_port()
    taken = socket.create_server(("127.0.0.1", port))
    with Running(tmp_path, f"mode: dry_run\nmetrics: {{listen: '127.0.0.1:{port}'}}\n", POLICY) as agent:
        why = wait_for(lambda: "cannot" in (why := "".join(agent.ask("status")["metrics"]["listens"].values())) and why)
        shown = agent.contain("status").stdout

        taken.close()

        wait_for(lambda: not any(agent.ask("status")["metrics"]["listens"].values()))
        assert "does nobody else listen there?" in why
        assert f"metrics\thttp://127.0.0.1:{port}\tcannot listen" in shown
        assert ask(port, "/healthz").status == 200


def test_those_who_are_slow_keep_nobody_out(scraped: Scraped) -> None:
    slow = [HTTPConnection("127.0.0.1", scraped.port, timeout=20) for _ in range(20)]
    for one in slow:
        one.connect()
        one.sock.sendall(b"GET /metrics HT")

    begun = time.monotonic()
    page = ask(scraped.port, "/healthz")
    took = time.monotonic() - begun

    for one in slow:
        one.close()
    assert page.status == 200
    assert took < 2.0
