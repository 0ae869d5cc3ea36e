"""Close this whole host, but for the people who work on it and what it cannot be without."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from agent.action import Change, action
from agent.schema import About, Duration, Ttl, spell
from agent.systems.perimeter import Opening, Perimeter

_SHOWN = 12


def _long_enough(window: timedelta) -> timedelta:
    if window < timedelta(seconds=10):
        raise ValueError(f"{spell(window)} is too short for anybody to confirm; write at least 10s")
    return window


@action(impact="destructive", within=10, mutes=("check *",))
class IsolateHost:
    """Cut this host off: nothing gets in, out or through to containers, on open connections neither, but for its openings.

    It takes itself back after `confirm`, in the kernel and so even where the agent is dead, unless a person says
    `contain confirm` by then; from then on it stays for `ttl`. Openings are those that agent.yaml names and those that
    this host learns by itself: who is logged in over ssh, and its name servers.
    """

    target: ClassVar[str] = "host"

    ttl: Ttl
    confirm: Annotated[
        Annotated[Duration, AfterValidator(_long_enough)],
        About("it takes itself back after this time unless a person confirms it, as in 5m; at least 10s"),
    ] = timedelta(minutes=5)

    def plan(self, perimeter: Perimeter) -> list[Change]:
        """One change, or none where the host is closed like that for at least as long as the first step takes."""
        openings, first = perimeter.openings(), self._first
        if perimeter.closed(openings, first):
            return []
        perimeter.preflight(openings)
        return [
            Change(
                describe=f"close this host to everything but {_said(openings)}; {self._ends}",
                apply=perimeter.close(openings=openings, ttl=first),
                undo=perimeter.open_again(),
                verify=perimeter.is_closed(openings=openings),
                capture=(perimeter.refused(), perimeter.ruleset()),
                touches=("host",),
            )
        ]

    @property
    def _first(self) -> timedelta:
        """How long the kernel keeps it closed before anybody confirms."""
        return min(self.confirm, self.ttl.first or self.confirm)

    @property
    def _ends(self) -> str:
        if self.ttl.first and self.ttl.first <= self.confirm:
            return f"it opens again after {spell(self.ttl.first)}"
        then = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        return f"it opens again after {spell(self.confirm)} unless a person says `contain confirm`, and then stays closed {then}"


def _said(openings: Sequence[Opening]) -> str:
    more = f" and {len(openings) - _SHOWN} more" if len(openings) > _SHOWN else ""
    return ", ".join(map(str, openings[:_SHOWN])) + more
