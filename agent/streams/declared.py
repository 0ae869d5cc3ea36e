"""Every kind of event that something installed here declares: parsers, sensors, senders, and what streams say of themselves."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType

from agent.event import Kind, gather


def declared() -> Mapping[str, Kind]:
    """The kinds by name.

    Raises:
        TypeError: two different kinds share a name.
    """
    from agent import parsers, senders, sensors
    from agent.fail2ban import kinds
    from agent.feeds import decision
    from agent.streams import rates, sensor

    return gather([*_modules(parsers), *_modules(sensors), *_modules(senders), sensor, rates, kinds, decision])


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
