"""The running agent from outside: what systemd hears, what the socket answers, what a second one is told."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from cheroot.server import HTTPConnection

from agent.control import SILENCE, THREADS, Control
from agent.evidence.journal_read import read_only
from agent.record import Record
from tests.running import Running, contain, wait_for

POLICY = """
policy: port-down
severity: P1
owner: sre
when:
  event: check
  match: {check: tcp, ok: false}
  for: 2 of 3
  by: name
"""


def make(place: Path, yaml: str = "") -> Running:
    return Running(place, f"mode: enforce\n{yaml}", POLICY)


def records(agent: Running, kind: str) -> list[Record]:
    with read_only(agent.place / "state" / "journal.db") as reader:
        return [one.record for one in reader.records(limit=10_000) if one.record.kind == kind]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    with make(tmp_path) as made:
        yield made


def raw(agent: Running, request: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(20)
        there.connect(str(agent.socket))
        there.sendall(request)
        return b"".join(iter(lambda: there.recv(1 << 16), b"")).decode()


# systemd --------------------------------------------------------------------------------------------------------------------


def test_systemd_hears_of_readiness_life_reload_and_the_stop(tmp_path: Path) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.05)

        def hears(word: str) -> bool:
            try:
                heard.extend(manager.recv(4096).decode().splitlines())
            except TimeoutError:
                return False
            return word in heard

        with make(tmp_path) as _:
            pass
        agent = make(tmp_path)
        agent.spawn(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        wait_for(lambda: hears("READY=1"))
        wait_for(lambda: hears("WATCHDOG=1"))
        heard.clear()
        agent.hangup()
        wait_for(lambda: hears("RELOADING=1"))
        wait_for(lambda: hears("READY=1"))

        assert agent.stop() == 0
        wait_for(lambda: hears("STOPPING=1"))


# The socket -----------------------------------------------------------------------------------------------------------------


def test_the_kernel_says_who_asked_and_the_evidence_keeps_it(agent: Running) -> None:
    answer = agent.ask("do", action="block_ip", params={"ip": "198.51.100.7", "ttl": "1m"}, why="a scanner")

    assert answer["result"] == "in_force"
    assert records(agent, "intent")[0].body["actor"] == f"root (uid {os.getuid()})"
    assert records(agent, "intent")[0].body["because"] == "a scanner"


def test_only_the_owner_and_the_group_may_connect(agent: Running) -> None:
    assert agent.socket.stat().st_mode & 0o777 == 0o660


def test_the_socket_is_nobody_elses_for_a_moment_either(tmp_path: Path) -> None:
    place, modes, over = tmp_path / "control.sock", set[int](), threading.Event()

    def look() -> None:
        while not over.is_set():
            with suppress(FileNotFoundError):
                modes.add(place.stat().st_mode & 0o777)

    watcher, usual = threading.Thread(target=look), os.umask(0)
    watcher.start()
    try:
        for _ in range(20):
            Control(place, lambda _: None).close()
    finally:
        os.umask(usual)
        over.set()
        watcher.join()

    assert modes <= {0o600, 0o660}


def test_those_who_connect_and_say_nothing_keep_nobody_from_being_heard_for_long(agent: Running) -> None:
    with ExitStack() as held:
        for _ in range(THREADS):
            held.enter_context(socket.socket(socket.AF_UNIX)).connect(str(agent.socket))
        begun = time.monotonic()
        agent.ask("ping")
        took = time.monotonic() - begun

    assert took < SILENCE + 2


def test_a_connection_that_is_over_leaves_neither_a_file_nor_memory_until_the_next_garbage_collection(tmp_path: Path) -> None:
    place = tmp_path / "control.sock"
    control = Control(place, lambda _: None)

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def kept() -> int:
        return sum(isinstance(one, HTTPConnection) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept(), files()
        for _ in range(4 * THREADS):
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(str(place))
                there.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
                while there.recv(1 << 16):
                    pass

        wait_for(lambda: kept() <= before[0] + THREADS)  # each thread knows its last one
        wait_for(lambda: files() <= before[1])
    finally:
        gc.enable()
        control.close()


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [
        (b"GET /v1/status HTTP/1.0\r\n\r\n", "ask with POST"),
        (b"POST /v1/status HTTP/1.0\r\nContent-Length: 3\r\n\r\n{{{", "cannot read the request"),
        (b"POST /v1/status HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", "must be a JSON object"),
        (b"POST /v1/status HTTP/1.0\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99999, "cannot read the request"),
        (b"POST /v1/fly HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "knows no such order"),
        (b"POST /v1/status HTTP/1.0\r\nContent-Length: 9999999\r\n\r\n", "413"),
        (
            b"POST /v1/do HTTP/1.0\r\nContent-Length: 33\r\n\r\n" + b'{"action":"bloc_ip","why":"test"}'[:33],
            "no action `bloc_ip`; known: block_egress, block_ip",
        ),
        (b"POST /v1/undo HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "`what`: field required"),
        (b"POST /v1/pause HTTP/1.0\r\nContent-Length: 26\r\n\r\n" + b'{"seconds":"x","why":"yy"}', "`seconds`"),
        (b"POST /v1/events HTTP/1.0\r\nContent-Length: 13\r\n\r\n" + b'{"limit":"x"}', "`limit`"),
    ],
)
def test_a_request_that_makes_no_sense_gets_a_clear_answer_and_the_agent_goes_on(
    agent: Running, request_text: bytes, answer: str
) -> None:
    assert answer in raw(agent, request_text)
    assert agent.ask("ping") == {}


def test_a_second_agent_is_told_that_another_answers_here(agent: Running) -> None:
    second = contain("run", "--config", str(agent.config))

    assert second.returncode == 1
    assert "another agent" in second.stderr
    assert agent.ask("ping") == {}


def test_an_agent_that_stops_leaves_no_socket(agent: Running) -> None:
    agent.stop()

    assert not agent.socket.exists()


def test_a_socket_left_by_a_dead_agent_is_replaced(agent: Running) -> None:
    agent.kill()
    assert agent.socket.exists()

    agent.start()

    assert agent.ask("ping") == {}


def test_pause_and_mode_survive_kill_9(agent: Running) -> None:
    agent.ask("pause", seconds=600, why="deploy")
    agent.ask("mode", policy="port-down", mode="off")
    agent.kill()

    agent.start()

    status = agent.ask("status")
    assert status["pause"]["why"] == "deploy"
    assert status["modes"] == {"enforce": 0, "dry_run": 0, "off": 1}
    assert agent.ask("resume")["result"] == "resumed"


def test_a_reload_learns_whom_never_to_touch_before_anybody_can_be_blocked(agent: Running) -> None:
    with agent.config.open("a") as config:
        config.write("never_touch: [198.51.100.7]\n")

    assert agent.ask("reload")["result"] == "reloaded"
    answer = agent.ask("do", action="block_ip", params={"ip": "198.51.100.7", "ttl": "1m"}, why="a scanner")

    assert answer["result"] == "refused"
    assert "never_touch in agent.yaml" in answer["because"]


# Checks ---------------------------------------------------------------------------------------------------------------------


def test_a_check_that_turns_bad_opens_an_incident_and_a_hung_one_holds_up_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        checks = f"checks:\n  shop: {{tcp: {{host: 127.0.0.1, port: {port}}}, every: 1s, timeout: 1s}}\n"
        checks += '  stuck: {exec: {command: ["/bin/sleep", "3"]}, every: 1s, timeout: 1s}\n'
        agent = make(tmp_path, checks).start()
        wait_for(lambda: [one for one in agent.ask("checks")["items"] if one["name"] == "shop" and one["answers"]])
        assert agent.ask("incidents")["total"] == 0
    try:
        wait_for(lambda: agent.ask("incidents")["total"])
        (incident,) = agent.ask("incidents")["items"]
        stuck = next(one for one in agent.ask("checks")["items"] if one["name"] == "stuck")

        assert incident["policy"] == "port-down"
        assert incident["target"] == "shop"
        assert stuck["answers"][0]["state"] == "unknown"
    finally:
        agent.kill()


def test_a_sensor_that_cannot_see_is_written_down_and_stands_in_the_status_until_it_sees(tmp_path: Path) -> None:
    log = tmp_path / "missing.log"
    agent = make(tmp_path, f"sensors:\n  auth: {{logfile: {{path: {log}, parsers: [sshd]}}}}\n")
    with agent:
        blind = wait_for(lambda: agent.ask("status")["blind"])
        assert "blind" in agent.contain("status").stdout

        log.touch()
        wait_for(lambda: not agent.ask("status")["blind"])

    assert list(blind) == [f"file:{log}"]
    assert [one.body["ok"] for one in records(agent, "sensor")] == [False, True]
