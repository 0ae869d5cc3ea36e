"""`contain postmortem`: the report of an incident, out of the journal, and people's parts of it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.evidence_read import DB, reading
from agent.cli.given import Given, Verb
from agent.cli.given_file import content_of

if TYPE_CHECKING:
    from agent.report.raw import Raw
    from agent.report.story import Story

_EDITORS: Final = ("VISUAL", "EDITOR")
_USUAL: Final = "vi"
_SUFFIXES: Final = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}


@click.command(
    cls=Verb,
    examples=(
        "contain postmortem INC-1",
        "contain postmortem INC-1 -o INC-1.html",
        "contain postmortem INC-1 -o INC-1.md",
    ),
)
@click.argument("name", metavar="ID", type=Name("incidents", "id"))
@click.option("--md", "form", flag_value="md", help="Markdown; what is printed where nothing else is said.")
@click.option("--html", "form", flag_value="html", help="One HTML file that opens without a network, and prints well.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it there; .html or .md says which.",
)
@click.option("--edit", is_flag=True, help="Write people's parts in $VISUAL or $EDITOR. They are kept in the evidence.")
@click.option("--notes", type=click.Path(path_type=Path), metavar="FILE", help="Take people's parts from a file; - is stdin.")
@DB
@click.pass_obj
def postmortem(
    given: Given, name: str, *, form: str | None, output: Path | None, edit: bool, notes: Path | None, db: Path | None
) -> None:
    """The report of an incident: numbers, timeline, what was done with its proof; and what people wrote, each version kept.

    It is made of the journal, and needs no running agent; --edit and --notes do. At P0 and P1 an incident is not closed
    before people's parts are written.
    """
    raw = _gather(given, name, db)
    if edit or notes is not None:
        _write(given, raw, _from(notes) if notes is not None else _edited(raw))
        return
    from agent.report.tell import story

    told = story(raw, time.time())
    form = "json" if given.json else form or (_SUFFIXES.get(output.suffix.lower(), "md") if output else "md")
    if output:
        _save(given, told, form, output)
    elif form == "json":
        _document(given, told)
    else:
        given.show.line(_made(told, form).rstrip("\n"))


def _gather(given: Given, name: str, db: Path | None) -> Raw:
    from agent.report.read import gather

    with reading(given, db) as (reader, path):
        raw = gather(reader, name)
    if raw is None:
        raise Stop(Exit.FAILED, f"cannot tell of {name}: {path} has no such incident\nThe latest: contain incidents --all")
    return raw


def _local(at: float) -> datetime:
    """In the zone of whoever asks ($TZ), by the rules of that day."""
    return datetime.fromtimestamp(at).astimezone()


# Making it ----------------------------------------------------------------------------------------------------------------


def _made(told: Story, form: str, drawing: str = "") -> str:
    import json

    from agent.report import write

    match form:
        case "html":
            return write.html(told, _local)
        case "json":
            return json.dumps(write.plain(told), ensure_ascii=False, default=str, indent=2) + "\n"
        case _:
            return write.markdown(told, _local, drawing)


def _document(given: Given, told: Story) -> None:
    from agent.report import write

    given.show.document("postmortem", [write.plain(told)])


def _save(given: Given, told: Story, form: str, output: Path) -> None:
    """The report, and beside Markdown its picture; each whole or not at all, and readable by its owner alone."""
    from agent.report import write

    drawing = output.with_suffix(".svg")
    texts = {output: _made(told, form, drawing.name if form == "md" and _plain(drawing.name) else "")}
    if form == "md" and _plain(drawing.name):
        texts[drawing] = write.svg(told)
    for place, text in texts.items():
        _replace(place, text)
    if given.json:
        given.show.document("postmortem", [{"path": str(one)} for one in texts])
        return
    given.show.line(f"{', '.join(str(one) for one in texts)}: the report of {told.id}")
    if told.missing:
        given.show.talk(f"Still to be written: {', '.join(told.missing)}. Next: contain postmortem {told.id} --edit")


def _plain(name: str) -> bool:
    """Whether a name can stand in Markdown as it is."""
    return name.replace("-", "").replace("_", "").replace(".", "").isalnum()


def _replace(place: Path, text: str) -> None:
    try:
        with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=f".{place.name}.", encoding="utf-8", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(place)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise Stop(Exit.FAILED, f"cannot write {place}: {error.strerror}\nChoose a place where you may write: -o FILE") from error


# People's parts -----------------------------------------------------------------------------------------------------------


def _from(path: Path) -> str:
    """What stands in a file, read with the rights of whoever asks; never more than may be kept."""
    from agent.report.notes import LONGEST

    try:
        data = sys.stdin.buffer.read(LONGEST + 1) if str(path) == "-" else content_of(path, LONGEST)
    except OSError as error:
        raise Stop(Exit.USAGE, f"cannot read {path}: {error.strerror}") from error
    if data is None or len(data) > LONGEST:
        raise Stop(
            Exit.USAGE, f"cannot take {path}: it is {'no regular file' if data is None else f'larger than {LONGEST >> 10} KiB'}"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Stop(Exit.USAGE, f"cannot take {path}: it is not UTF-8 ({error.reason} at byte {error.start})") from error


def _latest(raw: Raw) -> tuple[str, int]:
    """What is written so far, and its version; the headings alone where nothing is."""
    from agent.report.notes import skeleton
    from agent.report.raw import versions

    if written := versions(raw):
        return str(written[-1].record.body["text"]), int(written[-1].record.body["version"])
    found = next(one.record for one in raw.lines if one.record.kind == "finding" and one.record.incident in raw.names)
    return skeleton(raw.names[0], str(found.body["title"])), 0


def _edited(raw: Raw) -> str:
    """What comes back from the editor."""
    text, _ = _latest(raw)
    named = next((one for name in _EDITORS if (one := os.environ.get(name))), _USUAL)
    with _draft(raw.names[0], text) as path:
        try:
            code = subprocess.run([*shlex.split(named), str(path)], check=False, timeout=None).returncode
        except (OSError, ValueError) as error:
            mend = "Set $EDITOR to one that is installed, or write a file and name it: --notes FILE"
            raise Stop(Exit.USAGE, f"cannot start the editor `{named}`: {error}\n{mend}") from error
        if code:
            raise Stop(Exit.FAILED, f"cannot take it over: the editor ended with {code}; nothing was changed")
        fresh = _from(path)
    if fresh == text:
        raise Stop(Exit.DONE, "Nothing was changed.")
    return fresh


@contextmanager
def _draft(name: str, text: str) -> Iterator[Path]:
    """A file that only its owner can read, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="contain-") as place:
        path = Path(place, f"{name}.notes.md")
        path.write_text(text, encoding="utf-8")
        yield path


def _write(given: Given, raw: Raw, text: str) -> None:
    """Hand it to the agent, which keeps it as evidence. What it does not take is kept in a file: nobody writes it twice."""
    lead = raw.names[0]
    try:
        answer: dict[str, Any] = given.ask("report_notes", what=lead, text=text, after=_latest(raw)[1])
        if answer["result"] != "written":
            why = answer.get("because") or answer.get("error") or answer.get("problem")
            code = Exit.REFUSED if answer["result"] == "refused" else Exit.FAILED
            raise Stop(code, f"cannot keep the report's parts of {lead}: {why}")
    except Stop as stop:
        saved = _rescued(lead, text)
        raise Stop(stop.code, f"{stop.text}\nWhat you wrote is in {saved}: contain postmortem {lead} --notes {saved}") from stop
    if given.json:
        given.show.document("report_notes", [answer])
        return
    left = f"; still to be written: {', '.join(answer['missing'])}" if answer["missing"] else "; nothing is missing"
    given.show.line(f"{lead} has version {answer['version']} of people's parts{left}.")


def _rescued(name: str, text: str) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix=f"{name}.", suffix=".notes.md", encoding="utf-8", delete=False) as file:
        file.write(text)
    return Path(file.name)
