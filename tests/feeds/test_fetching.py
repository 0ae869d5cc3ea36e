"""A list is got whole and in time, from where agent.yaml says and nowhere else."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from agent.action import CannotReach
from agent.feeds import fetching
from agent.feeds.fetching import NotSent, Source, fetch
from tests.feeds.server import Lists, reply

BODY = b"198.51.100.7\n203.0.113.0/24\n"


def source(server: Lists, **more: Any) -> Source:
    return Source(**{"url": server.url, "ca_file": str(server.issuer), "within": timedelta(seconds=20), **more})


def why(server: Lists, **more: Any) -> str:
    with pytest.raises(NotSent) as raised:
        fetch(source(server, **more))
    return str(raised.value)


def test_a_list_comes_with_its_servers_names_for_it_and_a_second_look_costs_no_download(server: Lists) -> None:
    server.texts("198.51.100.7", etag='"abc"')

    first = fetch(source(server))
    second = fetch(source(server), first.etag, first.modified)

    assert (first.body, first.etag) == (b"198.51.100.7\n", '"abc"')
    assert (second.body, second.etag) == (None, '"abc"')
    assert server.asked[0][1]["User-Agent"].startswith("containment-agent/")
    assert server.asked[1][1]["If-None-Match"] == '"abc"'


def test_a_server_that_nobody_vouches_for_is_not_believed(server: Lists) -> None:
    with pytest.raises(CannotReach, match="certificate does not hold") as raised:
        fetch(source(server, ca_file=""))

    assert not isinstance(raised.value, NotSent)
    assert server.asked == []


def test_a_name_that_leads_to_an_inner_address_is_not_followed_unless_that_was_written(server: Lists) -> None:
    named = server.url.replace("127.0.0.1", "localhost")

    with pytest.raises(
        CannotReach, match=r"localhost is (127\.0\.0\.1|::1), which is no address of the internet; .*private: true"
    ):
        fetch(source(server, url=named))
    assert server.asked == []

    assert fetch(source(server, url=named, private=True)).body == b""


@pytest.mark.parametrize(
    ("said", "because"),
    [
        ({"status": 404}, "it answers 404 Not Found"),
        ({"status": 500}, "it answers 500 Internal Server Error"),
        ({"status": 304}, "it answers 304 Not Modified"),
        ({"status": 302}, "it answers 302 Found"),
        ({"status": 200, "body": BODY, "Content_Length": "99"}, "it was cut after 28 of 99 bytes"),
        (
            {"status": 200, "body": BODY[:-3], "Content_Length": ""},
            "does not say how long it is, and ends in the middle of a line",
        ),
        ({"status": 200, "body": b"10\r\nabc", "Content_Length": "", "Transfer_Encoding": "chunked"}, "it was cut in the middle"),
        ({"status": 200, "body": b"", "Content_Length": str(65 << 20)}, "it has 65 MiB, and 64 are the most"),
        ({"status": 200, "body": b"x", "Content_Encoding": "gzip"}, "it comes packed (gzip), though that was not asked for"),
    ],
)
def test_what_is_no_whole_list_is_told_and_not_used(server: Lists, said: dict[str, Any], because: str) -> None:
    server.say = lambda handler: reply(handler, **said)

    assert because in why(server)


@pytest.mark.parametrize(("later", "seconds"), [("7200", 7200.0), ("Mon, 23 Nov 2026 06:00:00 GMT", 0.0), ("99999999999", 0.0)])
def test_a_server_may_say_when_to_come_back(server: Lists, later: str, seconds: float) -> None:
    server.say = lambda handler: reply(handler, 429, Retry_After=later)

    with pytest.raises(NotSent) as raised:
        fetch(source(server))

    assert raised.value.wait == seconds


@pytest.mark.parametrize(
    "where", ["https://evil.example.com/drop.txt", "http://127.0.0.1/drop.txt", "//127.0.0.2/x", "file:///etc/passwd"]
)
def test_a_redirect_to_elsewhere_is_not_followed_and_the_mend_is_told(server: Lists, where: str) -> None:
    server.say = lambda handler: reply(handler, 302, Location=where)

    assert why(server).endswith(f"it sends us to {where}; if that is right, write it as url in agent.yaml")
    assert len(server.asked) == 1


def test_a_redirect_on_the_same_host_is_followed_and_an_endless_one_is_not(server: Lists) -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        moved = handler.path == "/drop.txt"
        reply(handler, 301, Location="/new/drop.txt") if moved else reply(handler, 200, BODY)

    server.say = once
    assert fetch(source(server)).body == BODY

    server.say = lambda handler: reply(handler, 301, Location="/drop.txt")
    assert "more than 3 redirects" in why(server)


def test_a_text_without_a_length_is_taken_where_its_last_line_is_whole(server: Lists) -> None:
    server.say = lambda handler: reply(handler, 200, BODY, Content_Length="")

    assert fetch(source(server)).body == BODY


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n198.51.100.7\n"]
)
def test_a_server_that_hangs_anywhere_is_cut_off_in_time(server: Lists, part: bytes) -> None:
    def hang(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(part)
        server.over.wait(10)

    server.say = hang
    began = time.monotonic()

    assert "it was not there as a whole within 400 ms" in why(server, within=timedelta(seconds=0.4))
    assert time.monotonic() - began < 9


def test_a_server_that_drips_a_byte_now_and_then_is_cut_off_too(server: Lists) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            handler.wfile.write(b"X: y\r\n")
            if server.over.wait(0.05):
                return

    server.say = drip

    assert "it was not there as a whole within" in why(server, within=timedelta(seconds=0.4))


def test_a_port_that_is_shut_is_told_and_is_no_bother_to_anybody() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))

        with pytest.raises(CannotReach, match="connection refused") as raised:
            fetch(Source(f"https://127.0.0.1:{taken.getsockname()[1]}/x"))

    assert not isinstance(raised.value, NotSent)


def test_more_than_may_be_is_not_read_to_its_end(server: Lists) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.over.is_set():
            handler.wfile.write(b"198.51.100.7\n" * 20_000)
            sent += 260_000

    server.say = endless

    assert f"it has more than {fetching.LARGEST >> 20} MiB" in why(server)
    assert sent < 2 * fetching.LARGEST


def test_a_chunk_of_less_than_nothing_is_no_way_around_that(server: Lists) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        while not server.over.is_set() and sent < 4 * fetching.LARGEST:
            handler.wfile.write(b"198.51.100.7\n" * 20_000)
            sent += 260_000

    server.say = endless

    assert f"it has more than {fetching.LARGEST >> 20} MiB" in why(server)
    assert sent < 2 * fetching.LARGEST
