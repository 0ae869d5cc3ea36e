"""`contain pause` and `contain resume`: policies only say what they would do for a while, and then what that was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.direct import Direct
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.order import Seconds
from agent.cli.show import At, Cell, Columns, Ink, Show, word

PAUSES: Final[Columns] = {
    "id": lambda one: one["id"],
    "stage": lambda one: word(one["stage"]),
    "begins": lambda one: At(one["since"]),
    "ends": lambda one: At(one["ended"] or one["until"]),
    "policies": lambda one: ", ".join(one["policies"]) or "all",
    "not done": lambda one: one["missed"],
    "by": lambda one: one["actor"],
    "why": lambda one: one["why"],
}


class Moment(click.ParamType[float]):
    """A moment to come in local time: 22:30 (today, or tomorrow where that has passed), or a date and time as in RFC 3339."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it as Unix seconds."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return self._read(str(value))
        except (ValueError, OverflowError):
            self.fail(f"`{value}` is no moment; write 22:30, or 2026-11-24T22:30", param, ctx)

    def _read(self, text: str) -> float:
        if len(text) > 5:  # 3.11 reads all of ISO 8601, the Z of RFC 3339 included
            return datetime.fromisoformat(text).timestamp()
        clock = time.fromisoformat(text.zfill(5))
        now = datetime.now()  # noqa: DTZ005 - what a person types is this host's local time
        today = datetime.combine(now.date(), clock)
        return (today if today > now else datetime.combine(now.date() + timedelta(days=1), clock)).timestamp()


@click.group(cls=Direct, alone="begin")
def pause() -> None:
    """No policy acts for a while: what it finds is judged and recorded as in a dry run, and told when the pause is over.

    What is in force still ends, heals and can be undone, and what a person orders, as with `contain block`, is done. A pause
    ends by itself. Maintenance that comes round stands in agent.yaml.
    """


@pause.command(
    "begin",
    examples=(
        'contain pause --for 30m --why "deploying the shop"',
        'contain pause --policy ssh-brute-force --for 2h --from 22:00 --why "the pentest"',
        "contain pause list",
    ),
)
@click.option("--for", "seconds", type=Seconds("7d"), required=True, help="How long, as in 30m, at most 7d; it ends by itself.")
@click.option("--why", required=True, help="The reason; it stands in the evidence.")
@click.option("--policy", "policies", multiple=True, type=Name("policies", "policy"), help="Only this one; can be repeated.")
@click.option("--from", "begins", type=Moment(), help="Begin later: 22:00, or 2026-11-24T22:00, local time.")
@click.pass_obj
def begin(given: Given, seconds: float, why: str, policies: Sequence[str], begins: float | None) -> None:
    """Pause now, or later."""
    more: dict[str, Any] = {"policies": list(policies)} if policies else {}
    more |= {"begins": begins} if begins is not None else {}
    answer = given.ask("pause", seconds=seconds, why=why, **more)
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, answer["error"])
    show = given.show
    if given.json:
        show.document("pause", [answer])
    elif answer["result"] == "planned":
        times = f"begins {show.at(answer['since'])}, ends {show.at(answer['until'])}"
        show.line(f"Planned: {_whom(policies)}; {times}. Not after all: contain resume {answer['pause']}")
    else:
        who = _whom(policies)
        named = f"{who[:1].upper()}{who[1:]}" if not policies else who
        show.line(f"{named} any more; that ends {show.at(answer['until'])}, or with: contain resume {answer['pause']}")
        show.line("What they would do is recorded and told then; ends, healing, undo and your own orders go on.")


def _whom(policies: Sequence[str]) -> str:
    if not policies:
        return "no policy acts"
    return f"{', '.join(policies)} {'does' if len(policies) == 1 else 'do'} not act"


@pause.command("list", examples=("contain pause list", "contain pause list --all"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over.")
@click.pass_obj
def list_pauses(given: Given, ended: bool) -> None:
    """Pauses that are on or planned, when maintenance windows open next, and what ended within the last hour."""
    given.show.table("pauses", given.ask("pauses", ended=ended)["items"], PAUSES, "nothing is paused")


@click.command(cls=Verb, examples=("contain resume P-1", "contain resume all"))
@click.argument("what", metavar="[P-1|WINDOW|all]", default="", type=Name("pauses", "id", also=("all",)))
@click.pass_obj
def resume(given: Given, what: str) -> None:
    """End a pause now, and say what was not done because of it. What still holds then is acted on as soon as it is found again.

    Without a name it ends the one that is on. A maintenance window that is ended so stays shut until its next time.
    """
    body: dict[str, Any] = {"what": what} if what else {}
    answer = given.ask("resume", **body)
    if answer["result"] == "failed":
        raise Stop(Exit.USAGE, answer["error"])
    if given.json:
        given.show.document("resume", [answer])
        return
    _told(given.show, answer, what)


def _told(show: Show, answer: Mapping[str, Any], what: str) -> None:
    ended, left = answer["ended"], answer["left"]
    if not ended:
        show.line(f"Nothing was paused{f' by the name of {show.text(what)}' if what else ''}.")
    for one in ended:
        show.line(f"{one['id']}: {show.text(one['head'])}{':' if one['missed'] else ''}")
        if one["missed"]:
            show.rows([[f"  {mitigation['mitigation']}", *_missed(mitigation)] for mitigation in one["latest"]])
            if one["missed"] > len(one["latest"]):
                show.line(show.paint(f"  these are the latest {len(one['latest'])} of {one['missed']}", "dim"))
    on = [one["id"] for one in left if one["stage"] == "on"]
    if ended and not on:
        show.line("Policies act again.")
    elif on:
        show.line(f"Still on: {', '.join(on)}; see: contain pause list")
    elif left:
        show.line(f"Planned: {', '.join(one['id'] for one in left)}; see: contain pause list")


def _missed(one: Mapping[str, Any]) -> list[Cell]:
    return [one["action"], one["target"], one["policy"], one["incident"]]


# In a status --------------------------------------------------------------------------------------------------------------


def heads(show: Show, pauses: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Ink, str]]:
    """What a status says about pauses: those that are on or planned, and what came of those that were over lately."""
    for one in pauses:
        by = show.text(f"{one['id']}, {one['actor']}: {one['why']}")
        who = show.text(_whom(one["policies"]))
        if one["stage"] == "on":
            yield Ink("paused", "yellow"), f"{who}; ends {show.at(one['until'])} ({by})"
        elif one["stage"] == "planned":
            yield Ink("planned", "dim"), f"{who}; begins {show.at(one['since'])}, ends {show.at(one['until'])} ({by})"
        elif one["stage"] == "over" and one["missed"]:
            latest = [f"{each['action']} {each['target']} ({each['policy']})" for each in one["latest"][-3:]]
            more = f" and {one['missed'] - len(latest)} more" if one["missed"] > len(latest) else ""
            missed = show.text(f"{one['missed']} not done: {', '.join(latest)}{more}")
            yield Ink("resumed", "yellow"), f"{one['id']} ended {show.at(one['ended'])}; {missed}"


def plain(pauses: Iterable[Mapping[str, Any]]) -> Iterable[list[Cell]]:
    """The same for pipes."""
    for one in pauses:
        if one["stage"] != "window":
            names, ends = ",".join(one["policies"]) or "all", At(one["ended"] or one["until"])
            yield ["pause", one["stage"], one["id"], names, At(one["since"]), ends, one["missed"], one["actor"], one["why"]]
