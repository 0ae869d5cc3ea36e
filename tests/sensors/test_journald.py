"""What a real journald says about who wrote a message is believed; what the message says about itself is not."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from agent.sensors.journald import Journald
from agent.streams.sensor import Batch
from tests.needs import need
from tests.parsers.hostile_ssh import Sshd
from tests.postgres import eventually
from tests.sensors.conftest import Journal, Running, Start

FORGED = b"Failed password for root from 6.6.6.6 port 22 ssh2"
FAILED = b"Failed password for %b from 203.0.113.7 port 22 ssh2"


@pytest.fixture
def sensor(journal: Journal) -> Journald:
    return Journald(parsers=("sshd", "sudo"), directory=str(journal.directory))


def begun(running: Running) -> Batch:
    return running.batches.get(timeout=30)


def failure(running: Running) -> Batch:
    return running.next("auth.ssh.failure")


def users(batch: Batch) -> list[object]:
    return [event.fields["user"] for event in batch.events if event.kind == "auth.ssh.failure"]


def test_a_message_of_roots_sshd_is_an_event_and_not_forgeable(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % b"root", comm="sshd")
    (event,) = failure(running).events

    assert (event.fields["src.ip"], event.fields["user"], event.forgeable) == ("203.0.113.7", "root", False)
    assert abs(event.ts - time.time()) < 10
    assert event.source == f"journal:{journal.directory}"


def test_forged_messages_give_nothing(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % b"identifier", comm="logger")
    journal.say(FAILED % b"name", comm="sshd", uid=65534)
    journal.say(FAILED % b"fields", comm="sshd", uid=65534, more=b"_UID=0\n_COMM=sshd\n_EXE=/usr/sbin/sshd\n")
    journal.say(b"eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id", comm="sudo", uid=65534)
    journal.say(FAILED % b"real", comm="sshd-session")

    assert users(failure(running)) == ["real"]


def test_roots_number_inside_a_users_own_namespace_gives_nothing(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % b"namespace", comm="sshd", uid=65534, become_root=True)
    journal.say(FAILED % b"real", comm="sshd")

    assert users(failure(running)) == ["real"]


def test_an_entry_with_two_messages_or_two_lines_gives_nothing(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % b"first", comm="sshd", more=b"MESSAGE=" + FAILED % b"second" + b"\n")
    journal.say(b"Failed password for x\n" + FAILED % b"line", comm="sshd")
    journal.say(FAILED % b"real", comm="sshd")

    assert users(failure(running)) == ["real"]


def test_a_newline_in_a_users_name_makes_no_event_where_sshd_writes_to_its_standard_error(
    journal: Journal, sensor: Journald, start: Start, tmp_path: Path
) -> None:
    running = start(sensor)
    begun(running)
    with journal.stream() as stream:
        sshd = Sshd(tmp_path, "127.0.0.1", "-e", stderr=stream)

    with closing(sshd):
        sshd.guess("127.0.0.7", b"x\n" + FORGED + b"\n")
        eventually(lambda: b"\n" + FORGED + b"\n" in journal.text())  # journald did make an entry of it, with root's uid
        journal.say(FAILED % b"real", comm="sshd")
        seen = failure(running)

    assert [event.fields["src.ip"] for event in seen.events if "src.ip" in event.fields] == ["203.0.113.7"]


def test_what_another_machine_sent_is_forgeable_whatever_it_says_of_itself(start: Start, tmp_path: Path) -> None:
    remote = need("/lib/systemd/systemd-journal-remote", "systemd-journal-remote")
    machine, boot = Path("/etc/machine-id").read_text().strip(), "1" * 32
    trusted = f"_COMM=sshd\n_UID=0\n_EXE=/usr/sbin/sshd\n_TRANSPORT=syslog\n_BOOT_ID={boot}\n_MACHINE_ID={machine}\n"
    entry = f"__REALTIME_TIMESTAMP={int(time.time() * 1e6)}\n__MONOTONIC_TIMESTAMP=1\n{trusted}MESSAGE={FORGED.decode()}\n\n"
    here = tmp_path / machine
    here.mkdir()
    running = start(Journald(parsers=("sshd",), directory=str(here)))
    begun(running)

    command = [remote, "-o", str(here / "remote-evil.journal"), "-"]
    subprocess.run(command, input=entry.encode(), check=True, timeout=10, capture_output=True)
    (event,) = failure(running).events

    assert (event.fields["src.ip"], event.forgeable) == ("6.6.6.6", True)


def test_a_program_of_the_right_name_that_is_not_setuid_root_gives_nothing(
    journal: Journal, sensor: Journald, start: Start
) -> None:
    running = start(sensor)
    begun(running)
    place = Path(tempfile.mkdtemp(prefix="contain", dir="/tmp"))
    place.chmod(0o755)

    with journal.say_by(place / "sudo", b"eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/forged", uid=65534):
        time.sleep(0.1)  # journald reads two sockets, in no order
        journal.say(b"eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/real", comm="sudo")
        events = running.next("auth.sudo.command").events
    shutil.rmtree(place)

    assert [event.fields["command"] for event in events] == ["/bin/real"]


def test_a_message_that_is_no_text_is_read(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % b"r\xff\x01t", comm="sshd")

    assert users(failure(running)) == ["r\ufffd\x01t"]


def test_a_message_too_long_is_left_out_and_the_next_is_read(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)

    journal.say(FAILED % (b"x" * 100_000), comm="sshd")
    journal.say(FAILED % b"next", comm="sshd")

    assert users(failure(running)) == ["next"]


def test_nothing_is_lost_or_repeated_over_a_restart(journal: Journal, sensor: Journald, start: Start) -> None:
    first = start(sensor)
    position = begun(first).position
    first.stop()
    journal.say(FAILED % b"before-any", comm="sshd")
    second = start(sensor, position)
    seen = failure(second)
    second.stop()
    journal.say(FAILED % b"while-away", comm="sshd")

    third = start(sensor, seen.position)
    journal.say(FAILED % b"after", comm="sshd")
    found = users(seen) + users(failure(third))
    found += users(failure(third)) if found[-1] != "after" else []

    assert found == ["before-any", "while-away", "after"]


def test_a_journalctl_that_dies_is_told_and_started_again(journal: Journal, sensor: Journald, start: Start) -> None:
    running = start(sensor)
    begun(running)
    running.next("sensor")

    (child,) = [one for one in psutil.Process().children() if one.name() == "journalctl"]
    child.kill()
    (told,) = running.next("sensor").events
    journal.say(FAILED % b"meanwhile", comm="sshd")

    assert told.fields["ok"] is False
    assert "journalctl ended with -9" in str(told.fields["say"])
    assert users(failure(running)) == ["meanwhile"]


def test_a_journal_that_is_not_there_is_told(start: Start) -> None:
    running = start(Journald(parsers=("sshd",), directory="/nonexistent"))

    (told,) = running.next("sensor").events

    assert told.fields["ok"] is False
    assert "cannot read the journal" in str(told.fields["say"])


def test_a_parser_of_files_alone_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="cannot read nginx from the journal: no such parser; there are dovecot, nginx_error, postfix, sshd, sudo",
    ):
        Journald(parsers=("nginx",))
