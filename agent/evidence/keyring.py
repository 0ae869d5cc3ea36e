"""The signing key at a start, whatever became of its file: the agent contains with it, with a new one, or with one in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent.evidence.aside import Lost, set_aside
from agent.evidence.journal_file import Unwritable, refuse_others
from agent.evidence.keys import CannotUseKey, DamagedKey, Key, NoKeyNow, OpenKey, load_or_make, name_of
from agent.record import Record

_OPEN: Final = "chmod 600 it; if somebody else could be on this host, stop the agent and move the key away: a new one is made"


class Taken(NamedTuple):
    """A key to go on with. `why` says why it is in memory alone; empty for one in its file.

    `lost` is the journal that was set aside because its key is gone, `mishap` what a person must be told.
    """

    key: Key
    why: str = ""
    lost: Lost | None = None
    mishap: Record | None = None


def take_key(path: Path, journal: Path, host: str) -> Taken:
    """The key in the file. Where there is none and a journal is, or it is damaged, the journal goes aside for a new one.

    Another key may not continue a journal: whoever can delete a key could else pass off what he signs as what was signed. The
    old journal stays whole, and is checked with the public key beside it.

    Raises:
        CannotUseKey: this user may not read or write it.
        CannotUseJournal: what is there is another program's, or a newer agent's.
    """
    try:
        if path.exists() or not journal.exists():
            return Taken(load_or_make(path, host=host))
        return _begin_anew(path, journal, host, f"the signing key {path} is gone")
    except OpenKey as error:
        because = str(error).partition("\n")[0].partition(": ")[2]
        return Taken(error.key, mishap=Record("key_open", {"because": f"{path}: {because}", "mend": _OPEN}))
    except DamagedKey as error:
        return _begin_anew(path, journal, host, str(error).partition("\n")[0])
    except NoKeyNow as error:
        return Taken(Key(name_of(host), os.urandom(32)), str(error))
    except OSError as error:
        raise CannotUseKey(
            f"cannot look for the signing key {path}: {error.strerror}\nGive the agent's user the directory."
        ) from error


def _begin_anew(path: Path, journal: Path, host: str, because: str) -> Taken:
    public = path.with_suffix(".vkey")
    try:
        refuse_others(journal)
        lost = set_aside(journal, because, besides=(path, public))
        return Taken(load_or_make(path, host=host), lost=lost)
    except (NoKeyNow, Unwritable) as error:
        return Taken(Key(name_of(host), os.urandom(32)), str(error))


def key_changed(lost: Lost, key: Key) -> dict[str, Any]:
    """What the new journal says of it first."""
    mend = f"contain evidence verify --db {lost.aside}/journal.db; hand out the new public key; contain evidence accept --why …"
    return {"because": lost.because, "aside": str(lost.aside), "vkey": key.vkey, "mend": mend}
