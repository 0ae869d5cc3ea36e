"""A list that is a text: a file, read again when it changes, or what a server sends, fetched again and again."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.event import Event
from agent.feeds.cache import Cache, CacheDamagedError, Kept
from agent.feeds.fetching import LARGEST, NotSent, Source, fetch
from agent.feeds.following import Following, due, log
from agent.feeds.listing import Listing, counting, shrunk
from agent.feeds.reading import NotUsed, read
from agent.grammar.config_feeds import FeedKeys
from agent.guard import Lifelines

POLITE: Final = 3600.0
"""Seconds between two downloads from a server that did not send the list as it should."""
AGAIN: Final = 60.0
"""Seconds until a server that cannot be reached is tried again; twice as long for each further time, up to POLITE."""
PATIENT: Final = 86400.0
"""The longest that a server's `Retry-After` is followed, in seconds."""
SETTLED: Final = 1.0
"""Seconds for which nobody has written to a file, so that it is not read while it is half there."""


class TextFeed(Following):
    """Follows a file or a URL, and keeps its last good text."""

    def __init__(self, called: str, keys: FeedKeys, lines: Callable[[], Lifelines], directory: Path) -> None:
        """Nothing is read yet; the text is kept in the directory."""
        super().__init__(called, keys, lines)
        self._cache = Cache(directory, called, f"{keys.source} {keys.format} {keys.column}".rstrip())
        self._names = ("", "")
        self._refused: tuple[Kept, Listing] | None = None
        self._yes: tuple[str, tuple[Kept, Listing]] | None = None
        self._due, self._failures = 0.0, 0
        self._last: tuple[int, ...] = ()
        self._blind = False

    @property
    def blind(self) -> bool:
        """Whether the file cannot be read, or nothing was ever had."""
        return self._blind or self.live.refreshed is None

    def restore(self, now: float) -> Listing:
        """What was kept before the last stop."""
        try:
            kept = self._cache.load(self.keys.max_entries)
        except (CacheDamagedError, OSError) as error:
            log.warning("list %s: what was kept of it is not used: %s", self.called, error)
            kept = None
        if kept is not None:
            self.live, self.because = self._judged(kept), "at start, as it was kept"
            self._names = (kept.etag, kept.modified)
        self._due = self._when(kept, now)
        if kept is None and self._due > time.monotonic():
            self.warn("its server was asked a short while ago, before a start, and is not asked again yet")
        return self.shown(now)

    def _when(self, kept: Kept | None, now: float) -> float:
        """When its server is asked first: not before it would have been without the start."""
        if self.keys.url is None:
            return 0.0
        every = self.keys.period.total_seconds()
        again = self._cache.asked() + min(every, POLITE)
        return due(max(again, kept.refreshed + every) if kept else again, now, self.keys.period)

    def accept(self, actor: str) -> int | None:
        """Use the text that was refused because it is so short."""
        if (waits := self._refused) is None:
            return None
        self._yes = (actor, waits)
        return len(waits[1].networks)

    def begin(self, position: str | None) -> None:
        """Nothing to do: a text has no position."""

    def turn(self, now: float, wanted: frozenset[str] | None) -> tuple[list[Event], str | None]:  # noqa: ARG002
        """Take over what a person accepted, then read the file, or fetch when it is time."""
        if (yes := self._yes) is not None:
            self.actor, self._yes = yes[0], None
            self._take(*yes[1], "a person accepted it")
        if self.keys.file is not None:
            self._read_file(self.keys.file, now)
        elif self.keys.url is not None and time.monotonic() >= self._due:
            self._fetch(self.keys.url, now)
        return [], None

    # A file -------------------------------------------------------------------------------------------------------------------

    def _read_file(self, path: Path, now: float) -> None:
        try:
            found = _settled(path, self._last, now)
        except OSError as error:
            self._blind, self._last = True, ()
            self.warn(f"cannot read {path}: {error.strerror}; what it was before still counts")
            return
        if found is None:
            self._blind = self._blind and not self._last
            return
        self._blind, (self._last, body, changed) = False, found
        self._use(body, changed)

    # A server's text ------------------------------------------------------------------------------------------------------------

    def _fetch(self, url: str, now: float) -> None:
        every = self.keys.period.total_seconds()
        with suppress(OSError):  # a disk that takes nothing must not keep a list from being fetched
            self._cache.asks(now)
        try:
            got = fetch(Source(url, self.keys.private, str(self.keys.ca_file or "")), *self._names)
        except NotSent as error:
            self._later(str(error), max(min(every, POLITE), min(error.wait, PATIENT)))
            return
        except CannotReach as error:
            self._failures += 1
            self._later(str(error), min(every, POLITE, AGAIN * 2.0 ** min(self._failures - 1, 10)))
            return
        self._failures, self._due = 0, time.monotonic() + every
        if got.body is None:
            self._still(now)
        elif not self._use(got.body, now, (got.etag, got.modified)):
            self._due = time.monotonic() + min(every, POLITE)

    def _later(self, why: str, seconds: float) -> None:
        self._due = time.monotonic() + seconds
        self.warn(why, self.live.offered)

    def _still(self, now: float) -> None:
        """Its server says that nothing has changed."""
        self.live = replace(self.live, refreshed=now)
        self.warn("")
        self._refused = None
        try:
            self._cache.seen(now)
        except OSError as error:
            self.warn(_unkept(error))

    # Judged and taken -----------------------------------------------------------------------------------------------------------

    def _use(self, body: bytes, refreshed: float, names: tuple[str, str] = ("", "")) -> bool:
        """Let a text count if it may; otherwise the one of before stays."""
        try:
            if len(body) > LARGEST:
                raise NotUsed(f"it is larger than {LARGEST >> 20} MiB")
            kept = Kept(read(BytesIO(body), self.keys.layout, self.keys.max_entries), refreshed, *names)
        except NotUsed as error:
            self._refuse(str(error), None)
            return False
        fresh = self._judged(kept)
        try:
            if self.live.refreshed is not None:
                shrunk(self.live.networks, fresh.networks)
        except NotUsed as error:
            self._refuse(f"{error}; if that is right: contain list accept {self.called}", (kept, fresh))
            return False
        self._take(kept, fresh, "refreshed")
        return True

    def _judged(self, kept: Kept) -> Listing:
        networks, left_out = counting(kept.text, self.keys.bounds, self.lines())
        said = "; ".join(one for one in (left_out, kept.text.said) if one)
        if said and said != self.live.left_out:
            log.warning("list %s: %s", self.called, said)
        return Listing(self.keys.source, networks, "", kept.refreshed, said)

    def _refuse(self, why: str, waits: tuple[Kept, Listing] | None) -> None:
        trouble = f"the new text is not used, the one of before stays: {why}"
        if trouble != self.live.trouble:
            self.refused = why
        self._refused = waits
        self.warn(trouble, len(waits[1].networks) if waits else None)

    def _take(self, kept: Kept, fresh: Listing, because: str) -> None:
        """Keep it on the disk first: a crash between leaves a list that is recorded at the next start."""
        self._refused, self._names, self.because = None, (kept.etag, kept.modified), because
        trouble = ""
        try:
            self._cache.keep(kept)
        except OSError as error:
            trouble = _unkept(error)
        self.live = replace(fresh, trouble=self.live.trouble)
        self.warn(trouble)


def _unkept(error: OSError) -> str:
    return f"cannot write to {error.filename}: {error.strerror}; a start without network would have an older list"


def _settled(path: Path, last: tuple[int, ...], now: float) -> tuple[tuple[int, ...], bytes, float] | None:
    """What stands in a file with what tells it from before, and when it was changed; None where it is as before, or is
    being written at this moment.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(0, "it is no file", str(path))
        mark = (before.st_ino, before.st_size, before.st_mtime_ns)
        if mark == last or 0 <= now - before.st_mtime < SETTLED:
            return None
        body = file.read(LARGEST + 1)
        after = os.fstat(descriptor)
    return (mark, body, before.st_mtime) if (after.st_size, after.st_mtime_ns) == mark[1:] else None
