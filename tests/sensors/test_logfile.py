"""The sensor around the follower: batches, positions, states, and how quickly a line arrives."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import pytest

from agent.sensors.logfile import Logfile
from agent.streams.sensor import Batch
from tests.sensors.conftest import Running, Start

LINE = "Nov 23 06:00:01 db1 sshd[812]: Failed password for {user} from 203.0.113.7 port 22 ssh2\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "auth.log"
    path.write_text(LINE.format(user="old"))
    return path


def add(log: Path, *users: str) -> None:
    with log.open("a") as file:
        file.write("".join(LINE.format(user=user) for user in users))


def users(batch: Batch) -> list[object]:
    return [event.fields["user"] for event in batch.events if event.kind == "auth.ssh.failure"]


def begun(running: Running) -> Batch:
    """The first batch of a first start: where it begins, and nothing else."""
    return running.batches.get(timeout=30)


def test_what_waits_comes_in_one_batch_with_the_position_behind_it(start: Start, log: Path) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd",)))
    begun(running)

    add(log, "a", "b", "c")
    batch = running.next("auth.ssh.failure")

    assert users(batch) == ["a", "b", "c"]
    assert (batch.source, batch.lines) == (f"file:{log}", 3)
    assert f'"offset": {log.stat().st_size}' in batch.position


def test_the_first_position_comes_at_once_so_that_a_crash_before_the_first_line_loses_nothing(start: Start, log: Path) -> None:
    first = start(Logfile(path=str(log), parsers=("sshd",)))
    position = begun(first).position
    first.stop()
    add(log, "while away")

    again = start(Logfile(path=str(log), parsers=("sshd",)), position)

    assert users(again.next("auth.ssh.failure")) == ["while away"]


def test_a_sensor_goes_on_from_the_position_of_the_last_batch(start: Start, log: Path) -> None:
    first = start(Logfile(path=str(log), parsers=("sshd",), from_start=True))
    position = first.next("auth.ssh.failure").position
    first.stop()
    add(log, "new")

    again = start(Logfile(path=str(log), parsers=("sshd",), from_start=True), position)

    assert users(again.next("auth.ssh.failure")) == ["new"]


def test_lines_that_mean_nothing_cost_no_batch_of_their_own(start: Start, log: Path) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd",)))
    begun(running)
    running.next("sensor")

    with log.open("a") as file:
        for _ in range(100):
            file.write("Nov 23 06:00:01 db1 cron[1]: nothing\n")
            file.flush()
    add(log, "a")
    batch = running.batches.get(timeout=30)

    assert (users(batch), batch.lines) == (["a"], 101)


def test_noise_moves_the_position_after_eight_megabytes(start: Start, log: Path) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd",)))
    begun(running)
    running.next("sensor")

    with log.open("a") as file:
        file.write("Nov 23 06:00:01 db1 cron[1]: nothing\n" * (9 << 20 >> 5))
    batch = running.batches.get(timeout=30)

    assert batch.events == ()
    assert batch.lines > 100_000


def test_kinds_that_nobody_wants_are_not_delivered(start: Start, log: Path) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd", "sudo")), wanted=frozenset({"auth.sudo.command"}))
    begun(running)

    with log.open("a") as file:
        file.write(LINE.format(user="x"))
        file.write("Nov 23 06:00:02 db1 sudo: eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id\n")
    batch = running.next("auth.sudo.command")

    assert [event.kind for event in batch.events] == ["auth.sudo.command"]


def test_a_missing_file_is_told_and_read_from_its_start_when_it_appears(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    running = start(Logfile(path=str(log), parsers=("sshd",)))
    (told,) = running.next("sensor").events

    add(log, "first")

    assert told.fields["ok"] is False
    assert "no such file" in str(told.fields["say"])
    assert users(running.next("auth.ssh.failure")) == ["first"]


def test_a_path_that_is_no_file_is_told_with_the_reason(start: Start, tmp_path: Path) -> None:
    running = start(Logfile(path=str(tmp_path), parsers=("sshd",)))

    (told,) = running.next("sensor").events

    assert (told.fields["ok"], told.fields["say"]) == (False, f"cannot read {tmp_path}: not a regular file")


def test_a_sensor_that_reads_says_so(start: Start, log: Path) -> None:
    running = start(Logfile(path=str(log), parsers=("sshd",)))

    (told,) = running.next("sensor").events

    assert (told.fields["name"], told.fields["ok"], told.fields["lag_bytes"]) == (f"file:{log}", True, 0)


def test_back_pressure_loses_nothing(log: Path) -> None:
    taken: queue.Queue[Batch] = queue.Queue(maxsize=1)
    stop = threading.Event()
    sensor = Logfile(path=str(log), parsers=("sshd",), from_start=True)
    thread = threading.Thread(target=sensor.run, args=(taken.put, None, stop), daemon=True)
    names = [str(number) for number in range(2000)]
    thread.start()

    for number in range(0, 2000, 100):
        add(log, *names[number : number + 100])
    found: list[object] = []
    while len(found) < 2001:
        found += users(taken.get(timeout=30))
    stop.set()

    assert found == ["old", *names]


def test_an_unknown_parser_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"cannot read with `nginz`: no such parser; there are .*canary, .*falco, nginx, .*sshd, sudo, "
    ):
        Logfile(path="/x", parsers=("nginz",))


# More than lines ----------------------------------------------------------------------------------------------------------

CSV = (
    '2026-11-23 06:00:01.123 UTC,"{user}","shop",1,"203.0.113.7:1",x,1,"",2026-11-23 06:00:01 UTC,3/1,0,FATAL,28P01,'
    '"password authentication failed for user ""{user}""","Role ""{user}"" does not exist.\n'
    'Connection matched pg_hba.conf line 5",,,,,,,,"","client backend",,0\n'
)


def test_an_entry_of_several_lines_is_one_event_whenever_its_lines_come(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "pg.csv"
    log.write_text(CSV.format(user="a") + CSV.format(user="b").partition("\n")[0] + "\n")
    running = start(Logfile(path=str(log), parsers=("postgres_csv",), from_start=True))
    first = running.next("postgres.auth.failure")

    with log.open("a") as file:
        file.write(CSV.format(user="b").partition("\n")[2])
    second = running.next("postgres.auth.failure")

    told = [[(event.fields["user"], event.fields["reason"]) for event in batch.events] for batch in (first, second)]
    assert told == [[("a", "no such role")], [("b", "no such role")]]


def test_a_containers_lines_are_read_out_of_dockers_file(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "0-json.log"
    line = '203.0.113.7 - - [23/Nov/2026:06:00:01 +0000] "GET /%s HTTP/1.1" 404 5 "-" "-"'
    for text in (line % "a" + "\n", (line % "b")[:30], (line % "b")[30:] + "\n"):
        with log.open("a") as file:
            file.write(
                json.dumps({"log": text, "stream": "stdout", "time": "2026-11-23T06:00:01.1Z"}, separators=(",", ":")) + "\n"
            )

    batch = start(Logfile(path=str(log), parsers=("nginx",), from_start=True, inside="docker")).next("http.request")

    assert [event.fields["path"] for event in batch.events] == ["/a", "/b"]


def test_two_parsers_that_take_lines_together_differently_cannot_share_a_file() -> None:
    with pytest.raises(ValueError, match="take its lines together differently"):
        Logfile(path="/x", parsers=("postgres_csv", "postgres_stderr"))
