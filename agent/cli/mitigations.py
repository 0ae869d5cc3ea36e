"""`contain mitigations`: what is in force, read back from the systems, and what was."""

from __future__ import annotations

from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.show import At, Columns, word
from agent.cli.status import stage

COLUMNS: Final[Columns] = {
    "id": lambda one: one["id"],
    "stage": lambda one: word(stage(one)),
    "action": lambda one: one["action"],
    "target": lambda one: one["target"],
    "until": lambda one: At(one["until"], "lifted by hand" if one["undo"] else "done once"),
    "verified": lambda one: At(one["verified"]),
    "packets": lambda one: one["packets"],
    "by": lambda one: one["policy"] or one["actor"],
}


@click.group(cls=Noun, alone="list")
def mitigations() -> None:
    """Changes in force, and those that were. Without a command: list."""


@mitigations.command("list", examples=("contain mitigations", "contain mitigations list --all"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over.")
@click.pass_obj
def list_mitigations(given: Given, ended: bool) -> None:
    """What is in force, asked of the systems now; in a dry run, what would be."""
    answer = given.ask("mitigations", ended=ended)
    given.show.table("mitigations", answer["items"], COLUMNS, "nothing is in force")
    if answer["total"] > len(answer["items"]):
        given.show.talk(f"these are the newest {len(answer['items'])} of {answer['total']}")


@mitigations.command("show", examples=("contain mitigations show M-1",))
@click.argument("name", metavar="ID", type=Name("mitigations", "id"))
@click.pass_obj
def show_mitigation(given: Given, name: str) -> None:
    """One mitigation, with the very calls that made it and take it back."""
    found = [one for one in given.ask("why", target=name)["mitigations"] if one["id"] == name]
    if not found:
        raise Stop(Exit.FAILED, f"cannot show {name}: the agent knows no such mitigation\nThe latest: contain mitigations --all")
    if given.json:
        given.show.document("mitigations", found)
        return
    tell_mitigation(given, found[0])


def tell_mitigation(given: Given, one: dict[str, Any]) -> None:
    """One mitigation, a line for each thing about it."""
    show = given.show
    show.rows(
        [
            ["mitigation", one["id"]],
            ["stage", word(stage(one))],
            ["what", one["describe"]],
            ["but", one["short"] or None],
            ["touches", ", ".join(one["touches"]) or None],
            ["because", one["because"]],
            ["by", one["actor"]],
            ["incident", one["incident"] or None],
            ["since", At(one["since"])],
            ["until", At(one["until"], "somebody lifts it") if one["undo"] else None],
            ["alone", f"ends only while the agent runs, or at its next start: {one['alone']}" if one["alone"] else None],
            ["confirm", At(one["confirm"]) if one["confirm"] else None],
            ["verified", At(one["verified"], "not yet") if one["stage"] == "in_force" else None],
            ["stopped", None if one["packets"] is None else f"{one['packets']} packets, {one['bytes']} bytes"],
            ["apply", one["apply"]],
            ["undo", one["undo"] or "cannot be taken back"],
        ]
    )
