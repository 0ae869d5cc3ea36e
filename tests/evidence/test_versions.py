"""Journals of older versions are read for ever, and brought to this one whole or not at all; newer ones are left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from agent.evidence.aside import set_aside
from agent.evidence.journal import Journal, read_only
from agent.evidence.journal_file import VERSION, CannotUseJournal, NewerJournal, layout_of
from agent.evidence.journal_read import seal
from agent.evidence.keys import load
from agent.evidence.lift import RECORD, SNAPSHOT, TooNew, lift, lift_snapshot
from agent.evidence.merkle import chain_hash, leaf_hash
from agent.evidence.migrate import STEPS, copies_of, migrate
from agent.evidence.redact import Redactor
from agent.record import Record
from agent.say import sentence
from agent.snapshot import snapshot
from tests.evidence.versions.view import ALL, HERE, states, unpack, view

NOW: Final = 1_800_000_000.0
OLDEST: Final = "28cdc87"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The oldest journal there is."""
    return unpack(OLDEST, tmp_path)


def opened(path: Path) -> Journal:
    key = load(path.with_name("signing.key"))
    return Journal(path, host="db1", key=key, redact=Redactor(key.derive("redaction")), ballast=0)


def leaves(path: Path) -> list[bytes]:
    with read_only(path) as reader:
        return list(reader.leaves())


