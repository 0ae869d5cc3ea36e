"""Read what the agent knew out of a journal that it does not write: one set aside, or one on a disk that can only be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from agent.evidence.journal_file import CannotUseJournal, open_to_read, telling
from agent.evidence.journal_head import find_head
from agent.evidence.journal_read import POSITION, replay
from agent.evidence.keys import CannotUseKey, Key, OpenKey, load
from agent.evidence.note import BadNote, PublicKey
from agent.record import Stored

T = TypeVar("T")


def old_state(journal: Path, key: Path, build: Callable[[Any | None, Iterable[Stored]], T]) -> T:
    """What `build` makes of a journal that is whole: signed by the key beside it, its chain unbroken to the end.

    A part of one is worse than nothing: what was taken down after it would be put back.

    Raises:
        CannotUseJournal: it cannot be read, or it is not whole.
    """
    ours = _key_of(key)
    public = next((one for one in sorted(journal.parent.glob("*.vkey"))), key.with_suffix(".vkey"))
    try:
        signer = PublicKey.read(public.read_text(encoding="utf-8").strip())
    except (OSError, BadNote, UnicodeDecodeError) as error:
        raise CannotUseJournal(f"cannot check the journal {journal}: there is no public key in {public}") from error
    with closing(open_to_read(journal)) as db:
        size = find_head(journal, db, signer).size
        return build(*replay(journal, db, ours, (size, signer.name)))


def _key_of(path: Path) -> Key | None:
    try:
        return load(path)
    except OpenKey as error:
        return error.key
    except (CannotUseKey, OSError):
        return None


def positions_of(journal: Path) -> dict[str, str]:
    """How far sensors had read, as far as that can be found out."""
    try:
        with closing(open_to_read(journal)) as db, telling(journal):
            return dict(db.execute(POSITION))
    except CannotUseJournal:
        return {}
