"""`contain import`: a scanner's report, read here and handed to the agent, which tells what of it is new."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.given_file import content_of

if TYPE_CHECKING:
    from agent.streams.parser import Said

LARGEST: Final = 64 << 20
"""Bytes of a report."""
PART: Final = 192 * 1024
"""Bytes of findings in one question: the control socket takes 256 KiB."""
SHOWN: Final = 20
_FILE: Final = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))


@click.group(cls=Noun, name="import")
def import_() -> None:
    """A scanner's report: only what its last scan of the same target had not is new."""


@import_.command("trivy", examples=("contain import trivy trivy.json",))
@_FILE
@click.pass_obj
def trivy(given: Given, file: Path) -> None:
    """Read `trivy image --format json`, from a file or from stdin (-)."""
    _import(given, file, "trivy", {})


@import_.command("grype", examples=("contain import grype - < grype.json",))
@_FILE
@click.pass_obj
def grype(given: Given, file: Path) -> None:
    """Read `grype -o json`, from a file or from stdin (-)."""
    _import(given, file, "grype", {})


@import_.command("sarif", examples=("contain import sarif gitleaks.sarif --target shop",))
@_FILE
@click.option("--target", default="", metavar="NAME", help="What was scanned; many scanners do not write that.")
@click.pass_obj
def sarif(given: Given, file: Path, target: str) -> None:
    """Read SARIF 2.1.0, from a file or from stdin (-)."""
    _import(given, file, "sarif", {"target": target})


def _import(given: Given, file: Path, sender: str, options: Mapping[str, str]) -> None:
    """Check all of the report before the agent hears of any of it; what it has said yes to is committed."""
    from agent.streams.sender import BadDocumentError, discover_senders

    content = _content(file)
    try:
        document = json.loads(content.decode("utf-8-sig"))
        said = discover_senders()[sender](**options).read(document)
    except (BadDocumentError, RecursionError) as error:
        why = str(error) if isinstance(error, BadDocumentError) else "brackets in brackets without an end"
        raise Stop(Exit.USAGE, f"cannot import {file}: this is no report of {sender}: {why}") from None
    except ValueError as error:
        raise Stop(Exit.USAGE, f"cannot import {file}: this is no JSON: {error}") from None
    _told(given, [_hand_over(given, scan, findings) for scan, findings in _scans(said)])


def _content(file: Path) -> bytes:
    try:
        content = sys.stdin.buffer.read(LARGEST + 1) if str(file) == "-" else content_of(file, LARGEST)
    except OSError as error:
        raise Stop(Exit.USAGE, f"cannot import {file}: {error.strerror}") from None
    if content is None:
        raise Stop(Exit.USAGE, f"cannot import {file}: it is no file\nName a report, or - for stdin.")
    if len(content) > LARGEST:
        raise Stop(Exit.USAGE, f"cannot import {file}: it is larger than {LARGEST >> 20} MiB")
    return content


def _scans(said: Sequence[Said]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each report with its findings, which follow it."""
    from agent.streams.scan import SCAN

    scan: dict[str, Any] = {}
    findings: list[dict[str, Any]] = []
    for one in said:
        if one.kind == SCAN.name:
            if scan:
                yield scan, findings
            scan, findings = dict(one.fields), []
        else:
            findings.append({name: value for name, value in one.fields.items() if name not in ("scanner", "target")})
    if scan:
        yield scan, findings


def _hand_over(given: Given, scan: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One scan, in as many questions as it takes; the last one says what the scan has in all."""
    named = {name: scan[name] for name in ("scanner", "target", "image") if name in scan}
    counts = {"known": 0, "new": 0, "gone": 0}
    whole = " ".join(str(one["fingerprint"]) for one in findings)
    for last, part in _parts(findings):
        more: dict[str, Any] = {"whole": whole, "new": counts["new"]} if last else {}
        answer = given.ask("import", scan=named, findings=part, **more)
        if answer.get("result") != "imported":
            why = answer.get("error", "the agent did not say why")
            accepted = f"{counts['new']} new findings of {scan['target']} were taken before; import it again"
            raise Stop(Exit.FAILED, f"cannot import: {why}\n{accepted}")
        counts = {name: counts[name] + answer[name] for name in counts}
    return {**named, "findings": len(findings), **counts}


def _parts(findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[bool, Sequence[Mapping[str, Any]]]]:
    """The findings in parts that fit into one question; the last part is empty where there is more than one."""
    parts, size = [list[Mapping[str, Any]]()], 0
    for one in findings:
        length = len(json.dumps(one)) + 2
        if size + length > PART:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += length
    alone = len(parts) == 1 and size + 17 * len(findings) <= PART
    for part in parts if not alone else []:
        yield False, part
    yield True, parts[0] if alone else []


def _told(given: Given, made: Sequence[Mapping[str, Any]]) -> None:
    if given.json:
        given.show.document("imports", made)
        return
    if not made:
        given.show.talk("there is no scan in it")
    for one in made[:SHOWN]:
        about = f"{one['scanner']} {one['target']}: " if len(made) > 1 else ""
        counts = f"{one['known']} known, {one['new']} new, {one['gone']} gone"
        given.show.line(given.show.text(f"{about}{one['findings']} finding{'' if one['findings'] == 1 else 's'}: {counts}"))
    if len(made) > SHOWN:
        given.show.line(f"… and {len(made) - SHOWN} more scans")