def layout(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return layout_of(db)


def columns(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        return {one: db.execute(f"pragma table_xinfo({one})").fetchall() for one in tables}


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
def test_a_journal_of_every_version_says_what_it_said(version: str, tmp_path: Path) -> None:
    golden = json.loads((HERE / version / "view.json").read_text())

    started, alone = states(unpack(version, tmp_path))

    assert json.loads(json.dumps(view(started))) == golden
    assert json.loads(json.dumps(view(alone))) == golden


def test_this_version_has_a_journal_that_later_ones_must_read() -> None:
    assert str(RECORD) in ALL
    assert len(STEPS) + 1 == VERSION


@pytest.mark.parametrize("version", ALL)
def test_every_old_record_has_a_whole_sentence(version: str, tmp_path: Path) -> None:
    with read_only(unpack(version, tmp_path)) as reader:
        said = [sentence(one.record) for one in reader.records()]

    assert [one for one in said if re.search(r"\(,|\(\)|: $|None", one)] == []


@pytest.mark.parametrize("version", ALL)
def test_an_agent_goes_on_with_it_and_the_proofs_hold_over_the_old_bytes(version: str, tmp_path: Path) -> None:
    path = unpack(version, tmp_path)
    before = leaves(path)

    with closing(opened(path)) as journal:
        journal.commit(NOW, [Record("noted", {"actor": "a", "text": "b"})])
        journal.checkpoint(NOW)

    after = leaves(path)
    assert after[:-1] == before
    assert json.loads(after[-1])["v"] == RECORD
    with read_only(path) as reader:
        assert reader.verify(path.with_name("signing.vkey").read_text().strip()).problems == ()
    assert layout(path) == VERSION


def test_reading_brings_nothing_to_another_version(old: Path) -> None:
    before = old.read_bytes()

    states(old)

    assert old.read_bytes() == before
    assert layout(old) == 1


def test_a_pause_without_a_name_is_lifted_to_one_with_the_time_it_began() -> None:
    leaf = {"v": 1, "seq": 3, "ts": 5 * 10**9, "kind": "paused", "body": {"until": 9.0, "actor": "a", "why": "b"}}

    lifted = lift(leaf)

    assert lifted["body"] == {"until": 9.0, "actor": "a", "why": "b", "pause": "P-0", "policies": [], "since": 5.0}


def test_what_is_lifted_already_stays_as_it_is() -> None:
    body = {"pause": "P-4", "policies": ["a"], "since": 1.0, "until": 2.0}

    assert lift({"v": 1, "ts": 0, "kind": "paused", "body": dict(body)})["body"] == body


def test_a_newer_record_is_not_guessed_at() -> None:
    with pytest.raises(TooNew, match=rf"it has version {RECORD + 1}, and this agent knows {RECORD}"):
        lift({"v": RECORD + 1, "kind": "paused", "body": {}})
    with pytest.raises(TooNew):
        lift_snapshot({}, SNAPSHOT + 1)


# Snapshots ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_of_another_version_is_dropped_where_the_records_say_the_same(old: Path) -> None:
    with closing(opened(old)) as journal:
        plain, records = journal.replay()

        assert plain is None
        assert len(list(records)) == journal.size


def test_a_snapshot_that_knows_more_than_the_records_is_lifted(tmp_path: Path) -> None:
    path = _with_snapshot_of_1(tmp_path, [Record("journal_lost", {"left_out": 0}), Record("noted")])

    with closing(opened(path)) as journal:
        plain, records = journal.replay()

        assert plain == {"known": "before"}
        assert list(records) == []


def test_records_that_were_left_out_are_in_the_snapshot_alone(tmp_path: Path) -> None:
    for number, (left_out, known) in enumerate([(0, None), (3, {"known": "before"})]):
        place = tmp_path / str(number)
        path = _with_snapshot_of_1(place, [Record("evidence_gap", {"left_out": left_out})])

        with closing(opened(path)) as journal:
            assert journal.replay()[0] == known


def _with_snapshot_of_1(place: Path, records: list[Record]) -> Path:
    """A journal whose snapshot an agent of version 1 has taken."""
    path = unpack(OLDEST, place)
    with closing(opened(path)) as journal:
        journal.commit(NOW, records)
        size, chain = journal.size, journal._head.chain
    plain = b'{"known":"before"}'
    row = (size, chain, plain, seal(load(path.with_name("signing.key")), size, chain, plain, 1))
    with closing(sqlite3.connect(path)) as db:
        db.execute("update snapshot set size = ?, chain = ?, plain = ?, seal = ?, version = 1", row)
        db.commit()
    return path


def test_the_seal_is_over_the_version(old: Path) -> None:
    with closing(opened(old)) as journal:
        started, _ = states(old)
        journal.save_snapshot(snapshot(started))
        assert journal.replay()[0] is not None
        with closing(sqlite3.connect(old)) as db:
            db.execute("update snapshot set version = 1")
            db.commit()

        assert journal.replay()[0] is None


# Migration ------------------------------------------------------------------------------------------------------------


def test_a_migrated_journal_is_laid_out_like_a_new_one(old: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = unpack(OLDEST, tmp_path / "new")
    new.unlink()

    opened(old).close()
    opened(new).close()

    assert columns(old) == columns(new)


def test_the_copy_of_before_stays_until_the_agent_has_started_well(old: Path) -> None:
    before = leaves(old)

    journal = opened(old)

    copy = old.with_name("journal.db.version-1")
    assert (layout(copy), leaves(copy), copy.stat().st_mode & 0o777) == (1, before, 0o600)
    journal.close()
    journal = opened(old)  # a start that came to nothing, and another one
    assert copy.exists()
    journal.started_well()
    assert list(copies_of(old)) == []
    journal.close()


def test_a_journal_that_is_set_aside_takes_its_copy_along(old: Path) -> None:
    opened(old).close()

    lost = set_aside(old, "it was damaged by the migration")

    assert list(copies_of(old)) == []
    assert layout(lost.aside / f"{old.name}.version-1") == 1


def test_a_start_never_fails_for_want_of_a_copy(old: Path) -> None:
    old.with_name("journal.db.version-1.partial").mkdir()  # nothing can be written there, nor taken away

    opened(old).close()

    assert layout(old) == VERSION


def test_a_kill_at_any_moment_leaves_the_old_one_or_the_new_one_whole(old: Path) -> None:
    golden = view(states(old)[1])
    was, before = old.read_bytes(), leaves(old)
    layouts, died = list[int](), 0
    while died < 400:
        _put_back(old, was)
        if not _dies_at(died, old):
            break
        died += 1
        layouts.append(layout(old))
        assert leaves(old) == before

        with closing(opened(old)) as journal:
            assert len(list(journal.replay()[1])) == journal.size
        assert (layout(old), list(old.parent.glob("*.partial"))) == (VERSION, [])

    assert view(states(old)[1]) == golden
    assert died > 20
    assert sorted(set(layouts)) == [1, VERSION]
    assert layouts == sorted(layouts)


def _put_back(path: Path, was: bytes) -> None:
    for left in path.parent.glob("journal.db*"):
        left.unlink()
    path.write_bytes(was)


def _dies_at(moment: int, path: Path) -> bool:
    """Migrate in a process that is killed before its so-manieth call of a function; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = moment

        def tick(_: object, event: str, __: object) -> None:
            nonlocal left
            if event in ("c_call", "c_return"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(tick)
        try:
            migrate(path)
        finally:
            sys.setprofile(None)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_step_that_fails_changes_nothing(old: Path) -> None:
    before = columns(old)

    with pytest.raises(CannotUseJournal, match="no such table"):
        migrate(old, [*STEPS, ["create table more(one text) strict", "alter table nowhere add column one text"]])

    assert columns(old) == before
    assert layout(old) == 1


def test_later_steps_follow_one_another(old: Path) -> None:
    steps = [*STEPS, ["create table more(one text) strict"], ["alter table more add column two text"]]

    migrate(old, steps)

    assert layout(old) == VERSION + 2
    assert [name for _, name, *_ in columns(old)["more"]] == ["one", "two"]


# Newer ones -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def newer(old: Path) -> Path:
    """A journal whose layout a newer agent has changed."""
    opened(old).close()
    for copy in copies_of(old):
        copy.unlink()
    migrate(old, [*STEPS, ["alter table snapshot rename column version to of_version"]])
    for copy in copies_of(old):
        copy.unlink()
    return old


def test_a_newer_layout_is_not_written_to_and_says_what_to_do(newer: Path) -> None:
    before = newer.read_bytes()

    with pytest.raises(NewerJournal, match=rf"it has version {VERSION + 1}, this agent knows {VERSION}\nNothing was changed"):
        opened(newer)

    assert newer.read_bytes() == before


def test_a_newer_layout_is_read_as_far_as_it_can_be(newer: Path) -> None:
    assert view(states(newer)[0]) == view(states(newer)[1])


def test_a_newer_layout_with_another_table_of_records_says_so(old: Path) -> None:
    migrate(old, [*STEPS, ["alter table record rename column leaf to bytes"]])

    with pytest.raises(NewerJournal, match=r"cannot read the journal .*: a newer agent wrote it"):
        read_only(old)


def test_a_newer_record_refuses_the_writer_and_names_itself_to_the_reader(old: Path) -> None:
    with closing(opened(old)) as journal:
        size, chain = journal.size, journal._head.chain
    leaf = b'{"v":%d,"seq":%d,"ts":1,"kind":"paused","incident":"","mitigation":"","body":{}}' % (RECORD + 1, size)
    with closing(sqlite3.connect(old)) as db:
        db.execute("insert into record(seq, leaf, chain) values (?, ?, ?)", (size, leaf, chain_hash(chain, leaf_hash(leaf))))
        db.commit()

    with pytest.raises(NewerJournal, match=f"record has version {RECORD + 1}"):
        opened(old)
    with read_only(old) as reader, pytest.raises(NewerJournal, match=f"cannot read .* record {size}: it has version"):
        reader.records(size - 2)
