"""`contain status`: the picture at 3 a.m., on one screen, from one answer of the agent."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import click

from agent.cli import evidence_health, feed_rows, incident_words, intake_rows, notify_rows
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.pause import heads, plain
from agent.cli.show import At, Cell, Ink, Show, span, word
from agent.event import REPORTED

MOST: Final = 10
"""Rows of one sort on the screen; the listings have the rest."""
EVERY: Final = 2.0

Answer = Mapping[str, Any]


@click.command(cls=Verb, examples=("contain status", "contain status --exit-code --json", "contain status --watch"))
@click.option("--watch", is_flag=True, help=f"Look again every {EVERY:.0f} s, until interrupted.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 where an incident is open or a check is bad.")
@click.pass_obj
def status(given: Given, watch: bool, exit_code: bool) -> Exit:
    """What is wrong, what is in force, who has paused what. "In force" is read back from the systems for this answer.

    Piped, each line begins with what it is about: agent, incident, mitigation, check, sensor.
    """
    if watch and not (given.json or given.show.terminal):
        raise Stop(Exit.USAGE, "cannot watch: stdout is no terminal\nUse --json for a stream, or leave --watch out.")
    answer = given.ask("status")
    _tell(given.show, answer, again=watch)
    while watch:
        time.sleep(EVERY)
        answer = given.ask("status")
        _tell(replace(given.show, now=time.time()), answer, again=True)
    return Exit.FOUND if exit_code and _wrong(answer) else Exit.DONE


def _wrong(answer: Answer) -> bool:
    told = answer["incidents"]["total"] - answer["incidents"]["silenced"]
    known = {name for one in answer["incidents"]["items"] if one["silenced"] for name in one["target"].split()}
    told = told or evidence_health.wrong(answer) or notify_rows.wrong(answer["notify"])
    return bool(told or answer["problems"] or any(state == "bad" and name not in known for state, name, _ in _answers(answer)))


def _tell(show: Show, answer: Answer, *, again: bool) -> None:
    if show.json:
        show.document("status", [answer])
    elif not show.terminal:
        show.rows(list(_plain(answer)))
    else:
        if again:
            sys.stdout.write("\x1b[H\x1b[2J")
        _screen(show, answer)
        sys.stdout.flush()


# For pipes ------------------------------------------------------------------------------------------------------------


def _plain(answer: Answer) -> Iterable[list[Cell]]:
    """Rows that begin with what they are about, so that grep and cut can pick them."""
    pause = answer["pause"]
    yield ["agent", answer["host"], answer["version"], At(answer["up"]), answer["mode"], "paused" if pause else "active"]
    for one in answer["incidents"]["items"]:
        row = ["incident", one["severity"], one["id"], one["policy"], one["target"], one["phase"], At(one["last"])]
        yield [*row, f"silenced {one['silenced']['id']}" if one["silenced"] else ""]
    yield from evidence_health.rows(answer)
    yield from plain(answer["pauses"])
    for one in answer["mitigations"]["items"]:
        yield ["mitigation", stage(one), one["id"], one["action"], one["target"], At(one["until"]), At(one["verified"])]
    for one in answer["approvals"]:
        yield ["approval", one["id"], one["action"], one["target"], At(one["until"]), one["because"]]
    yield from _seen(answer)
    for name in answer["sensors"]:
        yield ["sensor", name]
    for source, say in answer["blind"].items():
        yield ["blind", source, say]
    for source, say in answer["silent"].items():
        yield ["silent", source, say]
    yield from intake_rows.rows(answer["intake"])
    yield from feed_rows.rows(answer["feeds"])
    yield from notify_rows.rows(answer["notify"])
    yield from _listening(answer)
    if one := answer["canary"]:
        yield ["canary", one["result"], At(one["at"]), one["ms"], one["say"]]
    if answer["problems"]:
        yield ["problems", answer["problems"]]


def _listening(answer: Answer) -> Iterable[list[Cell]]:
    for what in ("pages", "metrics"):
        for address, why in (answer[what] or {"listens": {}})["listens"].items():
            yield [what, address, why or "listens"]


def _seen(answer: Answer) -> Iterable[list[Cell]]:
    for one in answer["alerts"]["items"]:
        yield ["alert", one["source"], one["name"], one["instance"] or one["service"], At(one["since"]), one["summary"]]
    for name, one in _named_answers(answer):
        yield ["check", one["state"], name, one["target"], one["say"]]


# For people -----------------------------------------------------------------------------------------------------------


def _screen(show: Show, answer: Answer) -> None:
    found, mitigations = answer["incidents"], answer["mitigations"]
    _head(show, answer)
    if leads := [one for one in found["items"] if not one["lead"]]:
        show.line()
        show.rows([_incident(show, one) for one in leads[:MOST]], cut=True)
        _more(show, found["leads"], "contain incidents")
    if answer["approvals"]:
        show.line()
        show.rows([_waiting(one) for one in answer["approvals"][:MOST]], cut=True)
        _more(show, len(answer["approvals"]), "contain approvals")
    if mitigations["items"]:
        show.line()
        show.rows([_mitigation(one) for one in mitigations["items"][:MOST]], cut=True)
        _more(show, mitigations["total"], "contain mitigations")
    show.line()
    show.rows([[Ink(title, "dim"), said] for title, said in _foot(show, answer)])


def _head(show: Show, answer: Answer) -> None:
    would, unsettled = answer["mitigations"]["would"], answer["mitigations"]["unsettled"]
    held = answer["mitigations"]["total"] - would - unsettled
    said = [f"{_count(answer['incidents']['leads'], 'incident')} open", f"{_count(held, 'mitigation')} in force"]
    said += [f"{unsettled} being changed"] if unsettled else []
    said += [f"{would} would be"] if would else []
    agent = f"agent {answer['version']}, up {span(show.now - answer['up'])}"
    show.line(f"{show.paint(show.text(answer['host']), 'bold')}   {', '.join(said)}   {show.paint(agent, 'dim')}")
    if answer["problems"]:
        first = show.text(answer["problems"].splitlines()[0])
        show.line(f"{show.paint('broken', 'red')}    the policy files have mistakes, the policies of before are live: {first}")
    for line in evidence_health.heads(show, answer):
        show.line(line)
    for mark, what in heads(show, answer["pauses"]):
        show.line(f"{show.paint(f'{mark.text:<9}', mark.colour)} {what}")
    if answer["mode"] == "dry_run":
        show.line(
            f"{show.paint('dry run', 'yellow')}   what would be done is recorded and not done, where no policy says otherwise"
        )


def _incident(show: Show, one: Answer) -> list[Cell]:
    about, how = incident_words.target(one), incident_words.phase(one)
    if silence := one["silenced"]:
        known = f"silenced by {silence['actor']}: {silence['why']}; ends {show.at(silence['until'])}"
        return [Ink(cell, "dim") for cell in (one["severity"], one["id"], one["policy"], about, how, known)]
    if one["policy"] == REPORTED:
        last = f"{_who(one)}; {show.at(one['last'])}, {show.text(one['because'])}"
        return [word(one["severity"]), one["id"], one["policy"], about, word(how), last]
    last = f"{_who(one)}; last {show.at(one['last'])}, found {one['findings']}×"
    last += f"; {show.text(one['told'][-1])}" if one["told"] and one["phase"] == "open" else ""
    last += f"; {going}" if (going := recovery(show, one)) else ""
    return [word(one["severity"]), one["id"], one["policy"], about, word(how), last]


def _who(one: Answer) -> str:
    return f"{incident_words.who(one)} is on it" if one["acked"] is not None else "not acknowledged"


def recovery(show: Show, one: Answer) -> str:
    """How an incident is let go: the rungs to come, or until when that is frozen."""
    if one["frozen"]:
        return f"flapping: release is frozen until {show.at(one['frozen'])}"
    return ", then ".join(f"{each['rung']} until {show.at(each['until'])}" for each in one["recovering"])


def _waiting(one: Answer) -> list[Cell]:
    say = f"contain approve {one['id']}"
    return [Ink("waits", "yellow"), one["id"], one["action"], one["target"], At(one["until"]), f"{say}   {one['because']}"]


def _mitigation(one: Answer) -> list[Cell]:
    stopped = "" if one["packets"] is None else f"{one['packets']:,} packets stopped"
    seen = "until lifted" if one["until"] is None else At(one["until"])
    return [word(stage(one)), one["id"], one["action"], one["target"], seen, one["short"] or stopped]


def stage(one: Answer) -> str:
    """How far it is; what holds only in part, or waits for a confirmation, says so."""
    if one["stage"] != "in_force":
        return str(one["stage"])
    return "partly" if one["short"] else "unconfirmed" if one["confirm"] else "in_force"


def _more(show: Show, total: int, command: str) -> None:
    if total > MOST:
        show.line(show.paint(f"… and {total - MOST} more: {command}", "dim"))


def _foot(show: Show, answer: Answer) -> Iterable[tuple[str, str]]:
    yield "checks", _checks(show, answer)
    if answer["alerts"]["total"]:
        yield "alerts", _alerts(show, answer["alerts"])
    modes = [f"{count} {mode.replace('_', ' ')}" for mode, count in answer["modes"].items() if count]
    yield "policies", ", ".join(modes) or "none"
    yield "sensors", f"{', '.join(map(show.text, answer['sensors'])) or 'none'}; {answer['lines']:,} lines read"
    for source, say in answer["blind"].items():
        yield "blind", show.text(f"{source}: {say}")
    for source, say in answer["silent"].items():
        yield "silent", show.text(f"{source}: {say}")
    yield from intake_rows.lines(show, answer["intake"])
    yield from feed_rows.lines(show, answer["feeds"])
    yield from notify_rows.lines(show, answer["notify"])
    if pages := answer["pages"]:
        wrong = [show.text(why) for why in pages["listens"].values() if why]
        yield "pages", "; ".join(show.paint(one, "red") for one in wrong) or f"{pages['address']}   contain web"
    if answer["canary"]:
        yield "canary", _canary(show, answer["canary"])
    if early := {name: count for name, count in answer["evictions"].items() if count}:
        words = ", ".join(f"{count:,} of {name}" for name, count in early.items())
        yield "memory", f"forgotten early, too many at once: {words}"
    if after := _next(answer):
        yield "next", "   ".join(after)


def _alerts(show: Show, alerts: Answer) -> str:
    """What other tools say fires."""
    first = [show.text(" ".join(filter(None, (one["name"], one["instance"] or one["service"])))) for one in alerts["items"][:3]]
    more = f" and {alerts['total'] - len(first)} more: contain alerts" if alerts["total"] > len(first) else ""
    return f"{show.paint(str(alerts['total']), 'red')} firing: {', '.join(first)}{more}"


def _canary(show: Show, one: Answer) -> str:
    """When a line of the agent's own went the whole way last, and how long that took."""
    if one["at"] is None:
        return show.text(one["say"] or "no round yet")
    ago = f"last round {span(show.now - one['at'])} ago"
    came = {
        "in_force": f"{one['ms']:.0f} ms from line to kernel",
        "would": f"{one['ms']:.0f} ms from line to plan (dry run)",
        "refused": "stopped by the guard",
        "lost": show.paint("it did not come through", "red"),
    }
    return f"{ago}, {came.get(one['result'], 'under way')}" + (f": {show.text(one['say'])}" if one["say"] else "")


