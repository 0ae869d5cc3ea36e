"""Whatever JSON arrives from whoever is let in: events of their kinds' types, or one clear refusal, in bounded time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.event import Event
from agent.evidence.leaf import write_events
from agent.streams.sender import BadDocumentError, Sender, events
from tests.senders import documents
from tests.senders.documents import made, misfits

SENDERS: dict[str, Sender] = {
    "alertmanager": made("alertmanager", fields={"src.ip": "labels.a", "value": "annotations.b", "unit": "labels.c"}),
    "grafana": made("grafana", fields={"src.ip": "labels.a", "value": "values.A", "user": "annotations.a"}),
    "cloudwatch": made("cloudwatch", fields={"dst.ip": "labels.a"}, severity="high"),
    "falco": made("falco", hosts=("*",)),
    "wazuh": made("wazuh"),
    "generic": made(
        "generic",
        kind="alert",
        each="a",
        fields={"src.ip": ".a", "unit": ".b[0]", "value": ".c", "name": ".a.b", "truncated": ".c", "labels.a": ".c"},
        time=".c",
    ),
}
REAL: dict[str, Callable[[], Any]] = {
    "alertmanager": lambda: documents.alertmanager(documents.prometheus_alert(a="203.0.113.7"), truncatedAlerts=2),
    "grafana": lambda: documents.grafana(documents.grafana_alert()),
    "cloudwatch": lambda: {"Type": "Notification", "Message": json.dumps(documents.alarm())},
    "falco": documents.falco,
    "wazuh": documents.wazuh,
    "generic": lambda: {"a": [{"a": "203.0.113.7", "b": ["nginx.service"], "c": 5}]},
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["firing", "4", "1", "203.0.113.7", "2001:DB8::1", "\x00", "\ud800", "\u202e", "9" * 400, "ALARM", "1e999"])
    | st.sampled_from([10**400, -(1 << 63), 1 << 63, float("nan"), float("inf"), 17, 0])
)
NAMES = st.sampled_from(["a", "b", "labels", "alerts", "status", "version", "rule", "Message", "Type", "\x1b[2J", ""]) | st.text(
    max_size=4
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def _short(error: BadDocumentError) -> list[Event]:
    assert 0 < len(str(error)) < 2000
    return []


def says(name: str, document: Any) -> list[Event]:
    """The events of the document, proved to keep what all events promise; empty where it is refused."""
    sender = SENDERS[name]
    kinds = {one.name: one for one in sender.kinds}
    try:
        said = sender.read(document)
    except BadDocumentError as error:
        return _short(error)
    found = events(said, sender, "in:x", 1795413700.0, "raw")
    raw = {"falco.alert"}  # as its parser does: cut, and made visible where it is shown
    assert all(one.kind in raw or misfits(kinds[one.kind], one.fields) == [] for one in found)
    assert all(0 <= one.ts < 253402300800 for one in found)
    assert all(len(str(value)) <= 20_000 for one in found for value in one.fields.values())
    assert write_events(found) if found else True
    return found


def test_the_documents_that_are_changed_here_are_read_as_they_stand() -> None:
    assert {name: len(says(name, real())) for name, real in REAL.items()} == dict.fromkeys(REAL, 1)
    assert set(REAL) == set(SENDERS)


@pytest.mark.parametrize("name", sorted(SENDERS))
@given(document=JSON)
@settings(max_examples=60, deadline=None)
def test_any_json_is_read_or_refused(name: str, document: Any) -> None:
    says(name, document)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


def with_other(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The document with another value at one place."""
    if not path:
        return other
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = with_other(value[path[0]], path[1:], other)
    return changed


@pytest.mark.parametrize("name", sorted(REAL))
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_real_document_with_anything_in_any_place_is_read_or_refused(name: str, data: st.DataObject) -> None:
    real = REAL[name]()
    if name == "cloudwatch" and data.draw(st.booleans()):
        real = documents.alarm()
    for _ in range(data.draw(st.integers(1, 3))):
        real = with_other(real, data.draw(st.sampled_from(places(real))), data.draw(JSON))

    says(name, real)


def _crowded(name: str, size: int) -> Any:
    """A document of about so many values, in the place where its tool has many."""
    many = {f"l{one}": "x" * 20 for one in range(size)}
    match name:
        case "alertmanager":
            return documents.alertmanager(*[{**documents.prometheus_alert(), "labels": many}] * 3)
        case "grafana":
            return documents.grafana(*[documents.grafana_alert(labels=many, values=many)] * 3)
        case "cloudwatch":
            dimensions = [{"name": key, "value": value} for key, value in many.items()]
            return documents.alarm(Trigger={"Dimensions": dimensions, **many}, **many)
        case "falco":
            return documents.falco(tags=[*many], output_fields=many)
        case "wazuh":
            return documents.wazuh(rule={"id": "1", "level": 1, "groups": [*many], "mitre": {"id": [*many]}}, data=many)
        case _:
            return {"a": [{"a": "x" * size, "c": 1, "b": [*many]}] * 3}


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called, those written in C too: time without a clock."""
    count = 0

    def called(_frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", sorted(SENDERS))
def test_ten_times_as_much_costs_no_more_than_ten_times_as_many_steps(name: str) -> None:
    small, large = _crowded(name, 2_000), _crowded(name, 20_000)

    few, many = (_calls(partial(SENDERS[name].read, one)) for one in (small, large))

    assert many <= 11 * few
