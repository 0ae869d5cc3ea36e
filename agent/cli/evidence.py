"""`contain evidence`: the record of everything that was seen, decided and done. Needs no running agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli import evidence_files, evidence_health
from agent.cli.ends import Exit, Stop
from agent.cli.evidence_read import DB, INCIDENT, MITIGATION, VKEY, key, reading
from agent.cli.given import Given, Noun
from agent.cli.show import At, Columns

if TYPE_CHECKING:
    from agent.evidence.files import Checked
    from agent.evidence.journal_read import Reader
    from agent.evidence.merkle import Verdict
    from agent.record import Stored

RECORDS: Final[Columns] = {
    "seq": lambda one: one["seq"],
    "time": lambda one: At(one["ts"]),
    "kind": lambda one: one["kind"],
    "what": lambda one: one["say"],
}
_MOST_UNNAMED: Final = 20


@click.group(cls=Noun)
def evidence() -> None:
    """The append-only record, with its proof, and the files of evidence that it names."""


evidence.add_command(evidence_files.files, "files")
evidence.add_command(evidence_health.accept, "accept")


@evidence.command("verify", examples=("contain evidence verify", "contain evidence verify --checkpoints from-the-log-server.txt"))
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Checkpoints that were kept elsewhere, as they are or in lines of a log.",
)
@VKEY
@DB
@click.pass_obj
def verify(given: Given, checkpoints: tuple[Path, ...], vkey: str | None, db: Path | None) -> Exit:
    """Check that no record, and no file of evidence, was changed, moved or removed. Exits with 1 where something does not fit.

    Whoever is root on this host can rewrite the journal together with its checkpoints; only checkpoints that were kept
    elsewhere show that. Of those, the ones that this key has signed count: others can come from anybody.
    """
    from agent.evidence.files import check, named
    from agent.evidence.note import PublicKey, is_signed
    from agent.evidence.ship import read_notes
    from agent.evidence.store import files_of

    there = [note for file in checkpoints for note in read_notes(file.read_text(encoding="utf-8", errors="replace"))]
    with reading(given, db) as (reader, path):
        signer = PublicKey.read(key(path, vkey))
        outside = [note for note in there if is_signed(note, signer)]
        if checkpoints and not outside:
            others = f", only {len(there)} that {signer.name} has not signed with its key" if there else ""
            raise Stop(Exit.USAGE, f"cannot verify: there is no checkpoint in {', '.join(map(str, checkpoints))}{others}")
        verdict = reader.verify(str(signer), outside)
        files = check(files_of(path), named(reader.leaves()))
    if given.json:
        given.show.document("verdict", [_plain(verdict, files, len(outside))])
    else:
        _tell(given, verdict, files, len(outside), len(there) - len(outside))
    return Exit.FAILED if verdict.problems or files.problems else Exit.DONE


def _plain(verdict: Verdict, files: Checked, outside: int) -> dict[str, Any]:
    return {
        "holds": not (verdict.problems or files.problems),
        "records": verdict.records,
        "covered": verdict.covered,
        "checkpoints": verdict.checkpoints,
        "outside": outside,
        "files": files.fit,
        "unnamed": list(files.unnamed),
        "problems": [*verdict.problems, *files.problems],
        "open_intents": list(verdict.open_intents),
    }


def _tell(given: Given, verdict: Verdict, files: Checked, outside: int, others: int) -> None:
    show, problems = given.show, (*verdict.problems, *files.problems)
    for problem in problems:
        show.line(f"{show.paint('PROBLEM', 'red')}  {show.text(problem)}")
    for one in verdict.open_intents:
        show.line(f"{show.paint('open', 'yellow')}  {show.text(one)}")
    for one in files.unnamed[:_MOST_UNNAMED]:
        show.line(f"{show.paint('unnamed', 'yellow')}  no record names the file {show.text(one)}")
    said = f"{verdict.records} records, {verdict.covered} of them under {verdict.checkpoints} signed checkpoints"
    said += f", and {files.fit} files as they were kept" if files.fit or files.problems else ""
    holds = show.paint("The evidence does not hold", "red") if problems else show.paint("The evidence holds", "green")
    show.line(f"{holds}: {said}.")
    if others:
        show.talk(f"{others} checkpoints from elsewhere are not signed by this key, and say nothing.")
    if not outside:
        show.talk("No checkpoint from elsewhere was given, so this does not show what root of this host may have rewritten.")


@evidence.command(
    "export", examples=("contain evidence export evidence.tar.gz", "contain evidence export --incident INC-1 case-1.tar.gz")
)
@click.argument("target", metavar="DIR|FILE.tar.gz", type=click.Path(path_type=Path))
@click.option("--incident", default="", metavar="ID", help="Of the files only those of this incident; still every record.")
@VKEY
@DB
@click.pass_obj
def export(given: Given, target: Path, incident: str, vkey: str | None, db: Path | None) -> None:
    """Write a bundle that a third party checks with the public key and openssl alone: records and files of evidence."""
    from agent.evidence.bundle import Wanted
    from agent.evidence.bundle import export as write
    from agent.evidence.store import files_of

    with reading(given, db) as (reader, path):
        made = write(reader, target, vkey=key(path, vkey), files=Wanted(files_of(path), incident))
    if given.json:
        plain = {"path": str(made.path), "records": made.records, "covered": made.covered, "files": made.files}
        given.show.document("bundle", [{**plain, "missing": list(made.missing)}])
        return
    records = f"{made.records} records, {made.covered} of them under {made.checkpoints} checkpoints"
    given.show.line(f"{made.path}: {records}, {made.files} files of evidence")
    for one in made.missing:
        given.show.talk(f"{given.show.paint('missing', 'red')}  {given.show.text(one)}")
    given.show.talk("Hand over the public key on another way than this bundle.")


class _Which(click.IntRange):
    """A record's number, or the name of a file of evidence."""

    name = "which"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name as it is; a number within the range."""
        return value if isinstance(value, str) and "/" in value else super().convert(value, param, ctx)


@evidence.command("show", examples=("contain evidence show", "contain evidence show --incident INC-1", "contain evidence show 0"))
@click.argument("which", metavar="[SEQ|FILE]", type=_Which(0), required=False)
@INCIDENT
@MITIGATION
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@DB
@click.pass_obj
def show_records(given: Given, which: int | str | None, incident: str, mitigation: str, limit: int, db: Path | None) -> Exit:
    """The latest records, those of one incident or mitigation, one record with every byte that was hashed, or one file."""
    if isinstance(which, str):
        return evidence_files.show_file(given, which, db)
    with reading(given, db) as (reader, path):
        if which is not None:
            _one(given, reader, which)
            return Exit.DONE
        after = -1 if incident or mitigation else max(-1, reader.size - limit - 1)
        found = reader.records(after, limit, incident=incident, mitigation=mitigation)
    given.show.table("records", [_row(one) for one in found], RECORDS, f"{path} has no such records")
    return Exit.DONE


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
