"""What brings each kind of event: the parsers, sensors and senders that declare it, in the words of agent.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from agent.event import CHECK, REPORT, Kind
from agent.fail2ban.kinds import FAILURE
from agent.feeds.decision import DECISION
from agent.parsers.canary import LOST
from agent.streams.parser import discover_parsers
from agent.streams.rates import MEASURED
from agent.streams.scan import FINDING, SCAN
from agent.streams.sender import discover_senders
from agent.streams.sensor import SENSOR, discover_sensors

Ways = tuple[str, ...]


def brings() -> Mapping[str, Ways]:
    """The ways by the name of the kind, the first of them the usual one; a sender of the type generic can make most others."""
    found: dict[str, list[str]] = {}
    for kind, way in (*_built_in(), *_parsed(), *_sensed(), *_sent()):
        known = found.setdefault(kind.name, [])
        known += [way] if way not in known else []
    return {name: tuple(ways) for name, ways in found.items()}


def _built_in() -> Iterator[tuple[Kind, str]]:
    yield CHECK, "checks: {…}"
    yield SENSOR, "every sensor, of itself"
    yield LOST, "the agent, of itself"
    yield REPORT, "contain report"
    yield FAILURE, "filters: […] of logfile and journald"
    yield DECISION, "feeds: {…: {crowdsec: {…}}}"
    for kind in (SCAN, FINDING):
        yield kind, "contain import"


def _parsed() -> Iterator[tuple[Kind, str]]:
    for name, parser in discover_parsers().items():
        measured = MEASURED if parser.tally else ()
        for kind in (*parser.kinds, *measured):
            yield kind, f"parser {name}"


def _sensed() -> Iterator[tuple[Kind, str]]:
    """Those in the file of the sensor, made or taken in there."""
    for name, made in discover_sensors().items():
        for kind in vars(import_module(made.__module__)).values():
            if isinstance(kind, Kind) and kind is not SENSOR:
                yield kind, "intake: {…}" if name == "intake" else f"sensor {name}"


def _sent() -> Iterator[tuple[Kind, str]]:
    for name, made in discover_senders().items():
        for kind in made.kinds:
            yield kind, f"sender {name}"
