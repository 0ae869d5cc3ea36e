"""`contain baseline`: what watched files should be, what they are, and saying that the difference is right."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.show import At, Columns

if TYPE_CHECKING:
    from pathlib import Path

    from agent.integrity.baseline import Baseline
    from agent.integrity.compare import Compared
    from agent.integrity.facts import Facts
    from agent.integrity.tree import Cover

PATIENCE: Final = 70.0
"""Seconds for an update, for which the agent looks at all of it once more."""
_KNOWN: Final[Columns] = {
    "mode": lambda one: one["mode"],
    "owner": lambda one: one["owner"],
    "type": lambda one: one["type"],
    "size": lambda one: one["size"],
    "content": lambda one: one["content"],
    "path": lambda one: one["path"],
}
_DIFF: Final[Columns] = {
    "what": lambda one: one["what"],
    "path": lambda one: one["path"],
    "was": lambda one: one["old"] or None,
    "is": lambda one: one["new"] or None,
}


@click.group(cls=Noun, alone="diff")
def baseline() -> None:
    """What the files are that a files sensor watches, as somebody said that they are right. Without a command: diff."""


@baseline.command("show", examples=("contain baseline show", "contain baseline show /etc/ssh"))
@click.argument("path", default="")
@click.pass_obj
def show_baseline(given: Given, path: str) -> None:
    """What should be there, at and below a path, or at all."""
    with _opened(given) as (known, cover, place):
        import os

        under = os.path.normpath(os.fsencode(path)) if path else b""
        rows = [_row(at, facts) for at, facts in known.rows("baseline", under) if facts and cover.root_of(at)]
        taken, digest = known.taken(), "" if given.json else known.digest()
    given.show.table("baseline", rows, _KNOWN, f"the baseline {place} has nothing at {path or 'all'}")
    if not given.json:
        oldest = given.show.text(At(min(taken.values(), default=None)))
        given.show.talk(f"{place}: {len(rows)} files, first taken {oldest}; its digest, as in the evidence, is {digest}")


def _row(path: bytes, one: Facts) -> dict[str, Any]:
    import os

    from agent.integrity.facts import short

    plain = {"path": os.fsdecode(path), "type": one.type, "mode": f"{one.mode:04o}", "owner": f"{one.uid}:{one.gid}"}
    return {**plain, "size": one.size, "content": one.sha256[:16] or short(one), "sha256": one.sha256, "caps": one.caps}


@baseline.command("diff", examples=("contain baseline diff", "contain baseline diff /etc/ssh"))
@click.argument("paths", nargs=-1)
@click.option("--exit-code", is_flag=True, help="Exit with 10 where something differs.")
@click.pass_obj
def diff(given: Given, paths: Sequence[str], exit_code: bool) -> Exit:
    """What is not as the baseline has it, looked at now; with or without a running agent, and nothing is changed."""
    found = _compared(given, paths)
    _print(given, found)
    return Exit.FOUND if exit_code and found.rows else Exit.DONE


@baseline.command("update", examples=('contain baseline update --yes --why "the upgrade of today"',))
@click.argument("paths", nargs=-1)
@click.option("--why", required=True, help="The reason; it stands in the evidence, with your name and what was accepted.")
@click.option("--yes", is_flag=True, help="Do not ask: what differs is right.")
@click.pass_obj
def update(given: Given, paths: Sequence[str], why: str, yes: bool) -> None:
    """Say that what differs is right, or what differs at and below some paths. It shows all of it first, then asks.

    The running agent does it, and writes down who, why and what; what changes in between is not accepted.
    """
    found = _compared(given, paths)
    if not found.rows:
        if given.json:
            given.show.document("update", [{"result": "nothing", "count": 0}])
        else:
            given.show.talk("all is as the baseline has it; nothing to update")
        return
    if not given.json:
        _print(given, found)
    given.sure(f"have {len(found.rows)} files be right as they are", "yes", yes=yes)
    body: dict[str, Any] = {"paths": _whole(paths)} if paths else {}
    answer = given.ask("baseline_update", patience=PATIENCE, shown=found.digest, why=why, **body)
    if given.json:
        given.show.document("update", [answer])
    if answer["result"] == "refused":
        raise Stop(Exit.REFUSED, answer["because"])
    if not given.json:
        given.show.line(f"Updated: {answer['count']} files are right as they are; the baseline's digest is {answer['after']}")


# How ------------------------------------------------------------------------------------------------------------------------


def _whole(paths: Sequence[str]) -> list[str]:
    import os

    return [os.path.abspath(one) for one in paths]  # noqa: PTH100 - which does not follow links


def _compared(given: Given, paths: Sequence[str]) -> Compared:
    from agent.integrity.compare import compare

    with _opened(given) as (known, cover, _):
        try:
            return compare(known, cover, _whole(paths))
        except ValueError as error:
            raise Stop(Exit.USAGE, f"cannot compare: {error}") from error


def _print(given: Given, found: Compared) -> None:
    from agent.integrity.words import shown

    given.show.table("diff", list(_rows(found)), _DIFF, "all is as the baseline has it")
    if not given.json:
        for path, why in found.unread[:10]:
            given.show.talk(f"cannot look at {shown(path)}: {given.show.text(why)}")
        if len(found.unread) > 10:
            given.show.talk(f"and at {len(found.unread) - 10} more; run this as root")


def _rows(found: Compared) -> Iterator[Mapping[str, Any]]:
    import os

    for one in found.rows:
        for each in one.differences:
            yield {"what": each.what, "path": os.fsdecode(one.path), "old": each.old, "new": each.new}


@contextmanager
def _opened(given: Given) -> Iterator[tuple[Baseline, Cover, Path]]:
    """The baseline of this host's agent, to read."""
    from agent.integrity.baseline import FILE_NAME, Baseline, CannotUseBaseline
    from agent.sensors.files import Files

    config = given.read_config()
    sensor = next((one for one in config.sensors.values() if isinstance(one, Files)), None)
    if sensor is None:
        mend = "Name some in agent.yaml: sensors: {watch: {files: {paths: [/etc/passwd, /etc/ssh, /usr/local/bin]}}}"
        raise Stop(Exit.USAGE, f"cannot look at the baseline: no files are watched\n{mend}")
    place = config.state / FILE_NAME
    try:
        place.stat()
    except FileNotFoundError as error:
        mend = "A running agent takes it: contain run"
        raise Stop(Exit.FAILED, f"cannot look at the baseline: there is no {place} yet\n{mend}") from error
    except OSError as error:
        raise Stop(
            Exit.FAILED, f"cannot look at the baseline {place}: {error.strerror}\nMay this user read it? sudo does"
        ) from error
    try:
        known = Baseline(place)
    except CannotUseBaseline as error:
        raise Stop(Exit.FAILED, f"{error}\nMay this user read it?") from error
    try:
        yield known, sensor.cover, place
    except sqlite3.Error as error:
        raise Stop(Exit.FAILED, f"cannot read the baseline {place}: {error}") from error
    finally:
        known.close()
