"""Where the socket is, and what is said when nobody, or somebody else, answers there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli.ask import ask, config_path, socket_path
from agent.cli.ends import Exit, Stop


@contextmanager
def answering(place: Path, answer: bytes) -> Iterator[None]:
    """Somebody who answers one connection with these bytes."""

    def serve() -> None:
        wire, _ = server.accept()
        with wire:
            wire.recv(65536)
            wire.sendall(answer)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5)


def stopped(place: Path, patience: float = 5.0) -> Stop:
    with pytest.raises(Stop) as stop:
        ask(place, "status", {}, patience)
    return stop.value


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("socket: agent.sock", "agent.sock"),
        ('socket: "a b.sock"  # here', "a b.sock"),
        ("socket: 'x.sock'", "x.sock"),
        ("socket: run/x.sock # why", "run/x.sock"),
    ],
)
def test_the_socket_is_read_from_agent_yaml_relative_to_it(tmp_path: Path, line: str, found: str) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(f"# socket: /wrong\nhost: db1\n{line}\n")

    assert socket_path(None, config) == tmp_path / found


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("socket: other.sock\n")

    assert socket_path(Path("given.sock"), config) == Path("given.sock")


def test_a_given_config_wins() -> None:
    assert config_path(Path("here.yaml")) == Path("here.yaml")


def test_an_answer_is_handed_on(tmp_path: Path) -> None:
    place = tmp_path / "sock"

    with answering(place, b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"items": [1]}'):
        assert ask(place, "status", {}) == {"items": [1]}


def test_no_socket_is_unreachable_and_says_how_to_start(tmp_path: Path) -> None:
    stop = stopped(tmp_path / "none")

    assert stop.code == Exit.UNREACHABLE
    assert "nothing listens at" in stop.text
    assert "contain run" in stop.text


def test_a_left_over_socket_is_told_from_a_running_agent(tmp_path: Path) -> None:
    place = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(place))

    stop = stopped(place)

    assert stop.code == Exit.UNREACHABLE
    assert "left over" in stop.text


def test_an_agent_that_hangs_is_not_waited_for_without_end(tmp_path: Path) -> None:
    place = tmp_path / "hangs"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place))
        deaf.listen()

        stop = stopped(place, patience=0.1)

    assert stop.code == Exit.UNREACHABLE
    assert "busy or stuck" in stop.text


def test_another_program_at_the_socket_is_not_taken_for_the_agent(tmp_path: Path) -> None:
    place = tmp_path / "sock"

    with answering(place, b"SSH-2.0-OpenSSH_9.2\r\n"):
        stop = stopped(place)

    assert stop.code == Exit.UNREACHABLE
    assert "not this agent" in stop.text


def test_what_the_agent_does_not_understand_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    place = tmp_path / "sock"

    with answering(place, b'HTTP/1.0 400 Bad Request\r\n\r\n{"result": "usage", "problem": "no action `blok`"}'):
        stop = stopped(place)

    assert (stop.code, stop.text) == (Exit.USAGE, "cannot status: no action `blok`")


def test_an_error_of_the_agent_is_told_as_it_says_it(tmp_path: Path) -> None:
    place = tmp_path / "sock"

    with answering(place, b'HTTP/1.0 504 Gateway Timeout\r\n\r\n{"error": "it is busy"}'):
        stop = stopped(place)

    assert (stop.code, stop.text) == (Exit.FAILED, "cannot status: it is busy")
