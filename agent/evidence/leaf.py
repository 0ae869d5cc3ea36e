"""Records and events as the journal's bytes, and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn

from pydantic_core import PydanticSerializationError, from_json, to_json

from agent.action import Change, write_change
from agent.event import Event
from agent.evidence.lift import RECORD, lift
from agent.record import Record, Stored


class CannotRecord(ValueError):  # noqa: N818 - reads as the sentence it is
    """A record holds what JSON cannot: a bug in whoever made it. Text: `cannot record <kind>: <why>`."""


def write_record(record: Record) -> bytes:
    """A record as compact JSON; journal.py puts its number and time in front. Durations become seconds.

    Raises:
        CannotRecord: a value has no JSON form; NaN and infinity have none (RFC 8259 §6).
    """
    body = record.body
    if isinstance(change := body.get("change"), Change):
        body = {**body, "change": write_change(change)}
    plain = {"kind": record.kind, "incident": record.incident, "mitigation": record.mitigation, "body": body}
    return write_plain(plain, what=record.kind)


def write_plain(plain: Mapping[str, Any], *, what: str) -> bytes:
    """Any JSON-able mapping as compact JSON, with the same types and errors as a record."""
    try:
        data = _encoded(plain)
        if b"NaN" in data or b"Infinity" in data:  # perhaps only as text
            json.loads(data, parse_constant=_refuse)
    except ValueError as error:
        raise CannotRecord(f"cannot record {what}: {error}") from None
    return data


def write_events(events: Sequence[Event]) -> bytes:
    """Events as one compact JSON array. A number that is none becomes null: an event is not worth an error.

    Raises:
        CannotRecord: a field has no JSON form.
    """
    try:
        return _encoded([tuple(event) for event in events], inf_nan_mode="null")  # a plain tuple is read in half the time
    except ValueError as error:
        raise CannotRecord(f"cannot record events such as {events[0].kind}: {error}") from None


def nanoseconds(now: float) -> int:
    """Unix seconds as whole nanoseconds, from which read_record gives back the very same float."""
    whole, rest = divmod(now, 1.0)  # `now * 1e9` would already be off by a tenth of a microsecond
    return int(whole) * 10**9 + round(rest * 1e9)


def read_record(seq: int, leaf: bytes, chain: bytes) -> Stored:
    """A record as it was stored, lifted to the shape of this version.

    Raises:
        TooNew: a newer agent wrote it. ValueError: the leaf is not one of ours, or not that of this number.
    """
    plain = from_json(leaf)
    try:
        if plain.get("v") != RECORD:
            plain = lift(plain)
        if plain["seq"] != seq:
            raise ValueError(f"it says it is number {plain['seq']}")
        record = Record(plain["kind"], plain["body"], plain["incident"], plain["mitigation"])
        return Stored(seq, plain["ts"] / 10**9, record, leaf, chain)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it has no {error}") from None


def pack(batch: bytes) -> bytes:
    """Events as they are stored: log lines are much alike, and a thirtieth of the bytes is written in less time than all."""
    return zlib.compress(batch, 1)


def read_events(packed: bytes) -> list[Event]:
    """The events of one commit, in order.

    Raises:
        ValueError: these are no events of ours.
    """
    try:
        return [Event(*one) for one in from_json(zlib.decompress(packed))]
    except (TypeError, zlib.error) as error:
        raise ValueError(str(error)) from None


def _encoded(value: Any, inf_nan_mode: Any = "constants") -> bytes:
    try:
        return to_json(value, timedelta_mode="float", inf_nan_mode=inf_nan_mode, fallback=_mapping)
    except PydanticSerializationError as error:
        if "surrogates not allowed" not in str(error):
            raise
    # Bytes of a log line that are no UTF-8 arrive as lone surrogates (PEP 383). An attacker must not stop the journal so.
    return to_json(_legible(value), timedelta_mode="float", inf_nan_mode=inf_nan_mode, fallback=_mapping)


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_legible(name): _legible(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_legible(one) for one in value]
    if is_dataclass(value):
        return {one.name: _legible(getattr(value, one.name)) for one in fields(value)}
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")
