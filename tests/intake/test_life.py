"""The intake's own life: secrets exchanged, senders that fall silent, a stop, what a crash left behind, two agents, a reload."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.intake.sending import POLICY, SECRET, Answer, Intake, alert, request
from tests.needs import need_root
from tests.running import wait_for

FRESH = "a-fresh-secret-with-enough-characters"


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


def test_a_secret_is_exchanged_without_a_restart_and_trouble_with_it_is_told(tmp_path: Path) -> None:
    with Intake(tmp_path) as intake:
        intake.secret.write_text(f"{FRESH}\n")
        assert intake.post().status == 401
        assert intake.post(authorization=f"Bearer {FRESH}").status == 202

        intake.secret.write_text("")
        while_empty = intake.post(authorization=f"Bearer {FRESH}")
        wait_for(lambda: "in:bearer" in intake.agent.ask("status")["blind"])
        doctor = intake.agent.contain("doctor").stdout
        intake.secret.write_text(f"{FRESH}\n")
        intake.secret.chmod(0o644)
        while_open = intake.post(authorization=f"Bearer {FRESH}")
        intake.secret.chmod(0o640)

        assert (while_empty.status, while_open.status) == (503, 503)  # its sender comes again
        assert f"bad\tsender bearer\tcannot use {intake.secret}: no secret stands in it" in doctor
        assert intake.post(authorization=f"Bearer {FRESH}").status == 202
        wait_for(lambda: "in:bearer" not in intake.agent.ask("status")["blind"])
        assert FRESH.encode() not in intake.everything()


def test_a_sender_that_should_have_been_heard_by_now_is_overdue_by_its_name(tmp_path: Path) -> None:
    senders = "    watchdog: {alertmanager: {}, auth: {users: [root]}, expect: 2s}\n"
    with Intake(tmp_path, senders=senders) as intake:
        assert intake.post("/in/watchdog").status == 202

        said = wait_for(lambda: intake.agent.ask("status")["silent"].get("in:watchdog"), 30)
        shown = next(one for one in intake.told()["senders"] if one["name"] == "watchdog")
        intake.post("/in/watchdog")

        assert said.endswith("it is expected to be heard every 2 s")
        assert shown["say"].endswith("it is expected to be heard every 2 s")
        wait_for(lambda: not intake.agent.ask("status")["silent"])


def test_when_each_was_last_heard_outlives_a_kill(tmp_path: Path) -> None:
    with Intake(tmp_path) as intake:
        intake.post("/in/root")
        intake.agent.kill()

        intake.agent.start()

        shown = {one["name"]: one for one in wait_for(lambda: intake.told()["senders"])}
        assert shown["root"]["last"] > time.time() - 60
        assert shown["bearer"]["last"] is None


def test_a_stop_answers_whoever_is_there_and_takes_the_socket_away(tmp_path: Path) -> None:
    with Intake(tmp_path) as intake, ThreadPoolExecutor(4) as threads:
        over = threading.Event()

        def send() -> set[int]:
            found = set()
            while not over.is_set():
                with suppress(FileNotFoundError, ConnectionRefusedError, ConnectionResetError, IndexError):
                    found.add(intake.post().status)
            return found

        sending = [threads.submit(send) for _ in range(4)]
        wait_for(lambda: intake.told()["senders"][0]["documents"] > 20)
        status = intake.agent.stop()
        over.set()

        assert status == 0
        assert set.union(*(one.result(30) for one in sending)) <= {202, 503}
        assert not intake.socket.exists()


def test_every_document_that_was_said_to_be_taken_is_there_after_kill_9(tmp_path: Path) -> None:
    """Around the very moment, again and again: what was answered with 202 is never lost."""
    taken: list[str] = []
    with Intake(tmp_path) as intake:
        for life in range(2):
            stop = threading.Event()

            def send(stop: threading.Event = stop, life: int = life) -> None:
                for number in range(10_000):
                    name = f"{life}-{number}"
                    with suppress(OSError, IndexError):
                        if intake.post("/in/bearer", alert(name)).status == 202:
                            taken.append(f"{name}/r")
                    if stop.is_set():
                        return

            sender = threading.Thread(target=send)
            sender.start()
            before = len(taken)
            wait_for(lambda before=before: len(taken) > before + 10)  # type: ignore[misc]
            intake.agent.kill()
            stop.set()
            sender.join(30)
            intake.agent.start()
            wait_for(lambda: intake.told()["listens"] and not any(intake.told()["listens"].values()))

        stored = {one.fields["fingerprint"] for one in intake.events("alert")}

    assert len(taken) > 20
    assert set(taken) <= stored


def test_a_socket_that_a_crash_left_is_replaced_and_one_that_is_in_use_is_not(tmp_path: Path) -> None:
    first = Intake(tmp_path / "first")
    second = Intake(tmp_path / "second")
    second.agent.config.write_text(second.agent.config.read_text().replace("intake:\n", f"intake:\n  socket: {first.socket}\n"))
    with first:
        first.agent.kill()
        assert first.socket.is_socket()
        first.agent.start()
        wait_for(lambda: not any(first.told()["listens"].values() or ["no"]))

        second.agent.start()
        why = wait_for(lambda: second.agent.ask("status")["blind"].get("intake"))
        answer = first.post()
        first.agent.stop()
        wait_for(lambda: not any(second.told()["listens"].values()), 30)

        assert "another agent answers there" in why
        assert answer.status == 202
        assert Answer.of(second_talk(second, first.socket)).status == 202
        second.agent.kill()


def second_talk(second: Intake, path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(30)
        there.connect(str(path))
        there.sendall(request())
        return there.recv(65536)


def test_a_reload_with_other_policies_shuts_nobody_out(tmp_path: Path) -> None:
    with Intake(tmp_path) as intake:
        inode = intake.socket.stat().st_ino
        (tmp_path / "policies" / "test.yaml").write_text(POLICY.split("---")[0])

        done = intake.agent.contain("reload")

        assert done.returncode == 0, done.stderr
        assert intake.post().status == 202
        assert intake.socket.stat().st_ino == inode


def test_evidence_that_cannot_be_written_lets_the_sender_come_again(tmp_path: Path) -> None:
    with Intake(tmp_path) as intake:
        assert intake.post().status == 202
        blocker = lock(tmp_path / "state" / "journal.db")
        try:
            answers = [wait_for(lambda: intake.post("/in/bearer", alert("late")), 60) for _ in range(2)]
        finally:
            blocker.rollback()
            blocker.close()

        assert answers[-1].status == 503
        assert int(answers[-1].headers["retry-after"]) > 0
        wait_for(lambda: intake.post("/in/bearer", alert("late")).status == 202, 60)
        assert "late/r" in {one.fields["fingerprint"] for one in intake.events("alert")}


def lock(path: Path):  # type: ignore[no-untyped-def]
    """Another program holds the journal's lock."""
    import sqlite3

    held = sqlite3.connect(path, isolation_level=None, timeout=30)
    held.execute("begin exclusive")
    return held


def test_status_names_where_it_listens_and_who_was_heard(intake: Intake) -> None:
    intake.post("/in/root")

    rows = [line.split("\t") for line in intake.agent.contain("status").stdout.splitlines()]

    assert ["intake", f"unix:{intake.socket}", "listens"] in rows
    root = next(row for row in rows if row[:2] == ["sender", "root"])
    assert (root[2], int(root[4]) > 0) == ("alertmanager", True)
    assert '"listens"' in intake.agent.contain("status", "--json").stdout
    assert SECRET not in intake.agent.contain("doctor").stdout
