"""A directory of reports: each file once, moved only when it is kept, and nothing but ordinary whole files."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.sensors import drop
from agent.sensors.drop import Drop
from agent.streams.scan import FINDING
from agent.streams.sensor import Batch
from tests.running import Running, wait_for
from tests.senders import scans


class Owner:
    """A sensor in a thread, and the owner who says what is kept; what is not answered yet stays open."""

    def __init__(self, place: Path, position: str | None = None, *, keeps: bool | None = True) -> None:
        self.batches: queue.Queue[Batch] = queue.Queue()
        self.said: queue.Queue[Batch] = queue.Queue()
        self.keeps = keeps
        self._stop = threading.Event()
        sensor: Any = Drop(path=str(place), sender="trivy", look=timedelta(milliseconds=50))
        self._thread = threading.Thread(target=sensor.run, args=(self._take, position, self._stop), daemon=True)
        self._thread.start()

    def _take(self, batch: Batch) -> None:
        if batch.kept is None:
            self.said.put(batch)
            return
        self.batches.put(batch)
        if self.keeps is not None:
            batch.kept(self.keeps)

    def next(self) -> Batch:
        return self.batches.get(timeout=30)

    def says(self, text: str) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            (event,) = self.said.get(timeout=30).events
            if text in str(event.get("say")):
                return
        raise AssertionError(f"it did not say `{text}`")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "scans"
    made.mkdir(mode=0o750)
    return made


@pytest.fixture
def owner(place: Path) -> Iterator[Owner]:
    made = Owner(place)
    yield made
    made.stop()


def left(place: Path, name: str = "trivy.json", report: Any = None) -> Path:
    """A file as scanners should leave it: written beside, then renamed."""
    hidden = place / f".{name}"
    hidden.write_text(report if isinstance(report, str) else json.dumps(report or scans.trivy()))
    hidden.chmod(0o640)
    return hidden.rename(place / name)


def moved(place: Path, into: str) -> list[str]:
    return sorted(one.name for one in (place / into).glob("*")) if (place / into).is_dir() else []


def test_a_report_becomes_events_and_is_moved_away(place: Path, owner: Owner) -> None:
    left(place)

    batch = owner.next()

    assert [one.kind for one in batch.events] == ["scan.report", FINDING.name]
    assert batch.events[1].source == f"drop:{place}"
    assert wait_for(lambda: moved(place, "done"))[0].endswith("-trivy.json")
    assert not (place / "trivy.json").exists()


def test_a_file_stays_until_its_events_are_kept(place: Path) -> None:
    owner = Owner(place, keeps=None)
    left(place)

    batch = owner.next()
    assert (place / "trivy.json").exists()
    assert batch.kept
    batch.kept(True)

    assert wait_for(lambda: moved(place, "done"))
    owner.stop()


def test_where_evidence_cannot_be_kept_events_are_handed_over_once_and_the_file_stays(place: Path) -> None:
    owner = Owner(place, keeps=False)
    left(place)

    first, second = owner.next(), owner.next()
    still_there = (place / "trivy.json").exists()
    owner.keeps = True

    assert len(first.events) == 2
    assert second.events == ()
    assert second.position == first.position
    assert still_there
    assert wait_for(lambda: moved(place, "done"))
    owner.stop()


def test_a_file_that_was_kept_and_not_moved_when_the_agent_died_is_only_moved(place: Path) -> None:
    dying = Owner(place, keeps=None)
    left(place)
    batch = dying.next()
    dying.stop()

    after = Owner(place, batch.position)
    again = after.next()

    assert again.events == ()
    assert wait_for(lambda: moved(place, "done"))
    after.stop()


def test_a_file_that_was_not_kept_when_the_agent_died_is_read_again(place: Path) -> None:
    dying = Owner(place, keeps=None)
    left(place)
    dying.next()
    dying.stop()

    after = Owner(place)

    assert len(after.next().events) == 2
    after.stop()


def test_a_new_file_with_the_same_content_is_another_scan(place: Path, owner: Owner) -> None:
    left(place)
    first = owner.next()
    wait_for(lambda: moved(place, "done"))

    left(place)

    assert len(owner.next().events) == len(first.events)


def test_a_file_that_takes_the_name_while_the_first_is_read_is_read_too(place: Path) -> None:
    owner = Owner(place, keeps=None)
    left(place)
    first = owner.next()
    left(place, report=scans.trivy(scans.cve("CVE-2"), target="other"))
    assert first.kept
    first.kept(True)

    second = owner.next()

    assert second.events[0].get("target") == "other"
    assert second.kept
    second.kept(True)
    assert wait_for(lambda: moved(place, "done"))
    owner.stop()


@pytest.mark.parametrize("name", [".hidden.json", "half.json.part", "half.tmp"])
def test_names_of_files_that_are_being_written_are_not_looked_at(name: str, place: Path, owner: Owner) -> None:
    (place / name).write_text(json.dumps(scans.trivy()))
    left(place, "whole.json", scans.trivy(target="whole"))

    assert owner.next().events[0].get("target") == "whole"
    assert wait_for(lambda: moved(place, "done"))
    assert (place / name).exists()
    assert owner.batches.empty()


def test_a_file_that_grows_is_waited_for(place: Path, owner: Owner) -> None:
    text = json.dumps(scans.trivy())
    with (place / "slow.json").open("w") as file:
        for at in range(0, len(text), 200):
            file.write(text[at : at + 200])
            file.flush()
            time.sleep(0.02)  # as a scanner that writes as it goes
    (place / "slow.json").chmod(0o640)

    assert len(owner.next().events) == 2
    assert moved(place, "failed") == []


def aside(place: Path) -> str:
    """The reason beside the one file that was put aside."""
    names = wait_for(lambda: [one for one in moved(place, "failed") if not one.endswith(".why")])
    return (place / "failed" / f"{names[0]}.why").read_text()


def test_what_is_no_report_is_put_aside_with_the_reason(place: Path, owner: Owner) -> None:
    left(place, "odd.json", {"SchemaVersion": 1})

    assert aside(place) == "SchemaVersion: expected 2, found 1\n"
    (event,) = owner.next().events
    assert (event.kind, event.get("reason")) == ("agent.bad_input", "odd.json: SchemaVersion: expected 2, found 1")
    assert owner.batches.empty()


def test_what_is_no_json_is_put_aside_when_it_is_a_minute_old(place: Path, owner: Owner) -> None:
    old = left(place, "old.json", '{"SchemaVersion": 2')
    os.utime(old, (1, time.time() - 61))
    left(place, "young.json", '{"SchemaVersion": 2')

    assert aside(place).startswith("no JSON: ")
    assert (place / "young.json").exists()


def test_what_is_no_json_and_of_a_time_to_come_does_not_stay_for_ever(place: Path, owner: Owner) -> None:
    os.utime(left(place, "later.json", '{"SchemaVersion": 2'), (1, time.time() + 10_000))

    assert aside(place).startswith("no JSON: ")


def test_a_file_that_would_fill_the_memory_is_put_aside(place: Path, owner: Owner) -> None:
    left(place, "wide.json", f"[{'{},' * drop.VALUES}{{}}]")

    assert aside(place).startswith("more than ")


def test_brackets_without_an_end_are_put_aside(place: Path, owner: Owner) -> None:
    left(place, "deep.json", "[" * 200_000)

    assert aside(place) == "brackets in brackets without an end\n"


@pytest.mark.parametrize("what", ["a link", "a pipe", "a socket", "two names", "for anybody", "too large"])
def test_what_is_no_ordinary_file_is_put_aside_and_never_read(what: str, place: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(scans.trivy()))
    strange = place / "strange.json"
    match what:
        case "a link":
            strange.symlink_to(elsewhere)
        case "a pipe":
            os.mkfifo(strange)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(strange))
        case "two names":
            os.link(elsewhere, strange)
        case "for anybody":
            left(place, "strange.json").chmod(0o666)
        case _:
            left(place, "strange.json")
            os.truncate(strange, drop.LARGEST + 1)
    owner = Owner(place)

    assert aside(place)
    assert [event.kind for event in owner.next().events] == ["agent.bad_input"]
    assert owner.batches.empty()
    assert elsewhere.exists()
    owner.stop()


def test_a_directory_that_anybody_may_write_is_not_read(place: Path) -> None:
    place.chmod(0o777)
    left(place)
    owner = Owner(place)

    owner.says("anybody may leave files there")

    assert owner.batches.empty()
    owner.stop()


def test_a_directory_that_is_not_there_is_told_and_waited_for(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "later")
    owner.says("No such file or directory")

    (tmp_path / "later").mkdir(mode=0o750)
    left(tmp_path / "later")

    assert len(owner.next().events) == 2
    owner.stop()


def test_only_the_latest_files_stay_in_done(place: Path) -> None:
    (place / "done").mkdir()
    for number in range(drop.KEPT):
        (place / "done" / f"20200101T{number:06d}Z-old.json").touch()
    owner = Owner(place)
    left(place)

    owner.next()
    wait_for(lambda: not (place / "trivy.json").exists())
    owner.stop()

    names = moved(place, "done")
    assert len(names) == drop.KEPT
    assert "20200101T000000Z-old.json" not in names
    assert names[-1].endswith("-trivy.json")


def test_no_name_keeps_a_file_from_being_forgotten(place: Path) -> None:
    (place / "failed").mkdir()
    for number in range(drop.KEPT):
        (place / "failed" / f"20200101T{number:06d}Z-old.json.why").touch()
    owner = Owner(place)
    left(place, "odd.why", {"SchemaVersion": 1})

    wait_for(lambda: not (place / "odd.why").exists())
    owner.stop()

    names = moved(place, "failed")
    assert "20200101T000000Z-old.json.why" not in names
    assert [one.partition("Z-")[2] for one in names[-2:]] == ["odd.why", "odd.why.why"]


def test_a_sender_that_needs_options_or_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such sender"):
        Drop(path="/x", sender="trivvy")
    with pytest.raises(ValueError, match="needs options"):
        Drop(path="/x", sender="generic")


# In the real agent --------------------------------------------------------------------------------------------------------

POLICY = """\
policy: found
severity: P2
when: {event: scan.finding, by: id}
"""


def test_killed_again_and_again_the_agent_tells_each_finding_exactly_once(tmp_path: Path) -> None:
    place = tmp_path / "scans"
    place.mkdir(mode=0o750)
    sensors = f"sensors: {{scans: {{drop: {{path: {place}, sender: trivy}}}}}}\nlimits: {{max: 1000 per 1m}}\n"
    agent = Running(tmp_path / "a", sensors, POLICY)
    names = [f"CVE-{number}" for number in range(60)]
    with agent:
        for night in range(4):
            for number in range(5):
                found = [scans.cve(one) for one in names[: 10 + 10 * night + number]]
                left(place, f"{night}-{number}.json", scans.trivy(*found))
            time.sleep(0.4 * night)  # a kill at another moment each night
            agent._end(signal.SIGKILL)
            agent.start()
        wait_for(lambda: not list(place.glob("*.json")), 60)
        incidents = agent.ask("incidents", ended=True)["items"]
        events = [one for one in agent.ask("events", limit=1000)["items"] if one["kind"] == FINDING.name]

    assert sorted(one["target"] for one in incidents) == sorted(names[:44])
    assert {one["findings"] for one in incidents} == {1}
    assert sorted(one["fields"]["id"] for one in events) == sorted(names[:44])
    assert moved(place, "failed") == []
    assert len(moved(place, "done")) == 20
