"""Evidence goes on whatever its disk does: spooled while it cannot be written, begun anew where it is broken, never silent."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.evidence import aside, spool
from agent.evidence.durable import ballast_of
from agent.evidence.journal import CannotUseJournal, read_only
from agent.evidence.journal_file import PATIENCE
from agent.evidence.keeper import Keeper
from agent.evidence.keyring import take_key
from agent.evidence.merkle import Verdict
from agent.evidence.place import Place
from agent.evidence.redact import Redactor
from agent.record import Record, Stored
from tests.evidence.journals import NOW, event, records
from tests.needs import need_root

MIB = 1 << 20


class Known:
    """What an agent knows: the numbers of its findings, from records as from a snapshot."""

    def __init__(self, plain: Any | None = None, old: Sequence[Stored] = ()) -> None:
        self.numbers: list[int] = list(plain["numbers"]) if plain else []
        self.kinds: list[str] = []
        for one in old:
            self.learn(one.record, one.ts)

    def learn(self, record: Record, _ts: float) -> None:
        self.kinds.append(record.kind)
        if record.kind == "finding":
            self.numbers.append(record.body["number"])

    def plain(self) -> Mapping[str, Any]:
        return {"numbers": self.numbers}


class Desk:
    """An agent's evidence in one directory, with its spool in another; `sent` is what went to syslog."""

    def __init__(self, place: Path, spool: Path | None = None) -> None:
        self.place, self.spool = place, spool or place.parent / "evidence.spool"
        self.journal, self.key = place / "journal.db", place / "signing.key"
        self.sent: list[bytes] = []
        self.deaf = ""
        self.patience = 0.1

    def start(self, ballast: int = 0) -> Keeper:
        taken = take_key(self.key, self.journal, "host1")
        redact = Redactor(taken.key.derive("redaction"))
        keeper = Keeper(self._where(ballast), taken, redact, self._send)
        self.known = keeper.recall(lambda plain, old: Known(plain, list(old)))
        keeper.begin(NOW, self.known)
        return keeper

    def _where(self, ballast: int) -> Place:
        return Place(self.journal, self.key, self.spool, "host1", ballast=ballast, patience=self.patience)

    def _send(self, lines: Sequence[bytes]) -> str:
        if not self.deaf:
            self.sent += lines
        return self.deaf

    def commit(self, keeper: Keeper, count: int, now: float = NOW) -> None:
        made = records(count, len(self.known.numbers))
        for one in made:
            self.known.learn(one, now)
        keeper.commit(now, made, positions={"log": str(len(self.known.numbers))}, events=[event(now)] * count)

    def written(self, journal: Path | None = None) -> list[Stored]:
        with read_only(journal or self.journal) as reader:
            return reader.records(limit=200_000)

    def kinds(self) -> list[str]:
        return [one.record.kind for one in self.written()]

    def numbers(self) -> list[int]:
        return [one.record.body["number"] for one in self.written() if one.record.kind == "finding"]

    def verdict(self, journal: Path | None = None) -> Verdict:
        path = journal or self.journal
        with read_only(path) as reader:
            return reader.verify(next(iter(path.parent.glob("*.vkey"))).read_text().strip())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "state").mkdir()
    return Desk(tmp_path / "state")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Desk]:
    need_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True, timeout=10)
    yield Desk(place)
    subprocess.run(["umount", "--lazy", place], check=True, timeout=10)


def fill(place: Path) -> Path:
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def until(done: Callable[[], object], work: Callable[[], object]) -> None:
    for _ in range(2000):
        if done():
            return
        work()
    raise AssertionError("two thousand times in vain")


def flip(path: Path, word: bytes, last: bool = False) -> None:
    """Change one byte behind a word, in the file itself."""
    data = bytearray(path.read_bytes())
    at = (data.rindex(word) if last else data.index(word)) + len(word)
    data[at] ^= 1
    path.write_bytes(data)


# It cannot be written -------------------------------------------------------------------------------------------------


