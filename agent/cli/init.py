"""`contain init`: look at this host and write an agent.yaml for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agent.cli import ask
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb, plainly

if TYPE_CHECKING:
    from agent.look import Looked

STATE: Final = Path("/var/lib/containment-agent")
SHIPPED: Final = Path(__file__).parents[2] / "policies"
"""Policies beside the program, where it runs from its source."""
_FILE = click.Path(path_type=Path)


@click.command(cls=Verb, examples=("contain init --output var/agent.yaml --state var --force", "contain init --output -"))
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Where to write it; - is stdout.  [default: as --config]")
@click.option("--state", type=_FILE, metavar="DIR", help=f"Where the journal and the socket are to lie.  [default: {STATE}]")
@click.option("--policies", type=_FILE, metavar="DIR", help="Where the policies are.  [default: beside agent.yaml, or shipped]")
@click.option("--force", is_flag=True, help="Replace an agent.yaml that is there.")
@click.pass_obj
def init(given: Given, output: Path | None, state: Path | None, policies: Path | None, force: bool) -> None:
    """Look at this host and write a commented agent.yaml for it. Everything in it is in dry run.

    It looks for units, listening ports, PostgreSQL, Docker, logs, and who is connected over ssh, and changes nothing.
    """
    from agent.draft_config import Places, draft
    from agent.look import look

    file = output or given.config or Path(os.environ.get("CONTAIN_CONFIG", ask.SYSTEM_CONFIG))
    if file.exists() and not force:
        raise Stop(
            Exit.USAGE, f"cannot write {file}: it exists already\nAdd --force to replace it, or name another with --output."
        )
    found = look()
    here = file.parent
    places = Places(
        state=_seen_from(here, state or STATE),
        socket=_seen_from(here, state / "agent.sock") if state else ask.DEFAULT_SOCKET,
        policies=_seen_from(here, policies or (SHIPPED if SHIPPED.is_dir() else here / "policies")),
    )
    text = draft(found, places, f"{datetime.now(UTC):%Y-%m-%d}")
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    _write(file, text)
    _tell(given, file, found)


def _seen_from(directory: Path, place: Path) -> Path:
    """A place as agent.yaml is to name it: what lies beside or below it from there, anything else in full."""
    if not place.is_absolute() and place.absolute().is_relative_to(directory.absolute()):
        return place.absolute().relative_to(directory.absolute())
    return place.resolve()


def _write(file: Path, text: str) -> None:
    """Write the file whole, and see that the agent can read it."""
    from agent.wiring import read_config_file

    made = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(text, encoding="utf-8")
        made.chmod(0o640)
        with plainly():
            read_config_file(made)
        made.rename(file)
    except OSError as error:
        mend = "Run this as root, or name another place: contain init --output agent.yaml --state state"
        raise Stop(Exit.FAILED, f"cannot write {file}: {error.strerror}\n{mend}") from error
    finally:
        made.unlink(missing_ok=True)


def _tell(given: Given, file: Path, found: Looked) -> None:
    ports = ", ".join(f"{one.program or 'port'} {one.port}" for one in found.listening) or "none"
    logs = [str(one) for one in (found.auth_log, *found.access_logs) if one] + (["the journal"] if found.journald else [])
    if given.json:
        item = {"file": str(file), "units": found.units, "ports": [one.port for one in found.listening], "logs": logs}
        given.show.document("init", [item | {"postgres": found.postgres, "docker": found.docker, "missed": found.missed}])
        return
    given.show.line(f"{file} is written, everything in dry run.")
    given.show.rows(
        [
            ["units", f"{len(found.units)} running"],
            ["ports", ports],
            ["logs", ", ".join(logs) or "none"],
            ["postgres", ", ".join(map(str, found.postgres)) or "none"],
            ["docker", "runs" if found.docker else "none"],
            *(["not seen", one] for one in found.missed),
        ]
    )
    given.show.talk(f"Next: contain doctor --config {file}, then contain run --config {file}")
