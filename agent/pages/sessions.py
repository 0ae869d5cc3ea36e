"""Who is logged in to the pages: one-time links that `contain web` prints, and what browsers hold for them. In memory alone:
a restart of the agent logs everybody out.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from agent.people.consent import name_of

LINK: Final = 120.0
"""Seconds that a link is good for; it is used once."""
LONGEST: Final = 8 * 3600.0
"""Seconds after which a person must come by a new link, however busy."""
IDLE: Final = 1800.0
"""Seconds without a click after which a session ends; a page that reloads itself is no click."""
OF_ONE: Final = 5
"""Links, and sessions, of one person; one more ends the oldest."""
AT_ONCE: Final = 100
"""The same of all together."""
KEPT: Final = 20
"""Answers to orders that a session can still show."""


class Said(NamedTuple):
    """What came of an order, for the next page."""

    mood: Literal["good", "warn", "bad"]
    text: str


class Link(NamedTuple):
    """A link that nobody has used."""

    actor: str
    read_only: bool
    until: float


@dataclass
class Session:
    """One browser. `actor` is who came by the link, `form` what every form of its pages must bring back."""

    actor: str
    read_only: bool
    began: float
    used: float
    form: str = field(default_factory=secrets.token_urlsafe)
    said: dict[int, Said] = field(default_factory=dict)
    _number: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def person(self) -> str:
        """The name, without how they came."""
        return name_of(self.actor)

    def tell(self, said: Said) -> int:
        """Keep an answer for the page that follows; its number."""
        number = next(self._number)
        self.said[number] = said
        self.said.pop(number - KEPT, None)
        return number


class Sessions:
    """Asked by the server's threads, and by the owner's for new links."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody is logged in."""
        self._clock, self._lock = clock, threading.Lock()
        self._links: dict[bytes, Link] = {}
        self._all: dict[bytes, Session] = {}

    def link(self, actor: str, *, read_only: bool) -> str:
        """A token for one login in a person's name."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tidy()
            _make_room(self._links, actor)
            self._links[_key(token)] = Link(by_web(actor), read_only, self._clock() + LINK)
        return token

    def enter(self, token: str) -> tuple[str, Session] | None:
        """Use a link up: the browser's cookie and its session; None where there is no such link, or none any more."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._tidy()
            link = self._links.pop(_key(token), None)
            if link is None:
                return None
            _make_room(self._all, link.actor)
            session = Session(link.actor, link.read_only, self._clock(), self._clock())
            self._all[_key(cookie)] = session
        return cookie, session

    def find(self, cookie: str, *, clicked: bool) -> Session | None:
        """The session of a cookie; with `clicked` a person is there, and it is not idle."""
        with self._lock:
            self._tidy()
            session = self._all.get(_key(cookie))
            if session and clicked:
                session.used = self._clock()
            return session

    def leave(self, cookie: str) -> None:
        """End one."""
        with self._lock:
            self._all.pop(_key(cookie), None)

    def end(self, actor: str) -> int:
        """End all of a person's, links not used included; how many sessions there were."""
        with self._lock:
            self._tidy()
            ended = len(_of(self._all, actor))
            for kept in (self._all, self._links):
                for key in _of(kept, actor):
                    del kept[key]
        return ended

    def __len__(self) -> int:
        """How many browsers are logged in."""
        with self._lock:
            self._tidy()
            return len(self._all)

    def _tidy(self) -> None:
        now = self._clock()
        for key in [key for key, one in self._links.items() if now >= one.until]:
            del self._links[key]
        for key in [key for key, one in self._all.items() if now >= min(one.began + LONGEST, one.used + IDLE)]:
            del self._all[key]


def by_web(actor: str) -> str:
    """How records name whoever comes by the pages: still one person with who they are in a shell (consent.name_of)."""
    return f"{actor.removesuffix(')')}, by web)"


def _key(token: str) -> bytes:
    """What is kept of a token: looking it up tells nobody how much of a guess was right."""
    return sha256(token.encode("utf-8", "replace")).digest()


def _of(kept: dict[bytes, Link] | dict[bytes, Session], actor: str) -> list[bytes]:
    return [key for key, one in kept.items() if name_of(one.actor) == name_of(actor)]


def _make_room(kept: dict[bytes, Link] | dict[bytes, Session], actor: str) -> None:
    """The oldest go: dictionaries keep the order in which things came."""
    for key in _of(kept, actor)[: 1 - OF_ONE]:
        del kept[key]
    while len(kept) >= AT_ONCE:
        del kept[next(iter(kept))]
