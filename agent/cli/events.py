"""`contain events`: what the agent saw, and what it can see."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.order import Seconds
from agent.cli.show import At, Columns, Show

EVERY: Final = 0.5
MOST: Final = 1000

Event = Mapping[str, Any]


def _fields(one: Event) -> str:
    return " ".join(f"{name}={value}" for name, value in one["fields"].items() if value is not None)


COLUMNS: Final[Columns] = {
    "seen": lambda one: At(one["seen"]),
    "kind": lambda one: one["kind"],
    "source": lambda one: one["source"],
    "fields": _fields,
}

_KEPT: Final = "only what some policy waits for is kept, and no measurements (net, check …)"

_KIND = click.option("--kind", default="", help="Only events of this kind, or that begin like it, as in auth.ssh.")


@click.group(cls=Noun, alone="list")
def events() -> None:
    """Events that some policy listens to. Without a command: list."""


@events.command("list", examples=("contain events", "contain events list --kind auth.ssh --since 10m"))
@_KIND
@click.option("--since", type=Seconds(), help="Only the last so long, as in 10m.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True, help="At most so many, the newest.")
@click.pass_obj
def list_events(given: Given, kind: str, since: float | None, limit: int) -> None:
    """What was seen and kept, the newest first: what some policy waits for, and no measurements."""
    start = time.time() - since if since else 0.0
    items = given.ask("events", since=start, limit=MOST if kind else limit)["items"]
    found = [one for one in items if one["kind"].startswith(kind)][:limit]
    given.show.table("events", found, COLUMNS, f"no such event was seen; {_KEPT}")


@events.command("tail", examples=("contain events tail", "contain events tail --json --kind http"))
@_KIND
@click.pass_obj
def tail(given: Given, kind: str) -> None:
    """What is being seen, as it comes, until interrupted."""
    since, told = time.time() - EVERY, set[str]()
    while True:
        fresh = [one for one in reversed(given.ask("events", since=since, limit=MOST)["items"]) if repr(one) not in told]
        for one in fresh:
            if one["kind"].startswith(kind):
                _tell(given.show, one)
        sys.stdout.flush()
        if fresh:
            before, since = since, fresh[-1]["seen"]
            told = {repr(one) for one in fresh if one["seen"] == since} | (told if since == before else set())
        time.sleep(EVERY)


def _tell(show: Show, one: Event) -> None:
    if show.json:
        show.document("events", [one])
    else:
        show.rows([[cell(one) for cell in COLUMNS.values()]])


@events.command("show", examples=("contain events show", "contain events show 3"))
@click.argument("number", type=click.IntRange(1, MOST), default=1)
@click.pass_obj
def show_event(given: Given, number: int) -> None:
    """One event with everything it holds: 1 is the newest, 2 the one before."""
    items = given.ask("events", limit=number)["items"]
    if len(items) < number:
        raise Stop(Exit.FAILED, f"cannot show event {number}: only {len(items)} were seen")
    one = items[-1]
    if given.json:
        given.show.document("events", [one])
        return
    rows = [["kind", one["kind"]], ["seen", At(one["seen"])], ["source", one["source"]], *one["fields"].items()]
    rows += [["its own time", At(one["ts"])]] if one.get("skewed") else []
    rows += [["forgeable", "yes: a stranger can write this text"]] if one["forgeable"] else []
    given.show.rows([*rows, ["line", one["raw"] or None]])


@events.command("kinds", examples=("contain events kinds", "contain events kinds --json"))
@click.pass_obj
def kinds(given: Given) -> None:
    """Every kind of event that a policy may name, with its fields and what brings it. Works without a running agent."""
    from agent.brings import brings
    from agent.wiring import catalogue

    found, ways = sorted(catalogue(None).kinds.values(), key=lambda one: one.name), brings()
    items = [
        {"kind": one.name, "about": one.about, "fields": dict(one.fields), "state": one.state, "forgeable": one.forgeable}
        | {"from": list(ways.get(one.name, ()))}
        for one in found
    ]
    given.show.table("kinds", items, _KIND_COLUMNS, "no kinds")


def _typed(fields: Mapping[str, str]) -> Iterable[str]:
    return (f"{name} ({kind})" for name, kind in fields.items())


_KIND_COLUMNS: Final[Columns] = {
    "kind": lambda one: one["kind"],
    "about": lambda one: one["about"],
    "from": lambda one: ", ".join(one["from"]),
    "fields": lambda one: ", ".join(_typed(one["fields"])),
}
