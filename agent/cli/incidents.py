"""`contain incidents`: what is wrong, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.show import At, Columns, Ink, word
from agent.cli.why import tell

COLUMNS: Final[Columns] = {
    "id": lambda one: one["id"],
    "severity": lambda one: word(one["severity"]),
    "phase": lambda one: word(one["phase"]),
    "policy": lambda one: one["policy"],
    "target": lambda one: one["target"],
    "opened": lambda one: At(one["opened"]),
    "last": lambda one: At(one["last"]),
    "found": lambda one: one["findings"],
    "because": lambda one: Ink(quiet(one), "dim") if one["silenced"] else one["because"],
}


def quiet(one: Mapping[str, Any]) -> str:
    """That nobody is told of an incident, until when and why."""
    silence = one["silenced"]
    return f"silenced ({silence['id']}) by {silence['actor']}: {silence['why']}"


@click.group(cls=Noun, alone="list")
def incidents() -> None:
    """Findings about one thing, each with a life. Without a command: list."""


@incidents.command("list", examples=("contain incidents", "contain incidents list --all"))
@click.option("--all", "ended", is_flag=True, help="Also the latest resolved ones.")
@click.pass_obj
def list_incidents(given: Given, ended: bool) -> None:
    """Open and contained incidents, the most severe first."""
    answer = given.ask("incidents", ended=ended)
    given.show.table("incidents", answer["items"], COLUMNS, "no incident is open")
    if answer["total"] > len(answer["items"]):
        given.show.talk(f"these are {len(answer['items'])} of {answer['total']}")


@incidents.command("show", examples=("contain incidents show INC-1",))
@click.argument("name", metavar="ID", type=Name("incidents", "id"))
@click.pass_obj
def show_incident(given: Given, name: str) -> None:
    """One incident with its mitigations."""
    answer = given.ask("why", target=name)
    found = [one for one in answer["incidents"] if one["id"] == name]
    if not found:
        raise Stop(Exit.FAILED, f"cannot show {name}: the agent knows no such incident\nThe latest: contain incidents --all")
    if given.json:
        given.show.document("incidents", [{**found[0], "mitigations": answer["mitigations"]}])
        return
    tell(given, {**answer, "incidents": found})


@incidents.command("resolve", examples=('contain incidents resolve INC-2 --why "the shop answers again"',))
@click.argument("name", metavar="ID", type=Name("incidents", "id"))
@click.option("--why", required=True, help="How it ended; it stands in the evidence.")
@click.pass_obj
def resolve(given: Given, name: str, why: str) -> None:
    """Say that an incident is over, a report's above all, which ends by nothing else. What holds for it is lifted first."""
    answer = given.ask("resolve", what=name, why=why)
    if given.json:
        given.show.document("resolve", [answer])
    match answer["result"]:
        case "failed":
            raise Stop(Exit.FAILED, answer["error"])
        case "refused":
            raise Stop(Exit.REFUSED, f"cannot resolve {name}: {answer['because']}")
    if not given.json:
        show = given.show
        show.line(f"{name} is resolved." if answer["result"] == "resolved" else f"Nothing to do: {show.text(answer['because'])}.")
