"""What one filter makes of one line after another: a failure, nothing, or something to remember for the next line.

Two things are remembered. A filter with `maxlines` looks at the last lines together. One with `<F-MLFID>` tells which connection
a line belongs to, so that an address in one line and a refusal in another one make a failure.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from agent.schema import canonical, spoken

if TYPE_CHECKING:
    from agent.fail2ban.search import Expression, Search, Told

_CONNECTIONS: Final = 100
"""fail2ban remembers so many, each for five minutes after its first line."""
_FORGOTTEN_AFTER: Final = 300.0
_LINES: Final = 16
"""Lines of one connection, and users, that are kept at hand."""
_IP4: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_OWN: Final = frozenset(("ip4", "ip6", "dns", "fid", "cidr", "mlfid", "nofail", "mlfforget", "mlfgained", "mlfpending", "users"))


class Verdict(Enum):
    """What fail2ban says of a line: it matched, it was to be ignored, or neither."""

    FAILURE = "failure"
    IGNORED = "ignored"
    MISSED = "missed"


class Line(NamedTuple):
    """One line: its text without the date, the whole of it, and where it stood, counted in bytes of all that was read."""

    text: str
    raw: str = ""
    at: int = 0
    size: int = 0


class Judged(NamedTuple):
    """What was made of a line. `identity` is what fail2ban would ban, `address` a single address where there is one."""

    verdict: Verdict
    identity: str = ""
    address: str = ""
    groups: Mapping[str, str] = {}
    lines: tuple[Line, ...] = ()


_MISSED: Final = Judged(Verdict.MISSED)
_IGNORED: Final = Judged(Verdict.IGNORED)


@dataclass(frozen=True)
class Rules:
    """A filter's expressions. `raw`: a host name counts as it stands."""

    search: Search
    raw: bool = False


class Searcher(Protocol):
    """Searches elsewhere: agent/fail2ban/apart.py."""

    def told(self, each: Sequence[Sequence[str]]) -> list[Told | None]:
        """What is found in each of these, as Search.told has it; None where nothing is."""
        ...


class _Connection:
    """What the lines of one connection said together. Mostly nobody asks, so it is not read before."""

    __slots__ = ("_groups", "_later", "lines", "until")

    def __init__(self, until: float, lines: list[Line], later: Callable[[], dict[str, Any]]) -> None:
        self.until, self.lines, self._later = until, lines, later
        self._groups: dict[str, Any] | None = None

    @property
    def groups(self) -> dict[str, Any]:
        if self._groups is None:
            self._groups = self._later()
        return self._groups


