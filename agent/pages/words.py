"""How pages say things: times, and the mood of a word. A colour always repeats what a word says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from markupsafe import Markup

from agent.people.consent import name_of
from agent.schema import rough
from agent.visible import visible

LONGEST: Final = 4096
_MOODS: Final = {
    **dict.fromkeys(("P0", "bad", "failed", "refused", "partly", "lost"), "bad"),
    **dict.fromkeys(
        ("P1", "open", "unknown", "would", "applying", "lifting", "unconfirmed", "dry_run", "waits", "paused", "on"), "warn"
    ),
    **dict.fromkeys(("good", "in_force", "contained", "recovering", "enforce", "done", "acknowledged"), "good"),
}


def mood(word: str) -> str:
    """The class of one of our own words."""
    return _MOODS.get(word, "calm")


def plain(value: Any) -> Any:
    """Whatever a template puts into a page: text of others with its control and bidirectional characters made visible, once."""
    if value is None:
        return ""
    return visible(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def iso(ts: float) -> str:
    """A Unix time for programs, in UTC."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp(ts: float) -> str:
    """A Unix time for people, in UTC."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def ago(ts: float, now: float) -> str:
    """`3 min ago`, `in 59 min`; the date where it is further away than a day."""
    away = ts - now
    if abs(away) >= 86400:
        return stamp(ts)
    return f"in {_largest(away)}" if away > 0 else "now" if away > -1 else f"{_largest(-away)} ago"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    return rough(timedelta(seconds=max(0.0, seconds)))


def _largest(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def spaced(word: str) -> str:
    """One of our own words for people."""
    return word.replace("_", " ")


def stage(one: Mapping[str, Any]) -> str:
    """How far a mitigation is; what holds only in part, or waits for a confirmation, says so."""
    if one["stage"] != "in_force":
        return str(one["stage"])
    return "partly" if one["short"] else "unconfirmed" if one["confirm"] else "in_force"


def fields(event: Mapping[str, Any]) -> str:
    """An event's fields on one line."""
    return " ".join(f"{name}={value}" for name, value in event["fields"].items() if value is not None)


FILTERS: Final = {
    "mood": mood,
    "iso": iso,
    "stamp": stamp,
    "ago": ago,
    "span": span,
    "spaced": spaced,
    "person": name_of,
    "stage": stage,
    "fields": fields,
}