def test_on_a_full_disk_records_wait_with_copies_elsewhere_and_are_written_in_order_with_their_own_times(disk: Desk) -> None:
    keeper = disk.start(ballast=MIB)
    filler = fill(disk.place)
    until(lambda: keeper.failing, lambda: disk.commit(keeper, 5))
    disk.commit(keeper, 3, now=NOW + 7)
    waiting = keeper.told()
    filler.unlink()

    keeper.retry(NOW + 60)

    assert waiting["failing"] == "database or disk is full"
    assert (waiting["waiting"], keeper.told()["failing"], keeper.no_copy) == (9, "", "")
    assert [b"evidence" in line for line in disk.sent] == [True] * 9
    found = disk.written()
    gap = next(one for one in found if one.record.kind == "evidence_gap")
    behind = found[gap.seq + 1 :]
    assert [one.record.kind for one in behind] == ["evidence_failing", *["finding"] * 8]
    assert (gap.record.body["records"], gap.record.body["until"], gap.record.body["left_out"]) == (9, NOW + 60, 0)
    assert [one.ts for one in behind[-3:]] == [NOW + 7] * 3
    assert disk.numbers() == list(range(len(disk.known.numbers)))
    assert keeper.positions()["log"] == str(len(disk.known.numbers))
    assert len(keeper.events(limit=10**6)) == len(disk.known.numbers)
    assert ballast_of(disk.journal).stat().st_size == MIB
    assert not disk.spool.exists()
    keeper.checkpoint(NOW + 61)
    keeper.close()
    assert disk.verdict().problems == ()


def test_a_kill_while_the_disk_is_full_loses_nothing_that_waited_and_doubles_nothing(disk: Desk) -> None:
    keeper = disk.start()
    filler = fill(disk.place)
    until(lambda: keeper.failing, lambda: disk.commit(keeper, 5))
    disk.commit(keeper, 2)
    before = list(disk.known.numbers)
    with disk.spool.open("ab") as file:
        file.write(b'1800000000000000000 12 {"kind":"fin')  # the kill came in the middle of a line
    kept = disk.spool.read_bytes()
    filler.unlink()
    os.close(keeper._journal._lock)  # type: ignore[union-attr]  # as if the process were gone

    again = Desk(disk.place, disk.spool)
    after = again.start()
    after.close()
    disk.spool.write_bytes(kept)  # as if the kill had come between the commit and the end of the file
    third = Desk(disk.place, disk.spool)
    third.start().close()

    assert again.known.numbers == before
    assert third.known.numbers == before
    assert third.numbers() == before
    assert third.kinds().count("evidence_gap") == 1
    assert not disk.spool.exists()


def test_a_write_that_the_system_refuses_is_waited_out(desk: Desk) -> None:
    keeper = desk.start()
    desk.commit(keeper, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (desk.journal.with_name("journal.db-wal").stat().st_size, hard))
    try:
        desk.commit(keeper, 200)
        failing = keeper.failing
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    keeper.retry(NOW)

    assert failing == "disk I/O error"
    assert keeper.failing == ""
    assert desk.numbers() == list(range(201))
    keeper.close()


def test_somebody_elses_lock_is_waited_for_a_bounded_time_and_then_the_record_goes_elsewhere(desk: Desk) -> None:
    desk.patience = PATIENCE
    keeper = desk.start()
    desk.commit(keeper, 1)
    with closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("begin immediate")
        begun = time.monotonic()
        desk.commit(keeper, 1)
        took = time.monotonic() - begun
        keeper.retry(NOW)
        still, tried = keeper.failing, time.monotonic() - begun - took
        other.execute("rollback")
    keeper.retry(NOW)

    assert PATIENCE - 0.2 < took < PATIENCE + 1.5
    assert tried < 1
    assert still == "database is locked"
    assert (keeper.failing, desk.numbers()) == ("", [0, 1])
    keeper.close()


