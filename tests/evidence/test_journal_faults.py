"""What can happen to a journal: kills, full and broken disks, edits, cuts and flipped bits. Nothing of it goes unseen."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.evidence.durable import ballast_of
from agent.evidence.journal import CannotUseJournal, CorruptJournal, EvidenceLost, Journal, read_only
from agent.evidence.journal_file import create
from agent.evidence.merkle import Verdict, chain_hash, genesis, leaf_hash
from agent.evidence.redact import Redactor
from tests.evidence.journals import NOW, event, key_of, opened, records, replayed
from tests.needs import need_root

MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def verified(path: Path, outside: tuple[str, ...] = ()) -> Verdict:
    with read_only(path) as reader:
        return reader.verify(key_of(path).vkey, outside)


def filled(path: Path, count: int = 60) -> str:
    """A closed journal with checkpoints, a snapshot, positions and events; returns the last note."""
    journal = opened(path)
    for n in range(0, count, 10):
        journal.commit(NOW, records(10, first=n), positions={"log": str(n)}, events=[event(NOW)])
        note = journal.checkpoint(NOW)
    journal.save_snapshot({"n": count})
    journal.close()
    return note


def rewrite(path: Path, *statements: str) -> None:
    """What anyone with the file and the sqlite3 shell can do."""
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("drop trigger record_stays")
        db.execute("drop trigger record_is_final")
        for statement in statements:
            db.execute(statement)
    db.close()


def edit(seq: int) -> str:
    return f"update record set leaf = cast(replace(leaf, '\"number\":', '\"number\":9') as blob) where seq = {seq}"


# Kills ----------------------------------------------------------------------------------------------------------------


def _write_forever(path: Path, acknowledge: int, seed: int) -> None:
    """The child: commits of all sizes, each acknowledged once it has returned."""
    chance = random.Random(seed)
    journal = opened(path)
    while True:
        count, size = chance.choice([1, 1, 2, 30]), journal.size
        size = journal.commit(NOW, records(count, size), positions={"n": str(size + count)}, events=[event(NOW)] * count)
        os.write(acknowledge, b"%d\n" % size)
        if chance.random() < 0.1:
            journal.checkpoint(NOW)
        if chance.random() < 0.1:
            journal.save_snapshot({"n": journal.size})


def _killed_writer(path: Path, acknowledgements: int, seed: int) -> int:
    """Run the writer until it has acknowledged so often, kill it wherever it is, and return its last acknowledgement."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            _write_forever(path, theirs, seed)
        finally:
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours) as lines:
        said = [lines.readline() for _ in range(acknowledgements)]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return int([*said, *lines.read().split()][-1])


def test_no_kill_loses_an_acknowledged_record_or_parts_records_from_positions_and_events(path: Path) -> None:
    chance = random.Random(7)
    for seed in range(30):
        acknowledged = _killed_writer(path, chance.randrange(1, 25), seed)

        journal = opened(path)
        plain, tail = journal.replay()
        from_snapshot = (plain or {"n": 0})["n"] + len(list(tail))

        assert journal.size >= acknowledged
        assert journal.positions() == {"n": str(journal.size)}
        assert len(journal.events(limit=10**6)) == journal.size == from_snapshot
        journal.close()
        assert verified(path).problems == ()


# The disk -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=True, timeout=10)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True, timeout=10)  # a test that failed has left the journal open


def _fill(place: Path) -> Path:
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def _commit_until(journal: Journal, done: Callable[[], object]) -> None:
    for _ in range(10_000):
        if done():
            return
        journal.commit(NOW, records(5, journal.size), positions={"n": str(journal.size + 5)})
    raise AssertionError("ten thousand commits on a full disk")


