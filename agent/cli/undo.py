"""`contain undo`: lift mitigations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.show import At, Columns

MANY: Final = 10
"""More than so many are lifted only after a person typed what is meant."""

PATIENCE: Final = 75.0
"""Seconds to wait: some undos restart a server, or wait for sessions to end."""

PLAN: Final[Columns] = {
    "id": lambda one: one["id"],
    "what": lambda one: one["describe"],
    "until": lambda one: At(one["until"], "lifted by hand"),
    "undo": lambda one: one["undo"] or "cannot be taken back",
}
_ACTIVE: Final = ("applying", "in_force", "lifting")


@click.command(
    cls=Verb, examples=("contain undo 203.0.113.7 --plan", 'contain undo M-1 --why "was our scanner"', "contain undo all --yes")
)
@click.argument("what", metavar="ID|TARGET|all", type=Name("mitigations", "id", "incident", "target", also=("all",)))
@click.option("--why", default="by hand", show_default=True, help="The reason; it stands in the evidence.")
@click.option("--plan", "only_plan", is_flag=True, help="Only show what would be lifted.")
@click.option("--yes", is_flag=True, help=f"Do not ask back before more than {MANY} are lifted.")
@click.option("--exit-code", is_flag=True, help="With --plan: exit with 10 where something would be lifted.")
@click.pass_obj
def undo(given: Given, what: str, why: str, only_plan: bool, yes: bool, exit_code: bool) -> Exit:
    """Lift mitigations: one by its id, those of an incident or a target, or all. Lifting twice is harmless."""
    listed = given.ask("mitigations")
    found = [one for one in listed["items"] if one["stage"] in _ACTIVE and _meant(one, what)]
    if only_plan:
        given.show.table("mitigations", found, PLAN, f"nothing in force matches {what}")
        return Exit.FOUND if exit_code and found else Exit.DONE
    count = max(len(found), listed["total"]) if what == "all" else len(found)
    if count > MANY:
        given.sure(f"lift {count} mitigations", what, yes=yes)
    answer = given.ask("undo", patience=PATIENCE, what=what, why=why)
    end = _tell(given, what, answer, {one["id"]: one["describe"] for one in found})
    kin = {(one["action"], one["target"]) for one in found}
    left = [
        one for one in listed["items"] if one["stage"] in _ACTIVE and one not in found and (one["action"], one["target"]) in kin
    ]
    if left and not given.json:
        names = ", ".join(one["id"] for one in left[:MANY])
        given.show.talk(f"{names} of {left[0]['action']} {left[0]['target']} stay; all of it: contain undo {left[0]['target']}")
    return end


def _meant(one: Mapping[str, Any], what: str) -> bool:
    return what == "all" or what in (one["id"], one["incident"], one["target"])


def _tell(given: Given, what: str, answer: Mapping[str, Any], known: Mapping[str, str]) -> Exit:
    result, down = answer["result"], answer.get("mitigations", [])
    if given.json:
        given.show.document("undo", [answer])
    elif result == "nothing":
        given.show.line(f"Nothing to lift: {given.show.text(answer['because'])}.")
    else:
        said = {one["mitigation"]: one["say"] for one in answer.get("said", ())}
        for name in down:
            note = f" ({given.show.text(said[name])})" if name in said else ""
            given.show.line(f"Lifted {name}: {known.get(name, what)}{note}")
    if result == "partly":
        raise Stop(Exit.PARTLY, _failures(answer) + "\nThe agent tries again by itself.")
    if result == "failed":
        raise Stop(Exit.FAILED, answer.get("error") or f"{_failures(answer)}\nThe agent tries again; see: contain why {what}")
    return Exit.DONE


def _failures(answer: Mapping[str, Any]) -> str:
    return "\n".join(f"cannot lift {one['mitigation']}: {one['error']}" for one in answer["failed"])
