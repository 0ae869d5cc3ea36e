"""One file for those who help: what the agent is, knows and does here, without secrets, with a list of what is in it.

Every text goes through the redactor, and through other words for names where those are wanted, before it is written. The
file holds no more than the caps below allow, and is never sent anywhere.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent.evidence.redact import Redactor, telling
from agent.support.pseudonyms import Pseudonyms

MOST_OF_ONE: Final = 4 << 20
"""Bytes of one text; what is beyond that is cut, and said so."""
MOST_OF_ALL: Final = 32 << 20
_PIECE: Final = 64 << 10
_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_HIDDEN: Final = "[redacted]"


class Left(Exception):  # noqa: N818 - reads as the sentence it is
    """Why a part is not there. Text: a sentence."""


@dataclass(frozen=True)
class Part:
    """A file of the bundle: its name, what it is, and how it is had: a text, or a value for JSON.

    Raises (when it is taken):
        Left: it cannot be had.
    """

    name: str
    about: str
    take: Callable[[], Any]


class Row(NamedTuple):
    """A line of the manifest: `why` says what is missing of it; empty where it is whole."""

    name: str
    about: str
    size: int
    why: str


class Made(NamedTuple):
    """A bundle: its bytes, and what is in it."""

    data: bytes
    rows: tuple[Row, ...]


def gather(parts: Iterable[Part]) -> tuple[dict[str, Any], dict[str, str]]:
    """Take every part; returns what could be had by name, and why the others could not."""
    values, missing = dict[str, Any](), dict[str, str]()
    for part in parts:
        try:
            values[part.name] = part.take()
        except Left as why:
            missing[part.name] = str(why)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            missing[part.name] = f"{type(error).__name__}: {error}"
    return values, missing


def make(
    parts: Sequence[Part], got: tuple[Mapping[str, Any], Mapping[str, str]], redact: Redactor, names: Pseudonyms | None
) -> Made:
    """The bundle of what was gathered. `names` replaces addresses, users and hosts; none where they may be told."""
    values, missing = got
    if names:
        for value in values.values():
            names.find(value)
    rows, files, room = list[Row](), list[tuple[str, bytes]](), MOST_OF_ALL
    for part in parts:
        if part.name not in values:
            rows.append(Row(_named(part.name, names), part.about, 0, f"left out: {_clean(missing[part.name], redact, names)}"))
            continue
        data, why = _bytes(values[part.name], min(MOST_OF_ONE, room), redact, names)
        room -= len(data)
        files.append((_named(part.name, names), data))
        rows.append(Row(_named(part.name, names), part.about, len(data), why))
    files.append(("MANIFEST.txt", _manifest(rows, names).encode()))
    return Made(_packed(files), tuple(rows))


def write(target: Path, data: bytes) -> None:
    """Write a new file that only its owner may read; none where that cannot be whole.

    Raises:
        OSError: it exists already, or cannot be written.
    """
    fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except OSError:
        target.unlink(missing_ok=True)
        raise


# Without secrets ------------------------------------------------------------------------------------------------------


def _bytes(value: Any, most: int, redact: Redactor, names: Pseudonyms | None) -> tuple[bytes, str]:
    text = value if isinstance(value, str) else _documents(value, redact)
    cut = ""
    if len(text) > most:
        kept = text[:most]
        text, cut = kept[: kept.rfind("\n") + 1], f"cut: the first {most >> 10} KiB of {len(text) >> 10}"
    return _clean(text, redact, names).encode(errors="backslashreplace"), cut


def _documents(value: Any, redact: Redactor) -> str:
    """JSON, one document a line where there are many."""
    rows = value if isinstance(value, list) else [value]
    return "".join(f"{json.dumps(_plain(one, redact), default=str, ensure_ascii=False)}\n" for one in rows)


def _plain(value: Any, redact: Redactor, name: str = "") -> Any:
    """A document in which what stands under a telling name is hidden, and every text is clean."""
    if isinstance(value, Mapping):
        return {redact.text(str(key)): _plain(one, redact, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, redact, name) for one in value]
    if telling(name) and value not in (None, "", True, False):
        return _HIDDEN
    return redact.text(value) if isinstance(value, str) else value


def _clean(text: str, redact: Redactor, names: Pseudonyms | None) -> str:
    """A text without secrets, a few lines at a time: searches through megabytes at once would take minutes."""
    text = _KEY.sub(_HIDDEN, text)
    cleaned = "".join(redact.text(one) for one in _pieces(text))
    return "".join(names.text(one) for one in _pieces(cleaned)) if names else cleaned


def _pieces(text: str) -> Iterable[str]:
    at = 0
    while at < len(text):
        end = text.find("\n", at + _PIECE) + 1 or len(text)
        yield text[at:end]
        at = end


def _named(name: str, names: Pseudonyms | None) -> str:
    return names.text(name) if names else name


# The file -------------------------------------------------------------------------------------------------------------


def _manifest(rows: Sequence[Row], names: Pseudonyms | None) -> str:
    words = (
        "Addresses, user names and this host's name are replaced, each by the same word everywhere."
        if names
        else ("Addresses, user names and this host's name stand in it: contain support-bundle --pseudonyms replaces them.")
    )
    width = max(len(one.name) for one in rows)
    lines = [f"{one.name:<{width}}  {one.size:>9,}  {one.about}{f'  ({one.why})' if one.why else ''}" for one in rows]
    head = f"""\
What `contain support-bundle` has gathered on {time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())}.

Secrets are replaced: those in the files that agent.yaml names, what stands under a telling name, and what looks like one.
{words} Read it before you hand it on: no program knows everything that is a secret to you.

"""
    return head + "\n".join(lines) + "\n"


def _packed(files: Sequence[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in sorted(files):
            member = tarfile.TarInfo(f"containment-support/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(made.getvalue(), 6)
