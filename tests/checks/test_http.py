"""Http: does a web address answer as it should?"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.check import Answer
from agent.checks.http import Http
from agent.grammar.config import read_config
from agent.grammar.problem import Problems
from tests.certificates import certificate, server_context
from tests.checks.asking import the_answer


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with suppress(OSError):  # a client that was cut off
            getattr(self, self.path.partition("?")[0].strip("/") or "fine", self.missing)()

    def fine(self, status: int = 200, body: bytes = b"Welcome to the shop", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def missing(self) -> None:
        self.fine(404)

    def broken(self) -> None:
        self.fine(500)

    def long(self) -> None:
        self.fine(body=b"x" * 70_000 + b"needle")

    def moved(self) -> None:
        self.fine(302, Location="/")

    def strange_port(self) -> None:
        self.fine(302, Location="http://127.0.0.1:port/")

    def strange_letters(self) -> None:
        self.fine(302, Location="/gefällt mir")

    def away(self) -> None:
        self.fine(302, Location="http://192.0.2.1/")

    def loop(self) -> None:
        self.fine(302, Location="/loop")

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b".")
            time.sleep(0.05)

    def mute(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def serve(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    for server in serve(ThreadingHTTPServer(("127.0.0.1", 0), Site)):
        yield f"http://127.0.0.1:{server.server_port}"


def ask(url: str, **how: Any) -> Answer:
    return the_answer(Http(url, **how))


def test_a_page_that_answers_is_good_and_says_how_quickly(site: str) -> None:
    answer = ask(site, contains="Welcome", matches=re.compile("the s.op$"), latency_limit=timedelta(seconds=2))

    assert (answer.state, answer.target, answer.limit) == ("good", site, 2)
    assert answer.value
    assert answer.value < 1


def test_an_error_is_bad(site: str) -> None:
    assert ask(f"{site}/broken").say == f"{site}/broken answers 500 Internal Server Error"


def test_the_status_can_be_named(site: str) -> None:
    assert (ask(f"{site}/broken", status=(500, 503)).state, ask(site, status=(500,)).state) == ("good", "bad")


@pytest.mark.parametrize(
    ("path", "says"), [("strange_port", "does not answer: it redirects to what"), ("strange_letters", "404")]
)
def test_a_redirect_to_no_address_is_bad_and_no_bug_of_ours(path: str, says: str, site: str) -> None:
    answer = ask(f"{site}/{path}")

    assert answer.state == "bad"
    assert says in answer.say


def test_text_that_is_missing_is_bad(site: str) -> None:
    assert ask(site, contains="Sold out").say == f"{site} answers 200 without `Sold out` in its first 64 KiB"
    assert ask(site, matches=re.compile("^shop")).state == "bad"


def test_nothing_after_64_kib_is_read(site: str) -> None:
    assert (ask(f"{site}/long", contains="xx").state, ask(f"{site}/long", contains="needle").state) == ("good", "bad")


def test_a_slow_page_is_bad_with_both_figures(site: str) -> None:
    answer = ask(site, latency_limit=timedelta(microseconds=1))

    assert (answer.state, answer.limit) == ("bad", 1e-6)


def test_a_redirect_is_followed_on_the_same_host(site: str) -> None:
    assert ask(f"{site}/moved", contains="Welcome").state == "good"


def test_a_redirect_to_another_host_is_the_answer(site: str) -> None:
    assert ask(f"{site}/away").say.startswith(f"{site}/away answers 302 in ")


def test_redirects_in_a_circle_are_bad(site: str) -> None:
    assert ask(f"{site}/loop").say == f"{site}/loop does not answer: more than 5 redirects"


def test_a_page_that_drips_is_cut_off_at_its_time_limit(site: str) -> None:
    started = time.monotonic()

    answer = ask(f"{site}/drip", within=timedelta(milliseconds=300))

    assert (answer.state, time.monotonic() - started < 1) == ("bad", True)
    assert answer.say.endswith("does not answer: no answer within 300 ms")


def test_a_connection_that_ends_without_a_word_is_bad(site: str) -> None:
    assert ask(f"{site}/mute").state == "bad"


def test_nobody_there_is_bad_and_a_name_unknown_to_dns_is_unknown() -> None:
    assert ask("http://127.0.0.1:1/").say == "http://127.0.0.1:1/ does not answer: connection refused"
    assert ask("http://nowhere.invalid/").state == "unknown"


def test_https_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    shown = certificate(tmp_path, 100)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = server_context(shown).wrap_socket(server.socket, server_side=True)
    for _ in serve(server):
        url = f"https://localhost:{server.server_port}"

        answers = [ask(url), ask(url, ca_file=str(shown)), ask(url, verify=False)]

    assert [one.state for one in answers] == ["bad", "good", "good"]
    assert "its certificate does not hold: self-signed certificate" in answers[0].say


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "a.example.com", "http://user:secret@a.example.com/"])
def test_a_url_that_is_none_or_holds_a_password_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="without a user name or password"):
        Http(url)


# What agent.yaml may say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["(a+)+$", "Welcome.*shop"])
def test_an_expression_that_a_page_can_make_slow_is_refused_where_it_stands(slow: str) -> None:
    text = f"version: 1\nchecks:\n  shop: {{http: {{url: http://shop.example/, matches: '{slow}'}}, every: 10s}}\n"

    with pytest.raises(Problems) as told:
        read_config(text, "agent.yaml", sensors={}, checks={"http": Http})

    assert "can be slow" in str(told.value)
    assert "agent.yaml:3:" in str(told.value)
