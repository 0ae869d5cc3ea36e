"""What a sender is: one tool's document, already decoded from JSON and known to come from it, that becomes events.

Who may hand in documents, and how large and how many, is decided before (agent/sensors/intake.py), so that a sender reads, and
does nothing else. It is used by the HTTP intake, the drop directory and `contain import` alike.

    @sender(kinds=(ALERT,))                  the file's name is the sender's type in agent.yaml
    class Alertmanager:
        fields: Mapping[str, str] = {}       its options are the fields of a frozen dataclass
        def read(self, document: Any) -> list[Said]: ...
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar, dataclass_transform

from agent.event import Event, Kind
from agent.streams.parser import LONGEST_RAW, Said

MOST: Final = 10_000
"""Events of one document; a longer one is refused as a whole, so that nothing is lost unseen."""


class BadDocumentError(Exception):
    """The document is not what the sender's tool writes. The text says what was expected where: `alerts[3].status: …`."""


class Sender(Protocol):
    """An instance of the class under agent/senders/: options bound, ready to read.

    Attributes:
        kinds: the events it makes. Those that are forgeable hold words of strangers although the sender is known.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]

    def read(self, document: Any) -> list[Said]:
        """The events of one document, in its order; empty where it says nothing that matters.

        Raises:
            BadDocumentError: it is not of the form that the tool writes, or says more than `MOST` events.
        """
        ...


T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def sender(*, kinds: tuple[Kind, ...]) -> Callable[[T], T]:
    """Declare the one sender of a file under agent/senders/."""

    def declare(cls: T) -> T:
        if not (cls.__doc__ or "").strip() or not hasattr(cls, "read"):
            raise TypeError(f"{cls.__module__}: a sender needs a docstring and read()")
        made: Any = dataclass(frozen=True)(cls)
        made.name, made.kinds = cls.__module__.rpartition(".")[2], kinds
        return typing.cast("T", made)

    return declare


def discover_senders() -> dict[str, type[Any]]:
    """Every sender of agent/senders/ by name."""
    from agent import senders
    from agent.action import discover

    return discover(senders, mark="read")


WHOM: Final = frozenset({"src.ip", "dst.ip", "user", "container", "unit"})
"""Fields that say about whom it is, and so whom a policy may contain."""


def events(said: Iterable[Said], sender: Sender, source: str, seen: float, raw: str = "") -> list[Event]:
    """What a sender said as events. `raw` is the document, of which each keeps the beginning.

    The sender is known, and yet who wrote a label is not: where one of them says about whom it is, by `fields` of agent.yaml,
    the event is forgeable, and alone moves only what is mild.
    """
    forgeable = {one.name: one.forgeable for one in sender.kinds}
    taken, raw = WHOM & set(getattr(sender, "fields", ())), raw[:LONGEST_RAW]
    return [
        Event(one.kind, seen, one.fields, source, one.ts, raw, forgeable[one.kind] or not taken.isdisjoint(one.fields))
        for one in said
        for _ in range(one.times)
    ]
