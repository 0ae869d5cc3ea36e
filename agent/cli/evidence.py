"""`contain evidence`: the record of everything that was seen, decided and done. Needs no running agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, plainly
from agent.cli.show import At, Columns

if TYPE_CHECKING:
    from agent.evidence.journal_read import Reader
    from agent.evidence.merkle import Verdict
    from agent.record import Stored

RECORDS: Final[Columns] = {
    "seq": lambda one: one["seq"],
    "time": lambda one: At(one["ts"]),
    "kind": lambda one: one["kind"],
    "what": lambda one: one["say"],
}

_DB = click.option("--db", type=click.Path(path_type=Path), metavar="FILE", help="Another journal than that of agent.yaml.")
_VKEY = click.option("--vkey", metavar="KEY", help="The public key, or a file with it; else the one beside the journal.")


@click.group(cls=Noun)
def evidence() -> None:
    """The append-only record, with its proof."""


@evidence.command("verify", examples=("contain evidence verify", "contain evidence verify --checkpoints from-the-log-server.txt"))
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Checkpoints that were kept elsewhere, as they are or in lines of a log.",
)
@_VKEY
@_DB
@click.pass_obj
def verify(given: Given, checkpoints: tuple[Path, ...], vkey: str | None, db: Path | None) -> Exit:
    """Check that no record was changed, moved or removed. Exits with 1 where something does not fit.

    Whoever is root on this host can rewrite the journal together with its checkpoints; only checkpoints that were kept
    elsewhere show that.
    """
    from agent.evidence.ship import read_notes

    outside = [note for file in checkpoints for note in read_notes(file.read_text(encoding="utf-8", errors="replace"))]
    if checkpoints and not outside:
        raise Stop(Exit.USAGE, f"cannot verify: there is no checkpoint in {', '.join(map(str, checkpoints))}")
    with _reader(given, db) as (reader, path):
        verdict = reader.verify(_key(path, vkey), outside)
    if given.json:
        given.show.document("verdict", [_plain(verdict, len(outside))])
    else:
        _tell(given, verdict, len(outside))
    return Exit.FAILED if verdict.problems else Exit.DONE


def _plain(verdict: Verdict, outside: int) -> dict[str, Any]:
    return {
        "holds": not verdict.problems,
        "records": verdict.records,
        "covered": verdict.covered,
        "checkpoints": verdict.checkpoints,
        "outside": outside,
        "problems": list(verdict.problems),
        "open_intents": list(verdict.open_intents),
    }


def _tell(given: Given, verdict: Verdict, outside: int) -> None:
    show = given.show
    for problem in verdict.problems:
        show.line(f"{show.paint('PROBLEM', 'red')}  {show.text(problem)}")
    for one in verdict.open_intents:
        show.line(f"{show.paint('open', 'yellow')}  {show.text(one)}")
    said = f"{verdict.records} records, {verdict.covered} of them under {verdict.checkpoints} signed checkpoints"
    holds = show.paint("The evidence does not hold", "red") if verdict.problems else show.paint("The evidence holds", "green")
    show.line(f"{holds}: {said}.")
    if not outside:
        show.talk("No checkpoint from elsewhere was given, so this does not show what root of this host may have rewritten.")


@evidence.command("export", examples=("contain evidence export evidence.tar.gz",))
@click.argument("target", metavar="DIR|FILE.tar.gz", type=click.Path(path_type=Path))
@_VKEY
@_DB
@click.pass_obj
def export(given: Given, target: Path, vkey: str | None, db: Path | None) -> None:
    """Write a bundle that a third party checks with the public key and openssl alone."""
    from agent.evidence.bundle import export as write

    with _reader(given, db) as (reader, path):
        made = write(reader, target, vkey=_key(path, vkey))
    if given.json:
        given.show.document("bundle", [{"path": str(made.path), "records": made.records, "covered": made.covered}])
        return
    given.show.line(f"{made.path}: {made.records} records, {made.covered} of them under {made.checkpoints} checkpoints")
    given.show.talk("Hand over the public key on another way than this bundle.")


@evidence.command("show", examples=("contain evidence show", "contain evidence show --incident INC-1", "contain evidence show 0"))
@click.argument("seq", type=click.IntRange(0), required=False)
@click.option("--incident", default="", metavar="ID", help="Only what belongs to this incident.")
@click.option("--mitigation", default="", metavar="ID", help="Only what belongs to this mitigation.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@_DB
@click.pass_obj
def show_records(given: Given, seq: int | None, incident: str, mitigation: str, limit: int, db: Path | None) -> None:
    """The latest records, those of one incident or mitigation, or one record with every byte that was hashed."""
    with _reader(given, db) as (reader, path):
        if seq is not None:
            _one(given, reader, seq)
            return
        after = -1 if incident or mitigation else max(-1, reader.size - limit - 1)
        found = reader.records(after, limit, incident=incident, mitigation=mitigation)
    given.show.table("records", [_row(one) for one in found], RECORDS, f"{path} has no such records")


def _one(given: Given, reader: Reader, seq: int) -> None:
    found = reader.record(seq)
    if found is None:
        raise Stop(Exit.FAILED, f"cannot show record {seq}: the journal has {reader.size} records, from 0 on")
    if given.json:
        given.show.document("records", [{**_row(found), "leaf": json.loads(found.leaf), "chain": found.chain.hex()}])
    else:
        given.show.line(json.dumps(json.loads(found.leaf), indent=2))


def _row(one: Stored) -> dict[str, Any]:
    from agent.say import sentence

    record = one.record
    named = {"kind": record.kind, "incident": record.incident, "mitigation": record.mitigation}
    return {"seq": one.seq, "ts": one.ts, **named, "say": sentence(record)}


@contextmanager
def _reader(given: Given, db: Path | None) -> Iterator[tuple[Reader, Path]]:
    from agent.evidence.bundle import CannotExport
    from agent.evidence.journal_file import CannotUseJournal
    from agent.evidence.journal_read import read_only
    from agent.evidence.note import BadNote

    path = db or given.read_config().journal
    with plainly(CannotUseJournal, CannotExport, BadNote), read_only(path) as reader:
        yield reader, path


def _key(journal: Path, given: str | None) -> str:
    """The vkey: as text, from a file, or from the file beside the journal."""
    if given and not Path(given).exists():
        return given
    place = Path(given) if given else next(iter(sorted(journal.parent.glob("*.vkey"))), journal.with_suffix(".vkey"))
    try:
        return place.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        mend = "Name the public key, or a file with it: --vkey KEY"
        raise Stop(Exit.USAGE, f"cannot read the public key {place}: {error}\n{mend}") from None
