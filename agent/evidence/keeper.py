"""Evidence, whatever the disk does: the journal where it can be written, a spool while it cannot, a new journal for a broken one.

    writing ── disk full, broken, read-only, locked ──► spooling: in memory, a file that outlives a kill, syslog; tried again
       ▲                                                  │       every few seconds, and written down in order then
       └──────────────────────────────────────────────────┘
    writing ── the journal is not what was written ──► it is set aside, and a new one begins with what the agent knows

The daemon writes through this as through a journal, and it never says no. `failing` tells it who may act meanwhile.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from agent.event import Event
from agent.evidence import keyring, ship
from agent.evidence.aside import Lost, newest, set_aside
from agent.evidence.journal import CannotUseJournal, CorruptJournal, EvidenceLost, Journal
from agent.evidence.journal_file import NewerJournal, Unwritable
from agent.evidence.journal_head import OtherKey
from agent.evidence.keys import CannotUseKey, publish
from agent.evidence.place import Memory, Place, reason
from agent.evidence.recall import old_state, positions_of
from agent.evidence.redact import Redactor
from agent.evidence.spool import Spool
from agent.record import Record, Stored

AGAIN: Final = 3.0
"""Seconds between two tries to write the journal again."""
PAGE_AGAIN: Final = 600.0
"""Seconds between two pages because of the same disk: one that is nearly full comes and goes."""
STAMP: Final = "evidence spool"
"""Under this name, among the sensors' positions, stands which spool file the journal has taken in."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
T = TypeVar("T")

_log = logging.getLogger("agent")


