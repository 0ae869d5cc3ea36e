"""Silences as the state keeps them: about what nobody is told until when. Actions go on. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from agent.incident import Incident
from agent.policy import Severity
from agent.record import Record

KEPT: Final = 50
"""Silences that are over and still known."""


class Silence(NamedTuple):
    """Nobody is told of incidents that fit all that is named, from `worst` down, until `until` (Unix seconds)."""

    id: str
    since: float
    until: float
    actor: str
    why: str
    worst: Severity
    policy: str = ""
    target: str = ""
    incident: str = ""
    ended: float | None = None
    because: str = ""
    """Why it ended; empty while it lasts."""

    def fits(self, incident: Incident) -> bool:
        """Whether an incident is what it is about, however severe."""
        return (
            self.policy in ("", incident.policy)
            and self.incident in ("", incident.id)
            and (self.target in ("", incident.target) or self.target in incident.target.split())
        )


class Silences:
    """Those that last, in `all` by name, and the latest that are over."""

    kinds: ClassVar[frozenset[str]] = frozenset({"silenced", "silence_ended"})

    def __init__(self) -> None:
        """Nothing is silenced."""
        self.all: dict[str, Silence] = {}
        self.over: deque[Silence] = deque(maxlen=KEPT)
        self.last = 0

    def about(self, incident: Incident, now: float) -> Silence | None:
        """The one that keeps an incident from being told, the longest of several; None where there is none."""
        if not self.all:
            return None
        found = [one for one in self.all.values() if now < one.until and one.worst <= incident.severity and one.fits(incident)]
        return max(found, key=lambda one: one.until, default=None)

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        name = body["silence"]
        if record.kind == "silence_ended":
            if one := self.all.pop(name, None):
                self.over.append(one._replace(ended=ts, because=body["why"]))
            return
        given = {key: body[key] for key in ("since", "until", "actor", "why", "worst", "policy", "target")}
        self.all[name] = Silence(name, incident=record.incident, **given)
        self.last = max(self.last, int(name.rpartition("-")[2]))

    def plain(self) -> Any:
        """All of it as JSON values."""
        return {
            "all": [one._asdict() for one in self.all.values()],
            "over": [one._asdict() for one in self.over],
            "last": self.last,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Be again what `plain` said."""
        self.all = {one["id"]: Silence(**one) for one in plain["all"]}
        self.over.extend(Silence(**one) for one in plain["over"])
        self.last = plain["last"]

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        for name, one in self.all.items():
            self.all[name] = one._replace(since=one.since + by, until=one.until + by)
        for number, one in enumerate(self.over):
            ended = None if one.ended is None else one.ended + by
            self.over[number] = one._replace(since=one.since + by, until=one.until + by, ended=ended)


# In words -----------------------------------------------------------------------------------------------------------------


def words(record: Record) -> Iterator[tuple[str, str]]:
    """What the sentence about a silence is made of."""
    if record.kind == "silenced":
        named = {"incident": record.incident, "policy": record.body["policy"], "target": record.body["target"]}
        yield "about", ", ".join(one if key == "incident" else f"{key} {one}" for key, one in named.items() if one)
