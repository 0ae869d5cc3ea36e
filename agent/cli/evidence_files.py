"""`contain evidence files`, and the inside of one: what was seen before each act."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.evidence_read import DB, INCIDENT, MITIGATION, reading
from agent.cli.given import Given, Verb
from agent.cli.show import At, Columns, Ink

if TYPE_CHECKING:
    from agent.evidence.files import File

_FILES: Final[Columns] = {
    "seq": lambda one: one["seq"],
    "time": lambda one: At(one["ts"]),
    "mitigation": lambda one: one["mitigation"],
    "size": lambda one: one["size"],
    "file": lambda one: one["file"] or None,
    "what": lambda one: Ink(f"{one['call']}: {one['error']}", "red") if one["error"] else one["call"],
}


@click.command(cls=Verb, examples=("contain evidence files", "contain evidence files --incident INC-1"))
@INCIDENT
@MITIGATION
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many, the latest.")
@DB
@click.pass_obj
def files(given: Given, incident: str, mitigation: str, limit: int, db: Path | None) -> None:
    """The files of evidence that were kept before something was done, and what could not be kept.

    `contain evidence show FILE` prints one.
    """
    from agent.evidence.files import named
    from agent.evidence.store import files_of

    with reading(given, db) as (reader, path):
        wanted = (one for one in named(reader.leaves()) if incident in ("", one.incident) and mitigation in ("", one.mitigation))
        found = deque(wanted, maxlen=limit)
    root = files_of(path)
    given.show.table("files", [_row(one) for one in found], _FILES, f"{path} names no such files")
    if found and not given.json:
        given.show.talk(f"They stand under {root}.")


def _row(one: File) -> dict[str, Any]:
    from agent.evidence.store import spelled

    return {**one._asdict(), "size": spelled(one.bytes) if one.file else None}


def show_file(given: Given, file: str, db: Path | None) -> Exit:
    """Print what a file holds, once it is seen that it is what was kept; nothing in it can play tricks on a terminal."""
    from agent.evidence.files import named, opened, wrong
    from agent.evidence.store import files_of

    with reading(given, db) as (reader, path):
        one = next((one for one in named(reader.leaves()) if one.file == file), None)
    if one is None:
        raise Stop(Exit.FAILED, f"cannot show {file}: no record of {path} names it; see: contain evidence files")
    why = wrong(files_of(path), one)
    try:
        with opened(files_of(path), file) as packed, gzip.open(packed) as inside:
            _print(given, file, inside.read())
    except (OSError, EOFError, zlib.error) as error:
        raise Stop(Exit.FAILED, f"cannot show {file}: {why or error}") from None
    if why:
        given.show.talk(f"{given.show.paint('PROBLEM', 'red')}  the file {file} {given.show.text(why)}")
    return Exit.FAILED if why else Exit.DONE


def _print(given: Given, file: str, data: bytes) -> None:
    """JSON indented, text by lines, anything else byte for byte into a pipe alone."""
    show = given.show
    if file.endswith(".json.gz"):
        show.line(json.dumps(json.loads(data), indent=None if given.json else 2, ensure_ascii=show.terminal))
    elif show.terminal and file.endswith(".txt.gz"):
        for line in data.decode(errors="replace").splitlines():
            show.line(show.text(line))
    elif show.terminal:
        raise Stop(Exit.USAGE, f"cannot show {file} on a terminal: it is no text; send it into a pipe or a file")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
