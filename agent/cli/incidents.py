"""`contain incidents`, `ack`, `note`: what is wrong, who is on it, and how it ends."""

from __future__ import annotations

from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, Verb
from agent.cli.incident_words import phase, quiet, target, who
from agent.cli.incidents_metrics import metrics
from agent.cli.show import At, Columns, Ink, word
from agent.cli.why import tell

SEVERITIES: Final = ("P0", "P1", "P2", "P3")


COLUMNS: Final[Columns] = {
    "id": lambda one: one["id"],
    "severity": lambda one: word(one["severity"]),
    "phase": lambda one: word(phase(one)),
    "policy": lambda one: one["policy"],
    "target": target,
    "on it": who,
    "opened": lambda one: At(one["opened"]),
    "last": lambda one: At(one["last"]),
    "found": lambda one: one["findings"],
    "because": lambda one: Ink(quiet(one), "dim") if one["silenced"] else one["because"],
}


@click.group(cls=Noun, alone="list")
def incidents() -> None:
    """Findings about one thing, each with a life. Without a command: list."""


incidents.add_command(metrics, "metrics")


@incidents.command("list", examples=("contain incidents", "contain incidents list --all", "contain incidents list --each"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over.")
@click.option("--each", is_flag=True, help="Also those that are told with another one, a row for each.")
@click.pass_obj
def list_incidents(given: Given, ended: bool, each: bool) -> None:
    """What goes on, the most severe first. What belongs together is one row: thirty addresses that guess are one incident."""
    answer = given.ask("incidents", ended=ended)
    items = [one for one in answer["items"] if each or given.json or not one["lead"]]
    given.show.table("incidents", items, COLUMNS, "no incident is open")
    total = answer["total"] if each else answer["leads"]
    if total > len(items) and not given.json:
        given.show.talk(f"these are {len(items)} of {total}")


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


# Orders -------------------------------------------------------------------------------------------------------------------


def _order(given: Given, verb: str, say: str, **body: Any) -> None:
    """Give the order, and say what came of it: `say` where it was done."""
    answer = given.ask(verb, **body)
    if given.json:
        given.show.document(verb, [answer])
    match answer["result"]:
        case "failed":
            raise Stop(Exit.FAILED, answer["error"])
        case "refused":
            raise Stop(Exit.REFUSED, f"cannot {verb.replace('_', ' ')} {body['what']}: {answer['because']}")
        case "usage":
            raise Stop(Exit.USAGE, f"cannot {verb.replace('_', ' ')}: {answer['problem']}")
    if given.json:
        return
    if answer["result"] == "nothing":
        given.show.line(f"Nothing to do: {given.show.text(answer['because'])}.")
        return
    more = f", with {answer['with']} that belong to it" if answer["with"] else ""
    given.show.line(f"{answer['incident']} {given.show.text(say)}{more}.")


_ID: Final = click.argument("name", metavar="ID", type=Name("incidents", "id"))
_WHY: Final = click.option("--why", required=True, help="The reason; it stands in the evidence.")
_WORD: Final = click.option("--why", default="", help="A word about it; it stands in the evidence.")


@click.command(cls=Verb, examples=("contain ack INC-1", 'contain ack INC-1 --why "looking at it, back in ten minutes"'))
@_ID
@_WORD
@click.pass_obj
def ack(given: Given, name: str, why: str) -> None:
    """Say that you are on it, in your own name: nobody else is woken for it. What is done about it goes on."""
    _order(given, "acknowledge", "is acknowledged", what=name, why=why)


@click.command(cls=Verb, examples=('contain note INC-1 "the pool of the shop was exhausted, restarted it"',))
@_ID
@click.argument("text")
@click.pass_obj
def note(given: Given, name: str, text: str) -> None:
    """Write a sentence into its timeline; the report has it."""
    _order(given, "note", "has the note", what=name, text=text)


@incidents.command("assign", examples=("contain incidents assign INC-1 alice",))
@_ID
@click.argument("to", metavar="WHO")
@_WORD
@click.pass_obj
def assign(given: Given, name: str, to: str, why: str) -> None:
    """Say whose it is from here on. That acknowledges it, too."""
    _order(given, "assign", f"is {to}'s", what=name, to=to, why=why)


@incidents.command("severity", examples=('contain incidents severity INC-1 P0 --why "customer data is gone"',))
@_ID
@click.argument("now", metavar="|".join(SEVERITIES), type=click.Choice(SEVERITIES))
@_WHY
@click.pass_obj
def severity(given: Given, name: str, now: str, why: str) -> None:
    """Say how bad it really is: whom it wakes and when follows from that."""
    _order(given, "severity", f"is {now}", what=name, severity=now, why=why)


@incidents.command("merge", examples=('contain incidents merge INC-2 INC-1 --why "the same attacker"',))
@_ID
@click.argument("into", metavar="INTO", type=Name("incidents", "id"))
@_WHY
@click.pass_obj
def merge(given: Given, name: str, into: str, why: str) -> None:
    """Say that one is the same as another: one message, one acknowledgement, one report for both. What holds stays."""
    _order(given, "merge", f"has {name} now", what=name, into=into, why=why)


@incidents.command("resolve", examples=('contain incidents resolve INC-2 --why "the shop answers again"',))
@_ID
@click.option("--why", required=True, help="How it ended; it stands in the evidence.")
@click.pass_obj
def resolve(given: Given, name: str, why: str) -> None:
    """Say that an incident is over, a report's above all, which ends by nothing else. What holds for it is lifted first."""
    _order(given, "resolve", "is resolved", what=name, why=why)


@incidents.command("reopen", examples=('contain incidents reopen INC-2 --why "customers see it again"',))
@_ID
@_WHY
@click.pass_obj
def reopen(given: Given, name: str, why: str) -> None:
    """Say that it is not over after all."""
    _order(given, "reopen", "is open again", what=name, why=why)


@incidents.command("close", examples=('contain incidents close INC-2 --why "report written, alert tuned"',))
@_ID
@_WHY
@click.pass_obj
def close(given: Given, name: str, why: str) -> None:
    """Say that nothing is left to do. At P0 and P1 its report must be written; P2 and P3 close themselves a day after."""
    _order(given, "close", "is closed", what=name, why=why)


@incidents.command("false-positive", examples=('contain incidents false-positive INC-2 --why "our own load test"',))
@_ID
@_WHY
@click.pass_obj
def false_positive(given: Given, name: str, why: str) -> None:
    """Say that it was none. What holds for it is lifted first; whom to leave alone from now on: contain list add."""
    _order(given, "false_positive", "is closed: it was none", what=name, why=why)


# Telling others -----------------------------------------------------------------------------------------------------------


@incidents.command("publish", examples=('contain incidents publish INC-1 --why "customers cannot log in, legal agrees"',))
@_ID
@_WHY
@click.pass_obj
def publish(given: Given, name: str, why: str) -> None:
    """Have it told on channels that strangers read, in fixed words. An attack or a breach is never told there without this."""
    _order(given, "publish", "is told in public", what=name, why=why)


_LAW: Final = click.argument("regime", metavar="LAW", type=click.Choice(("nis2", "dora", "gdpr")))


@incidents.command("regime", examples=('contain incidents regime INC-1 gdpr --why "the dump held names and addresses"',))
@_ID
@_LAW
@_WHY
@click.pass_obj
def regime(given: Given, name: str, regime: str, why: str) -> None:
    """Say that an authority must be told of it under a law. Its clock runs from when the incident was opened."""
    _order(given, "regime", f"has the clock of {regime.upper()}", what=name, regime=regime, why=why)


@incidents.command("notified", examples=('contain incidents notified INC-1 gdpr --why "sent, reference 2026-1182"',))
@_ID
@_LAW
@_WHY
@click.option("--all", "every", is_flag=True, help="Nothing more is due: it is not reportable after all.")
@click.pass_obj
def notified(given: Given, name: str, regime: str, why: str, every: bool) -> None:
    """Say that the authority has what is due next; reminders for that end."""
    _order(given, "notified", f"is noted as told for {regime.upper()}", what=name, regime=regime, why=why, all=every)
