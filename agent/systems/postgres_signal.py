"""standby.signal in a PostgreSQL data directory: with it, a server comes up as a standby. Ours says so in its first line.

PostgreSQL asks only whether it is there, and takes it away when the server is promoted: the mark lasts as long as the fence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.systems.bounded import directory, read

NAME: Final = "standby.signal"
_MAKING: Final = "standby.signal.containment"
_TOLD: Final = """
Nobody can write to this server: containment-agent has fenced it. `contain undo` lifts that; or by hand, remove this file and
restart the server. (pg_promote() lifts it too, and begins a new timeline.)
"""


def look(place: str) -> str | None:
    """Its first line; None where there is no such file.

    Raises:
        CannotReach: it cannot be looked at.
    """
    with _in(place) as below:
        try:
            return read(NAME, 1000, below=below).decode(errors="replace").partition("\n")[0]
        except FileNotFoundError:
            return None


def half_made(place: str) -> bool:
    """Whether somebody was ended in the middle of `put`."""
    return Path(place, _MAKING).exists()


def put(place: str, mark: str) -> None:
    """Make it, whole or not at all, as a file of the directory's owner; never over one that is there.

    Raises:
        CannotReach: it is there, or it cannot be made.
    """
    with _in(place) as below:
        _remove(_MAKING, below)
        # Whoever owns the directory could have put a link there: nothing is followed.
        made = os.open(_MAKING, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=below)
        try:
            os.write(made, (mark + _TOLD).encode())
            if os.geteuid() == 0:
                os.fchown(made, os.fstat(below).st_uid, os.fstat(below).st_gid)
            os.fsync(made)
        finally:
            os.close(made)
        os.link(_MAKING, NAME, src_dir_fd=below, dst_dir_fd=below, follow_symlinks=False)
        _remove(_MAKING, below)
        os.fsync(below)


def take(place: str, mark: str) -> None:
    """Take it away where it is the one with this mark, and what `put` may have left half made.

    Raises:
        CannotReach: it cannot be taken away.
    """
    ours = look(place) == mark
    with _in(place) as below:
        if ours:
            _remove(NAME, below)
        _remove(_MAKING, below)
        os.fsync(below)


def _remove(name: str, below: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=below)


@contextmanager
def _in(place: str) -> Iterator[int]:
    try:
        with directory(place) as below:
            yield below
    except OSError as error:
        mend = "the agent needs to read and write there (ReadWritePaths= of its unit)"
        raise CannotReach(f"cannot use {place}/{NAME}: {error.strerror}; {mend}") from error
