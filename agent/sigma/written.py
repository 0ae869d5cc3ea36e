"""Values as YAML that our reader reads back as they are: texts in quotes, always."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6f}" if isinstance(value, float) else str(value)
    text = str(value)
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


def block(value: Any, indent: str) -> Iterator[str]:
    """A map, or a list of maps, with a line for each key; maps in a field map stay on their line."""
    if isinstance(value, list):
        for one in value:
            first, *rest = block(one, f"{indent}  ")
            yield f"{indent}- {first.strip()}"
            yield from rest
        return
    for name, one in value.items():
        if name in ("match", "sequence"):
            yield f"{indent}{name}:"
            yield from block(one, f"{indent}  ")
        elif name in ("event", "within"):
            yield f"{indent}{name}: {one}"
        elif name == "by":
            yield f"{indent}by: {one[0] if len(one) == 1 else '[' + ', '.join(one) + ']'}"
        elif name in ("count", "distinct"):
            yield f"{indent}{name}: {json.dumps(one)}"
        else:
            yield f"{indent}{name}: {flow(one)}"
