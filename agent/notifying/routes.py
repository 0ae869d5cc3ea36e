"""Who is told: channels by name, routes by severity, and how a silence of people is escalated. As agent.yaml says it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from agent.policy import Severity


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to people. `type` is its notifier, `whom` where it goes, in a few words."""

    name: str
    type: str
    whom: str = ""
    public: bool = False


@dataclass(frozen=True, slots=True)
class Escalation:
    """After so long, while it is still so, these are told too: nobody has acknowledged it, or it still goes on."""

    after: timedelta
    while_: Literal["unacknowledged", "open"] = "unacknowledged"
    to: tuple[str, ...] = ()
    """Channels; empty: all that agent.yaml has."""


@dataclass(frozen=True)
class Routes:
    """`by` names the channels of each severity, `fallback` those that are told where a P0 or P1 gets through to nobody.

    `escalation` is what happens by severity where a policy says nothing of its own. `link` is where the pages are, as in
    https://shop1.example.com:9444, without a slash at its end; empty where there are none.
    """

    channels: Mapping[str, Channel] = field(default_factory=dict)
    by: Mapping[Severity, tuple[str, ...]] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()
    escalation: Mapping[Severity, tuple[Escalation, ...]] = field(default_factory=dict)
    link: str = ""
