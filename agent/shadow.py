"""Shadows: what a mitigation brings about itself is no alarm, and never keeps it alive. Pure.

An action says which events it causes (`mutes`), and its changes say whom they touch. An event of such a kind about one of
those is recorded and counts for nothing, while the mitigation is in force and a little longer. Everything else about the same
unit, role or container is an alarm as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.event import CHECK, Event

if TYPE_CHECKING:
    from agent.incident import Mitigation
    from agent.turn import Turn

TAIL: Final = 120.0
"""Seconds after its end for which a mitigation still casts its shadow: services need a moment to come back. And after its
beginning for which a block's source still stands in logs: sshd waits two minutes for a login."""
TOLD_AGAIN: Final = 300.0
"""Seconds between two records of the same kind of event in the same shadow."""
SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "unit": ("unit",),
    "user": ("role", "user"),
    "container.name": ("container",),
    "container.id": ("container",),
}
"""By which names an event's field stands among what changes touch."""
HOST: Final = frozenset({"host"})
"""What touches the whole host is about everything."""


class Shadow(NamedTuple):
    """What one mitigation mutes: kinds of events (`check unit` is a kind of check), about whom, until when (Unix seconds)."""

    kinds: tuple[str, ...]
    touches: frozenset[str]
    until: float = math.inf


class Shadows:
    """Those that are cast now, by mitigation. They follow from the mitigations, and are in no snapshot."""

    def __init__(self) -> None:
        """None."""
        self.cast: dict[str, Shadow] = {}

    def begin(self, one: Mitigation) -> None:
        """A mitigation is about to be made."""
        if one.mutes and one.change.touches:
            self.cast[one.id] = Shadow(one.mutes, frozenset(one.change.touches))

    def over(self, name: str, ts: float) -> None:
        """A mitigation has ended."""
        if shadow := self.cast.get(name):
            self.cast[name] = shadow._replace(until=ts + TAIL)

    def drop(self, name: str) -> None:
        """A mitigation was never made."""
        self.cast.pop(name, None)

    def fade(self, now: float) -> None:
        """Forget those whose time is over."""
        for name in [name for name, one in self.cast.items() if one.until <= now]:
            del self.cast[name]

    def shift(self, by: float) -> None:
        """The host's clock was set."""
        self.cast = {name: one._replace(until=one.until + by) for name, one in self.cast.items()}


def muted(turn: Turn, event: Event) -> bool:
    """Whether the event is a mitigation's own effect; then it is recorded, now and then, and counts for nothing."""
    state = turn.agent.state
    if not state.aimed and not state.shadows.cast:  # nothing is in force; this is asked for every line that means something
        return False
    name = _blocked(turn, event) or _shaded(state.shadows, event)
    if not name:
        return False
    told = turn.agent.muted
    if turn.now - told.get((name, event.kind), -math.inf) >= TOLD_AGAIN:
        told[name, event.kind] = turn.now
        say = str(event.get("say") or event.get("src.ip") or "")
        turn.note("muted", {"event": event.kind, "about": say, "because": f"{name} brings that about itself"}, mitigation=name)
    return True


def _blocked(turn: Turn, event: Event) -> str:
    """The mitigation that keeps out the event's source altogether: what it still leaves in logs for a while is from before.

    Whoever got in before is an alarm, and so is whoever still comes minutes later: the block does not keep them out.
    """
    source = event.fields.get("src.ip")
    if source is None:
        return ""
    state = turn.agent.state
    for name in state.aimed.get(f"block_ip {source}", ()):
        one = state.mitigations[name]
        whole = one.stage == "in_force" and not one.short and not one.change.apply.args.get("ports")
        if whole and turn.now - one.since < TAIL and _of_kind(event.kind, one.mutes):
            return name
    return ""


def _of_kind(kind: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(kind, pattern) for pattern in patterns)


def _shaded(shadows: Shadows, event: Event) -> str:
    if not shadows.cast or (event.kind == CHECK.name and event.get("ok") is not False):
        return ""
    kind, about = _kind(event), set(_about(event))
    for name, one in shadows.cast.items():
        if _of_kind(kind, one.kinds) and (one.touches == HOST or about & one.touches):
            return name
    return ""


def standing(shadows: Shadows, event: Event) -> str:
    """The mitigation in force that brings about what this check says, good or bad; empty for none."""
    kind, about = (_kind(event), set(_about(event))) if shadows.cast else ("", set[str]())
    for name, one in shadows.cast.items():
        if one.until == math.inf and _of_kind(kind, one.kinds) and (one.touches == HOST or about & one.touches):
            return name
    return ""


def _kind(event: Event) -> str:
    return f"{event.kind} {event.get('check')}" if event.kind == CHECK.name else event.kind


def _about(event: Event) -> Iterator[str]:
    """Whom an event is about, in the words of what changes touch."""
    if event.kind == CHECK.name:
        yield from str(event.get("about") or "").split(", ")
        return
    for field, kinds in SUBJECTS.items():
        if value := event.fields.get(field):
            yield from (f"{kind} {value}" for kind in kinds)
