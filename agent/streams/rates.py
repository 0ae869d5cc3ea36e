"""Request rates per client and per site, counted from whole chunks of an access log; no event is built per line.

The log's own times say how long the counted lines took, so that an hour of log read in one second after a restart is not
mistaken for a flood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from agent.event import Event, Kind, Value
from agent.schema import canonical
from agent.streams.usual import Usual

SOURCE: Final = Kind(
    "http.source",
    "Requests of one client in the last seconds; error_ratio is the share answered with 400 to 599.",
    {"src.ip": "address", "rps": "number", "requests": "integer", "error_ratio": "number"},
    state=True,
    forgeable=True,
)
STATS: Final = Kind(
    "http.stats",
    "Requests to one site in the last seconds; error_ratio is the share answered with 500 to 599.",
    {
        "vhost": "text",
        "rps": "number",
        "requests": "integer",
        "error_ratio": "number",
        "clients": "integer",
        "per_client": "number",
        "usual": "number",
        "times": "number",
    },
    state=True,
)
"""`clients` is how many different addresses stood in the whole log (20,000 at most), `per_client` their requests on average,
over all its sites. `usual` is the median of the site's rps over the last hour, `times` how many times that (1 at least) this
is; both are absent until ten minutes were read after a start."""
MEASURED: Final = (SOURCE, STATS)

Hit = tuple[bytes, bytes, bytes]
"""Client, site, status: as the log writes them."""
Counts = dict[bytes, list[int]]
"""Requests and errors of each client or site."""

_MOST_CLIENTS: Final = 20_000
_MOST_SITES: Final = 1_000
_FEWEST_REQUESTS: Final = 5
_HISTORY: Final = 60.0
"""Seconds; rates of lines older than this say nothing about now."""


class Tally(NamedTuple):
    """How often each hit stands in a chunk. `first` and `last` are the times of its outer lines, 0 where unknown."""

    hits: Counter[Hit]
    first: float
    last: float


class Meter:
    """Adds tallies up and says the rates of the wanted kinds every few seconds. Memory is bounded: the busiest clients stay."""

    def __init__(self, source: str, every: float, wanted: Collection[str]) -> None:
        self._source, self._every, self._wanted = source, every, wanted
        self._since = 0.0
        self._told: set[bytes] = set()
        self._usual: dict[bytes, Usual] = {}
        self.forgotten = 0
        """Clients and sites that were let go, though they had not been told of yet: there were too many at once."""
        self._clear()

    def _clear(self) -> None:
        self._clients: Counts = {}
        self._sites: Counts = {}
        self._first = self._last = 0.0

    def add(self, tally: Tally) -> None:
        """Count a chunk."""
        for (client, site, status), times in tally.hits.items():
            _count(self._clients, client, times, status >= b"400")
            _count(self._sites, site, times, status >= b"500")
        counted = len(self._clients) + len(self._sites)
        self._clients = _busiest(self._clients, _MOST_CLIENTS)
        self._sites = _busiest(self._sites, _MOST_SITES)
        self.forgotten += counted - len(self._clients) - len(self._sites)
        self._first = self._first or tally.first
        self._last = max(self._last, tally.last)

    def tick(self, seen: float) -> list[Event]:
        """The rates since the last tick if one is due, else nothing."""
        self._since = self._since or seen
        elapsed = seen - self._since
        if elapsed < self._every:
            return []
        stale = 0 < self._last < seen - _HISTORY
        events = [] if stale else list(self._rates(seen, max(elapsed, self._last - self._first)))
        self._since = seen
        self._clear()
        return events

    def _rates(self, seen: float, seconds: float) -> Iterable[Event]:
        yield from self._sources(seen, seconds) if SOURCE.name in self._wanted else ()
        yield from self._stats(seen, seconds) if STATS.name in self._wanted else ()

    def _sources(self, seen: float, seconds: float) -> Iterable[Event]:
        """The busy clients, and once more those that were busy the last time, so that `for: 3 of 4` sees them go quiet."""
        busy = {client for client, (requests, _) in self._clients.items() if requests >= _FEWEST_REQUESTS}
        for client in (*busy, *(self._told - busy)):
            if ip := canonical(client.decode("ascii", "replace")):
                requests, errors = self._clients.get(client, (0, 0))
                yield self._event(SOURCE, seen, {"src.ip": ip, **_shares(requests, errors, seconds)})
        self._told = busy

    def _stats(self, seen: float, seconds: float) -> Iterable[Event]:
        """Each site that somebody asked; one that nobody asks is remembered as that, while there is room."""
        for site in [one for one in self._usual if one not in self._sites]:
            self._usual[site].add(0.0, seen)
            if len(self._usual) > _MOST_SITES // 2:
                del self._usual[site]
        asked = sum(requests for requests, _ in self._clients.values())
        crowd = {"clients": len(self._clients), "per_client": round(asked / max(len(self._clients), 1), 2)}
        for site, (requests, errors) in self._sites.items():
            usual = self._usual.setdefault(site, Usual()).compare(requests / seconds, seen)
            fields = _shares(requests, errors, seconds) | crowd | usual
            yield self._event(STATS, seen, {"vhost": site.decode("utf-8", "replace"), **fields})

    def _event(self, kind: Kind, seen: float, fields: Mapping[str, Value]) -> Event:
        return Event(kind.name, seen, fields, self._source, self._last, forgeable=kind.forgeable)


def _count(counts: Counts, key: bytes, times: int, error: bool) -> None:
    known = counts.setdefault(key, [0, 0])
    known[0] += times
    known[1] += times if error else 0


def _busiest(counts: Counts, most: int) -> Counts:
    """The busier half where there are too many; a client that comes back later counts from nothing."""
    if len(counts) <= most:
        return counts
    return dict(sorted(counts.items(), key=lambda pair: -pair[1][0])[: most // 2])


def _shares(requests: int, errors: int, seconds: float) -> dict[str, Value]:
    return {"rps": round(requests / seconds, 3), "requests": requests, "error_ratio": round(errors / max(requests, 1), 4)}
