"""Set a journal aside that cannot be used any more: whole, where a person finds it, and never deleted.

set-aside-20261123T060001Z/   journal.db and what SQLite keeps beside it, the public key it was signed for, WHY
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from agent.evidence.durable import ballast_of
from agent.evidence.journal_file import Unwritable, lock
from agent.evidence.migrate import copies_of
from agent.evidence.on_disk import sync_directory

MOST_AN_HOUR: Final = 5
"""Journals set aside within an hour, after which the disk is at fault and no new one is begun: a disk must not fill with them."""
_HOUR: Final = 3600.0
_SCANNED: Final = 256 << 20
_NUMBERS: Final = re.compile(rb'"(incident|mitigation)":"(?:INC|M)-(\d{1,9})"')
_WHY: Final = "WHY"


class Lost(NamedTuple):
    """A journal that was set aside: where, why, its bytes, and the highest numbers of an incident and a mitigation in it."""

    aside: Path
    because: str
    size: int
    incident: int
    mitigation: int


def set_aside(journal: Path, because: str, *, besides: tuple[Path, ...] = ()) -> Lost:
    """Move a journal's files, and `besides`, into a directory of their own, which only the agent may read.

    Every file stands there before any is gone here, so that a crash loses none. The ballast holds nothing, and is deleted.

    Raises:
        Unwritable: the disk does not let us, or too many were set aside within the last hour.
        CannotUseJournal: an agent writes it.
    """
    held = lock(journal)
    try:
        return _moved(journal, because, besides)
    finally:
        os.close(held)


def _moved(journal: Path, because: str, besides: tuple[Path, ...]) -> Lost:
    own = (journal.with_name(journal.name + end) for end in ("", "-wal", "-shm"))
    files = [one for one in (*own, *copies_of(journal), *besides) if one.exists()]
    begun = _begun(journal, files) if files and not journal.exists() else None
    try:
        if not begun:
            _refuse_too_many(journal)
        ballast_of(journal).unlink(missing_ok=True)  # the disk may be full as well
        place = begun or _gathered(journal, because, files)
        for one in files:
            one.unlink()
        sync_directory(journal.parent)
    except OSError as error:
        why = error.strerror or str(error)
        raise Unwritable(f"cannot set the journal {journal} aside: {why}\nLook at the disk (dmesg, df, mount).") from error
    return _lost(place, journal.name)


def _begun(journal: Path, files: list[Path]) -> Path | None:
    """Where all that is left stands already, because a crash came while it was taken from here; with the journal itself."""
    for place in sorted(_recent(journal), reverse=True):
        if (place / journal.name).exists() and all((kept := place / one.name).exists() and kept.samefile(one) for one in files):
            return place
    return None


def _gathered(journal: Path, because: str, files: list[Path]) -> Path:
    """A directory with all of it, on the disk; none where that cannot be."""
    place = _directory(journal.parent)
    try:
        (place / _WHY).write_text(f"{because}\n", encoding="utf-8")
        for one in dict.fromkeys([*files, *journal.parent.glob("*.vkey")]):  # it is checked with the key beside it
            os.link(one, place / one.name)
        if (evidence := journal.with_name("evidence")).is_dir():  # the files stay in their place, for the records of both
            (place / evidence.name).symlink_to(Path("..", evidence.name))
        sync_directory(place)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return place


def newest(journal: Path) -> Lost | None:
    """The last one that was set aside, if that was within an hour; what is older has had its successor."""
    found = sorted(one for one in _recent(journal) if (one / journal.name).exists())
    return _lost(found[-1], journal.name) if found else None


def _lost(place: Path, name: str) -> Lost:
    try:
        because = (place / _WHY).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        because = "it is not known why"
    files = [one for one in (place / name, place / f"{name}-wal") if one.exists()]
    numbers = {b"incident": 0, b"mitigation": 0}
    for one in files:
        _highest(one, numbers)
    size = sum(one.stat().st_size for one in files)
    return Lost(place, because, size, numbers[b"incident"], numbers[b"mitigation"])


def _highest(file: Path, numbers: dict[bytes, int]) -> None:
    """Read numbers out of the bytes, whatever SQLite says of them, so that no name is given twice."""
    if file.stat().st_size == 0:
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for found in _NUMBERS.finditer(data, max(0, len(data) - _SCANNED)):
            numbers[found[1]] = max(numbers[found[1]], int(found[2]))


def _recent(journal: Path) -> list[Path]:
    now = time.time()
    return [one for one in journal.parent.glob("set-aside-*") if one.is_dir() and abs(now - one.stat().st_mtime) < _HOUR]


def _refuse_too_many(journal: Path) -> None:
    recent = _recent(journal)
    if len(recent) >= MOST_AN_HOUR:
        raise OSError(0, f"{len(recent)} were set aside within an hour already; the disk seems to damage them")


def _directory(parent: Path) -> Path:
    """A new directory with the time in its name; two within a second follow one another."""
    stamp = f"set-aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for name in (stamp, *(f"{stamp}-{number}" for number in range(2, 100))):
        try:
            (parent / name).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return parent / name
    raise OSError(0, "a hundred were set aside within a second")
