"""The keys of a class that a map in YAML is read as, as a table, and what the values of keys are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from agent.grammar.typed import Key, supported
from agent.reference.words import anchor, code, default, example, kind, prose, table

MADE: Final = "<!-- Made by `make docs` of the code; write there. -->\n"
_GROWS: Final = "how long a mitigation stays: a duration, one that grows with each repeat within 30 days, or for ever"
_VALUES: Final = (
    ("duration", "a number and `ms`, `s`, `m`, `h` or `d`", "`90s`, `10m`, `1.5h`, `7d`"),
    ("ttl", _GROWS, "`1h`, `1h x2 up to 7d`, `forever`"),
    ("address or network", "IPv4 or IPv6, without bits behind the network's length; never a name", "`203.0.113.7`, `10.0.0.0/8`"),
    ("size", "a whole number and `KiB`, `MiB`, `GiB` or `TiB`", "`256MiB`"),
    ("port", "1 to 65535", "`443`"),
    ("systemd unit", "its whole name", "`nginx.service`"),
    ("path", "of a file or directory; write whole ones, that begin with `/`", "`/etc/ssl/ca.pem`"),
    ("true or false", "those two words alone: `yes`, `on` and `1` are text", "`true`"),
)
_YAML: Final = """\
YAML is read as it is written: `on`, `NO` and `22:30` stay texts, a key that stands twice is a mistake, and every mistake of every
file is told at once, with its line, its column and the mend. Numbers may stand in quotes.
"""


@dataclass(frozen=True)
class Section:
    """One map of a file: what it is called there, the class that reads it, and a sentence on where it stands."""

    title: str
    cls: type[Any]
    more: str = ""


def keys_table(cls: type[Any]) -> str:
    """All keys of a class; a sentence where there are none."""
    found = list(_rows(cls))
    return table(("key", "type", "default", "meaning", "example"), found) if found else "No parameters.\n"


def _rows(cls: type[Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for key in supported(cls).values():
        yield code(key.name), kind(key), _default(key), key.about, code(example(key))


def _default(key: Key) -> str:
    said = default(key)
    return said if said in ("needed", "") else code(said)


def section(one: Section) -> str:
    """A heading, the class's own words, its keys."""
    more = f"\n{one.more}" if one.more else ""
    return f"## {one.title}\n\n{prose(one.cls)}\n{keys_table(one.cls)}{more}"


def contents(titles: Iterable[str]) -> str:
    """Links to the headings of a page."""
    return "Contents: " + " · ".join(f"[{one}](#{anchor(one)})" for one in ("Types", *titles)) + "\n"


def values() -> str:
    """What the types of the tables are."""
    return f"## Types\n\n{_YAML}\n{table(('type', 'what it is', 'as in'), _VALUES)}"
