"""What happened to the evidence itself: in `contain status`, and `contain evidence accept` once a person has seen to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from agent.cli.given import Given, Verb
from agent.cli.show import At, Cell, Show, span

_MEND: Final = "your orders and P0 and P1 policies still act (see on_evidence_failure); mend the disk: df, dmesg, mount"


@click.command(cls=Verb, examples=('contain evidence accept --why "disk replaced, old journal copied to the case"',))
@click.option("--why", required=True, help="What was done about it; it stands in the evidence.")
@click.pass_obj
def accept(given: Given, why: str) -> None:
    """Say that somebody has seen to a lost journal or key, so that `contain status` tells of it no more.

    What was set aside stays where it is, for whoever wants to look into it.
    """
    answer = given.ask("accept", why=why)
    if given.json:
        given.show.document("accept", [answer])
        return
    for one in answer["seen"]:
        given.show.line(f"seen to: {given.show.text(one)}")
    if not answer["seen"]:
        given.show.line("Nothing happened to the evidence that nobody has seen to.")


def wrong(answer: Mapping[str, Any]) -> bool:
    """Whether something about the evidence needs a person."""
    return bool(answer["evidence"]["failing"] or answer["mishaps"])


def heads(show: Show, answer: Mapping[str, Any]) -> Iterable[str]:
    """Lines for the top of a screen."""
    told = answer["evidence"]
    if told["failing"]:
        since = span(show.now - told["since"])
        waits = f"{told['waiting']:,} records wait, copies are in {show.text(told['copies'])}"
        yield f"{show.paint('evidence', 'red')}  cannot be written for {since}: {show.text(told['failing'])}; {waits}"
        yield f"          {show.paint(_MEND, 'dim')}"
    for one in answer["mishaps"]:
        yield f"{show.paint('evidence', 'red')}  {show.text(one['say'])} ({show.at(one['at'])})"
        yield f"          {show.paint(show.text(one['mend']), 'dim')}"


def rows(answer: Mapping[str, Any]) -> Iterable[list[Cell]]:
    """Rows for a pipe."""
    told = answer["evidence"]
    if told["failing"]:
        yield ["evidence", "failing", At(told["since"]), told["waiting"], told["failing"]]
    for one in answer["mishaps"]:
        yield ["evidence", one["kind"], At(one["at"]), one["say"], one["mend"]]
