"""Lines that are JSON objects: read them, and take parts out, without ever raising."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def loaded(text: str) -> Mapping[str, Any]:
    """The object that a line is; an empty one where it is something else."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def part_at(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a name; an empty one where there is none."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def text_at(of: Mapping[str, Any], name: str, most: int | None = None) -> str:
    """The text under a name, cut after `most` characters; empty where there is none."""
    value = of.get(name)
    return value[:most] if isinstance(value, str) else ""
