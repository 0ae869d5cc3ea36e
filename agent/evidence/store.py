"""Evidence from before the act, kept as files: what each capture brought to light, redacted, compressed and hashed.

    evidence/M-41/01-forensics-sockets.json.gz      a mitigation, the order within it, the verb that was asked

The journal holds the files' hashes, and so its proof covers them. They are for one reader: `zcat`, then `jq`.
"""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from agent.action import Call
from agent.evidence.leaf import CannotRecord, write_plain
from agent.evidence.on_disk import sync_directory
from agent.evidence.redact import Redactor
from agent.visible import visible

MOST_RAW: Final = 16 << 20
"""Bytes of one capture, characters of a text, that are kept; what goes beyond is cut, and said so."""
_PARTIAL: Final = ".partial"
_MOST_CALL: Final = 2000
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_NUMBER: Final = re.compile(r"(\d+)-")
_COUNT_AGAIN: Final = 10.0
"""Seconds between two looks at what a full store really holds: somebody may have made room."""
_PIECE: Final = 64 << 10
_LONGEST_LINE: Final = 1 << 20


class _Raw(NamedTuple):
    """One capture as bytes, without its secrets. `notes` goes to the record, beside the file's name."""

    kind: str
    data: bytes
    notes: Mapping[str, str]


class _LeftOut(Exception):  # noqa: N818 - reads as the sentence it is
    """There is no room, and no evidence is deleted to make some."""


class Store:
    """The files of captures, under one directory that only the agent may read. `keep` may be called by many threads at once.

    Nothing here is ever deleted or overwritten: where the room is used up, what comes new is left out, and said so.
    """

    def __init__(self, root: Path, redact: Redactor, most_bytes: int = 1 << 30, keep_free: int = 256 << 20) -> None:
        """Nothing is touched yet. `most_bytes` is for all files together; `keep_free` is left to everybody else on that disk."""
        self._root, self._redact, self._most, self._keep_free = root, redact, most_bytes, keep_free
        self._lock = threading.Lock()
        self._used: int | None = None
        self._counted = 0.0

    def keep(self, mitigation: str, call: Call, value: Any) -> Mapping[str, Any]:
        """Write one capture's answer to a file; returns what the journal shall say of it.

        That is `call`, `file` (relative to the root), `sha256` and `bytes` of what is stored, and `truncated` or `as_it_is`
        where there is something to say; or `call` and `error`. It never raises: evidence must not stop containment.
        """
        said = visible(call, _MOST_CALL)
        try:
            raw = self._raw(f"{said} for {mitigation}", value)
            packed = gzip.compress(raw.data, 3, mtime=0)
            file = self._write(mitigation, f"{call.system}-{call.verb}", raw.kind, packed)
        except OSError as error:
            return {"call": said, "error": f"cannot keep this under {self._root}: {error.strerror or error}"}
        except (_LeftOut, ValueError, RuntimeError, MemoryError) as error:  # what is too deep, too big, or not to be encoded
            return {"call": said, "error": str(error) or type(error).__name__}
        return {"call": said, "file": file, "sha256": sha256(packed).hexdigest(), "bytes": len(packed), **raw.notes}

    # What is written ------------------------------------------------------------------------------------------------------

    def _raw(self, about: str, value: Any) -> _Raw:
        if isinstance(value, bytes) and b"\0" in value:
            as_it_is = {"as_it_is": "this is no text, so no secret in it was looked for"}
            return _Raw("bin", value[:MOST_RAW], as_it_is | _cut(len(value)))
        if isinstance(value, bytes):
            return self._text(about, value[:MOST_RAW].decode(errors="backslashreplace"), len(value))
        if isinstance(value, str):
            return self._text(about, value)
        try:
            plain = write_plain({"call": about, "at": _now(), "value": value}, what=about)
        except CannotRecord:  # not worth losing the evidence
            return self._text(about, repr(value))
        (data,) = self._redact.clean([plain])
        if len(data) > MOST_RAW:
            return _Raw("txt", data[:MOST_RAW], _cut(len(data)))
        return _Raw("json", data, {})

    def _text(self, about: str, text: str, size: int = 0) -> _Raw:
        """A text under a line that says where it is from; a cut one ends with a whole line, lest half a secret be left.

        What is no UTF-8 is written as `\\xff`.
        """
        size = max(size, len(text))
        kept = text[:MOST_RAW]
        if size > MOST_RAW:
            kept = kept[: kept.rfind("\n", -_LONGEST_LINE) + 1] or kept
        legible = f"# {about}, {_now()}\n{kept}".encode(errors="backslashreplace").decode()
        cleaned = (from_json(self._redact.clean([to_json(piece)])[0]) for piece in _pieces(legible))
        return _Raw("txt", "".join(cleaned).encode(), _cut(size))

    # Where ----------------------------------------------------------------------------------------------------------------

    def _write(self, mitigation: str, name: str, kind: str, packed: bytes) -> str:
        """Put a file in its place, whole and on the disk, or not at all; returns its path below the root."""
        place = self._root / _safe(mitigation)
        with self._lock:
            used = self._room(len(packed))
            self._directory(self._root)
            self._directory(place)
            made = place / f"{_next(place):02}-{_safe(name)}.{kind}.gz"
            partial = made.with_name(made.name + _PARTIAL)
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o400)
            self._used = used + len(packed)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(descriptor)
            partial.rename(made)
            sync_directory(place)
        except OSError:
            with self._lock:
                self._used = (self._used or 0) - len(packed)
            partial.unlink(missing_ok=True)
            raise
        return str(made.relative_to(self._root))

    def _directory(self, place: Path) -> None:
        if place.is_dir():
            return
        place.mkdir(mode=0o700, parents=True)
        sync_directory(place.parent)

    def _room(self, size: int) -> int:
        """How much is used already, where there is room for so much more.

        The first look also clears away what a crash left half written: no record can name it.
        """
        used = self._used
        if used is None:
            for left in self._root.glob(f"*/*{_PARTIAL}"):
                left.unlink(missing_ok=True)
        if used is None or (used + size > self._most and time.monotonic() - self._counted > _COUNT_AGAIN):
            used, self._counted = _total(self._root), time.monotonic()
        self._used = used
        if used + size > self._most:
            raise _LeftOut(f"left out: the evidence store holds {spelled(used)}, its limit is {spelled(self._most)}")
        above = next(one for one in (self._root, *self._root.parents) if one.exists())
        disk = os.statvfs(above)
        free = disk.f_bavail * disk.f_frsize
        if free - size < self._keep_free:
            kept = f"{spelled(self._keep_free)} are kept free"
            raise _LeftOut(f"left out: the disk of {self._root} has {spelled(free)} left, of which {kept}")
        return used


