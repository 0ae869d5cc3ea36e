"""`contain doctor`: what keeps the agent from working, and how to mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.show import Cell, Ink, word

if TYPE_CHECKING:
    from agent.doctor import Finding

SOON: Final = 3.0
"""Seconds a running agent has to answer."""
_WORDS: Final = {True: "good", False: "bad", None: "unknown"}


@click.command(cls=Verb, examples=("contain doctor", "contain doctor --json"))
@click.pass_obj
def doctor(given: Given) -> Exit:
    """Look for what keeps the agent from working, and say how to mend it. Changes nothing.

    Exits with 1 where something does. `unknown` is what could not be seen, or does not matter here.
    """
    from agent.doctor import examine

    found = [*examine(given.config_path), _agent(given)]
    if given.json:
        given.show.document("findings", [dataclasses.asdict(one) for one in found])
    elif given.show.terminal:
        given.show.rows([row for one in found for row in _rows(one)])
    else:
        given.show.rows([[_WORDS[one.ok], one.what, one.say, one.mend] for one in found])
    return Exit.FAILED if any(one.ok is False for one in found) else Exit.DONE


def _rows(one: Finding) -> Iterable[list[Cell]]:
    yield [word(_WORDS[one.ok]), one.what, one.say.splitlines()[0]]
    for line in one.say.splitlines()[1:]:
        yield ["", "", line]
    if one.mend:
        yield ["", "", Ink(f"→ {one.mend}", "bold")]


def _agent(given: Given) -> Finding:
    from agent.doctor import Finding

    try:
        given.ask("ping", patience=SOON)
    except Stop as stop:
        say, _, mend = stop.text.partition("\n")
        return Finding("agent", None, say, mend)
    return Finding("agent", True, f"it runs, and answers at {given.socket_path}")
