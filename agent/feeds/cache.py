"""The last good text of each list, on the disk: a start without network has it, and a crash leaves the old one or the new one.

One file for each: a line of JSON, then a network a line. Its time of change is when the source was last seen to say so.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.evidence.on_disk import sync_directory
from agent.feeds.listing import written
from agent.feeds.reading import Layout, NotUsed, Read, read

_VERSION: Final = 1
LARGEST: Final = 64 << 20
"""Bytes; a million networks of IPv6 are 48 MB."""


class CacheDamagedError(Exception):
    """The file is not what was kept. The text says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A list as it was kept. `etag` and `modified` are what its server calls this text, `refreshed` is in Unix seconds."""

    text: Read
    refreshed: float
    etag: str = ""
    modified: str = ""


class Cache:
    """The file of one list. `of` says where the list came from: one from elsewhere under the same name is another list."""

    def __init__(self, directory: Path, name: str, of: str) -> None:
        self._file, self._part, self._asked = (directory / f"{name}{end}" for end in (".list", ".partial", ".asked"))
        self._of = of

    def load(self, most: int) -> Kept | None:
        """What was kept of this list; None where nothing was.

        Raises:
            CacheDamagedError: there is a file, and it is not what was kept.
            OSError: it cannot be read.
        """
        try:
            with self._file.open("rb") as file:
                size = os.fstat(file.fileno())
                body = file.read(LARGEST + 1)
        except FileNotFoundError:
            return None
        head, _, rest = body.partition(b"\n")
        said = _head(head)
        if said.get("of") != self._of:
            return None
        if said.get("v") != _VERSION or len(body) > LARGEST or said.get("sha256") != hashlib.sha256(rest).hexdigest():
            raise CacheDamagedError("its text is not what its first line says")
        try:
            text = read(rest.splitlines(), Layout("plain"), most)
        except NotUsed as error:
            raise CacheDamagedError(str(error)) from error
        return Kept(text, size.st_mtime, str(said.get("etag", "")), str(said.get("modified", "")))

    def keep(self, kept: Kept) -> None:
        """Put another text in the place of what was kept, as a whole or not at all.

        Raises:
            OSError: the disk does not take it.
        """
        body = "".join(f"{one}\n" for one in written(kept.text.codes)).encode()
        said = {"v": _VERSION, "of": self._of, "sha256": hashlib.sha256(body).hexdigest()}
        head = json.dumps(said | {"etag": kept.etag, "modified": kept.modified}).encode()
        self._directory()
        with suppress(FileNotFoundError):
            self._part.unlink()
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head + b"\n" + body)
            file.flush()  # or what is written last would set the time
            os.utime(file.fileno(), (kept.refreshed, kept.refreshed))
            os.fsync(file.fileno())
        self._part.replace(self._file)
        sync_directory(self._file.parent)

    def seen(self, refreshed: float) -> None:
        """Its source says that what was kept is still right.

        Raises:
            OSError: the file is gone, or may not be changed.
        """
        os.utime(self._file, (refreshed, refreshed))

    # When its server was asked ------------------------------------------------------------------------------------------------

    def asked(self) -> float:
        """When its server was last asked (Unix seconds), over all starts: one that dies again and again must not bother it."""
        try:
            return self._asked.stat().st_mtime
        except OSError:
            return 0.0

    def asks(self, now: float) -> None:
        """Remember that its server is asked now.

        Raises:
            OSError: the disk does not take it.
        """
        self._directory()
        self._asked.touch(mode=0o600)
        os.utime(self._asked, (now, now))

    def _directory(self) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _head(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise CacheDamagedError("its first line is none of ours")
    return said
