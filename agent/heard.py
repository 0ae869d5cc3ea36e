"""Which kinds of events the sensors and checks of an agent.yaml can bring; a policy that waits for another one is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.event import CHECK, REPORT, Kind
from agent.fail2ban.kinds import FAILURE
from agent.feeds.decision import DECISION
from agent.streams.parser import discover_parsers
from agent.streams.rates import MEASURED
from agent.streams.scan import FINDING, SCAN
from agent.streams.sensor import SENSOR

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.policy import Part, Policy


def kinds(config: Config) -> frozenset[str]:
    """The kinds that can come, by what agent.yaml names."""
    found = {SENSOR.name, REPORT.name, *((CHECK.name,) if config.checks else ())}
    for one in config.sensors.values():
        found |= {kind.name for kind in _of(one)}
    found |= {SCAN.name, FINDING.name}  # contain import
    if config.intake:
        found |= {kind.name for kind in config.intake.kinds}
    if any(one.crowdsec for one in config.feeds.values()):
        found.add(DECISION.name)
    return frozenset(found)


def _of(sensor: Any) -> Iterator[Kind]:
    known = discover_parsers()
    yield from getattr(sensor, "kinds", ())
    yield from (FAILURE,) if getattr(sensor, "filters", ()) else ()
    for name in getattr(sensor, "parsers", ()):
        yield from known[name].kinds
        yield from MEASURED if known[name].tally else ()
    yield from (made for made in vars(import_module(type(sensor).__module__)).values() if isinstance(made, Kind))


def _lacking(parts: Iterable[Part], there: frozenset[str], filters: set[str]) -> Iterator[str]:
    """The kinds that nothing brings, or only for other filters of fail2ban's: `sshd[mode=normal]` is not `sshd`."""
    for part in parts:
        asked = {one.operand for one in part.match if (one.field, one.operator) == ("filter", "is")}
        if part.event not in there:
            yield part.event
        elif part.event == FAILURE.name and asked - filters:
            yield f"{FAILURE.name} of the filter {', '.join(sorted(asked - filters))}"


def deaf(policies: Iterable[Policy], config: Config) -> dict[str, tuple[str, ...]]:
    """Policies that can never fire here, with the kinds of events that nothing brings."""
    there, found = kinds(config), dict[str, tuple[str, ...]]()
    filters = {name for one in config.sensors.values() for name in getattr(one, "filters", ())}
    for policy in policies:
        lacking = [tuple(_lacking(clause.parts, there, filters)) for clause in policy.when]
        if all(lacking):
            found[policy.name] = tuple(dict.fromkeys(kind for each in lacking for kind in each))
    return found
