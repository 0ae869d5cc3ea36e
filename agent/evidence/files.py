"""The files of evidence that the journal names: list them, and see that each is still what was kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

_NAMED: Final = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+(\.[a-z0-9]+)+")
"""What the store writes; a record that says anything else leads nowhere."""
_MOST_PROBLEMS: Final = 50


class File(NamedTuple):
    """One capture as a record has it: a file below the store's root with its hash and size, or why there is none."""

    seq: int
    ts: float
    incident: str
    mitigation: str
    call: str
    file: str = ""
    sha256: str = ""
    bytes: int = 0
    error: str = ""
    note: str = ""


class Checked(NamedTuple):
    """What came of looking at every file: how many are what was kept, what is wrong, and what no record names.

    A file that no record names is no fault: a crash between the file and its record leaves one behind.
    """

    fit: int
    problems: tuple[str, ...]
    unnamed: tuple[str, ...]


def named(leaves: Iterable[bytes]) -> Iterator[File]:
    """Every capture that the records tell of, in order. Quick: other records are not read."""
    for seq, leaf in enumerate(leaves):
        if b'"kind":"captured"' not in leaf:
            continue
        try:
            plain = from_json(leaf)
            if plain["kind"] == "captured":
                yield from [_file(seq, plain, one) for one in plain["body"]["files"]]
        except (ValueError, KeyError, TypeError):  # the proof of the records tells that, and where
            continue


def _file(seq: int, plain: dict[str, Any], one: dict[str, Any]) -> File:
    text = {name: str(one.get(name, "")) for name in ("call", "file", "sha256", "error", "truncated", "as_it_is")}
    return File(
        seq,
        int(plain["ts"]) / 10**9,
        str(plain["incident"]),
        str(plain["mitigation"]),
        text["call"],
        text["file"],
        text["sha256"],
        int(one.get("bytes", 0)),
        text["error"],
        text["truncated"] or text["as_it_is"],
    )


def check(root: Path, files: Iterable[File]) -> Checked:
    """Hold every file against the hash in its record. Reads all of them: some 300 MB a second."""
    fit, problems, seen = 0, list[str](), set[str]()
    for one in files:
        if not one.file:
            continue
        seen.add(one.file)
        why = wrong(root, one)
        fit += not why
        if why:
            problems.append(f"record {one.seq}: the file {one.file} {why}")
    there = {str(one.relative_to(root)) for one in root.glob("*/*") if not one.name.endswith(".partial")}
    more = len(problems) - _MOST_PROBLEMS
    told = [*problems[:_MOST_PROBLEMS], *([f"and {more} more files like these"] if more > 0 else [])]
    return Checked(fit, tuple(told), tuple(sorted(there - seen)))


def wrong(root: Path, one: File) -> str:
    """What is wrong with a file (`is missing`, `was changed …`); empty where it is what was kept."""
    try:
        with opened(root, one.file) as file:
            found = file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if found == one.sha256 else f"was changed: its SHA-256 is {found}, and {one.sha256} was kept"


@contextmanager
def opened(root: Path, file: str) -> Iterator[BufferedReader]:
    """A file of the store to read.

    Raises:
        OSError: it is not there or may not be read, it is a link, or no store has written such a name.
    """
    if not _NAMED.fullmatch(file):
        raise OSError(f"`{file}` is no name of a file of evidence")
    with os.fdopen(os.open(root / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as found:
        yield found
