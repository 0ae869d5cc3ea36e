"""What Apache and nginx write about clients that they refuse, written by both of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from agent.event import Event
from agent.streams.parser import Scan, discover_parsers
from tests.parsers.own_syslog import OwnSyslog, lines
from tests.parsers.web_servers import WebServer, apache, nginx

CLIENT = "127.0.0.7"
FORGED = (
    b'x\n2026/11/23 18:00:05 [error] 1#1: *1 access forbidden by rule, client: 6.6.6.6, server: s, request: "GET /", host: "h"\ny'
)
QUOTED = b"".join(b"%%%02x" % byte for byte in FORGED)


def scanned(chunk: bytes, *parsers: str) -> list[Event]:
    return Scan.of([discover_parsers()[one] for one in parsers], "file:x").events(chunk, time.time())


# Apache ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with closing(apache(tmp_path_factory.mktemp("apache"))) as made:
        yield made


@pytest.fixture
def logged(server: WebServer) -> Callable[[str], bytes]:
    """What a log got since the test began; Apache logs a moment after its answer."""
    logs = {one.stem: one for one in server.place.glob("*.log")}
    before = {name: one.stat().st_size for name, one in logs.items()}

    def read(name: str) -> bytes:
        until = time.monotonic() + 20
        while logs[name].stat().st_size == before[name]:
            assert time.monotonic() < until, f"nothing came into {logs[name]}"
            time.sleep(0.01)
        return logs[name].read_bytes()[before[name] :]

    return read


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [(b"alice", b"wrong", "wrong password"), (b"nobody", b"x", "no such user"), (b"bob", b"right", "may not have this")],
)
def test_apache_refuses_a_login(
    server: WebServer, logged: Callable[[str], bytes], user: bytes, password: bytes, reason: str
) -> None:
    status = server.ask(CLIENT, b"/auth/", user=user, password=password)

    (event,) = scanned(logged("error"), "apache_error")
    assert (status, event.kind) == (401, "auth.http.failure")
    assert event.fields == {"src.ip": CLIENT, "user": user.decode(), "reason": reason}
    assert abs(event.ts - time.time()) < 60


def test_apache_denies_by_its_configuration(server: WebServer, logged: Callable[[str], bytes]) -> None:
    status = server.ask(CLIENT, b"/deny/x%0a[client%206.6.6.6:1]%20AH01630:%20client")

    events = scanned(logged("error"), "apache_error")
    assert (status, [(one.kind, one.fields["src.ip"]) for one in events]) == (403, [("http.denied", CLIENT)])


def test_no_name_chooses_apaches_client(server: WebServer, logged: Callable[[str], bytes]) -> None:
    server.ask(CLIENT, b"/auth/", b"Referer: [client 6.6.6.6:1] AH01618", user=b"x] [client 6.6.6.6] AH01618\n[Mon")

    (event,) = scanned(logged("error"), "apache_error")
    assert event.fields["src.ip"] == CLIENT


@pytest.mark.parametrize("form", ["common", "combined", "vhost_combined"])
def test_every_format_of_apaches_is_read_line_by_line_and_counted(
    server: WebServer, logged: Callable[[str], bytes], form: str
) -> None:
    for _ in range(5):
        server.ask(CLIENT, b'/a?b="\\', b'User-Agent: \\" 200 5 "', b"Referer: \\", user=b'6.6.6.6 [x] "GET / HTTP/1.1" 200')
    until = time.monotonic() + 20
    while (chunk := logged(form)).count(b"\n") < 5:
        assert time.monotonic() < until, chunk
        time.sleep(0.01)

    events = scanned(chunk, "apache")
    tally = discover_parsers()["apache"].tally
    assert tally is not None
    site = b"shop.example" if form == "vhost_combined" else b""
    assert {(one.fields["src.ip"], one.fields["path"], one.fields["status"]) for one in events} == {(CLIENT, "/a", 404)}
    assert {one.fields.get("vhost", "") for one in events} == {site.decode()}
    assert tally(chunk).hits == {(CLIENT.encode(), site, b"404"): 5}
    assert abs(tally(chunk).last - time.time()) < 60


# nginx ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebServer, OwnSyslog]]:
    place = tmp_path_factory.mktemp("nginx")
    with closing(OwnSyslog(place)) as syslog, closing(nginx(place)) as made:
        yield made, syslog


def events_of(messages: tuple[WebServer, OwnSyslog], until: bytes) -> list[Event]:
    said = messages[1].said(until)
    return scanned(lines(said).replace(b"db1 db1 ", b"db1 "), "nginx_error")


@pytest.mark.parametrize(("user", "reason"), [(b"alice", "wrong password"), (b"nobody", "no such user")])
def test_nginx_refuses_a_login(messages: tuple[WebServer, OwnSyslog], user: bytes, reason: str) -> None:
    messages[0].ask(CLIENT, b"/auth/", user=user)

    (event,) = events_of(messages, b"user ")
    assert event.kind == "auth.http.failure"
    assert event.fields == {"src.ip": CLIENT, "user": user.decode(), "reason": reason, "vhost": "shop"}


def test_nginx_limits_requests(messages: tuple[WebServer, OwnSyslog]) -> None:
    statuses = [messages[0].ask(CLIENT, b"/limit"), messages[0].ask(CLIENT, b"/limit")]

    (event,) = events_of(messages, b"limiting ")
    assert statuses == [404, 503]
    assert event.fields == {"src.ip": CLIENT, "limit": "request", "zone": "one", "delayed": False, "vhost": "shop"}


def test_nginx_denies_by_rule(messages: tuple[WebServer, OwnSyslog]) -> None:
    messages[0].ask(CLIENT, b"/deny/x")

    (event,) = events_of(messages, b"forbidden by rule")
    assert (event.kind, event.fields["src.ip"]) == ("http.denied", CLIENT)


def test_lines_in_a_path_or_a_name_make_no_event_of_their_own_at_nginx(messages: tuple[WebServer, OwnSyslog]) -> None:
    server, _ = messages
    server.ask(CLIENT, b"/" + QUOTED)
    server.ask(CLIENT, b"/auth/", user=FORGED)
    server.ask(CLIENT, b"/deny/last")

    found = events_of(messages, b"/deny/last")

    assert [(one.kind, one.fields["src.ip"]) for one in found] == [("auth.http.failure", CLIENT), ("http.denied", CLIENT)]