def test_without_a_file_and_without_syslog_it_says_that_nobody_may_act_until_a_copy_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    desk = Desk(tmp_path / "state", spool=tmp_path / "nowhere" / "evidence.spool")
    keeper = desk.start()
    desk.deaf = "syslog: nobody listens"
    with closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("begin immediate")
        desk.commit(keeper, 1)
        told = keeper.no_copy
        desk.deaf = ""
        desk.commit(keeper, 1)
        other.execute("rollback")

    assert told.startswith("no copy of a record can be kept: syslog: nobody listens; ")
    assert keeper.no_copy == ""
    keeper.close()
    assert desk.numbers() == [0, 1]


@pytest.mark.parametrize("begun", [b"", b'1800000000000000000 12 {"kind":"fin'])
def test_a_spool_that_a_kill_left_without_a_record_does_not_stay(begun: bytes, desk: Desk) -> None:
    desk.spool.write_bytes(begun)

    desk.start().close()

    assert not desk.spool.exists()


def _a_pipe(there: Path, _secret: Path) -> None:
    os.mkfifo(there, 0o600)


def _a_link(there: Path, secret: Path) -> None:
    there.symlink_to(secret)


def _another_name(there: Path, secret: Path) -> None:
    os.link(secret, there)


def _everybodys(there: Path, _secret: Path) -> None:
    there.touch(0o600)
    there.chmod(0o666)


@pytest.mark.parametrize("put", [_a_pipe, _a_link, _another_name, _everybodys])
def test_what_somebody_put_where_the_spool_goes_is_neither_waited_for_nor_written(
    put: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("as it was")
    put(tmp_path / "agent.spool", secret)
    desk = Desk(tmp_path)

    made = spool.Spool(tmp_path / "agent.spool", Redactor(b"k" * 32), desk._send)
    made.add(NOW, records(1))

    assert made.places == "syslog"
    assert len(desk.sent) == len(made.records) == 1
    assert secret.read_text() == "as it was"


def test_beyond_its_room_the_spool_says_so_and_counts_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    sent = list[bytes]()

    def send(lines: Sequence[bytes]) -> str:
        sent.extend(lines)
        return ""

    full = spool.Spool(tmp_path / "spool", Redactor(b"k"), send)
    for first in range(0, spool.ROOM, 10_000):
        full.add(NOW, records(10_000, first))

    assert "there is no room for more" in full.no_copy
    full.add(NOW, records(20_000, spool.ROOM))
    assert len(full.records) == spool.ROOM * 6 // 5
    assert full.left_out == 20_000 - spool.ROOM // 5
    assert len(sent) == spool.ROOM + 20_000


def test_secrets_do_not_leave_by_the_spool(desk: Desk) -> None:
    keeper = desk.start()
    with closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("begin immediate")
        keeper.commit(NOW, [Record("finding", {"number": 0, "line": "password=hunter2hunter2"})])
        other.execute("rollback")

    assert b"hunter2" not in desk.spool.read_bytes() + b"".join(desk.sent)
    assert desk.spool.stat().st_mode & 0o777 == 0o600
    keeper.close()


# A read-only disk -----------------------------------------------------------------------------------------------------


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True, timeout=10)


@pytest.mark.parametrize("killed", [False, True])
def test_on_a_read_only_disk_it_starts_with_what_it_knew_and_writes_on_once_it_can(disk: Desk, killed: bool) -> None:
    child = os.fork()
    if child == 0:
        try:
            first = disk.start()
            disk.commit(first, 7)
            first.checkpoint(NOW)
            disk.commit(first, 3)
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
            first.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    remount(disk.place, "ro")

    keeper = disk.start()
    disk.commit(keeper, 2)
    failing, known = keeper.failing, list(disk.known.numbers)
    keeper.retry(NOW)
    still = keeper.failing
    remount(disk.place, "rw")
    keeper.retry(NOW)

    assert failing
    assert still
    assert not keeper.blank
    assert known == list(range(12))
    assert (keeper.failing, disk.numbers()) == ("", known)
    assert keeper.positions()["log"] == "12"
    keeper.checkpoint(NOW)
    keeper.close()
    assert disk.verdict().problems == ()


