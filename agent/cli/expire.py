"""`contain expire`: what is over is ended without the agent. Timers of systemd's run it; a person may."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import ask
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb, plainly

SOON = 3.0
"""Seconds in which a living agent says that it lives."""


@click.command(cls=Verb, examples=("contain expire",))
@click.argument("place", required=False, type=click.Path(path_type=Path, file_okay=False), metavar="[DIRECTORY]")
@click.pass_obj
def expire(given: Given, place: Path | None) -> Exit:
    """End what is over and not yet ended, without the agent: as its capsules say, which lie beside the control socket.

    A living agent does that itself, and is left to it for half a minute. What would not go is tried ten times, and told to
    syslog. Exits with 1 where something is left.
    """
    from agent.expiry.capsule import place_of
    from agent.expiry.expire import expire as end

    with plainly():
        ended = end(place or place_of(given.socket_path), _alive, given.show.line)
    return Exit.DONE if ended else Exit.FAILED


def _alive(socket: Path) -> bool:
    try:
        ask.ask(socket, "ping", {}, SOON)
    except Stop as stop:
        return stop.code is not Exit.UNREACHABLE
    return True