def files_of(journal: Path) -> Path:
    """Where the files stand that a journal names."""
    return journal.with_name("evidence")


def spelled(size: int) -> str:
    """A size for people: 1.0 GiB, 16.0 MiB, 1.5 KiB, 7 bytes."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size} bytes"


def _cut(size: int) -> dict[str, str]:
    return {"truncated": f"the first {spelled(MOST_RAW)} of {spelled(size)}"} if size > MOST_RAW else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name)[:80] or "_"


def _next(place: Path) -> int:
    """One more than the highest number that is taken."""
    return 1 + max((int(found[1]) for one in place.iterdir() if (found := _NUMBER.match(one.name))), default=0)


def _total(root: Path) -> int:
    return sum(one.stat().st_size for one in root.glob("*/*") if one.is_file()) if root.exists() else 0


def _pieces(text: str) -> Iterator[str]:
    """The text in whole lines, some 64 KiB at a time: a regular expression holds up every other thread until it is through."""
    at = 0
    while at < len(text):
        end = _line_end(text, at + _PIECE)
        begun = text.rfind("-----BEGIN", at, end)
        if begun >= 0 and text.find("-----END", begun, end) < 0:  # the lines of a private key stay together
            closed = text.find("-----END", end, end + _PIECE)
            end = _line_end(text, closed) if closed >= 0 else end
        yield text[at:end]
        at = end


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at, at + _LONGEST_LINE)
    return found + 1 if found >= 0 else at + _LONGEST_LINE
