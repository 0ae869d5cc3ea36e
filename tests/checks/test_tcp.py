"""Tcp: does a port accept connections?"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

from agent.check import Answer
from agent.checks.tcp import Tcp
from tests.checks.asking import the_answer

BRIEF = timedelta(milliseconds=200)


def ask(question: Tcp) -> Answer:
    return the_answer(question)


def test_a_port_that_accepts_is_good_and_says_how_quickly() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        answer = ask(Tcp("127.0.0.1", port))

    assert (answer.state, answer.target) == ("good", f"127.0.0.1:{port}")
    assert answer.value
    assert 0 < answer.value < 1


def test_a_port_that_nobody_listens_on_is_bad() -> None:
    answer = ask(Tcp("127.0.0.1", 1))

    assert answer.state == "bad"
    assert answer.say == "127.0.0.1:1 does not answer as it should: connection refused"


def test_silence_is_bad_within_the_time_limit() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        held = [socket.socket() for _ in range(3)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        started = time.monotonic()

        answer = ask(Tcp("127.0.0.1", full.getsockname()[1], within=BRIEF))

        assert (answer.state, time.monotonic() - started < 1) == ("bad", True)
        assert answer.say.endswith("no answer within 0.2s")
        for one in held:
            one.close()


def test_a_name_that_does_not_resolve_is_unknown() -> None:
    answer = ask(Tcp("nowhere.invalid", 80))

    assert answer.state == "unknown"
    assert answer.say.startswith("cannot resolve nowhere.invalid: ")


def test_a_network_without_a_way_to_it_is_unknown() -> None:
    assert ask(Tcp("192.0.2.77", 80, within=BRIEF)).state == "unknown"


@contextmanager
def greeter(greeting: bytes) -> Iterator[int]:
    """A server that hears a line if there is one, greets, and ends the connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def greet() -> None:
            wire, _ = server.accept()
            with wire:
                wire.sendall(greeting)
                wire.shutdown(socket.SHUT_WR)
                wire.recv(100)

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_a_greeting_that_is_expected_is_good() -> None:
    with greeter(b"220 mail.example.com ESMTP\r\n") as port:
        assert ask(Tcp("127.0.0.1", port, expect="ESMTP")).state == "good"


def test_another_greeting_is_bad() -> None:
    with greeter(b"554 go away\r\n") as port:
        answer = ask(Tcp("127.0.0.1", port, send="HELO\r\n", expect="220 "))

    assert answer.state == "bad"
    assert answer.say.endswith("it ended the connection without `220 `")


def test_no_greeting_is_bad_within_the_time_limit() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        answer = ask(Tcp("127.0.0.1", server.getsockname()[1], expect="220 ", within=BRIEF))

    assert (answer.state, answer.say.rpartition(": ")[2]) == ("bad", "no answer within 0.2s")