class Keeper:
    """Used by the owner's thread. `failing` says why evidence cannot be written (empty while it can). `blank` says that nothing
    is known, because a journal was lost and could not be read; `gap` that an agent was killed while it could not write, so
    that what it did last may stand in syslog alone. After either, the systems are asked what they hold.
    """

    def __init__(self, place: Place, taken: keyring.Taken, redact: Redactor, send: Callable[[Sequence[bytes]], str] = ship.tell):
        """Open the journal, or go on without it.

        Raises:
            CannotUseJournal: another agent writes it, or it is another program's or a newer agent's; nothing was changed.
        """
        self.failing, self.blank, self.gap = "", False, False
        self._place, self._taken, self._redact = place, taken, redact
        self._journal: Journal | None = None
        self._spool = Spool(place.spool, redact, send)
        self.gap = bool(self._spool.records)
        self._memory: Memory | None = None
        self._known: dict[str, str] = {}
        self._lost: Lost | None = taken.lost
        self._first: list[Record] = [taken.mishap] if taken.mishap else []
        self._due = self._paged = -math.inf
        self._since = 0.0
        try:
            self._open()
        except (Unwritable, EvidenceLost) as error:
            self._fail(error)

    # What is there ------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many records there are, those that wait included."""
        return (self._journal.size if self._journal else 0) + len(self._spool.records)

    @property
    def warning(self) -> str:
        """What somebody has to mend so that evidence stays safe; empty while all is well."""
        return self._journal.warning if self._journal else ""

    @property
    def no_copy(self) -> str:
        """Why nobody at all may act; empty while a record can be kept or a copy of it survives a kill."""
        return self._spool.no_copy if self.failing else ""

    def told(self) -> dict[str, Any]:
        """For status: why evidence cannot be written, since when (Unix seconds), how many records wait, where copies are."""
        if not self.failing:
            return {"failing": "", "since": None, "waiting": 0, "copies": ""}
        waiting = len(self._spool.records) + self._spool.left_out
        return {"failing": self.failing, "since": self._since, "waiting": waiting, "copies": self._spool.places}

    def positions(self) -> dict[str, str]:
        """How far each sensor had read when its last events were committed, or spooled."""
        return {**self._known, **self._spool.positions}

    def stamp(self) -> tuple[float, float] | None:
        """When the last record was written, by both clocks; None where that cannot be known."""
        return self._try(Journal.stamp)

    def events(
        self, *, since: float = 0.0, until: float = math.inf, limit: int = 1000, newest_first: bool = False
    ) -> list[Event]:
        """At most `limit` stored events; those that wait are not among them, and none where the journal cannot be read."""
        return self._try(lambda one: one.events(since=since, until=until, limit=limit, newest_first=newest_first)) or []

    # Beginning ----------------------------------------------------------------------------------------------------------

    def recall(self, build: Callable[[Any | None, Iterable[Stored]], T]) -> T:
        """What `build` makes of the last snapshot and the records after it, from wherever they can be read whole.

        That is the journal; the one that was set aside, if it is whole and only its key is gone; the journal on a disk that
        can only be read. Else `build` gets nothing, and `blank` says that the systems must be asked.
        """
        if self._journal and not self._lost:
            try:
                return build(*self._journal.replay())
            except CorruptJournal as error:
                because = str(error)
                self._surely(lambda: self._anew(because))
            except NewerJournal:
                raise
            except CannotUseJournal as error:
                self._fail(error)
        source = self._lost.aside / self._place.journal.name if self._lost else self._place.journal
        if self._lost or self.failing:
            self._known = self._known or positions_of(source)
            with suppress(CannotUseJournal):
                return old_state(source, self._place.key, lambda plain, old: build(plain, self._then(old)))
            self.blank = source.exists() or self._lost is not None
        return build(None, self._then(()))

    def _then(self, old: Iterable[Stored]) -> Iterator[Stored]:
        yield from old
        yield from self._spool.stored()

    def begin(self, now: float, memory: Memory) -> None:
        """Write down first what became of the evidence before this start; from now on a journal that breaks begins anew."""
        self._memory = memory
        for one in self._first:
            self._page(one, memory, now)
        self._bury(now)
        if self._first and not self.failing:
            self._surely(lambda: self._resume(now))

    def _bury(self, now: float) -> None:
        """A journal that was set aside becomes the first record of the new one."""
        if self._lost and self._memory:
            told = self._epitaph(self._lost)
            self._first, self._lost = [told, *self._first], None
            self._page(told, self._memory, now)

    def _page(self, one: Record, memory: Memory, now: float) -> None:
        memory.learn(one, now)
        ship.page(f"{one.kind.replace('_', ' ')}: {one.body['because']}\n{one.body['mend']}")

    def _epitaph(self, lost: Lost) -> Record:
        body = {"aside": str(lost.aside), "because": lost.because, "size": lost.size, "known": not self.blank}
        if self._taken.lost == lost:
            return Record("key_changed", body | keyring.key_changed(lost, self._taken.key))
        mend = f"contain evidence verify --db {lost.aside}/journal.db; contain status; contain evidence accept --why …"
        return Record("journal_lost", body | {"incident": lost.incident, "mitigation": lost.mitigation, "mend": mend})

    # Writing down -------------------------------------------------------------------------------------------------------

    def commit(
        self, now: float, records: Sequence[Record], *, positions: Mapping[str, str] = _NOTHING, events: Sequence[Event] = ()
    ) -> int:
        """Store everything durably; where that cannot be, keep it in memory and send copies off before returning.

        Raises:
            CannotRecord: a value has no JSON form; nothing was kept.
        """
        broken = ""
        if self._journal and not self.failing:
            try:
                size = self._journal.commit(now, records, positions=positions, events=events)
            except CorruptJournal as error:
                broken = str(error)
            except (EvidenceLost, CannotUseJournal) as error:
                self._fail(error)
            else:
                self._known.update(positions)
                return size
        self._spool.add(now, records)
        self._spool.see(positions, events)
        if broken:
            self._surely(lambda: self._anew(broken))
        return self.size

    def turn(self, now: float) -> None:
        """While evidence cannot be written, try again now and then."""
        if self.failing and time.monotonic() >= self._due:
            self.retry(now)

    def retry(self, now: float) -> None:
        """Try to write what waits; the chain goes on where it stopped."""
        begun = time.monotonic()
        try:
            if self._journal is None:
                self._open()
                self._bury(now)
            self._resume(now)
        except CorruptJournal as error:
            because = str(error)
            self._surely(lambda: self._anew(because))
        except (EvidenceLost, CannotUseJournal, CannotUseKey) as error:
            self.failing = reason(error)
        took = time.monotonic() - begun  # a try that ends after a whole second must not be all that the agent does
        self._due = time.monotonic() + max(AGAIN, 10 * took)

    def save_snapshot(self, plain: Mapping[str, Any]) -> None:
        """Store the state as of the last commit; while evidence cannot be written, nothing."""
        self._try(lambda one: one.save_snapshot(plain))

    def checkpoint_due(self, now: float) -> bool:
        """Whether a checkpoint is due, and can be made."""
        return not self.failing and self._journal is not None and self._journal.checkpoint_due(now)

    def checkpoint(self, now: float) -> str:
        """Sign and store what there is; returns the note, empty where that cannot be now."""
        return self._try(lambda one: one.checkpoint(now)) or ""

    def prune(self, now: float) -> int:
        """Forget stored events that are too old or too many."""
        return self._try(lambda one: one.prune(now)) or 0

    def started_well(self) -> None:
        """The agent runs: nothing that was kept in case it would not is needed any more."""
        self._try(Journal.started_well)

    def close(self) -> None:
        """Try a last time, and let go of the file."""
        if self.failing:
            self.retry(time.time())
        if self.failing:
            _log.error("%d records are not in the journal; copies are in %s", len(self._spool.records), self._spool.places)
        if self._journal:
            self._journal.close()

    # How ----------------------------------------------------------------------------------------------------------------

    def _try(self, work: Callable[[Journal], T]) -> T | None:
        """What the journal answers; None where it cannot, which changes what the agent goes on with."""
        if self._journal is None or self.failing:
            return None
        try:
            return work(self._journal)
        except CorruptJournal as error:
            because = str(error)
        except (EvidenceLost, CannotUseJournal) as error:
            self._fail(error)
            return None
        self._surely(lambda: self._anew(because))
        return None

    def _surely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (EvidenceLost, CannotUseJournal) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """From here on records are spooled. Said loudly once."""
        if self.failing:
            return
        now = time.time()
        self.failing, self._due = reason(error), time.monotonic() + AGAIN
        self._since = self._spool.records[0].ts / 1e9 if self._spool.records else now
        if self._journal:
            with suppress(CannotUseJournal):
                self._journal.patience(0.1)
        self._spool.add(now, [Record("evidence_failing", {"because": self.failing})])
        if time.monotonic() - self._paged >= PAGE_AGAIN:
            self._paged = time.monotonic()
            goes = f"Records wait in memory, with copies in {self._spool.places}, and are written once that is possible."
            ship.page(f"evidence cannot be written: {self.failing}\n{goes}\n{str(error).partition(chr(10))[2]}")

    def _open(self) -> None:
        """Open the journal; one that is broken, or that another key has signed, goes aside for a new one."""
        place = self._place
        if self._taken.why:
            self._taken = keyring.take_key(place.key, place.journal, place.host)
            self._lost = self._taken.lost or self._lost
        if self._taken.why:
            raise Unwritable(self._taken.why)
        try:
            journal = self._opened()
        except (CorruptJournal, OtherKey) as error:
            self._lost = set_aside(place.journal, reason(error), besides=self._publics(error))
            journal = self._opened()
        try:
            publish(place.key, self._taken.key)
        except CannotUseKey as error:
            _log.warning("%s", error)
        self._take_in(journal)

    def _opened(self) -> Journal:
        place, key = self._place, self._taken.key
        more: dict[str, Any] = {"ballast": place.ballast, "keep_events": place.keep_events}
        try:
            return Journal(place.journal, host=place.host, key=key, redact=self._redact, **more)
        except OSError as error:  # the disk does not even say what is there
            raise Unwritable(
                f"cannot use the journal {place.journal}: {error.strerror}\nLook at the disk (dmesg, df)."
            ) from error

    def _publics(self, error: Exception) -> tuple[Path, ...]:
        """The public key goes along with what it belongs to."""
        return (self._place.key.with_suffix(".vkey"),) if isinstance(error, OtherKey) else ()

    def _take_in(self, journal: Journal) -> None:
        """Go on with an opened journal: what it knows of sensors, and what a killed agent left in the spool."""
        try:
            kept = journal.positions()
        except CannotUseJournal:
            journal.close()
            raise
        if self._memory and self.blank and journal.size:  # names in it would be given twice
            journal.close()
            self._lost = set_aside(self._place.journal, "it could not be read when the agent started, which went on without it")
            journal = self._opened()
        journal.patience(self._place.patience)
        self._journal = journal
        if journal.size == 0 and self._lost is None:  # a crash came between setting aside and the first record
            self._lost = newest(self._place.journal)
        if self._lost:
            kept = positions_of(self._lost.aside / self._place.journal.name)
        if kept.pop(STAMP, "") == self._spool.digest and self._spool.records:
            self._spool.clear()
        self._known = {**kept, **self._known}
        if self._spool.records and not self._lost and not self.failing:  # before anybody replays
            self._since = self._spool.records[0].ts / 1e9
            self._resume(time.time())

    def _anew(self, because: str) -> None:
        """The journal is not what was written: it goes aside, and a new one begins with what the agent knows."""
        journal, self._journal = self._journal, None
        if journal:
            journal.close()
        self._lost = set_aside(self._place.journal, because.partition("\n")[0])
        self._journal = self._opened()
        if self._memory is None:
            return  # still starting: `begin` does the rest
        now = time.time()
        self._bury(now)
        self._resume(now)

    def _resume(self, now: float) -> None:
        """Write everything that waits, in order and in one transaction, and be well again.

        A journal without all that the agent knows gets the state as well, so that the next start knows it.
        """
        journal, spool = self._journal, self._spool
        if journal is None:
            raise Unwritable("cannot write the journal: it is not open")
        own = list(self._first) if self._memory else []
        if self._since:
            gap: dict[str, Any] = {"since": self._since, "until": now, "records": len(spool.records), "left_out": spool.left_out}
            gap |= {"events_left_out": spool.events_left_out, "because": self.failing or "the agent was killed meanwhile"}
            own.append(Record("evidence_gap", gap))
            if spool.left_out and self._memory:
                self._memory.learn(own[-1], now)
        whole = self._memory is not None and bool(self._first or spool.left_out or journal.size == 0)
        plain = self._memory.plain() if whole and self._memory else None
        positions = {**(self._known if journal.size == 0 else {}), **spool.positions, STAMP: spool.digest}
        journal.resume([*spool.stamped(now, own), *spool.records], plain, positions=positions, events=tuple(spool.events))
        self._known.update(spool.positions)
        self._first = [] if self._memory else self._first
        count, was, self.failing, self._since = len(spool.records), self.failing, "", 0.0
        spool.clear()
        journal.patience(self._place.patience)
        self._try(lambda one: one.prune(now))  # a new ballast
        if was or count:
            _log.warning("evidence is written again: %d records that had waited are in the journal, in order", count)
