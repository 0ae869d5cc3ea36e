"""`contain policy import-fail2ban`: fail2ban's jails as policies of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.write_anew import write_anew

if TYPE_CHECKING:
    from agent.fail2ban.jails import Jails

SENSORS = "sensors.txt"
"""Beside the policies, and no policy."""


@click.command(
    "import-fail2ban",
    cls=Verb,
    examples=("contain policy import-fail2ban /etc/fail2ban", "contain policy import-fail2ban /etc/fail2ban --out imported"),
)
@click.argument("path", type=click.Path(path_type=Path), default=Path("/etc/fail2ban"))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write each policy to a file there, and the sensors."
)
@click.pass_obj
def import_fail2ban(given: Given, path: Path, out: Path | None) -> Exit:
    """Write a policy for each enabled jail of fail2ban, and the sensors that they need.

    jail.conf, jail.local and jail.d beside PATH count, as for fail2ban. Look at what is written before you use it: what could not
    be carried over stands in a comment and on stderr, and the exit code is 6. Nothing is overwritten.
    """
    from agent.fail2ban import carry, jails

    directory = path if path.is_dir() else path.parent
    if not path.exists():
        raise Stop(Exit.USAGE, f"cannot read {path}: there is no such file or directory")
    try:
        found = jails.jails(directory)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"cannot read the jails: {error}") from None
    texts, sensors = carry.policies(found.each), carry.sensors(found.each, directory.absolute())
    if given.json:
        rows = [
            {"jail": jail.name, "file": name, "text": text, "lost": jail.lost, "notes": jail.notes}
            for jail, (name, text) in zip(found.each, texts.items(), strict=True)
        ]
        given.show.document("policies", [*rows, {"file": SENSORS, "text": sensors}])
    elif out is None:
        click.echo("---\n".join([*texts.values()]) + "".join(f"# {line}\n" for line in sensors.splitlines()), nl=False)
    if out is not None:
        write_anew(out, {**texts, SENSORS: sensors})
        given.show.talk(f"{len(texts)} policies and {SENSORS} written to {out}")
    return _said(found)


def _said(found: Jails) -> Exit:
    """Tell on stderr what is missing; the exit code says whether anything is."""
    for jail in found.each:
        for one in jail.lost:
            click.echo(f"{jail.name}: not carried over: {one}", err=True)
    for note in dict.fromkeys(note for jail in found.each for note in jail.notes):
        click.echo(f"note: {note}", err=True)
    for name, why in found.skipped.items():
        click.echo(f"{name}: cannot be carried over: {why}", err=True)
    if not found.each and not found.skipped:
        click.echo("no jail is enabled", err=True)
    return Exit.PARTLY if found.skipped or any(jail.lost for jail in found.each) else Exit.DONE
