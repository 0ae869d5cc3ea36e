"""Where the socket is, and what is said when nobody, or somebody else, answers there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli.ask import ask, config_path, socket_path
from agent.cli.ends import Exit, Stop
from tests.cli.command import ROOT
from tests.needs import need_root


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


TREE = "import os; os.environ.pop('CONTAIN_CONFIG', None); from agent.cli.ask import config_path; print(config_path(None))"


def chosen(tree: Path, uid: int = 0, **environment: str) -> str:
    """Which agent.yaml counts for a user who stands in a directory; another Python, for who one is cannot be taken back."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import os, agent.cli.ask; os.setuid({uid}); {TREE}"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with an agent.yaml as `make run` leaves one."""
    need_root()
    (tmp_path / "var").mkdir()
    (tmp_path / "var/agent.yaml").touch()
    return tmp_path


def test_the_agent_yaml_of_make_run_counts_where_it_lies(tree: Path) -> None:
    assert chosen(tree) == "var/agent.yaml"


@pytest.mark.parametrize("name", ["var", "var/agent.yaml"])
def test_one_that_somebody_else_put_there_does_not(tree: Path, name: str) -> None:
    os.chown(tree / name, 4711, 4711)

    assert chosen(tree) == "/etc/containment-agent/agent.yaml"


def test_after_sudo_the_persons_own_one_counts(tree: Path) -> None:
    for name in ("var", "var/agent.yaml"):
        os.chown(tree / name, 4711, 4711)

    assert chosen(tree, SUDO_UID="4711") == "var/agent.yaml"


def test_a_directory_that_one_may_not_look_into_is_no_error(tree: Path) -> None:
    tree.chmod(0o700)

    assert chosen(tree, uid=65534) == "/etc/containment-agent/agent.yaml"


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
