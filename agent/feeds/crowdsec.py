"""CrowdSec's decisions: a list that changes every few seconds, and an event for each that was made on this host.

Its local API tells a bouncer everything once, and from then on what is new and what has gone (GET /v1/decisions/stream). Seen in
1.4.6: without `dedup=false` only the longest decision about an address is told, and another one's id when it goes; each answer
repeats the last two seconds of the one before; `new` and `deleted` may be null; what went long ago is told again at a start.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urlencode

from pydantic_core import from_json, to_json

from agent.action import CannotReach
from agent.event import Event, Value
from agent.feeds.decision import DECISION
from agent.feeds.fetching import NotSent, Source, fetch
from agent.feeds.following import Following
from agent.feeds.listing import Listing, counting
from agent.feeds.reading import Read
from agent.grammar.config import hidden
from agent.grammar.config_feeds import CrowdsecKeys, FeedKeys
from agent.guard import Lifelines
from agent.schema import spoken
from agent.streams.parser import LONGEST_RAW
from agent.watching.keyed import Keyed
from agent.watching.networks import coded, network

SYNC: Final = 3600.0
"""Seconds after which everything is asked for again: whoever uses the same key as we do takes news away from us."""
WITHIN: Final = timedelta(seconds=20)
REFRESHED: Final = 60.0
"""Seconds between two words on when it was last asked."""
_PERSISTENT: Final = 3
"""Errors in a row that are not a passing one: its database is locked now and then."""
_GONE: Final = 10_000
"""Decisions that are known to have gone: their end is told more than once."""
_GO: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class _Decision(NamedTuple):
    """A decision in force: its network, and when it ends by time.monotonic()."""

    version: int
    code: int
    until: float


class Crowdsec(Following):
    """Follows the decisions of one local API."""

    anchors: ClassVar[bool] = True
    quiet: ClassVar[float] = 60.0

    def __init__(
        self, called: str, keys: FeedKeys, lines: Callable[[], Lifelines], lapi: CrowdsecKeys, learn: Callable[[str], None]
    ) -> None:
        """Nothing is asked yet; `learn` hears the key, so that it can be kept out of evidence."""
        super().__init__(called, keys, lines)
        self._lapi, self._learn_key = lapi, learn
        self._held: dict[int, _Decision] = {}
        self._gone: Keyed[bool] = Keyed(_GONE)
        self._last, self._key, self._known_key = -1, "", ""
        self._due = self._sync_at = self._ends = 0.0
        self._whole, self._dedup = True, "false"
        self._too_many = self._errors = 0
        self._down = True

    @property
    def blind(self) -> bool:
        """Whether it does not answer."""
        return self._down

    def begin(self, position: str | None) -> None:
        """Go on behind the last decision that an event was made of; a new key means another local API, or a new one."""
        self._key, _, last = (position or "").partition(":")
        self._last = int(last) if last.isdecimal() else -1
        self._whole = True

    def turn(self, now: float, wanted: frozenset[str] | None) -> tuple[list[Event], str | None]:
        """Ask, when it is time."""
        clock = time.monotonic()
        if clock < self._due:
            return [], None
        self._due = clock + self.keys.period.total_seconds()
        try:
            key = self._secret()
            answer = self._ask(key)
        except CannotReach as error:  # what it told us may be lost on the way
            self._whole, self._down = True, True
            self._take(now, changed=self._over(clock))
            self.warn(str(error))
            return [], None
        self._down = False
        return self._hears(answer, hashlib.sha256(key.encode()).hexdigest()[:12], now, wanted)

    # Asking -------------------------------------------------------------------------------------------------------------------

    def _ask(self, key: str) -> Mapping[str, Any]:
        """Everything, or what has changed.

        Raises:
            CannotReach: it is not there, does not take the key, or says something else.
        """
        self._whole = self._whole or time.monotonic() >= self._sync_at
        url = f"{self._lapi.url}/v1/decisions/stream?{self._query()}"
        source = Source(url, True, str(self.keys.ca_file or ""), (("X-Api-Key", key),), WITHIN)
        try:
            said = from_json(fetch(source).body or b"")
        except NotSent as error:
            if error.status == 403:
                mend = "it does not take the key; have one made: cscli bouncers add containment-agent"
                raise CannotReach(f"{error}: {mend}") from error
            self._errors += 1
            if error.status and self._errors % _PERSISTENT == 0:
                # a version that does not know the word? Without it, decisions about one address hide each other
                self._dedup = "" if self._dedup else "false"
            raise
        except ValueError as error:
            raise CannotReach(f"cannot use what {self._lapi.url} answers: it is no JSON; is it CrowdSec's local API?") from error
        if not isinstance(said, dict) or not said.keys() & {"new", "deleted"}:
            raise CannotReach(f"cannot use what {self._lapi.url} answers: it names no decisions; is it CrowdSec's local API?")
        self._errors = 0
        return said

    def _secret(self) -> str:
        """The key, read each time, so that a new one counts at once."""
        key = hidden(self._lapi.key_file, "CrowdSec")
        if not key or not key.isascii() or not key.isprintable():
            raise CannotReach(f"cannot log in to CrowdSec: {self._lapi.key_file} holds no key")
        if key != self._known_key:
            self._learn_key(key)
            self._known_key = key
        return key

    def _query(self) -> str:
        named = {
            "startup": "true" if self._whole else "",
            "scopes": "ip,range",
            "dedup": self._dedup,
            "origins": ",".join(self._lapi.origins),
            "scenarios_containing": ",".join(self._lapi.scenarios),
        }
        return urlencode({name: said for name, said in named.items() if said}, safe=",")

    # What it says -------------------------------------------------------------------------------------------------------------

    def _hears(
        self, answer: Mapping[str, Any], key: str, now: float, wanted: frozenset[str] | None
    ) -> tuple[list[Event], str | None]:
        """Let it count, and make events of what is new since the last one."""
        clock, before = time.monotonic(), self._held
        if self._whole:
            self._held, self._too_many, self._sync_at = {}, 0, clock + SYNC
        gone = self._forget(_rows(answer, "deleted"))
        fresh = self._learn(_rows(answer, "new"), clock)
        changed = self._over(clock) or gone or bool(fresh) or (self._whole and before.keys() != self._held.keys())
        self._whole = False
        self._take(now, changed=changed)
        most = self.keys.max_entries
        self.warn(f"{self._too_many:,} decisions beyond {most:,} are not used; raise max_entries" if self._too_many else "")
        return self._events(fresh, key, now, wanted)

    def _forget(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Take out what has gone; where the id is not known and never was, whatever there is about that address."""
        before = len(self._held)
        for row in rows:
            number = row.get("id")
            if not isinstance(number, int) or self._gone.find(number, 0.0):
                continue
            self._gone.put(number, True, 0.0)
            if self._held.pop(number, None) is None and not self._whole and (found := _where(row)) is not None:
                same = [one for one, held in self._held.items() if (held.version, held.code) == found]
                for one in same:
                    del self._held[one]
        return len(self._held) < before

    def _learn(self, rows: Iterable[Mapping[str, Any]], clock: float) -> list[Mapping[str, Any]]:
        """Take in what is new; those rows that were."""
        fresh = []
        for row in rows:
            number, left, found = row.get("id"), _seconds(row.get("duration")), _where(row)
            if not isinstance(number, int) or left is None or left <= 0 or found is None or row.get("simulated"):
                continue
            if number not in self._held and len(self._held) >= self.keys.max_entries:
                self._too_many += 1
                continue
            if number not in self._held:
                fresh.append(row)
            self._held[number] = _Decision(*found, clock + left)
            self._ends = min(self._ends, clock + left)
        return fresh

    def _over(self, clock: float) -> bool:
        """Take out those whose time has come, also where nobody tells us."""
        if clock < self._ends:
            return False
        before = len(self._held)
        self._held = {number: one for number, one in self._held.items() if one.until > clock}
        self._ends = min((one.until for one in self._held.values()), default=clock + SYNC)
        return len(self._held) < before

    def _take(self, now: float, *, changed: bool) -> None:
        refreshed = self.live.refreshed
        if not self._down and (refreshed is None or not 0 <= now - refreshed < REFRESHED):
            refreshed = now
        if changed:
            found: dict[int, set[int]] = {4: set(), 6: set()}
            for one in self._held.values():
                found[one.version].add(one.code)
            read = Read({version: sorted(codes) for version, codes in found.items()})
            networks, left_out = counting(read, self.keys.bounds, self.lines())
            self.live = Listing(self.live.source, networks, "", refreshed, left_out, self.live.trouble)
            self.because = "CrowdSec decided, or an end came"
        elif refreshed != self.live.refreshed:
            self.live = replace(self.live, refreshed=refreshed)

    # Events -------------------------------------------------------------------------------------------------------------------

    def _events(
        self, fresh: Sequence[Mapping[str, Any]], key: str, now: float, wanted: frozenset[str] | None
    ) -> tuple[list[Event], str | None]:
        """One for each decision of this host that had none yet. The very first time, those from before are only remembered."""
        newest = max((int(row["id"]) for row in fresh), default=-1)
        if key != self._key:
            self._key, self._last = key, newest
            return [], f"{key}:{newest}"
        if newest <= self._last:
            return [], None
        new = sorted((row for row in fresh if row["id"] > self._last), key=lambda row: int(row["id"]))
        self._last = newest
        heard = wanted is None or DECISION.name in wanted
        return [_event(row, self.source, now) for row in new if heard and _local(row)], f"{key}:{newest}"


