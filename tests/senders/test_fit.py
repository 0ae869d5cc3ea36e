"""One value as one field: of its type, in its one spelling, or not at all. And paths, which are names and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from agent.event import FieldType, Value
from agent.streams.document import look_up, path
from agent.streams.fit import fit


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("integer", "-17", -17),
        ("integer", 3.0, 3),
        ("integer", 3.5, None),
        ("integer", True, None),
        ("integer", (1 << 63) - 1, (1 << 63) - 1),
        ("integer", 1 << 63, None),
        ("integer", 10**4000, None),
        ("integer", "9" * 400, None),
        ("integer", "٣", None),
        ("number", "1.5e3", 1500.0),
        ("number", "1e999", None),
        ("number", "nan", None),
        ("number", float("nan"), None),
        ("number", float("inf"), None),
        ("number", -(1 << 64), None),
        ("number", False, None),
        ("flag", "true", True),
        ("flag", "yes", None),
        ("flag", 1, None),
        ("port", "65535", 65535),
        ("port", 65536, None),
        ("port", 0, None),
        ("unit", "nginx@1.service", "nginx@1.service"),
        ("unit", "nginx", None),
        ("unit", "../nginx.service", None),
        ("unit", "a b.service", None),
        ("address", "2001:DB8:0::1", "2001:db8::1"),
        ("address", "010.0.0.1", None),
        ("address", "203.0.113.7\x00", None),
        ("address", "\ud800", None),
        ("address", 3405803783, None),
        ("text", "", None),
        ("text", 5710, "5710"),
        ("text", 10**4000, None),
        ("text", True, "true"),
        ("text", ["a"], None),
        ("text", "a" * 400, "a" * 299 + "…"),
    ],
)
def test_a_value_is_of_its_fields_type_or_left_out(kind: FieldType, value: Any, fits: Value) -> None:
    found = fit(value, kind)

    assert (type(found), found) == (type(fits), fits)


@pytest.mark.parametrize("kind", ["text", "address", "integer", "number", "flag", "port", "unit"])
@pytest.mark.parametrize("value", [None, [], {}, [1], {"a": 1}])
def test_what_is_no_single_value_fits_nothing(kind: FieldType, value: Any) -> None:
    assert fit(value, kind) is None


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (".client.addr", "x"),
        ("client.addr", "x"),
        ("list[1].a", 5),
        ("list[9].a", None),
        ('."a.b"', 7),
        ("a.b", None),
        ("client[0]", None),
        ("list.a", None),
        ("client.addr.more", None),
        ("__class__", None),
    ],
)
def test_a_path_finds_what_stands_there_and_nothing_else(written: str, found: Any) -> None:
    document = {"client": {"addr": "x"}, "list": [0, {"a": 5}], "a.b": 7}

    assert look_up(document, path(written)) == found


@pytest.mark.parametrize(
    "written", ["", ".", "a..b", "a[", "a[x]", "a[-1]", "a[*]", 'a."', "a b", "a[99999]", ".a" * 21, "a" * 200]
)
def test_what_is_no_path_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        path(written)
