"""`contain why`: everything the agent knows about one target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.events import COLUMNS
from agent.cli.given import Given, Verb
from agent.cli.show import At, Cell, Show, word
from agent.cli.status import recovery
from agent.event import REPORTED

LATEST: Final = 10
_OVER: Final = (": refused: ", "contain approve ")
"""What was said while the incident was open, and is no longer true of one that is contained."""
_LOOKED_AT: Final = 1000


@click.command(cls=Verb, examples=("contain why 203.0.113.7", "contain why INC-1 --json"))
@click.argument("target", type=Name("mitigations", "target", "id", "incident"))
@click.pass_obj
def why(given: Given, target: str) -> None:
    """Everything known about an address, an incident, a mitigation or a policy's target.

    Is it a life-line, what was found, what is in force against it, how often before, and the latest events that name it.
    """
    answer = given.ask("why", target=target)
    about = {target, *(one["target"] for one in answer["incidents"] if one["id"] == target)}
    answer["events"] = [one for one in given.ask("events", limit=_LOOKED_AT)["items"] if _names(one, about)][:LATEST]
    if given.json:
        given.show.document("why", [answer])
    else:
        tell(given, answer)


def _names(event: Mapping[str, Any], about: set[str]) -> bool:
    return any(str(value) in about for value in event["fields"].values())


def _line(event: Mapping[str, Any]) -> str:
    """The log line; for what came as a document, or by hand, its kind and fields."""
    raw = str(event["raw"])
    if raw and not raw.startswith(("{", "[")) and any(str(value) in raw for value in event["fields"].values() if value):
        return raw
    return f"{event['kind']} {COLUMNS['fields'](event)}"


def tell(given: Given, answer: Mapping[str, Any]) -> None:
    """The answer, a line for each thing that is known."""
    show, rows = given.show, list(_rows(given.show, answer))
    if rows:
        show.rows(rows)
    else:
        show.talk(f"nothing is known about {show.text(answer['target'])}: no incident, no mitigation, no recent event")


def _standing(answer: Mapping[str, Any]) -> Iterable[list[Cell]]:
    """What decides about it just now, whatever is found."""
    if answer["lifeline"]:
        yield ["life-line", "", "", "", f"never touched: {answer['lifeline']}"]
    if answer["alone"]:
        say = "a person took down what was done about it, or said no; policies wait until then"
        yield ["left alone", "", "", At(answer["alone"]), say]
    for name in answer["crowds"]:
        yield ["one of many", name, "", "", f"more targets than may be acted on; what is done about them all: contain why {name}"]


def _people(one: Mapping[str, Any]) -> Iterable[list[Cell]]:
    """Who is on an incident, and with which others it is told."""
    if one["lead"]:
        yield ["", "", "", "", f"told with {one['lead']}: contain why {one['lead']}"]
    elif one["whole"]:
        yield ["", "", "", "", f"{one['whole']['many']} are told as one: {', '.join([one['id'], *one['whole']['with'][:8]])}"]
    if one["assigned"]:
        yield ["", "", "", At(one["acked"]), f"{one['assigned']}'s; acknowledged by {one['acked_by']}"]
    elif one["acked"] is not None:
        yield ["", "", "", At(one["acked"]), f"acknowledged by {one['acked_by']}"]
    for due in one["clocks"]:
        mend = f"contain incidents notified {one['id']} {due['regime']} --why …"
        say = "was given" if due["done"] else f"is due; when it is given: {mend}"
        yield ["", "", "", At(due["since"] if due["done"] else due["until"]), f"{due['regime'].upper()} {due['what']} {say}"]
    if one["runbook"]:
        yield ["", "", "", "", f"runbook: {one['runbook']}"]
    if one["before"]:
        yield ["", "", "", "", f"the same as {one['before']}, which was over"]
    if one["false"]:
        yield ["", "", "", "", "a person said that it was none"]


def _rows(show: Show, answer: Mapping[str, Any]) -> Iterable[list[Cell]]:
    yield from _standing(answer)
    for one in answer["incidents"]:
        said = f"{one['policy']}: {one['because']}, found {one['findings']}×"
        yield [one["id"], word(one["severity"]), word(one["phase"]), At(one["last"]), said]
        yield from _people(one)
        if going := recovery(show, one):
            yield ["", "", "", "", going]
        if one["policy"] == REPORTED and one["phase"] not in ("resolved", "closed"):
            yield ["", "", "", "", f'it stays open until: contain incidents resolve {one["id"]} --why "…"']
        for sentence in one["told"]:
            if one["phase"] == "open" or not any(word in sentence for word in _OVER):
                yield ["", "", "", "", sentence]
    for one in answer["mitigations"]:
        until = "until somebody lifts it" if one["until"] is None else "ends"
        yield [one["id"], one["incident"], word(one["stage"]), At(one["until"]), f"{until}: {one['describe']}"]
        if one["stage"] == "in_force":
            yield ["", "", "", "", f"undo: contain undo {one['id']}"]
    for aim, count in answer["repeats"].items():
        yield ["before", "", "", "", f"{aim}: {count}× in the last 30 days"]
    for one in answer.get("events", ()):
        yield ["event", "", "", At(one["seen"]), _line(one)]
