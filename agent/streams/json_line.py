"""Lines that are JSON objects: read them, and take parts out, without ever raising.

No program that escapes its texts writes a name twice into one object. Where one stands there twice, somebody else wrote the
second, as into nginx's log under `escape=none`: such a line is not believed at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def loaded(text: str | bytes) -> Mapping[str, Any]:
    """The object that a line is; an empty one where it is something else, or names something twice."""
    try:
        line = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def part_at(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a name; an empty one where there is none."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def text_at(of: Mapping[str, Any], name: str, most: int | None = None) -> str:
    """The text under a name, cut after `most` characters; empty where there is none."""
    value = of.get(name)
    return value[:most] if isinstance(value, str) else ""
