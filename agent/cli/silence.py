"""`contain silence`: about what nobody is told for a while. Actions go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.direct import Direct
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given
from agent.cli.order import Seconds
from agent.cli.show import At, Columns


def about(one: Mapping[str, Any]) -> str:
    """What a silence is about, in words."""
    named = {"": one["incident"], "policy ": one["policy"], "target ": one["target"]}
    return ", ".join(f"{key}{value}" for key, value in named.items() if value)


SILENCES: Final[Columns] = {
    "id": lambda one: one["id"],
    "about": about,
    "from": lambda one: f"{one['worst']} down",
    "ends": lambda one: At(one["ended"] or one["until"]),
    "by": lambda one: one["actor"],
    "why": lambda one: one["why"] + (f" ({one['because']})" if one["because"] else ""),
}


MOST: Final = 20
"""Incidents that are named."""


@click.group(cls=Direct, alone="begin")
def silence() -> None:
    """Tell nobody of what is known, for a while: it shows dimmed, and counts for no exit code. Actions go on.

    It ends by itself, and as soon as something more severe fits. P0 can be silenced for one hour at most.
    """


@silence.command(
    "begin",
    examples=(
        'contain silence --policy ssh-brute-force --for 2h --why "known, the vendor is on it"',
        'contain silence --incident INC-1 --for 1h --why "known"',
        "contain silence list",
    ),
)
@click.option("--policy", type=Name("policies", "policy"), default="", help="Incidents of this policy.")
@click.option("--target", type=Name("incidents", "target"), default="", help="Incidents about this target.")
@click.option("--incident", type=Name("incidents", "id"), default="", help="This incident.")
@click.option("--for", "seconds", type=Seconds("7d"), required=True, help="How long, as in 2h, at most 7d; it ends by itself.")
@click.option("--why", required=True, help="The reason; it stands in the evidence.")
@click.pass_obj
def begin(given: Given, policy: str, target: str, incident: str, seconds: float, why: str) -> None:
    """Silence what fits all that is named."""
    named: dict[str, Any] = {key: one for key, one in (("policy", policy), ("target", target), ("incident", incident)) if one}
    if not named:
        raise Stop(
            Exit.USAGE, "cannot silence everything\nName a policy (--policy), a target (--target) or an incident (--incident)."
        )
    answer = given.ask("silence", seconds=seconds, why=why, **named)
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, answer["error"])
    if answer["result"] == "refused":
        raise Stop(Exit.REFUSED, f"cannot silence that: {answer['because']}")
    show = given.show
    if given.json:
        show.document("silence", [answer])
        return
    until = f"that ends {show.at(answer['until'])}, or with: contain silence end {answer['id']}"
    show.line(f"Nobody is told of {show.text(about(answer))}, {answer['worst']} and less severe; {until}")
    names = ", ".join(answer["incidents"][:MOST]) or "nothing fits just now"
    names += f" and {len(answer['incidents']) - MOST} more" if len(answer["incidents"]) > MOST else ""
    show.line(f"Now silent: {names}. Actions go on.")


@silence.command("list", examples=("contain silence list", "contain silence list --all"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over.")
@click.pass_obj
def list_silences(given: Given, ended: bool) -> None:
    """Silences that last."""
    given.show.table("silences", given.ask("silences", ended=ended)["items"], SILENCES, "nothing is silenced")


@silence.command("end", examples=("contain silence end S-1", "contain silence end all"))
@click.argument("what", metavar="S-1|all", type=Name("silences", "id", also=("all",)))
@click.pass_obj
def end(given: Given, what: str) -> None:
    """End a silence now."""
    answer = given.ask("end_silence", what=what)
    if given.json:
        given.show.document("silence", [answer])
    elif answer["result"] == "nothing":
        given.show.line(f"Nothing was silenced by the name of {given.show.text(what)}.")
    else:
        given.show.line(f"Ended: {', '.join(answer['ended'])}. People are told again.")
