"""`contain approvals`, `approve`, `deny`: what waits for a person's yes, and the answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.do import PATIENCE
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, Verb
from agent.cli.show import At, Columns, word

COLUMNS: Final[Columns] = {
    "id": lambda one: one["id"],
    "action": lambda one: one["action"],
    "target": lambda one: one["target"],
    "waits until": lambda one: At(one["until"]),
    "yes": lambda one: f"{len(one['yes'])} of {one['needs']}",
    "incident": lambda one: one["incident"],
    "because": lambda one: one["over"] or one["because"],
}


@click.group(cls=Noun, alone="list")
def approvals() -> None:
    """What waits for a person's yes. Without a command: list."""


@approvals.command("list", examples=("contain approvals", "contain approvals list --all"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over, and what came of them.")
@click.pass_obj
def list_approvals(given: Given, ended: bool) -> None:
    """What waits, the next end first. Without an answer in time it is not done."""
    items = [one for one in given.ask("approvals")["items"] if ended or not one["over"]]
    given.show.table("approvals", items, COLUMNS, "nothing waits for a person")


@click.command(cls=Verb, examples=('contain approve A-1 --plan 0123456789abcdef --why "I saw the dump"',))
@click.argument("what", metavar="ID", type=Name("approvals", "id"))
@click.option("--plan", default="", help="The hash of the plan you have seen; without it the plan is shown, and you are asked.")
@click.option("--why", default="looked at it", show_default=True, help="The reason; it stands in the evidence.")
@click.pass_obj
def approve(given: Given, what: str, plan: str, why: str) -> Exit:
    """Say yes to one plan that waits, in your own name. It is planned once more and done, if it is still the same.

    Where agent.yaml wants two people, another person must say yes as well.
    """
    one = _find(given, what)
    if not plan:
        if not given.json:
            _tell(given, one)
        if given.no_input or not sys.stdin.isatty():
            mend = f'contain approve {what} --plan {one["plan"]} --why "…"'
            raise Stop(Exit.WAITS, f"cannot ask you whether this plan is right: there is no terminal\nSay yes to it: {mend}")
        given.sure(f"{one['action']} {one['target']}", one["target"], yes=False)
    answer = given.ask("approve", patience=PATIENCE, what=what, plan=plan or one["plan"], why=why)
    if given.json:
        given.show.document("approve", [answer])
    return _said(given, what, answer)


def _said(given: Given, what: str, answer: Mapping[str, Any]) -> Exit:
    from agent.cli.do import ENDS

    result, because = answer["result"], answer.get("because") or answer.get("error", "")
    if result == "waits":
        raise Stop(Exit.WAITS, f"{answer['approval']} waits: {because}")
    if result == "refused":
        raise Stop(Exit.REFUSED, f"refused: {because}")
    if result not in ENDS:
        raise Stop(Exit.FAILED, f"cannot carry out {what}: {because or result}\nSee: contain evidence show")
    if not given.json:
        made = ", ".join(answer.get("mitigations", ())) or "nothing"
        given.show.line(f"Approved {what}: {result.replace('_', ' ')} ({made}){': ' + because if because else ''}")
    return ENDS[result]


@click.command(cls=Verb, examples=('contain deny A-1 --why "that is our backup"',))
@click.argument("what", metavar="ID", type=Name("approvals", "id"))
@click.option("--why", required=True, help="The reason; it stands in the evidence.")
@click.pass_obj
def deny(given: Given, what: str, why: str) -> Exit:
    """Say no to what waits: it is not done, and policies leave the target alone for ten minutes."""
    answer = given.ask("deny", what=what, why=why)
    if given.json:
        given.show.document("deny", [answer])
    elif answer["result"] == "denied":
        given.show.line(f"Denied {what}: it is not done")
    else:
        raise Stop(Exit.FAILED, f"cannot deny {what}: {answer['because']}")
    return Exit.DONE


def _find(given: Given, what: str) -> dict[str, Any]:
    """The question that waits.

    Raises:
        Stop: there is no such question, or it is over.
    """
    items = given.ask("approvals")["items"]
    one = next((one for one in items if one["id"] == what), None)
    if one is not None and not one["over"]:
        return dict(one)
    waiting = ", ".join(each["id"] for each in items if not each["over"]) or "none"
    because = f"{what} is over: {one['over']}" if one else f"there is no approval {what}; waiting: {waiting}"
    raise Stop(Exit.FAILED, f"cannot approve {what}: {because}")


def _tell(given: Given, one: Mapping[str, Any]) -> None:
    """The question, whole: what would be done, why, and by which words a person could order the same."""
    show = given.show
    for line in one["describe"]:
        show.line(f"would {show.text(line)}")
    rows = [["plan", one["plan"]], ["because", one["because"]], ["incident", f"{one['incident']} {one['policy']}".strip()]]
    rows += [["asked by", one["actor"]], ["waits until", At(one["until"])], ["the same by hand", f"{one['order']} --dry-run"]]
    rows += [["yes", word("ok"), ", ".join(one["yes"])]] if one["yes"] else []
    show.rows(rows)
