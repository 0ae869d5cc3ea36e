"""The journal keeps what it acknowledged, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import json
import math
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.action import Call, Change
from agent.evidence.journal import CannotRecord, CannotUseJournal, Journal, Reader, read_only
from agent.evidence.leaf import nanoseconds, read_record
from agent.record import Record
from tests.evidence.journals import NOW, event, key_of, opened, records, replayed
from tests.needs import need_root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = opened(path)
    yield made
    made.close()


def reading(path: Path) -> Reader:
    return read_only(path)


# Keeping --------------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_with_its_number_and_time(journal: Journal) -> None:
    change = Change(
        "drop", Call("firewall", "block", {"ip": ip_network("203.0.113.7"), "ttl": timedelta(hours=1)}), None, Call("f", "v")
    )

    following = journal.commit(NOW, [Record("intent", {"change": change}, "INC-7", "M-41"), Record("noted")])

    first, second = replayed(journal)
    assert following == journal.size == 2
    assert (first.seq, first.ts, first.record.kind, first.record.incident, first.record.mitigation) == (
        0,
        NOW,
        "intent",
        "INC-7",
        "M-41",
    )
    assert first.record.body["change"]["apply"] == {
        "system": "firewall",
        "verb": "block",
        "args": {"ip": "203.0.113.7/32", "ttl": 3600.0},
    }
    assert second.record == Record("noted")
    assert list(json.loads(first.leaf)) == ["v", "seq", "ts", "mono", "boot", "host", "kind", "incident", "mitigation", "body"]


@given(st.floats(1e9, 4e9))
def test_a_time_comes_back_as_the_very_same_number(now: float) -> None:
    leaf = b'{"seq":0,"ts":%d,"kind":"k","incident":"","mitigation":"","body":{}}' % nanoseconds(now)

    assert read_record(0, leaf, b"").ts == now


def test_a_commit_that_the_database_refuses_leaves_nothing_behind(journal: Journal) -> None:
    with pytest.raises(CannotUseJournal, match="cannot store BLOB value in TEXT column"):
        journal.commit(NOW, records(3), positions={"log": b"17"})  # type: ignore[dict-item]

    assert (journal.size, replayed(journal)) == (0, [])
    assert journal.commit(NOW, records(1)) == 1


def test_what_was_committed_is_there_after_closing_and_opening(path: Path) -> None:
    first = opened(path)
    first.commit(NOW, records(5), positions={"auth.log": "17:4096"}, events=[event(NOW)])
    before = replayed(first)
    first.close()

    second = opened(path)

    assert (replayed(second), second.positions(), second.events()) == (before, {"auth.log": "17:4096"}, [event(NOW)])
    assert second.commit(NOW, records(1)) == 6
    second.close()


def test_nothing_to_commit_is_nothing_written(journal: Journal, path: Path) -> None:
    before = path.with_name("journal.db-wal").stat().st_size

    assert journal.commit(NOW, []) == 0
    assert path.with_name("journal.db-wal").stat().st_size == before


@pytest.mark.parametrize("value", [math.nan, -math.inf, object(), b"\xff", {"deep": [1, math.inf]}])
def test_a_value_without_a_json_form_is_refused_by_name_and_nothing_is_written(journal: Journal, value: Any) -> None:
    with pytest.raises(CannotRecord, match="cannot record strange: "):
        journal.commit(NOW, [*records(2), Record("strange", {"value": value})], positions={"a": "1"}, events=[event(NOW)])

    assert (journal.size, journal.positions(), journal.events()) == (0, {}, [])
    assert journal.commit(NOW, records(1)) == 1


def test_the_words_nan_and_infinity_are_only_words(journal: Journal) -> None:
    journal.commit(NOW, [Record("noted", {"say": "NaN to Infinity"})])

    assert replayed(journal)[0].record.body == {"say": "NaN to Infinity"}


def test_bytes_of_an_attacker_that_are_no_utf8_do_not_stop_the_journal(journal: Journal) -> None:
    name = b"admin\xff".decode(errors="surrogateescape")
    body = {"user": name, name: [name], "call": Call("system", "verb", {"user": name, "ttl": timedelta(seconds=1)})}

    journal.commit(NOW, [Record("finding", body)], events=[event(NOW, raw=name)])

    stored = replayed(journal)[0].record.body
    assert (stored["user"], stored["admin\\udcff"]) == ("admin\\udcff", ["admin\\udcff"])
    assert stored["call"]["args"] == {"user": "admin\\udcff", "ttl": 1.0}
    assert journal.events()[0].raw == "admin\\udcff"


def test_no_secret_reaches_the_file_in_records_events_or_snapshots(journal: Journal, path: Path) -> None:
    secret = "hvs.CAESIJ3kd93kd93kd"
    url = "postgresql://app:s3cr3t-pw@db/main"

    journal.commit(
        NOW,
        [Record("finding", {"deep": [{"say": f"used {secret}"}], "password": "hunter2"})],
        events=[event(NOW, raw=url), event(NOW, raw="kept")],
    )
    stored = replayed(journal)
    journal.save_snapshot({"token": secret})

    assert journal.events()[1] == event(NOW, raw="kept")
    assert stored[0].record.body["deep"][0]["say"].startswith("used [redacted:")
    for file in path.parent.glob("journal.db*"):
        assert not [word for word in (secret, "s3cr3t-pw", "hunter2") if word.encode() in file.read_bytes()]
    told = str(journal.events())
    assert not [word for word in (secret, "s3cr3t-pw", "hunter2") if word in told]


def test_the_pragmas_that_make_a_commit_durable_are_set(journal: Journal, path: Path) -> None:
    with sqlite3.connect(path) as other:
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("pragma synchronous").fetchone() == (2,)


# Snapshots and checkpoints --------------------------------------------------------------------------------------------


def test_a_snapshot_and_its_tail_say_the_same_as_all_records(path: Path) -> None:
    journal = opened(path)
    journal.commit(NOW, records(10))
    journal.save_snapshot({"sum": sum(range(10))})
    journal.commit(NOW, records(5, first=10))
    journal.close()

    again = opened(path)
    plain, tail = again.replay()

    assert plain is not None
    assert plain["sum"] + sum(one.record.body["number"] for one in tail) == sum(range(15))
    with reading(path) as reader:
        assert sum(one.record.body["number"] for one in reader.records()) == sum(range(15))
    again.close()


def test_a_snapshot_that_somebody_edited_is_not_believed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = opened(path)
    journal.commit(NOW, records(3))
    journal.save_snapshot({"blocks": ["203.0.113.7"]})
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute("update snapshot set plain = ?", (b'{"blocks":[]}',))

    journal = opened(path)
    plain, tail = journal.replay()

    assert plain is None
    assert len(list(tail)) == 3
    assert "snapshot" in caplog.text
    journal.close()


def test_checkpoints_are_due_after_a_thousand_records_a_minute_with_any_and_an_hour_without(journal: Journal) -> None:
    due = [journal.checkpoint_due(NOW)]
    journal.checkpoint(NOW)
    due += [journal.checkpoint_due(NOW + 3599), journal.checkpoint_due(NOW + 3600)]
    journal.commit(NOW, records(999))
    due += [journal.checkpoint_due(NOW + 59), journal.checkpoint_due(NOW + 60)]
    journal.commit(NOW, records(1))
    due += [journal.checkpoint_due(NOW)]

    assert due == [True, False, True, False, True, True]


def test_checkpoints_made_across_restarts_cover_every_record(path: Path) -> None:
    for n in range(6):
        journal = opened(path)
        journal.commit(NOW, records(7 * n + 1))
        journal.commit(NOW, records(2))
        journal.checkpoint(NOW + n)
        assert journal.last_checkpoint == (journal.size, NOW + n)
        journal.commit(NOW, records(1))
        journal.close()

    with reading(path) as reader:
        verdict = reader.verify(key_of(path).vkey)

    assert (verdict.problems, verdict.checkpoints, verdict.uncovered_tail) == ((), 6, 1)


def test_start_up_reads_only_the_tail_after_the_last_checkpoint(path: Path) -> None:
    journal = opened(path)
    journal.commit(NOW, records(50))
    journal.checkpoint(NOW)
    journal.commit(NOW, records(3))
    journal.close()
    with sqlite3.connect(path) as db:  # before the checkpoint: not read at a start, found by verify
        db.execute("drop trigger record_is_final")
        db.execute("update record set leaf = cast(replace(leaf, '10', '99') as blob) where seq = 10")

    journal = opened(path)

    assert journal.size == 53
    journal.close()
    with reading(path) as reader:
        assert "record 10: the hash chain breaks" in " ".join(reader.verify(key_of(path).vkey).problems)


# Events ---------------------------------------------------------------------------------------------------------------


def test_events_are_found_by_time_in_both_directions(journal: Journal) -> None:
    for start in (0, 10, 20):
        journal.commit(NOW, [], events=[event(start + n) for n in range(10)])

    assert [one.seen for one in journal.events(since=8, until=12)] == [8, 9, 10, 11, 12]
    assert [one.seen for one in journal.events(newest_first=True, limit=3)] == [29, 28, 27]
    assert [one.seen for one in journal.events(limit=12)][-1] == 11


def test_old_events_and_events_beyond_the_room_go_and_records_stay(path: Path) -> None:
    journal = opened(path, keep_events=(100.0, 10_000))
    for n in range(50):
        journal.commit(NOW, records(1), events=[event(NOW + n, raw=secrets.token_hex(420))])  # cannot be packed

    by_room = journal.prune(NOW + 50)
    kept = journal.events()
    by_age = journal.prune(NOW + 140)

    assert by_room > 0
    assert 8 < len(kept) < 20
    assert kept[-1].seen == NOW + 49
    assert journal.events()[0].seen == NOW + 40
    assert by_age == len(kept) - len(journal.events())
    assert journal.size == 50
    journal.close()


# Readers and writers --------------------------------------------------------------------------------------------------


def test_a_second_agent_on_the_same_file_is_refused_with_the_first_ones_number(journal: Journal, path: Path) -> None:
    with pytest.raises(CannotUseJournal, match=f"another agent, process {os.getpid()}, writes it\nStop that one"):
        opened(path)


def test_a_reader_sees_each_commit_at_once_and_a_frozen_one_does_not(journal: Journal, path: Path) -> None:
    with reading(path) as reader, reading(path) as frozen, frozen.frozen():
        assert frozen.size == 0
        for n in range(1, 50):
            journal.commit(NOW, records(3))

            assert reader.size == 3 * n
        assert frozen.size == 0


def test_records_are_found_by_number_incident_and_mitigation(journal: Journal, path: Path) -> None:
    journal.commit(NOW, [*records(9), Record("noted", {}, "INC-2")])

    with reading(path) as reader:
        assert [one.seq for one in reader.records(after_seq=3, limit=2)] == [4, 5]
        assert [one.seq for one in reader.records(mitigation="M-1")] == [1, 4, 7]
        assert [one.seq for one in reader.records(incident="INC-2")] == [9]
        found = reader.record(5)
        assert found is not None
        assert found.record.body == {"number": 5}
        assert reader.record(10) is None


def test_whoever_may_only_read_can_read_a_journal_that_nobody_writes(path: Path) -> None:
    need_root()
    opened(path).close()
    path.chmod(0o644)
    script = "import os, sys, pathlib; from agent.evidence.journal import read_only\n"
    script += "os.chroot(sys.argv[1]); os.setuid(65534)\n"  # nobody may not enter pytest's own directories
    script += "print(read_only(pathlib.Path('/journal.db')).size)"
    path.parent.chmod(0o755)

    done = subprocess.run([sys.executable, "-c", script, path.parent], capture_output=True, text=True, timeout=20, check=False)

    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_missing_journal_is_told_to_a_reader_and_not_made(path: Path) -> None:
    with pytest.raises(CannotUseJournal, match=r"cannot read the journal .*: No such file"):
        reading(path)

    assert not path.exists()
