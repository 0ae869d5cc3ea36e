"""Which kinds of events the sensors and checks of an agent.yaml can bring; a policy that waits for another one is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.event import CHECK, Kind
from agent.streams.parser import discover_parsers
from agent.streams.rates import MEASURED
from agent.streams.sensor import SENSOR

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.policy import Policy


def kinds(config: Config) -> frozenset[str]:
    """The kinds that can come, by what agent.yaml names."""
    found = {SENSOR.name, *((CHECK.name,) if config.checks else ())}
    for one in config.sensors.values():
        found |= {kind.name for kind in _of(one)}
    return frozenset(found)


def _of(sensor: Any) -> Iterator[Kind]:
    known = discover_parsers()
    for name in getattr(sensor, "parsers", ()):
        yield from known[name].kinds
        yield from MEASURED if known[name].tally else ()
    yield from (made for made in vars(import_module(type(sensor).__module__)).values() if isinstance(made, Kind))


def deaf(policies: Iterable[Policy], config: Config) -> dict[str, tuple[str, ...]]:
    """Policies that can never fire here, with the kinds of events that nothing brings."""
    there, found = kinds(config), dict[str, tuple[str, ...]]()
    for policy in policies:
        lacking = [tuple(part.event for part in clause.parts if part.event not in there) for clause in policy.when]
        if all(lacking):
            found[policy.name] = tuple(dict.fromkeys(kind for each in lacking for kind in each))
    return found