def test_a_key_that_cannot_be_had_once_the_disk_takes_something_again_is_said_and_stops_nothing(disk: Desk) -> None:
    remount(disk.place, "ro")
    keeper = disk.start()
    remount(disk.place, "rw")
    disk.key.mkdir()

    keeper.retry(NOW)
    refused = keeper.failing
    disk.key.rmdir()
    keeper.retry(NOW)

    assert "directory" in refused.lower()
    assert keeper.failing == ""
    keeper.close()


def test_a_first_start_on_a_read_only_disk_makes_journal_and_key_later(disk: Desk) -> None:
    remount(disk.place, "ro")
    keeper = disk.start()
    disk.commit(keeper, 2)
    remount(disk.place, "rw")

    keeper.retry(NOW)
    keeper.checkpoint(NOW)
    keeper.close()

    assert disk.kinds() == ["evidence_gap", "evidence_failing", "finding", "finding"]
    assert disk.verdict().problems == ()


# A broken journal -----------------------------------------------------------------------------------------------------


def _begun(desk: Desk, count: int = 30) -> None:
    keeper = desk.start()
    for _ in range(0, count, 10):
        desk.commit(keeper, 10)
    keeper.checkpoint(NOW)
    keeper.close()


def _torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


BROKEN: Mapping[str, Callable[[Path], object]] = {
    "a flipped byte in the last record": lambda path: flip(path, b'"number":', last=True),
    "no database any more": lambda path: path.write_bytes(b"not a database at all" * 400),
    "empty": lambda path: path.write_bytes(b""),
    "torn": _torn,
    "zeroes at its head": lambda path: path.write_bytes(bytes(4096) + path.read_bytes()[4096:]),
    "its name overwritten": lambda path: flip(path, path.read_bytes()[:68], last=False),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_journal_is_set_aside_whole_and_a_new_one_begins_with_saying_so(desk: Desk, how: str) -> None:
    _begun(desk)
    BROKEN[how](desk.journal)
    left = desk.journal.read_bytes()
    now = Desk(desk.place, desk.spool)

    keeper = now.start()
    now.commit(keeper, 1)
    keeper.checkpoint(NOW)
    keeper.close()

    (place,) = desk.place.glob("set-aside-*")
    first = now.written()[0].record
    assert keeper.blank
    assert (place / "journal.db").read_bytes() == left
    assert place.stat().st_mode & 0o777 == 0o700
    assert (first.kind, first.body["aside"], first.body["size"], first.body["known"]) == (
        "journal_lost",
        str(place),
        len(left),
        False,
    )
    assert now.known.kinds[0] == "journal_lost"
    assert now.verdict().problems == ()
    assert (place / "WHY").read_text().strip()


def test_names_that_the_lost_journal_gave_are_not_given_again(desk: Desk) -> None:
    keeper = desk.start()
    keeper.commit(NOW, [Record("finding", {"number": 0}, "INC-41", "M-1207"), Record("finding", {"number": 1}, "INC-7", "M-3")])
    keeper.close()
    flip(desk.journal, b'"number":')

    Desk(desk.place, desk.spool).start().close()

    body = desk.written()[0].record.body
    assert (body["incident"], body["mitigation"]) == (41, 1207)


def test_a_journal_that_breaks_while_it_is_written_is_replaced_without_losing_what_is_known(desk: Desk) -> None:
    keeper = desk.start()
    for _ in range(40):
        desk.commit(keeper, 50)
    with closing(sqlite3.connect(desk.journal)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    size = desk.journal.stat().st_size
    with desk.journal.open("r+b") as file:
        for page in range(4096, size, 4096):
            file.seek(page)
            file.write(random.Random(page).randbytes(4096))
    os.posix_fadvise(os.open(desk.journal, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)
    keeper._journal._db.execute("pragma shrink_memory")  # type: ignore[union-attr]

    until(lambda: list(desk.place.glob("set-aside-*")), lambda: desk.commit(keeper, 50))
    desk.commit(keeper, 3)
    keeper.checkpoint(NOW)
    keeper.close()

    again = Desk(desk.place, desk.spool)
    again.start().close()
    assert keeper.failing == ""
    assert not keeper.blank
    assert again.written()[0].record.kind == "journal_lost"
    assert again.known.numbers == desk.known.numbers
    assert again.verdict().problems == ()


def test_a_crash_between_setting_aside_and_the_first_record_is_noticed_at_the_next_start(desk: Desk) -> None:
    _begun(desk)
    aside.set_aside(desk.journal, "database disk image is malformed")
    first = Desk(desk.place, desk.spool)

    first.start().close()

    record = first.written()[0].record
    assert (record.kind, record.body["because"]) == ("journal_lost", "database disk image is malformed")
    assert first.known.numbers == list(range(30))


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_crash_while_it_is_set_aside_is_finished_at_the_next_start_and_no_name_is_given_again(desk: Desk, gone: int) -> None:
    keeper = desk.start()
    keeper.commit(NOW, [Record("finding", {"number": 0}, "INC-41", "M-1207")])
    files = [desk.journal.with_name(f"journal.db{end}") for end in ("", "-wal", "-shm")]
    killed = [one.read_bytes() for one in files]
    keeper.close()
    kept = desk.place / "set-aside-20261123T060001Z"
    kept.mkdir()
    (kept / "WHY").write_text("database disk image is malformed\n")
    os.link(desk.key.with_suffix(".vkey"), kept / "signing.vkey")
    for at, (one, data) in enumerate(zip(files, killed, strict=True)):
        one.write_bytes(data)
        os.link(one, kept / one.name)
        if at < gone:
            one.unlink()

    now = Desk(desk.place, desk.spool)
    now.start().close()

    first = now.written()[0].record
    assert list(desk.place.glob("set-aside-*")) == [kept]
    assert (first.kind, first.body["aside"], first.body["incident"], first.body["mitigation"]) == (
        "journal_lost",
        str(kept),
        41,
        1207,
    )


def test_a_disk_that_damages_one_journal_after_another_is_not_filled_with_them(desk: Desk) -> None:
    for _ in range(aside.MOST_AN_HOUR):
        aside.set_aside(desk.journal, "again")
    desk.journal.write_bytes(b"damaged" * 100)

    keeper = desk.start()
    desk.commit(keeper, 2)

    assert "were set aside within an hour already; the disk seems to damage them" in keeper.failing
    assert keeper.blank
    assert desk.journal.read_bytes() == b"damaged" * 100
    assert len(list(desk.place.glob("set-aside-*"))) == aside.MOST_AN_HOUR
    keeper.close()


def test_another_programs_database_is_refused_and_stays_as_it_is(desk: Desk) -> None:
    with closing(sqlite3.connect(desk.journal)) as db:
        db.execute("create table songs(title)")
        db.commit()
    left = desk.journal.read_bytes()

    with pytest.raises(CannotUseJournal, match=r"it is another program's database\nMove it away"):
        desk.start()

    assert desk.journal.read_bytes() == left


def test_a_second_agent_is_refused(desk: Desk) -> None:
    keeper = desk.start()

    with pytest.raises(CannotUseJournal, match="another agent, process"):
        Desk(desk.place, desk.spool).start()

    keeper.close()


# Its key --------------------------------------------------------------------------------------------------------------


def _gone(key: Path) -> None:
    key.unlink()


def _damaged(key: Path) -> None:
    flip(key, b"PRIVATE+KEY+host1")


def _another(key: Path) -> None:
    key.unlink()
    take_key(key.with_name("other.key"), key.with_name("none"), "host1")
    key.with_name("other.vkey").unlink()
    key.with_name("other.key").rename(key)


@pytest.mark.parametrize("harm", [_gone, _damaged, _another])
def test_without_its_key_a_journal_goes_aside_whole_and_the_new_one_knows_all_it_knew(
    desk: Desk, harm: Callable[[Path], None]
) -> None:
    _begun(desk)
    harm(desk.key)
    now = Desk(desk.place, desk.spool)

    keeper = now.start()
    now.commit(keeper, 1)
    keeper.checkpoint(NOW)
    keeper.close()
    again = Desk(desk.place, desk.spool)
    again.start().close()

    (place,) = desk.place.glob("set-aside-*")
    first = now.written()[0].record
    assert first.kind == ("key_changed" if harm is not _another else "journal_lost")
    assert first.body["known"] is True
    assert now.known.numbers == list(range(31)) == again.known.numbers
    assert len(now.written(place / "journal.db")) == 30
    assert now.verdict(place / "journal.db").problems == ()
    assert now.verdict().problems == ()
    assert now.verdict().covered == now.verdict().records


@pytest.mark.parametrize("mode", [0o604, 0o666])
def test_a_key_that_others_may_use_is_used_and_told(desk: Desk, mode: int) -> None:
    _begun(desk)
    desk.key.chmod(mode)
    now = Desk(desk.place, desk.spool)

    keeper = now.start()
    keeper.close()

    (told,) = [one.record for one in now.written() if one.record.kind == "key_open"]
    assert f"others may use it (mode {mode:o})" in told.body["because"]
    assert "chmod 600" in told.body["mend"]
    assert now.known.numbers == list(range(30))
    assert desk.key.stat().st_mode & 0o777 == mode


def test_a_public_key_that_is_another_ones_is_put_right(desk: Desk) -> None:
    _begun(desk)
    public = desk.key.with_suffix(".vkey")
    right = public.read_text()
    public.write_text(right.replace("host1", "host2"))

    desk.start().close()

    assert public.read_text() == right
    assert "host2" in public.with_name("signing.vkey.old").read_text()


def test_what_is_sent_is_one_line_of_json_each(desk: Desk) -> None:
    keeper = desk.start()
    with closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("begin immediate")
        keeper.commit(NOW, [Record("finding", {"number": 0, "line": "a\nb"}, "INC-1")])
        other.execute("rollback")

    plain = json.loads(desk.sent[-1].removeprefix(b"evidence "))
    assert (plain["kind"], plain["incident"], plain["body"]["line"]) == ("finding", "INC-1", "a\nb")
    keeper.close()


def test_a_second_agent_without_the_key_does_not_take_the_journal_from_the_first(desk: Desk) -> None:
    keeper = desk.start()
    desk.key.unlink()

    with pytest.raises(CannotUseJournal, match="another agent, process"):
        Desk(desk.place, desk.spool).start()
    desk.commit(keeper, 1)

    assert desk.numbers() == [0]
    assert list(desk.place.glob("set-aside-*")) == []
    keeper.close()


def test_a_journal_set_aside_long_ago_is_not_what_a_new_one_begins_with(desk: Desk) -> None:
    _begun(desk)
    lost = aside.set_aside(desk.journal, "long ago")
    os.utime(lost.aside, (NOW - 1e8, NOW - 1e8))
    now = Desk(desk.place, desk.spool)

    keeper = now.start()

    assert now.known.numbers == []
    assert not keeper.blank
    keeper.close()


def test_a_flipped_byte_in_an_old_record_does_not_stop_a_start_and_shows_in_verify(desk: Desk) -> None:
    keeper = desk.start()
    for _ in range(3):
        desk.commit(keeper, 10)
    keeper.save_snapshot(desk.known.plain())
    keeper.checkpoint(NOW)
    keeper.close()
    flip(desk.journal, b'"number":1')
    now = Desk(desk.place, desk.spool)

    now.start().close()

    assert now.known.numbers == list(range(30))
    assert now.verdict().problems
