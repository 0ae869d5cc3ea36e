"""`maintenance` in agent.yaml: windows that come round by the clock, read from their nodes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator

from agent.grammar.located import Node, Problem, did_you_mean
from agent.grammar.typed import read
from agent.people.maintenance import DAYS, Window
from agent.policy import BUILT_IN
from agent.schema import About

_DAY: Final = 24 * 60
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")


def _clock(text: object) -> int:
    """Minutes after midnight."""
    found = _CLOCK.fullmatch(str(text))
    if found is None:
        raise ValueError(f"`{text}` is no time of day; write hours and minutes, as in 22:30")
    return int(found[1]) * 60 + int(found[2]) if found[1] else _DAY


Clock = Annotated[int, BeforeValidator(_clock)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_EVERY: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class MaintenanceKeys:
    """A window in which policies only say what they would do."""

    from_: Annotated[Clock, About("when it opens, in this host's local time, as in 22:30", '"22:30"')]
    to: Annotated[Clock, About("when it shuts, as in 23:30; an earlier hour is the next day's", '"23:30"')]
    days: Annotated[tuple[Day, ...], About("the days on which it opens, as in [tue, thu]; every day where nothing is said")] = (
        _EVERY
    )
    policies: Annotated[
        tuple[Node, ...], About("the policies that do not act in it; all where nothing is said", "[service-down]")
    ] = ()
    why: Annotated[str, About("what it is for; it stands in the evidence", "weekly deploy")] = ""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "for": "write to: and the hour at which it shuts",
        "policy": "write policies: [service-down]",
        "ttl": "write to: and the hour at which it shuts",
    }

    def __post_init__(self) -> None:
        """It has a length, some days, and an end."""
        if self.from_ == _DAY:
            raise ValueError('from 24:00 is the next day; write from: "00:00"')
        if not self.days:
            raise ValueError("days names none, so it would never open; write days: [tue], or leave the line out for every day")
        if self.length == _DAY and len(set(self.days)) == len(DAYS):
            raise ValueError("to is where it began, every day, so it would never end; write mode: dry_run for policies instead")

    @property
    def length(self) -> int:
        """Minutes from its beginning to its end, at most a day."""
        return (self.to - self.from_ - 1) % _DAY + 1


def windows(keys: Mapping[str, MaintenanceKeys | None] | None, found: list[Problem]) -> tuple[Window, ...]:
    """The windows by their names; what cannot be read of a policy's name goes to `found`."""
    made = []
    for name, one in (keys or {}).items():
        if one is not None:
            places = {text: node.place for node in one.policies if (text := read(node, str, found))}
            days = frozenset(DAYS.index(day) for day in one.days)
            made.append(Window(name, one.from_, one.length, days, tuple(places), one.why, places))
    return tuple(made)


def unknown(made: Iterable[Window], policies: Iterable[str]) -> list[Problem]:
    """What is wrong with the policies that windows name: a window for none that exists would let the real one act."""
    known = set(policies) - BUILT_IN
    return [
        Problem(place, f"no policy is called `{name}`", did_you_mean(name, known))
        for one in made
        for name, place in one.places.items()
        if name not in known
    ]
