"""What every command about evidence needs: the journal to read, and the public key to check it with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, plainly

if TYPE_CHECKING:
    from agent.evidence.journal_read import Reader

DB = click.option("--db", type=click.Path(path_type=Path), metavar="FILE", help="Another journal than that of agent.yaml.")
VKEY = click.option("--vkey", metavar="KEY", help="The public key, or a file with it; else the one beside the journal.")
INCIDENT = click.option("--incident", default="", metavar="ID", help="Only what belongs to this incident.")
MITIGATION = click.option("--mitigation", default="", metavar="ID", help="Only what belongs to this mitigation.")


@contextmanager
def reading(given: Given, db: Path | None) -> Iterator[tuple[Reader, Path]]:
    """The journal, open to look, and its path."""
    from agent.evidence.bundle import CannotExport
    from agent.evidence.journal_file import CannotUseJournal
    from agent.evidence.journal_read import read_only
    from agent.evidence.note import BadNote

    path = db or given.read_config().journal
    with plainly(CannotUseJournal, CannotExport, BadNote), read_only(path) as reader:
        yield reader, path


def key(journal: Path, given: str | None) -> str:
    """The vkey: as text, from a file, or from the file beside the journal."""
    if given and not Path(given).exists():
        return given
    place = Path(given) if given else next(iter(sorted(journal.parent.glob("*.vkey"))), journal.with_suffix(".vkey"))
    try:
        return place.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        mend = "Name the public key, or a file with it: --vkey KEY"
        raise Stop(Exit.USAGE, f"cannot read the public key {place}: {error}\n{mend}") from None
