"""Any tool that sends JSON: agent.yaml says which kind of event its document is, and where each field stands in it.

    {kind: alert, each: .alerts, fields: {src.ip: .client.addr, name: .rule, status: .state},
     fixed: {severity: high}, required: [src.ip], resolved: [ok, closed]}

Paths are names with dots and places in lists, `.items[0].name`, `."a.b"` for a name with dots; there is no language in them.
Each value must be of its field's type: an address an address, a port a port. What is missing or is of another type is left out,
but for what is `required`: without that the whole document is refused, and nothing of it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Final

from agent.event import COMMON, FIRING, RESOLVED, FieldType, Kind, Value
from agent.schema import About
from agent.streams.alert_sender import key
from agent.streams.declared import declared
from agent.streams.document import Path, look_up, path, wrong
from agent.streams.fit import fit, text
from agent.streams.parser import Said
from agent.streams.sender import MOST, BadDocumentError, sender
from agent.streams.syslog import exact_time
from agent.visible import visible

_OWN: Final = ("check", "sensor", "file.baseline")
"""Kinds that only the agent itself says, like all that begin with `agent.`."""
_YEAR_10000: Final = 253402300800
_CHANGES: Final = frozenset({"status", "severity", "summary", "value", "link", "repeats", "truncated"})
"""Fields of an alert that may change while it is the same one."""


@sender(kinds=())
class Generic:
    """Events of one kind out of any JSON. `fields` says where each field stands, `fixed` what it always is.

    `each` is where a list of things stands, each of which is an event; unsaid, the document is one, or a list of them. `time` is
    where the time stands, as ISO 8601 or Unix seconds. For alerts: `resolved` and `firing` are the tool's words for those two;
    where nothing gives a `fingerprint`, it is made of all fields that do not change.
    """

    kind: Annotated[str, About("the kind of event that it makes", "alert")]
    fields: Annotated[Mapping[str, str], About("where each field stands in the document", "{name: .rule, status: .state}")] = (
        field(default_factory=dict)
    )
    fixed: Annotated[Mapping[str, str], About("fields that are always so", "{severity: critical}")] = field(default_factory=dict)
    each: Annotated[str, About("where a list of things stands, each of which is an event", "alerts")] = ""
    required: Annotated[tuple[str, ...], About("fields without which one is left out, as in [src.ip]")] = ()
    time: Annotated[str, About("where its time stands: ISO 8601, or Unix seconds", "at")] = ""
    firing: Annotated[tuple[str, ...], About("the tool's words for what fires, as in [open]")] = ()
    resolved: Annotated[tuple[str, ...], About("the tool's words for what is over, as in [closed]")] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", (self._kind,))
        if not self.fields:
            raise ValueError("fields says nothing; write where each field stands, as in {src.ip: .client.addr}")
        for name in self.fields:
            _has(self._kind, name, "fields")
        for name, said in self.fixed.items():
            self._can_be(name, said)
        for one in self.fields.values():
            _is_path("fields", one)
        for where in ("each", "time"):
            if written := getattr(self, where):
                _is_path(where, written)
        for name in self.required:
            if name not in self.fields:
                raise ValueError(f"required names `{name}`, and `fields` does not say where it stands")
        if not self._kind.alert and (self.firing or self.resolved):
            raise ValueError(f"{'firing' if self.firing else 'resolved'} is for alerts, and `{self.kind}` is none")

    def _can_be(self, name: str, said: str) -> None:
        kind, shown = _has(self._kind, name, "fixed"), visible(said, 60)
        if name in self.fields:
            raise ValueError(f"fixed has `{name}`, and so has `fields`; write it once")
        if fit(said, kind) is None:
            raise ValueError(f"fixed cannot be `{name}: {shown}`; {name} is of the type {kind}")
        if self._kind.alert and name == "status" and said not in (FIRING, RESOLVED):
            raise ValueError(f"fixed cannot be `status: {shown}`; write firing or resolved")

    @cached_property
    def _kind(self) -> Kind:
        known = declared()
        if self.kind in known and self.kind not in _OWN and not self.kind.startswith("agent."):
            return known[self.kind]
        why = "is for the agent itself to say" if self.kind in known else "is no kind of event here"
        raise ValueError(f"kind `{visible(self.kind, 60)}` {why}; `contain events kinds` lists them")

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        return {name: path(written) for name, written in self.fields.items()}

    def read(self, document: Any) -> list[Said]:
        """The events of one document."""
        return [self._said(one, place) for place, one in self._items(document)]

    def _items(self, document: Any) -> Iterator[tuple[str, Any]]:
        where = self.each.lstrip(".") or "document"
        found = look_up(document, path(self.each)) if self.each else document
        if not self.each and isinstance(found, dict):
            return iter([("", found)])
        if not isinstance(found, list):
            raise wrong(where, "a list" if self.each else "an object or a list", found)
        if len(found) > MOST:
            raise BadDocumentError(f"{where}: {len(found)} at once, and at most {MOST} are taken")
        return ((f"{where}[{at}]", one) for at, one in enumerate(found))

    def _said(self, one: Any, place: str) -> Said:
        if not isinstance(one, dict):
            raise wrong(place, "an object", one)
        fields = dict(self._always)
        for name, steps in self._paths.items():
            found = look_up(one, steps)
            value = fit(found, _type(self._kind, name))
            if value is not None:
                fields[name] = key(found) if name == "fingerprint" else value
            elif name in self.required:
                raise wrong(self._place(place, name), f"{name}, of the type {_type(self._kind, name)}", found)
        if self._kind.alert:
            fields |= self._alert(fields, place)
        return Said(self.kind, fields, _when(look_up(one, path(self.time))) if self.time else 0.0)

    @cached_property
    def _always(self) -> Mapping[str, Value]:
        return {name: fit(said, _type(self._kind, name)) for name, said in self.fixed.items()}

    def _place(self, place: str, name: str) -> str:
        """Where a field stands in a document."""
        return f"{place}.{self.fields[name].lstrip('.')}".lstrip(".")

    def _alert(self, fields: Mapping[str, Value], place: str) -> dict[str, Value]:
        """What every alert has: whose it is, whether it holds, and what tells it from others."""
        made: dict[str, Value] = {"sender": fields.get("sender", "generic"), "status": self._status(fields, place)}
        if "fingerprint" in fields:
            made["fingerprint"] = fields["fingerprint"]
        else:
            made["fingerprint"] = key(*(f"{name}={said}" for name, said in sorted(fields.items()) if name not in _CHANGES))
        return made if "name" in fields else {**made, "name": made["fingerprint"]}  # never without: policies go by it

    def _status(self, fields: Mapping[str, Value], place: str) -> str:
        if "status" not in self.fields:
            return str(fields.get("status", FIRING))
        said = fields.get("status")
        for status, words in ((FIRING, (FIRING, *self.firing)), (RESOLVED, (RESOLVED, *self.resolved))):
            if said in words:
                return status
        known = ", ".join((FIRING, *self.firing, RESOLVED, *self.resolved))
        raise wrong(self._place(place, "status"), f"one of {known} (see `firing` and `resolved` in agent.yaml)", said)


def _has(kind: Kind, name: str, where: str) -> FieldType:
    found = None if name in COMMON else kind.field(name)
    if found is None:
        known = ", ".join((*kind.fields, *([f"{kind.open}NAME"] if kind.open else [])))
        raise ValueError(f"{where} has `{visible(name, 60)}`, which {kind.name} has not; its fields: {known}")
    return found


def _type(kind: Kind, name: str) -> FieldType:
    return kind.field(name) or "text"


def _is_path(where: str, written: str) -> None:
    try:
        path(written)
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None


def _when(said: Any) -> float:
    """A time as ISO 8601, or as Unix seconds; 0 where it is neither."""
    number = None if isinstance(said, str) else fit(said, "number")
    seconds = float(number) if isinstance(number, int | float) else exact_time(text(said, 40))
    return seconds if 0 < seconds < _YEAR_10000 else 0.0
