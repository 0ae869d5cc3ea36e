"""`contain list`: who is never touched and who is left alone, with an end and a reason for what people add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli import feed_rows
from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun
from agent.cli.order import Seconds
from agent.cli.show import At, Columns

LONGEST: Final = 90 * 86400.0
ROWS: Final[Columns] = {
    "list": lambda one: one["list"],
    "address": lambda one: one["address"],
    "from": lambda one: one["from"],
    "until": lambda one: At(one["until"]),
    "by": lambda one: one["by"],
    "only for": lambda one: ", ".join(one["policies"]) or None,
    "why": lambda one: one["why"],
}
_LIST = click.argument("name", metavar="LIST", type=Name("lists", "list"))
_ADDRESS = click.argument("address", type=Name("lists", "address"))
_POLICIES = click.option(
    "--policy", "policies", multiple=True, type=Name("policies", "policy"), help="For this policy alone; may be given again."
)


@click.group("list", cls=Noun, alone="show")
def list() -> None:
    """Addresses that are never touched (`never_touch`), lists of agent.yaml that policies name, and those that others keep.

    Without a command: show. What people add ends by itself.
    """


@list.command(
    "add",
    examples=(
        'contain list add never_touch 203.0.113.65 --for 8h --why "our scanner"',
        'contain list add office 203.0.113.64/28 --for 7d --why "the new building"',
        'contain list add never_touch 192.0.2.80 --for 1d --why "pentest" --policy ssh-brute-force',
    ),
)
@_LIST
@_ADDRESS
@click.option("--for", "seconds", type=Seconds(), required=True, help="How long, at most 90d; it ends by itself.")
@click.option("--why", required=True, help="The reason; it stands in the evidence, and in every refusal.")
@_POLICIES
@click.option("--yes", is_flag=True, help="Also where the network is wider than /8 (IPv6: /19).")
@click.pass_obj
def add(given: Given, *, name: str, address: str, seconds: float, why: str, policies: tuple[str, ...], yes: bool) -> None:
    """Put an address or network on a list. What is in force against it is lifted.

    On never_touch nobody touches it, whoever orders it; with --policy only these policies leave it alone, and others still
    contain an attacker there. Added again, it stays until the later end.
    """
    if seconds > LONGEST:
        raise Stop(Exit.USAGE, "cannot add: 90d are the longest\nWhat is meant to stay belongs in agent.yaml: never_touch, lists")
    body: dict[str, Any] = {"list": name, "address": address, "seconds": seconds, "why": why}
    body |= {"policies": [*policies]} if policies else {}
    answer = given.ask("list_add", **body)
    if answer["result"] == "waits":
        given.sure(f"add {address}: {answer['because']}", address, yes=yes)
        answer = given.ask("list_add", **body, sure=True)
    _refused("add", answer)
    if given.json:
        given.show.document("list", [answer])
        return
    again = "stays" if answer["result"] == "extended" else "is now"
    scope = f", for {', '.join(policies)} alone" if policies else ""
    given.show.line(f"{answer['address']} {again} on {name}{scope}; that ends {given.show.at(answer['until'])}")
    if still := answer.get("still"):
        given.show.line(f"Still in force, ordered by people: {', '.join(still)}; contain undo {still[0]}")
    if lifting := answer["lifting"]:
        more = f" and {len(lifting) - 10} more" if len(lifting) > 10 else ""
        given.show.line(f"What was in force against it is being lifted: {', '.join(lifting[:10])}{more}")
    if overlaps := answer["overlaps"]:
        given.show.talk(f"also on {name}, and overlapping: {', '.join(overlaps)}")


@list.command("remove", examples=('contain list remove office 203.0.113.64/28 --why "moved out"',))
@_LIST
@_ADDRESS
@click.option("--why", default="by hand", show_default=True, help="The reason; it stands in the evidence.")
@_POLICIES
@click.pass_obj
def remove(given: Given, name: str, address: str, why: str, policies: tuple[str, ...]) -> None:
    """Take an address off a list that a person put it on. What agent.yaml names is taken out there."""
    scope: dict[str, Any] = {"policies": [*policies]} if policies else {}
    answer = given.ask("list_remove", list=name, address=address, why=why, **scope)
    _refused("remove", answer)
    if given.json:
        given.show.document("list", [answer])
    elif answer["result"] == "nothing":
        given.show.line(f"Nothing to remove: {given.show.text(answer['because'])}.")
    else:
        given.show.line(f"{address} is off {name}.")


@list.command("show", examples=("contain list", "contain list show office", "contain list show --json"))
@click.argument("name", metavar="[LIST]", required=False, type=Name("lists", "list"))
@click.option("--from", "first", type=click.IntRange(0), default=0, help="Of a list that others keep: leave out so many.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="And show so many.")
@click.pass_obj
def show(given: Given, name: str | None, first: int, limit: int) -> None:
    """Everything that counts: what agent.yaml names, what this host learnt by itself, what people added until when, and why.

    Of a list that others keep: how many networks, from where, when that last said so, what is wrong, and the networks.
    """
    answer = given.ask("lists")
    if name is not None and name not in answer["lists"]:
        raise Stop(Exit.USAGE, f"cannot show {name}: no such list\nKnown: {', '.join(answer['lists'])}")
    if name in (one["name"] for one in answer["feeds"]):
        _networks(given, given.ask("list_entries", list=name, first=first, limit=limit))
        return
    rows = [one for one in answer["items"] if name in (None, one["list"])]
    given.show.table("list", rows, ROWS, "nothing is on it")
    if answer["total"] > len(answer["items"]):
        given.show.talk(f"these are {len(answer['items'])} of {answer['total']}")
    for one in answer["feeds"] if name is None and not given.json else ():
        for line in feed_rows.head(given.show, one):
            given.show.talk(line)


def _networks(given: Given, answer: Mapping[str, Any]) -> None:
    if given.json:
        given.show.document("entries", [answer])
        return
    for line in feed_rows.head(given.show, answer):
        given.show.talk(line)
    for one in answer["items"]:
        given.show.line(one)
    behind = answer["first"] + len(answer["items"])
    if behind < answer["entries"]:
        given.show.talk(f"and {answer['entries'] - behind:,} more: contain list show {answer['name']} --from {behind}")


@list.command("accept", examples=("contain list accept threats",))
@_LIST
@click.pass_obj
def accept(given: Given, name: str) -> None:
    """Use the new text of a list that others keep, which was refused because less than half was left of it."""
    answer = given.ask("list_accept", list=name)
    _refused("accept", answer)
    if given.json:
        given.show.document("list", [answer])
    elif answer["result"] == "nothing":
        given.show.line(f"Nothing to accept: {given.show.text(answer['because'])}.")
    else:
        given.show.line(f"{name} has {answer['entries']:,} networks from now on; it had {answer['before']:,}.")


@list.command("check", examples=("contain list check 192.0.2.7", "contain list check 192.0.2.7 --json"))
@_ADDRESS
@click.pass_obj
def check(given: Given, address: str) -> Exit:
    """What leaves an address alone, and what is in force against it, asked of the systems now.

    Exits with 0 where it is on a list or a life-line, with 1 where it is on none.
    """
    answer = given.ask("list_check", address=address)
    _refused("check", answer)
    if given.json:
        given.show.document("check", [answer])
    else:
        _tell(given, answer)
    return Exit.DONE if answer["listed"] else Exit.FAILED


def _tell(given: Given, answer: Mapping[str, Any]) -> None:
    show, found = given.show, answer["items"]
    if not found:
        show.line(f"{answer['address']} is on no list, and no life-line.")
    for one in found:
        sure = "" if one["sure"] else " (it keeps new acts away, and lifts nothing)"
        scope = f" for {', '.join(one['policies'])} alone" if one["policies"] else ""
        ends = f", until {show.at(one['until'])}, by {one['by']}" if one["until"] else ""
        show.line(f"{one['list']}: {show.text(one['address'])}{scope}: {show.text(one['why'])}{sure}{ends}")
    for one in answer["policies"]:
        show.line(f"{one['policy']} leaves it alone: {show.text(one['because'])}")
    for one in answer["in_force"]:
        show.line(f"{one['id']} {one['stage'].replace('_', ' ')}: {show.text(one['describe'])}; undo: contain undo {one['id']}")
    if not answer["in_force"]:
        show.talk("nothing is in force against it")


def _refused(what: str, answer: Mapping[str, Any]) -> None:
    if "error" in answer:
        code = Exit.FAILED if answer.get("result") == "failed" else Exit.USAGE
        raise Stop(code, f"cannot {what}: {answer['error']}")