def test_on_a_full_disk_the_ballast_pays_and_then_the_loss_is_told_and_nothing_is_half_written(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    journal = opened(path, ballast=MIB)
    filler = _fill(small_disk)
    assert journal.warning == ""

    _commit_until(journal, lambda: journal.warning)
    paid = journal.size
    with pytest.raises(EvidenceLost, match=r"cannot write 5 records .*full\nMake room"):
        _commit_until(journal, lambda: False)
    size = journal.size

    assert "the ballast was given up" in journal.warning
    assert size > paid
    assert journal.positions() == {"n": str(size)}
    assert len(replayed(journal)) == size
    with pytest.raises(EvidenceLost):
        journal.commit(NOW, records(5000, size))
    filler.unlink()
    assert journal.commit(NOW, records(5, size), positions={"n": str(size + 5)}) == size + 5
    journal.prune(NOW)
    assert (journal.warning, ballast_of(path).stat().st_size) == ("", MIB)
    journal.checkpoint(NOW)
    journal.close()
    assert verified(path).problems == ()


def test_on_a_disk_that_is_nearly_full_the_journal_starts_and_says_that_it_has_no_ballast(small_disk: Path) -> None:
    journal = opened(small_disk / "journal.db", ballast=8 * MIB)

    assert "no ballast" in journal.warning
    assert journal.commit(NOW, records(1)) == 1
    assert not ballast_of(small_disk / "journal.db").exists()
    journal.close()


def test_a_write_that_the_system_refuses_is_told_and_the_next_one_works(path: Path) -> None:
    journal = opened(path)
    journal.commit(NOW, records(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("journal.db-wal").stat().st_size, hard))
    try:
        with pytest.raises(EvidenceLost, match="disk I/O error"):
            journal.commit(NOW, records(500, 1), positions={"n": "501"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (journal.size, journal.positions()) == (1, {})
    assert journal.commit(NOW, records(1, 1)) == 2
    assert [one.seq for one in replayed(journal)] == [0, 1]
    journal.close()


# Edits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "seq"),
    [
        ((edit(30),), 30),
        (("delete from record where seq = 30",), 30),
        (("delete from record where seq between 20 and 40",), 20),
        (
            (
                "update record set seq = 99 where seq = 30",
                "update record set seq = 30 where seq = 31",
                "update record set seq = 31 where seq = 99",
            ),
            30,
        ),
        (("update record set chain = zeroblob(32) where seq = 30",), 30),
    ],
    ids=["edit", "delete one", "delete many", "swap", "chain"],
)
def test_replay_stops_at_the_record_that_was_tampered_with(path: Path, statements: tuple[str, ...], seq: int) -> None:
    filled(path)
    rewrite(path, "delete from snapshot", *statements)
    journal = opened(path)

    with pytest.raises(CorruptJournal, match=rf"at record {seq}: .*\nNothing was changed\. Keep it as evidence") as caught:
        replayed(journal)

    assert caught.value.seq == seq
    journal.close()
    assert verified(path).problems


def test_a_cut_tail_is_found_at_the_start_by_the_checkpoint_that_is_still_there(path: Path) -> None:
    filled(path)
    rewrite(path, "delete from record where seq >= 50")

    with pytest.raises(CorruptJournal, match="at record 59: it is missing, and a checkpoint was signed for it"):
        opened(path)


def test_a_damaged_checkpoint_is_found_at_the_start(path: Path) -> None:
    filled(path)
    rewrite(path, "update checkpoint set peaks = zeroblob(length(peaks))")

    with pytest.raises(CorruptJournal, match="its last checkpoint, for 60 records, is damaged"):
        opened(path)


def test_a_log_rewritten_whole_shows_only_against_a_copy_kept_outside(path: Path) -> None:
    note = filled(path)
    rewrite(path, "delete from snapshot", "delete from checkpoint", edit(30))
    with sqlite3.connect(path, isolation_level=None) as db:
        chain = genesis(key_of(path).public.name)
        for seq, leaf in db.execute("select seq, leaf from record order by seq").fetchall():
            chain = chain_hash(chain, leaf_hash(leaf))
            db.execute("update record set chain = ? where seq = ?", (chain, seq))
    db.close()

    assert verified(path).problems == ()
    assert "is not what was signed" in verified(path, (note,)).problems[0]


def test_the_seat_belt_holds_a_careless_hand(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as db:
        with pytest.raises(sqlite3.IntegrityError, match="evidence is append-only"):
            db.execute("delete from record")
        with pytest.raises(sqlite3.IntegrityError, match="evidence is append-only"):
            db.execute("update record set chain = x''")
    db.close()


# Broken files ---------------------------------------------------------------------------------------------------------


def test_a_file_with_flipped_bits_is_refused_or_reads_as_it_was_written(path: Path, tmp_path: Path) -> None:
    note = filled(path)
    with read_only(path) as reader:
        written = list(reader.leaves())
    whole, chance, seen = path.read_bytes(), random.Random(3), 0
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    shutil.copy(path.with_name("key"), copy.parent)
    for _ in range(250):
        damaged, place = bytearray(whole), chance.randrange(len(whole))
        damaged[place : place + chance.choice([1, 1, 512])] = chance.randbytes(1)
        copy.write_bytes(damaged)
        try:
            problems = verified(copy, (note,)).problems
            with read_only(copy) as reader:
                same = list(reader.leaves()) == written
            journal = opened(copy)
            try:
                replayed(journal)
            finally:
                journal.close()
        except CannotUseJournal:
            seen += 1
            continue
        assert same or problems
        seen += bool(problems)
    assert seen > 20


def test_a_write_ahead_log_cut_anywhere_leaves_a_clean_beginning_and_a_copy_shows_the_loss(path: Path, tmp_path: Path) -> None:
    journal = opened(path)
    for n in range(0, 60, 3):
        journal.commit(NOW, records(3, n), positions={"n": str(n + 3)})
    note = journal.checkpoint(NOW)
    with read_only(path) as reader:
        written = list(reader.leaves())
    database, log = path.read_bytes(), path.with_name("journal.db-wal").read_bytes()
    journal.close()
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    shutil.copy(path.with_name("key"), copy.parent)
    sizes = set()
    for cut in range(0, len(log), len(log) // 60):
        copy.write_bytes(database)
        copy.with_name("journal.db-wal").write_bytes(log[:cut])

        journal = opened(copy)

        assert [one.leaf for one in replayed(journal)] == written[: journal.size]
        assert journal.positions().get("n", "0") == str(journal.size)
        sizes.add(journal.size)
        journal.close()
        assert journal.size == 60 or any("cut at record" in problem for problem in verified(copy, (note,)).problems)
    assert len(sizes) > 10


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, bytes(8192)])
def test_a_file_that_is_no_journal_is_refused_and_stays_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(CorruptJournal, match=r"cannot trust the journal .*\nNothing was changed"):
        opened(path)
    with pytest.raises(CorruptJournal):
        read_only(path)

    assert path.read_bytes() == content


def test_a_journal_that_vanished_is_not_replaced_by_an_empty_one(path: Path) -> None:
    opened(path, ballast=4096).close()
    path.unlink()

    with pytest.raises(CorruptJournal, match=r"the file is gone, but journal\.db\.ballast is still beside it"):
        opened(path, ballast=4096)


def test_a_creation_that_was_interrupted_is_begun_again(path: Path) -> None:
    path.with_name("journal.db.new").write_bytes(b"half")
    path.with_name("journal.db.new-wal").write_bytes(b"half")

    journal = opened(path)

    assert journal.commit(NOW, records(1)) == 1
    journal.close()


def test_another_key_cannot_continue_a_signed_journal(path: Path) -> None:
    filled(path)
    path.with_name("key").unlink()

    with pytest.raises(CannotUseJournal, match=r"does not fit the key .*\nPut back the key"):
        opened(path)


def test_a_journal_of_a_newer_agent_is_left_alone(path: Path) -> None:
    create(path)
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    db.close()

    with pytest.raises(CannotUseJournal, match=r"a newer agent wrote it: it has version 99, this agent knows \d+\nNothing was"):
        opened(path)


def test_a_failed_start_lets_go_of_the_lock(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(CorruptJournal):
        opened(path)
    path.unlink()

    opened(path).close()


def test_a_place_where_the_agent_may_not_write_is_told(tmp_path: Path) -> None:
    key = key_of(tmp_path / "journal.db")
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotUseJournal, match=r"cannot write the journal .*\nGive the directory"):
        Journal(tmp_path / "file" / "journal.db", host="host1", key=key, redact=Redactor(b""))
