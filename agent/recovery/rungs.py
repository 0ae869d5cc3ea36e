"""How a policy lets go: a ladder for each address, or shares of many; when each rung ends, and how early it begins. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from agent.schema import spell

Rung = Literal["limited", "observed", "watched", "off"]
"""Below what is in force, from the top: let through slowly, only looked at, over but looked at, over."""

RPS: Final = 10
"""New connections per second that a limit lets through where the policy names no number: a person with a browser gets by."""
LEAD: Final = 10.0
"""Seconds before the end of a mitigation in which the rung below is put in place: the kernel ends blocks by itself."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """`limit 10m at 20/s then observe 10m`: slowed down before it is let go, then only looked at. Either may be left out."""

    limit: timedelta | None = None
    rps: int = RPS
    observe: timedelta | None = None

    def __str__(self) -> str:
        limit = f"limit {spell(self.limit)} at {self.rps}/s" if self.limit else ""
        observe = f"observe {spell(self.observe)}" if self.observe else ""
        return " then ".join(one for one in (limit, observe) if one)


@dataclass(frozen=True, slots=True)
class Shares:
    """`25% every 5m`: of many that are due together, at most so many percent (1 to 99) end in each span, the oldest first."""

    percent: int
    every: timedelta

    def __str__(self) -> str:
        return f"{self.percent}% every {spell(self.every)}"


@dataclass(frozen=True, slots=True)
class Proof:
    """When checks are good again: so many `times` in a row, or for a `span`."""

    times: int = 3
    span: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Recover:
    """The `recover:` of a policy. `quiet` goes with `after: quiet`: so long without a finding ends a mitigation early; `ok` goes
    with `after: ok`: so do checks that are good again. `verify` names the checks that it is about, where its clauses do not.
    """

    after: Literal["ttl", "quiet", "ok", "resolved", "manual"] = "ttl"
    quiet: timedelta | None = None
    ok: Proof | None = None
    verify: tuple[str, ...] = ()
    release: Ladder | Shares | None = None
    watch: timedelta | None = None

    @property
    def ladder(self) -> Ladder | None:
        """The ladder, where it is one."""
        return self.release if isinstance(self.release, Ladder) else None

    @property
    def shares(self) -> Shares | None:
        """The shares, where there are some."""
        return self.release if isinstance(self.release, Shares) else None

    @property
    def limit(self) -> timedelta | None:
        """How long the same address is limited after a block; None where it is not."""
        return self.ladder.limit if self.ladder else None

    def rungs(self) -> Iterator[tuple[Rung, timedelta]]:
        """The rungs that this policy has, from the top, and how long each takes."""
        ladder = self.ladder or Ladder()
        for rung, span in (("limited", ladder.limit), ("observed", ladder.observe), ("watched", self.watch)):
            if span:
                yield rung, span  # type: ignore[misc]

    def fallen(self, ended: float, now: float, *, below: Rung | None = None) -> tuple[Rung, float]:
        """The rung of `now`, and its end, of what left the rung `below` (None: what was in force) at `ended` (Unix seconds)."""
        rungs = list(self.rungs())
        names = [rung for rung, _ in rungs]
        after = _ORDER.index(below) if below else -1
        for rung, span in rungs[sum(_ORDER.index(name) <= after for name in names) :]:
            ended += span.total_seconds()
            if now < ended:
                return rung, ended
        return "off", ended


_ORDER: Final[tuple[Rung, ...]] = ("limited", "observed", "watched", "off")


def lead(since: float, until: float) -> float:
    """Seconds before its end in which what follows is prepared: LEAD, and for short ones a quarter of their time."""
    return min(LEAD, max(0.0, until - since) / 4)


def nearing(recover: Recover, since: float, until: float) -> float | None:
    """When to prepare the end of a mitigation (Unix seconds); None where it simply ends."""
    return until - lead(since, until) if recover.limit or recover.shares else None