def _rows(answer: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    rows = answer.get(name)
    return (one for one in rows if isinstance(one, dict)) if isinstance(rows, list) else ()


def _where(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """The address or network that a decision is about; None for a country and the like."""
    if str(row.get("scope")).lower() not in ("ip", "range"):
        return None
    try:
        return coded(str(row.get("value")))
    except ValueError:
        return None


def _local(row: Mapping[str, Any]) -> bool:
    """Whether it was made here: neither by CrowdSec's community nor by a list, and not read from a file."""
    origin = str(row.get("origin")).lower()
    return origin not in ("capi", "cscli-import") and not origin.startswith("lists")


def _event(row: Mapping[str, Any], source: str, now: float) -> Event:
    found = _where(row)
    fields: dict[str, Value] = {
        "src.ip": spoken(network(*found)) if found else "",
        "scenario": str(row.get("scenario", "")),
        "origin": str(row.get("origin", "")),
        "type": str(row.get("type", "")),
        "duration": round(_seconds(row.get("duration")) or 0.0, 3),
    }
    return Event(DECISION.name, now, fields, source, now, to_json(row).decode()[:LONGEST_RAW])


def _seconds(duration: object) -> float | None:
    """Go's way to write a time, as in `3h51m57.36s` or `-14.6ms`; None for anything else."""
    text = str(duration)
    rest, sign = text.removeprefix("-"), -1.0 if text.startswith("-") else 1.0
    if not rest or _GO.sub("", rest):
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _GO.findall(rest))
