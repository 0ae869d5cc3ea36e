"""/healthz: whether this agent does its work just now, and if not, why. Pure.

It is about the agent, not about the host that it watches: an attack, an open incident or a bad check is no fault of its.
Unhealthy means that attacks may go unseen or unrecorded, and that a person should look. It is no reason to restart the agent:
systemd's watchdog does that where it helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

STILL: Final = 10.0
"""Seconds without a turn of the loop after which it hangs. It comes round every two seconds when there is nothing to do."""
NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Signs:
    """What is looked at. `still` are seconds since the loop came round; `blind` and `silent` are sensors by name."""

    still: float
    stopping: bool = False
    failing: bool = False
    copies: bool = True
    blind: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    canary: str = ""
    problems: bool = False
    dry_run: bool = False
    paused: bool = False


Said = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Health:
    """The answer: `reasons` are why it is not well, `notes` what one should know all the same."""

    reasons: Said
    notes: Said

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"status": "ok" if self.well else "failing", "reasons": self.reasons, "notes": self.notes}


def health(signs: Signs) -> Health:
    """What the signs mean. Every sentence is ours: nothing that an outside system or a log said is in it."""
    return Health(_said(_reasons(signs)), _said(_notes(signs)))


def _said(some: Iterator[tuple[str, str]]) -> Said:
    return [{"what": what, "say": say} for what, say in some]


def _reasons(signs: Signs) -> Iterator[tuple[str, str]]:
    if signs.stopping:
        yield "stopping", "the agent is stopping; what is in force stays in force"
    if signs.still > STILL:
        yield "loop", f"the loop has not come round for {signs.still:.0f} s; it is busy or stuck"
    if signs.failing:
        yield (
            "evidence",
            f"the journal cannot be written, {'copies are kept elsewhere' if signs.copies else 'and not even a copy'}",
        )
    for name in signs.blind[:NAMED]:
        yield "blind", f"the sensor {name} cannot read its source"
    for name in signs.silent[:NAMED]:
        yield "silent", f"the source of {name} is silent for much longer than usual"
    if signs.canary == "lost":
        yield "canary", "the last canary did not come through"


def _notes(signs: Signs) -> Iterator[tuple[str, str]]:
    if signs.problems:
        yield "config", "agent.yaml or a policy has mistakes; what was live before stays live"
    if signs.dry_run:
        yield "dry_run", "policies only say what they would do, where none says otherwise"
    if signs.paused:
        yield "paused", "all policies are paused"
