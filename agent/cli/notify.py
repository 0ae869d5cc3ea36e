"""`contain notify`: the ways to people, what waits in each, and whether they work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from agent.cli.direct import Direct
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given
from agent.cli.show import At, Cell, Columns, Ink, word

Answer = Mapping[str, Any]


def _routes(one: Answer) -> str:
    return ", ".join(one["severities"]) or ("fallback" if one["fallback"] else "-")


COLUMNS: Final[Columns] = {
    "channel": lambda one: one["name"],
    "type": lambda one: one["type"] or word("off"),
    "to": lambda one: one["whom"] + (" (public)" if one["public"] else ""),
    "for": _routes,
    "unsent": lambda one: Ink(str(one["unsent"]), "red" if one["urgent"] else "yellow") if one["unsent"] else 0,
    "since": lambda one: At(one["since"]),
    "next try": lambda one: At(one["until"]),
    "last told": lambda one: At(one["last"], "never"),
    "error": lambda one: one["error"],
}
_WORDS: Final = {"told": "good", "nothing": "off"}


@click.group(cls=Direct, alone="show")
def notify() -> None:
    """Ways to people (notify: in agent.yaml): what waits to be told since when, and why. Changes count after `contain reload`."""


@notify.command("show", examples=("contain notify", "contain notify test P1 --dry-run"))
@click.pass_obj
def show_(given: Given) -> None:
    """The channels, who is told of what, and what waits in each."""
    answer = given.ask("notify")
    if given.json:
        given.show.document("notify", [answer])
    else:
        given.show.table("notify", list(_rows(answer)), COLUMNS, "nobody is told of anything; write notify: {channels: {…}}")
        for one in answer["untold"]:
            since = given.show.at(one["since"])
            given.show.talk(f"Nobody could be told of {one['incident']}, {since}: contain why {one['incident']}")


def _rows(answer: Answer) -> Iterable[dict[str, Any]]:
    for one in answer["channels"]:
        severities = [each["severity"] for each in answer["routes"] if one["name"] in each["channels"]]
        yield {**one, "severities": severities, "fallback": one["name"] in answer["fallback"]}


@notify.command("test", examples=("contain notify test P0 --dry-run", "contain notify test P1"))
@click.argument("what", metavar="CHANNEL|SEVERITY")
@click.option("--dry-run", "dry", is_flag=True, help="Send nothing; show what would be sent.")
@click.pass_obj
def test(given: Given, what: str, dry: bool) -> Exit:
    """Tell a channel, or all of a severity, that this is a test, and wait for what comes of it: half a minute at most.

    Exits with 1 where it got through nowhere, with 6 where only some channels took it.
    """
    answer = given.ask("notify_test", what=what, **({"dry": True} if dry else {}))
    if answer["result"] == "failed" and "channels" not in answer:
        raise Stop(Exit.FAILED, answer["error"])
    show = given.show
    if given.json:
        show.document("notify_test", [answer])
    else:
        if dry:
            show.talk(f"would say: {show.text(answer['notice']['headline'])}")
        show.rows([_came(one) for one in answer["channels"]])
    return {"told": Exit.DONE, "would": Exit.DONE, "partly": Exit.PARTLY}.get(answer["result"], Exit.FAILED)


def _came(one: Answer) -> list[Cell]:
    meaning = _WORDS.get(one["result"], "" if one["result"] == "would" else "failed")
    colour = {"good": "green", "failed": "red", "off": "dim"}.get(meaning, "")
    say = one["say"] or (", ".join(one["parts"]) if one.get("parts") else "")
    return [Ink(one["result"], colour), one["channel"], one["type"], one["whom"], say]


@notify.command("drop", examples=('contain notify drop mail --yes --why "everybody has seen it"',))
@click.argument("channel")
@click.option("--why", required=True, help="The reason; it stands in the evidence.")
@click.option("--yes", is_flag=True, help="Do not ask back.")
@click.pass_obj
def drop(given: Given, channel: str, why: str, yes: bool) -> None:
    """Throw away what waits for a channel, as after an outage that everybody has seen; nobody else is told of it for that."""
    given.sure(f"throw away all that waits for {channel}", channel, yes=yes)
    answer = given.ask("notify_drop", what=channel, why=why)
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, answer["error"])
    if given.json:
        given.show.document("notify_drop", [answer])
    elif answer["result"] == "nothing":
        given.show.line(f"Nothing waits for {given.show.text(channel)}.")
    else:
        urgent = f", {len(answer['urgent'])} of it urgent" if answer["urgent"] else ""
        given.show.line(f"Thrown away: {answer['count']}{urgent}.")
