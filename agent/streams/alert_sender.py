"""What the senders of alerts have in common: which options they take, and how labels and texts become an alert's fields. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from agent.event import ALERT, FIRING, RESOLVED, Value
from agent.schema import About
from agent.streams.document import Object, list_at, needed, object_at, wrong
from agent.streams.fit import MOST, fit, text
from agent.streams.parser import Said
from agent.streams.syslog import exact_time
from agent.visible import visible

LABELS: Final = 64
"""Labels of one alert that are kept, in the sender's order."""
ROOM: Final = 8192
"""Characters that all labels of one alert may have together: ten thousand alerts may stand at once."""
_NAME: Final = 64
_LONGER: Final = {"summary": 1000, "link": 2000}
_KEY: Final = 200
_OWN: Final = ("sender", "status", "fingerprint", "repeats", "truncated")
"""Fields that decide which alert it is, and whether it still holds: never taken from a label."""
_FIRST_SERVICE: Final = ("service", "job")
_FIRST_SUMMARY: Final = ("summary", "description", "message")


class Told(NamedTuple):
    """What a document says of one alert. `own` are further fields; what is empty or None is left out."""

    status: str
    fingerprint: str
    labels: Object
    annotations: Object = MappingProxyType({})
    own: Mapping[str, Any] = MappingProxyType({})
    parts: Mapping[str, Object] = MappingProxyType({})
    ts: float = 0.0


@dataclass(frozen=True)
class AlertSender:
    """The options of every sender of alerts.

    `fields` takes further fields of the alert from the sender's own words: {src.ip: labels.client_ip, user: annotations.user}.
    What is not of the field's type is left out, and the alert is kept. `severity` is that of alerts that name none.
    """

    fields: Annotated[
        Mapping[str, str], About("fields of the alert out of the sender's own words", "{src.ip: labels.client_ip}")
    ] = field(default_factory=dict)
    severity: Annotated[str, About("the severity of alerts that name none", "warning")] = ""

    parts: ClassVar[tuple[str, ...]] = ("labels", "annotations")
    """What `fields` may take from."""

    def __post_init__(self) -> None:
        for name, written in self.fields.items():
            if name not in ALERT.fields or name in _OWN:
                known = ", ".join(one for one in ALERT.fields if one not in _OWN)
                raise ValueError(f"fields has `{name}`, which is none that an alert can be given; there are {known}")
            part, _, rest = written.removeprefix(".").partition(".")
            if part not in self.parts or not rest:
                ways = " or ".join(f"{one}.NAME" for one in self.parts)
                raise ValueError(f"fields takes `{name}` from `{visible(written, 80)}`; write {ways}")

    def said(self, told: Told) -> Said:
        """The event of one alert."""
        labels, parts = told.labels, {"labels": told.labels, "annotations": told.annotations, **told.parts}
        plain: dict[str, Any] = {
            "sender": type(self).__module__.rpartition(".")[2],
            "name": text(labels.get("alertname")) or told.fingerprint,  # never without: policies go by it
            "status": told.status,
            "severity": labels.get("severity"),
            "fingerprint": told.fingerprint,
            "summary": _first(told.annotations, _FIRST_SUMMARY),
            "service": _first(labels, _FIRST_SERVICE),
            "instance": labels.get("instance"),
            **told.own,
        }
        fields = _fitting(plain)
        if self.severity:
            fields.setdefault("severity", self.severity)
        for name, written in self.fields.items():
            part, _, rest = written.removeprefix(".").partition(".")
            fields |= _fitting({name: parts[part].get(rest)})
        return Said(ALERT.name, fields | labelled(labels), told.ts)


def _fitting(plain: Mapping[str, Any]) -> dict[str, Value]:
    found = {name: fit(value, ALERT.fields[name], _LONGER.get(name, MOST)) for name, value in plain.items()}
    return {name: value for name, value in found.items() if value is not None}


def _first(of: Object, names: Sequence[str]) -> str:
    return next((found for name in names if (found := text(of.get(name), _LONGER["summary"]))), "")


def labelled(labels: Object) -> dict[str, Value]:
    """Labels as fields: at most `LABELS` of them and `ROOM` characters, in their order."""
    found: dict[str, Value] = {}
    room = ROOM
    for name, value in labels.items():
        key, said = f"{ALERT.open}{visible(name, _NAME)}", text(value)
        room -= len(key) + len(said)
        if len(found) == LABELS or room < 0:
            break
        if name and said:
            found.setdefault(key, said)
    return found


def key(*parts: object) -> str:
    """A fingerprint made of parts: readable where it is short and simple, else a hash of them."""
    joined = "/".join(map(str, parts))
    if len(joined) <= _KEY and joined.isprintable() and (len(parts) == 1 or joined.count("/") < len(parts)):
        return joined
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


# Alertmanager, and Grafana after it ---------------------------------------------------------------------------------------


class Group(NamedTuple):
    """The alerts of a group's message, each with its place; `receiver` is the way they went, `cut` how many were left out."""

    alerts: Sequence[tuple[str, Object]]
    receiver: str
    cut: int


def group(document: Object, version: str, other: str) -> Group:
    """Read what is around the alerts. `other` is said of a message of another version.

    Raises:
        BadDocumentError: it is no such message.
    """
    if document.get("version") != version:
        raise wrong("version", f'"{version}"{other}', document.get("version"))
    receiver, cut = needed(document, "receiver"), document.get("truncatedAlerts")
    if cut is not None and (fit(cut, "integer") is None or cut < 0):
        raise wrong("truncatedAlerts", "a number", cut)
    alerts = [(f"alerts[{at}]", one) for at, one in enumerate(list_at(document, "alerts"))]
    for place, one in alerts:
        if not isinstance(one, dict):
            raise wrong(place, "an object", one)
    return Group(alerts, receiver, cut or 0)


def told(alert: Object, place: str) -> Told:
    """One alert of a group; its fingerprint is still that of the alert alone.

    Raises:
        BadDocumentError: it lacks what an alert has.
    """
    status = alert.get("status")
    if status not in (FIRING, RESOLVED):
        raise wrong(f"{place}.status", "firing or resolved", status)
    labels, annotations = object_at(alert, "labels", place), object_at(alert, "annotations", place)
    when = text(alert.get("startsAt" if status == FIRING else "endsAt"), 40)
    # While it fires, Alertmanager writes `endsAt` as Go's zero time, which is the year 1.
    return Told(status, needed(alert, "fingerprint", place), labels, annotations, ts=max(0.0, exact_time(when)))