def _checks(show: Show, answer: Answer) -> str:
    counts = Counter(state for state, _, _ in _answers(answer))
    if not counts:
        return "none answered yet" if answer["checks"] else "none"
    said = [f"{counts[state]} {state}" for state in ("good", "bad", "unknown") if counts[state]]
    wrong = [show.text(f"{name}: {say}") for state, name, say in _answers(answer) if state == "bad"]
    return ", ".join(said) + "".join(f"; {one}" for one in wrong[:MOST])


def _answers(answer: Answer) -> Iterable[tuple[str, str, str]]:
    return [(one["state"], name, one["say"]) for name, one in _named_answers(answer)]


def _named_answers(answer: Answer) -> Iterable[tuple[str, Answer]]:
    return [(check["name"], one) for check in answer["checks"] for one in check["answers"]]


def _next(answer: Answer) -> list[str]:
    found, mitigations = answer["incidents"]["items"], answer["mitigations"]["items"]
    fresh = [one["id"] for one in found if one["acked"] is None and not one["lead"]][:1]
    said = [f"contain why {one['id']}" for one in found[:1]] + [f"contain ack {name}" for name in fresh]
    said += [f"contain confirm {one['id']}" for one in mitigations if one["confirm"]][:1]
    said += [f"contain undo {one['target']}" for one in mitigations[:1] if one["stage"] == "in_force"]
    return said + [f"contain resume {one['id']}" for one in answer["pauses"] if one["stage"] == "on"][:1]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
