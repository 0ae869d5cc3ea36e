"""A list that others keep, as it counts: bounded, without what must not be on it, and compared with the one before. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Final

from agent.event import Value
from agent.feeds.reading import NotUsed, Read
from agent.guard import RESERVED, Lifelines, Network
from agent.schema import spoken
from agent.watching.networks import WIDTH, Codes, Networks, network, sharing

PRIVATE: Final = tuple(ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
"""Nobody on the internet comes from there (RFC 1918, 6598, 4193): on a stranger's list, they would name our own."""
_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a list may hold: so many networks, none wider than these prefixes, private ones only where that is said."""

    most: int = 100_000
    widest: int = 8
    widest_v6: int = 19
    private: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Why a list is another one than was recorded last; `actor` where a person said so."""

    because: str
    added: int
    removed: int
    actor: str = "agent"


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as it counts now.

    `digest` is the SHA-256 of its networks in order, one a line, as it was recorded last. `refreshed` is when its source was
    last seen to say so (Unix seconds, None for never), `left_out` what it had and does not count, `trouble` what is wrong now,
    with the mend. `offered` is how many networks a text has that was refused, and may be accepted by a person.
    """

    source: str = ""
    networks: Networks = field(default_factory=Networks)
    digest: str = ""
    refreshed: float | None = None
    left_out: str = ""
    trouble: str = ""
    offered: int | None = None

    def wrong(self, trouble: str, offered: int | None = None) -> Listing:
        """The same with what is wrong now; itself where that was known."""
        return self if (trouble, offered) == (self.trouble, self.offered) else replace(self, trouble=trouble, offered=offered)


class Followed:
    """A list's place in the heart: what asks it always gets what counts now, so that no window is lost when it changes."""

    __slots__ = ("listing",)

    def __init__(self, listing: Listing | None = None) -> None:
        """Empty, unless one was kept from before."""
        self.listing = listing or Listing()

    def find(self, text: Value) -> str:
        """The listed network that holds all of this address or network; empty where none does."""
        return self.listing.networks.find(text)


def counting(text: Read, bounds: Bounds, lines: Lifelines) -> tuple[Networks, str]:
    """The networks that count, and a sentence on those that do not: too wide, private, reserved, or meeting a life-line.

    A network that holds a life-line is left out as a whole.
    """
    wide = _wide(text.codes, bounds)
    private = _without(_meeting(text.codes, [*(() if bounds.private else PRIVATE), *(one for one, _ in RESERVED)]), wide)
    met = _without(_meeting(text.codes, [one.network for one in lines.given]), wide, private)
    kept = {
        version: [one for one in codes if not any(one in which[version] for which in (private, wide, met))]
        for version, codes in text.codes.items()
    }
    shown = [spoken(network(version, one)) for version, codes in met.items() for one in sorted(codes)[:3]]
    counts = {
        "wider than may be": _count(wide),
        "private or reserved": _count(private),
        f"that meet life-lines ({', '.join(shown[:3])})": _count(met),
    }
    said = [f"{count:,} {what}" for what, count in counts.items() if count]
    return Networks.of(kept), f"left out: {', '.join(said)}" if said else ""


def _wide(codes: Codes, bounds: Bounds) -> dict[int, set[int]]:
    widest = {4: bounds.widest, 6: bounds.widest_v6}
    return {version: {one for one in row if one & _LENGTH < widest[version]} for version, row in codes.items()}


def _meeting(codes: Codes, networks: Iterable[Network]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {version: set() for version in WIDTH}
    for one in networks:
        found[one.version] |= sharing(codes, one)
    return found


def _without(which: dict[int, set[int]], *others: dict[int, set[int]]) -> dict[int, set[int]]:
    return {version: codes.difference(*(one[version] for one in others)) for version, codes in which.items()}


def _count(which: dict[int, set[int]]) -> int:
    return sum(map(len, which.values()))


def shrunk(before: Networks, after: Networks) -> None:
    """Whether a list may take another one's place without a person's yes.

    Raises:
        NotUsed: less than half is left of it: cut, broken, or taken over.
    """
    if 2 * len(after) < len(before):
        raise NotUsed(f"it has {len(after):,} networks, and had {len(before):,}")


def difference(before: Networks, after: Networks) -> tuple[int, int]:
    """How many networks are new, and how many have gone."""
    added = removed = 0
    for version in WIDTH:
        old, new = set(before.codes[version]), set(after.codes[version])
        added, removed = added + len(new - old), removed + len(old - new)
    return added, removed


def written(codes: Codes) -> Iterator[str]:
    """Codes as people write networks."""
    for version, row in codes.items():
        yield from (spoken(network(version, one)) for one in row)


def digest(networks: Networks) -> str:
    """The SHA-256 of the networks in order, one a line: the same list always has the same."""
    text = hashlib.sha256()
    for one in written(networks.codes):
        text.update(f"{one}\n".encode())
    return text.hexdigest()


def page(networks: Networks, first: int, most: int) -> Sequence[str]:
    """So many networks from a place on."""
    found = list[str]()
    for codes in networks.codes.values():
        if len(found) < most:
            version = 4 if codes is networks.codes[4] else 6
            found += [spoken(network(version, one)) for one in codes[first : first + most - len(found)]]
        first = max(0, first - len(codes))
    return found


def unknown(name: str, known: Iterable[str]) -> str:
    """What is said to whoever names a list that nobody follows."""
    return f"no list that others keep is called `{name}`; known: {', '.join(known) or 'none; see `feeds:` in agent.yaml'}"
