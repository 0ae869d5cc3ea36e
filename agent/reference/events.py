"""docs/reference/events.md: every kind of event with its fields, what brings it, and an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.brings import brings
from agent.event import COMMON, FieldType, Kind
from agent.reference.keys import MADE
from agent.reference.lines import LINES
from agent.reference.words import anchor, code, fenced, table
from agent.streams.declared import declared

_VALUES: Final[Mapping[FieldType, str]] = {
    "address": "203.0.113.7",
    "text": "text",
    "integer": "5",
    "number": "0.5",
    "flag": "true",
    "port": "443",
    "unit": "nginx.service",
}


_HEAD: Final = """\
What a policy may name as `event:`. Every event has {common} too. Kinds that are *forgeable* hold words of a stranger: alone they
move only what is mild. Kinds that tell of a *state* come again and again; `for: 3 of 5` is for them. A sender of the type
`generic` makes any kind that is no measurement. `contain events kinds` prints the same.
"""


def events() -> str:
    """The whole page."""
    ways, kinds = brings(), sorted(declared().values(), key=lambda one: one.name)
    listed = ((f"[{one.name}](#{anchor(one.name)})", one.about, ", ".join(ways[one.name])) for one in kinds)
    head = _HEAD.format(common=" and ".join(map(code, COMMON)))
    each = "\n".join(_kind(one, ways[one.name]) for one in kinds)
    return f"# Events\n\n{MADE}\n{head}\n{table(('kind', 'what happened', 'from'), listed)}\n{each}"


def _kind(one: Kind, ways: tuple[str, ...]) -> str:
    traits = [name for name, holds in (("forgeable", one.forgeable), ("state", one.state), ("alert", one.alert)) if holds]
    aside = f" ({', '.join(traits)})" if traits else ""
    fields = table(("field", "type"), ((code(name), kind) for name, kind in one.fields.items()))
    more = f"\nAnd any field that begins with {code(one.open)}, as text.\n" if one.open else ""
    return f"## {one.name}\n\n{one.about}{aside}\n\nFrom: {', '.join(ways)}.\n\n{fields}{more}\n{_example(one)}"


def _example(one: Kind) -> str:
    if one.name in LINES:
        parser, line = LINES[one.name]
        return f"A line that the parser {code(parser)} reads so:\n\n{fenced(line, 'text')}"
    fields = ", ".join(f"{name}: {_VALUES[kind]}" for name, kind in list(one.fields.items())[:5])
    return f"In the examples of a policy:\n\n{fenced(f'{{at: 0s, event: {one.name}, {fields}}}', 'text')}"
