"""Other tools' alerts as the state keeps them: those that fire now, by sender and fingerprint. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from agent.event import ALERT, Event, Value
from agent.record import Record

MOST: Final = 10_000
"""Alerts that fire at once and are known; a repeat of one more is taken for another alert, and counted."""
KEPT: Final = 50
"""Alerts that are over and still shown."""

LEFT_OUT: Final = "[left out]"
"""What stands for a label that is called like a secret: the redactor sees names of fields, and these stand in pairs."""

Fields = tuple[tuple[str, Value], ...]


class Alert(NamedTuple):
    """One that fires since `since`, or did until `ended` (Unix seconds). `fields` are in pairs: senders choose the names."""

    source: str
    fingerprint: str
    fields: Fields
    since: float
    forgeable: bool = False
    ended: float | None = None
    because: str = ""
    """Why it is over; empty while it fires."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return name(self.source, self.fingerprint)

    @property
    def event(self) -> Event:
        """The event that began it."""
        return Event(ALERT.name, self.since, dict(self.fields), self.source, self.since, forgeable=self.forgeable)


class Alerts:
    """Those that fire, in `all` by key, and the latest that are over."""

    kinds: ClassVar[frozenset[str]] = frozenset({"alert_fires", "alert_over"})

    def __init__(self) -> None:
        """None fires."""
        self.all: dict[str, Alert] = {}
        self.over: deque[Alert] = deque(maxlen=KEPT)

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        key = name(body["source"], body["fingerprint"])
        if record.kind == "alert_over":
            if one := self.all.pop(key, None):
                self.over.append(one._replace(ended=ts, because=body["because"]))
            return
        self.all[key] = Alert(body["source"], body["fingerprint"], _pairs(body["fields"]), ts, body["forgeable"])

    def plain(self) -> Any:
        """All of it as JSON values."""
        return {"all": [one._asdict() for one in self.all.values()], "over": [one._asdict() for one in self.over]}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Be again what `plain` said."""
        self.all = {one.key: one for one in map(_read, plain["all"])}
        self.over.extend(map(_read, plain["over"]))

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        for key, one in self.all.items():
            self.all[key] = one._replace(since=one.since + by)
        for number, one in enumerate(self.over):
            ended = None if one.ended is None else one.ended + by
            self.over[number] = one._replace(since=one.since + by, ended=ended)


def name(source: str, fingerprint: str) -> str:
    """The key of an alert."""
    return f"{source} {fingerprint}"


def _pairs(given: Any) -> Fields:
    return tuple((str(key), value) for key, value in given)


def _read(plain: Mapping[str, Any]) -> Alert:
    return Alert(**{**plain, "fields": _pairs(plain["fields"])})


# In words -----------------------------------------------------------------------------------------------------------------


def words(record: Record) -> Iterator[tuple[str, str]]:
    """What the sentence about an alert is made of."""
    if record.kind == "alert_fires":
        fields = dict(_pairs(record.body["fields"]))
        yield "what", " ".join(str(fields[key]) for key in ("name", "instance", "service") if fields.get(key))
        yield "summary", f": {fields['summary']}" if fields.get("summary") else ""