class Judge:
    """One filter over one log. It searches itself; texts longer than `quick` are searched by another, where there is one."""

    def __init__(self, rules: Rules, apart: Searcher | None = None, quick: int = 0) -> None:
        """Nothing is remembered."""
        self._rules, self._search, self._apart = rules, rules.search, apart
        self._quick = quick if apart is not None else sys.maxsize
        self._many = rules.search.lines > 1
        self._held: list[Line] = []
        self._connections: OrderedDict[str, _Connection] = OrderedDict()
        self._helping = {one for one in self._search.fail if self._search.helps(one)} if not self._search.ignore else set()

    def judge(self, line: Line, now: float) -> Judged:
        """The verdict on the next line."""
        return self.each([line], now)[0]

    def each(self, lines: Sequence[Line], now: float) -> list[Judged]:
        """The verdicts on the next lines, one after another."""
        if self._many:
            return [self._together_with_held(line, now) for line in lines]
        long = [at for at, line in enumerate(lines) if len(line.text) > self._quick]
        if not long:
            return [self._looked(line, now) for line in lines]
        told = dict(zip(long, self._elsewhere([[lines[at].text] for at in long]), strict=True))
        return [self._judged(told[at], [line], now) if at in told else self._looked(line, now) for at, line in enumerate(lines)]

    def _together_with_held(self, line: Line, now: float) -> Judged:
        self.pass_by(line)
        held = self._held
        texts = [one.text for one in held]
        if sum(map(len, texts)) > self._quick:
            return self._judged(self._elsewhere([texts])[0], held, now)
        look = self._search.look(texts)
        return self._judged(self._search.told(look, texts) if look is not None else None, held, now)

    def _elsewhere(self, each: Sequence[Sequence[str]]) -> list[Told | None]:
        assert self._apart is not None  # noqa: S101 - without it everything is quick
        return self._apart.told(each)

    def pass_by(self, line: Line) -> None:
        """Hold a line of which is known that nothing matches with it."""
        if self._many:
            self._held = [*self._held, line][-self._search.lines :]

    @property
    def held(self) -> Sequence[Line]:
        """The lines that later ones are looked at with."""
        return self._held

    def remembered(self, now: float) -> list[Line]:
        """The lines of connections that may still matter, oldest first."""
        lines = [line for one in self._connections.values() if one.until > now for line in one.lines]
        return sorted(lines, key=lambda line: line.at)

    def _looked(self, line: Line, now: float) -> Judged:
        """This runs for every line of an attack; what only tells of a connection is not read before it is asked for."""
        texts = (line.text,)
        look = self._search.look(texts, self._connections)
        if look is None:
            return _MISSED
        one, found, before, _, name = look
        if found is not None and one in self._helping and name is not None and name not in self._connections:
            self._remember(name, _Connection(now + _FORGOTTEN_AFTER, [line], partial(self._first_said, one, found, before)), now)
            return _IGNORED
        return self._judged(self._search.told(look, texts), [line], now)

    def _first_said(self, one: Expression, found: re.Match[str], before: re.Match[str] | None) -> dict[str, Any]:
        groups: dict[str, Any] = self._search.groups(one, found, before)
        _with_user(groups, groups.get("user"))
        return groups

    def _judged(self, told: Told | None, held: Sequence[Line], now: float) -> Judged:
        """The verdict on what was found in these lines together, the last of which is new."""
        if told is None:
            return _MISSED
        ignored, found, matched, rest, content = told
        if self._many and rest is not None:
            self._held = [held[at] for at in rest]
        elif self._many and content:
            self._held = [held[-1]._replace(text=content)]
        if ignored or found is None:
            return _IGNORED if ignored else _MISSED
        lines = [held[at] for at in matched]
        groups: dict[str, Any] = found
        if groups.get("mlfid") is not None:
            groups = self._together(str(groups["mlfid"]), groups, lines, now)
            if groups.get("nofail"):
                return _IGNORED
        return self._told(groups, tuple(lines))

    def _told(self, groups: dict[str, Any], matched: tuple[Line, ...]) -> Judged:
        """Who it was. What tells nobody waits for another line of its connection that does."""
        identity, name = groups.get("fid"), groups.get("dns")
        host = groups.get("ip4") or groups.get("ip6")
        if host is None and name is not None and not self._rules.raw:
            host, identity = _ip4(name), None  # a name is never looked up
            if host is None:
                return _MISSED
        if host is None and name is None and identity is None:
            groups["mlfpending"] = "1"
            return _MISSED
        spelled = _spelled(str(host), groups.get("cidr")) if host is not None else ""
        told = spelled or name or ""
        if identity is not None and identity != host:
            told = _spelled(str(identity).strip("[]"))
        texts = {name: str(text) for name, text in groups.items() if text is not None and name not in _OWN and name[:1] != "_"}
        return Judged(Verdict.FAILURE, told, canonical(spelled or told) or "", texts, matched)

    def _together(self, name: str, new: dict[str, Any], matched: Sequence[Line], now: float) -> dict[str, Any]:
        """What the lines of this connection say together, this one included."""
        gained, forget = bool(new.get("mlfgained")), bool(new.pop("mlfforget", None))
        if gained and not new.get("nofail"):
            new["nofail"] = new["mlfgained"]
        known = self._connections.get(name)
        if known is not None and known.until <= now:
            del self._connections[name]
            known = None
        users: set[Any] | None = None
        if known is not None:
            groups = known.groups
            users = _with_user(groups, new.get("user"))
            groups.pop("nofail", None)
            groups.pop("mlfgained", None)
            if gained:
                groups.pop("mlfpending", None)
            groups.update((key, text) for key, text in new.items() if text is not None)
            new = groups
            known.lines = [*known.lines, *matched][-_LINES:]
            if forget:
                del self._connections[name]
        elif not forget:
            users = _with_user(new, new.get("user"))
            self._remember(name, _Connection(now + _FORGOTTEN_AFTER, list(matched), lambda: new), now)
        if new.pop("mlfpending", None) or (users is not None and len(users) > 1):
            new.pop("nofail", None)
            new.pop("mlfgained", None)
        return new

    def _remember(self, name: str, one: _Connection, now: float) -> None:
        known = self._connections
        full = len(known) >= _CONNECTIONS
        while full and known:  # with all that are over goes one that is not: so does fail2ban
            _, oldest = known.popitem(last=False)
            full = oldest.until <= now
        known[name] = one


def _with_user(groups: dict[str, Any], user: Any) -> set[Any] | None:
    """All users of a connection, this one included; None where none was named."""
    users: set[Any] | None = groups.get("users")
    if user:
        users = groups.setdefault("users", set())
        if len(users) < _LINES:
            users.add(user)
    return users


def _ip4(text: str) -> str | None:
    return canonical(text) if _IP4.fullmatch(text) else None


def _spelled(text: str, length: str | None = None) -> str:
    """An address or network in its one spelling; any other text as it is."""
    if length is None and "/" not in text:
        return canonical(text) or text
    try:
        network = ipaddress.ip_network(f"{text}/{int(length)}" if length is not None else text, strict=False)
    except ValueError:
        return text
    return spoken(network)
