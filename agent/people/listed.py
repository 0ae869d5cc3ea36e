"""People's own lists of addresses that are left alone: entries with a list, an end and a reason. Pure.

The list `never_touch` makes life-lines; those that agent.yaml names count as policies read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from agent.guard import Lifeline, Lifelines, Network
from agent.record import Record
from agent.say import clock
from agent.schema import address, spoken

NEVER: Final = "never_touch"
"""The list whose entries are life-lines: for everything and everybody, or for some policies alone."""
CONFIGURED: Final = "never_touch in agent.yaml"
"""Why a line of agent.yaml's own never_touch is one."""
MOST: Final = 10_000

Given = Mapping[str, Sequence[Network]]
"""The lists of agent.yaml."""
_NONE: Final = Lifelines((), ())


class Entry(NamedTuple):
    """An address on a list until a time (Unix seconds). With `policies`, these alone leave it alone."""

    list: str
    network: Network
    until: float
    since: float
    actor: str
    why: str
    policies: tuple[str, ...] = ()

    @property
    def everywhere(self) -> bool:
        """Whether it is a life-line."""
        return self.list == NEVER and not self.policies

    @property
    def said(self) -> str:
        """Who put it there, until when and why."""
        return f"on {self.list} until {clock(self.until)}, by {self.actor}: {self.why}"

    @property
    def mend(self) -> str:
        """How it is taken off."""
        return f"take it off: contain list remove {self.list} {spoken(self.network)}"


Key = tuple[str, Network, tuple[str, ...]]


class Lists:
    """What people have put on lists. One address can be there for each list, and for each choice of policies, once."""

    kinds: ClassVar[frozenset[str]] = frozenset({"listed", "unlisted"})

    def __init__(self) -> None:
        """Nothing is listed."""
        self.entries: dict[Key, Entry] = {}
        self._changed()

    # A book -----------------------------------------------------------------------------------------------------------

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says: what is listed again stays until the new end, and since when it was first."""
        body = record.body
        key = key_of(body["list"], body["address"], body["policies"])
        if record.kind == "unlisted":
            self.entries.pop(key, None)
        else:
            since = self.entries[key].since if key in self.entries else ts
            self.entries[key] = Entry(key[0], key[1], body["until"], since, body["actor"], body["why"], key[2])
        self._changed()

    def plain(self) -> Any:
        """All of it as JSON values."""
        return [{**one._asdict(), "network": spoken(one.network), "policies": list(one.policies)} for one in self._all()]

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        read = [Entry(**{**one, "network": address(one["network"]), "policies": tuple(one["policies"])}) for one in plain]
        self.entries = {key_of(one.list, one.network, one.policies): one for one in read}
        self._changed()

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        moved = {key: one._replace(until=one.until + by, since=one.since + by) for key, one in self.entries.items()}
        self.entries = moved
        self._changed()

    def _changed(self) -> None:
        """Forget what follows from the entries: a start folds ten thousand of them, and asks once."""
        self._ends: float | None = None
        self._spared: dict[tuple[str, tuple[str, ...]], Lifelines] = {}
        self._of: Given = {}

    def _all(self) -> Iterable[Entry]:
        return self.entries.values()

    # What it means ----------------------------------------------------------------------------------------------------

    def lines(self) -> list[Lifeline]:
        """Those that are life-lines."""
        return [Lifeline(one.network, one.said, mend=one.mend) for one in self._all() if one.everywhere]

    def over(self, now: float) -> list[Entry]:
        """Those whose time has come."""
        if self._ends is None:
            self._ends = min((one.until for one in self._all()), default=math.inf)
        return [one for one in self._all() if one.until <= now] if now >= self._ends else []

    def beside(self, given: Given) -> Given:
        """The lists of agent.yaml with what people have put on them."""
        added: dict[str, list[Network]] = {}
        for one in self._all():
            if one.list in given:
                added.setdefault(one.list, []).append(one.network)
        return {**given, **{name: (*given[name], *networks) for name, networks in added.items()}} if added else given

    def spared(self, policy: str, never: Sequence[str], given: Given) -> Lifelines:
        """What this policy alone leaves alone: the lists of its `never`, and what was listed for it. Kept until that changes."""
        if given is not self._of:
            self._of, self._spared = given, {}
        key = (policy, tuple(never))
        if key not in self._spared:
            lines = [*self._never(never, given), *self._scoped(policy)]
            self._spared[key] = Lifelines(lines, ()) if lines else _NONE
        return self._spared[key]

    def _never(self, never: Sequence[str], given: Given) -> Iterable[Lifeline]:
        for name in never:
            for network in given.get(name, ()):
                yield Lifeline(network, f"is on the list `{name}` ({network}), which this policy never touches")
        for one in self._all():
            if one.list in never:
                yield Lifeline(one.network, f"is {one.said}; this policy never touches that list", mend=one.mend)

    def _scoped(self, policy: str) -> Iterable[Lifeline]:
        for one in self._all():
            if policy in one.policies:
                yield Lifeline(one.network, f"is {one.said}; this policy leaves it alone", mend=one.mend)


def key_of(name: str, network: str | Network, policies: Iterable[str]) -> Key:
    """What an entry is found by.

    Raises:
        ValueError: that is no address.
    """
    return name, address(network), tuple(sorted(set(policies)))
