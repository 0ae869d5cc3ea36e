"""`contain policy explain`: why policies would act on an event, or would not, line by line."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from agent.cli import policy_files
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb, plainly

if TYPE_CHECKING:
    from agent.event import Event
    from agent.watching.watch import Watch

MOST: Final = 200_000
"""Stored events that fill the windows."""


@click.command(
    cls=Verb,
    examples=(
        'contain policy explain --parser sshd --log "Failed password for root from 203.0.113.7 port 5112 ssh2"',
        """contain policy explain --event '{"event": "auth.ssh.failure", "src.ip": "203.0.113.7"}'""",
        "contain policy explain INC-1",
    ),
)
@click.argument("incident", metavar="[INCIDENT]", default="")
@click.option("--log", default="", metavar="LINE", help="A line as it stands in a log.")
@click.option("--parser", default="", metavar="NAME", help="The parser that reads the line.")
@click.option("--event", "written", default="", metavar="JSON", help="An event: its kind as `event`, then its fields.")
@click.pass_obj
def explain(given: Given, incident: str, log: str, parser: str, written: str) -> None:
    """Why policies would act on a line, an event or an incident's finding, or would not.

    The windows are as full as the journal of this host makes them; without one they are empty. Nothing is counted.
    """
    from agent.watching.explain import explain as tell
    from agent.watching.explain import text

    if sum(map(bool, (incident, log, written))) != 1:
        raise Stop(Exit.USAGE, "cannot explain: name one of an incident, --log LINE with --parser, or --event JSON")
    watch, now = _watch(given), time.time()
    if incident:
        event = _of_incident(given, watch, incident)
        now = event.seen
    else:
        event = _of_line(log, parser) if log else _of_json(given, written)
        _fill(given, watch, now)
    explained = tell(watch, event, now)
    if given.json:
        given.show.document("explained", [dataclasses.asdict(explained) | {"event": event._asdict()}])
    else:
        given.show.line(text(explained))


def _watch(given: Given) -> Watch:
    from agent.watching.watch import Watch
    from agent.wiring import read_policies

    config = given.read_config()
    with plainly():
        policies, _ = read_policies(config)
    return Watch(policies, policy_files.catalogue(given).lists)


def _of_line(line: str, parser: str) -> Event:
    from agent.streams.parser import discover_parsers
    from agent.wiring import parse

    known = discover_parsers()
    if parser not in known:
        why = f"there is no parser `{parser}`" if parser else "--log needs --parser"
        raise Stop(Exit.USAGE, f"cannot explain the line: {why}\nParsers: {', '.join(sorted(known))}")
    events: Sequence[Event] = parse(parser, line)
    for program in () if events else known[parser].programs:  # a message alone, as `journalctl -o cat` shows it
        events = events or parse(parser, f"Jan  1 00:00:00 localhost {program}[1]: {line}")
    if not events:
        mend = "Give the whole line as it stands in the log, with its time and program."
        raise Stop(Exit.FAILED, f"cannot explain the line: it means nothing to the parser {parser}\n{mend}")
    return events[0]._replace(raw=line, source=f"parser {parser}")


def _of_json(given: Given, written: str) -> Event:
    from agent.event import Event
    from agent.grammar.problem import did_you_mean

    try:
        fields: Any = json.loads(written)
        kind = fields.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        mend = """Write it as in '{"event": "auth.ssh.failure", "src.ip": "203.0.113.7"}'"""
        raise Stop(Exit.USAGE, f"cannot explain the event: it is no JSON object with the key `event`\n{mend}") from None
    kinds = policy_files.catalogue(given).kinds
    if kind not in kinds:
        raise Stop(
            Exit.USAGE, f"cannot explain the event: there is no kind `{kind}`\n{did_you_mean(str(kind), kinds).capitalize()}"
        )
    if strange := [name for name in fields if kinds[kind].field(name) is None]:
        mend = f"It has {', '.join(kinds[kind].fields)}."
        raise Stop(Exit.USAGE, f"cannot explain the event: {kind} has no field {', '.join(strange)}\n{mend}")
    source = str(fields.pop("source", "by hand"))  # the one field that is not in `fields`
    return Event(kind, time.time(), fields, source, forgeable=kinds[kind].forgeable)


# From the journal -------------------------------------------------------------------------------------------------------


def _fill(given: Given, watch: Watch, now: float) -> None:
    """Count in what the agent stored lately, where this user may read it."""
    from agent.evidence.journal_file import CannotUseJournal
    from agent.evidence.journal_read import read_only

    try:
        with read_only(given.read_config().journal) as reader:
            stored = reader.events(since=now - watch.longest(), until=now, limit=MOST)
    except CannotUseJournal:
        given.show.talk("the journal of this host cannot be read: the windows are empty")
        return
    for one in stored:
        watch.feed(one, one.seen)


def _of_incident(given: Given, watch: Watch, incident: str) -> Event:
    """The event that the incident's latest finding came of, with all that was seen before it counted in."""
    from agent.event import Event
    from agent.evidence.journal_file import CannotUseJournal
    from agent.evidence.journal_read import read_only

    with plainly(CannotUseJournal), read_only(given.read_config().journal) as reader:
        found = [one for one in reader.records(incident=incident, limit=MOST) if one.record.kind == "finding"]
        if not found:
            raise Stop(Exit.FAILED, f"cannot explain {incident}: the journal has no finding of it\nSee: contain incidents --all")
        finding, body = found[-1], found[-1].record.body
        stored = reader.events(since=finding.ts - watch.longest() - 1, until=finding.ts, limit=MOST)
    same = [at for at, one in enumerate(stored) if one.source == body["source"] and one.fields.items() <= body["event"].items()]
    for one in stored[: same[-1] if same else None]:
        watch.feed(one, one.seen)
    if same:
        return stored[same[-1]]
    kinds = sorted(kind for one in watch.policies if one.name == body["policy"] for kind in one.kinds())
    return Event(kinds[0] if kinds else "check", finding.ts, body["event"], body["source"], forgeable=body["forgeable"])
