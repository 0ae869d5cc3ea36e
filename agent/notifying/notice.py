"""What people are told about an incident at one moment, whole in itself, for every channel alike. Pure.

A notice says how things stand, not only what has changed: a channel that lost the nine before it tells the truth with the tenth.
Its texts are plain; control and bidi characters are visible already, and yet any of them may be a stranger's words from a log.
So each notifier escapes all of them for its own markup and makes links of `links` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from agent.policy import Class, Severity

What = Literal["opened", "changed", "acknowledged", "escalated", "noted", "resolved", "reopened", "closed", "test"]
"""Why people are told: `changed` is anything else that moved, a severity or what is done about it."""

MOST_LINES: Final = 12
"""Lines of each part of a notice; what is more is a last line that says so."""
MOST_TARGETS: Final = 20
LONGEST_LINE: Final = 300


class Notice(NamedTuple):
    """One thing to tell. `key` is its own for ever (`INC-7/12`): whoever gets it twice knows so. Times are Unix seconds.

    `headline` stands alone: what, how much, contained when, who is on it. `news` is the one sentence that was not known before.
    `saw`, `did` and `need` are lines; `need` ends in one command. `links` are pairs of a word and an address, made by ops
    (a runbook) or by the agent, never by a stranger. `targets` are the first of `many`.
    """

    key: str
    incident: str
    what: What
    severity: Severity
    phase: str
    headline: str
    news: str
    at: float
    opened: float
    host: str = ""
    policy: str = ""
    title: str = ""
    about: Class = "other"
    saw: tuple[str, ...] = ()
    did: tuple[str, ...] = ()
    need: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] = ()
    many: int = 1
    acked_by: str = ""
    """The person who has acknowledged it; empty while nobody has."""
    assigned: str = ""
    dry: bool = False
    """Whether nothing is really done about it: its policy is in dry run."""

    @property
    def number(self) -> int:
        """Its place among those of its incident, from 1."""
        return int(self.key.rpartition("/")[2])

    @property
    def urgent(self) -> bool:
        """Whether it must get through whatever it takes."""
        return self.severity in ("P0", "P1") and self.what != "noted" and not self.dry


def read(plain: Mapping[str, Any]) -> Notice:
    """A notice as JSON held it (`Notice._asdict`)."""
    lists = {name: tuple(plain.get(name, ())) for name in ("saw", "did", "need", "targets")}
    links = tuple((str(word), str(address)) for word, address in plain.get("links", ()))
    return Notice(**{**{name: plain[name] for name in Notice._fields if name in plain}, **lists, "links": links})


def fold_lines(lines: Sequence[str], most: int = MOST_LINES) -> tuple[str, ...]:
    """At most so many lines, each of a bearable length; the last says how many more there were."""
    cut = [one if len(one) <= LONGEST_LINE else f"{one[: LONGEST_LINE - 1]}…" for one in lines]
    return tuple(cut) if len(cut) <= most else (*cut[: most - 1], f"and {len(cut) - most + 1} more")
