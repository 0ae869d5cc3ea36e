"""Chunks of a log through filters of fail2ban's, into events. Most lines are never looked at: they lack what every match needs.

What a filter holds between two lines (`maxlines`, `<F-MLFID>`) survives a restart: a position names the lines by how far back
they stand, and they are read again and judged again, without a word. Nothing of a log's text stands in a position.

fail2ban looks at lines of any length, for as long as it takes. Here a line longer than 4 KiB is not looked at, and a filter whose
expressions a line could keep busy (dovecot's and exim's of 1.0.2 are seen to take minutes) searches in another process, apart.py,
where a line that takes too long is given up; so does every filter with lines longer than 1 KiB. Both are counted and told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from agent.event import Event, Value
from agent.fail2ban.apart import Apart
from agent.fail2ban.detector import Found
from agent.fail2ban.filters import Filter
from agent.fail2ban.judge import Judge, Judged, Line, Verdict
from agent.fail2ban.kinds import FAILURE
from agent.fail2ban.needles import fewer
from agent.fail2ban.risk import QUICK
from agent.fail2ban.stamps import when
from agent.streams.parser import LONGEST_RAW

_new: Final = tuple.__new__
"""A named tuple without the call of its own __new__, which would cost as much again."""
LONGEST: Final = 4096
"""Bytes of a line that is looked at."""
_FARTHEST: Final = 1 << 20
"""Bytes that are read again after a start, at most, for the lines that were held."""


class Reading:
    """One filter over one log. `apart` knows of lines that took too long."""

    def __init__(self, one: Filter, source: str) -> None:
        """Nothing has been read."""
        self._one, self._source = one, source
        self.apart = Apart(one.rules.search)
        self._judge = Judge(one.rules, self.apart, 0 if one.risky else QUICK)
        self._dates = one.detector()
        self._finders = _finders(one)
        self._many = one.rules.search.lines > 1
        self._passed: list[tuple[bytes, int]] = []
        self._marked: set[int] = set()
        self._stamp = ("", 0.0)
        self.read = 0
        self.too_long = 0

    def close(self) -> None:
        """It will not search apart any more."""
        self.apart.close()

    @property
    def spec(self) -> str:
        """The filter as agent.yaml names it."""
        return self._one.spec

    def found(self, chunk: bytes, seen: float) -> list[tuple[int, Event]]:
        """The events of a chunk of whole lines, each with the place of its line in the chunk."""
        events: list[tuple[int, Event]] = []
        for starts, lines, dates in self._portions(chunk, seen):
            for at, judged in enumerate(self._judge.each(lines, seen)):
                if judged.verdict is Verdict.FAILURE:
                    events.append((starts[at], self._event(judged, self._when(dates[at], seen), seen)))
        self.read += len(chunk)
        return events

    def _portions(self, chunk: bytes, seen: float) -> Iterator[tuple[list[int], list[Line], list[Found | None]]]:
        """The lines that may match, as many at once as can be judged without knowing what comes of them."""
        if self._many:
            for start, end in self._many_lines(chunk, seen):
                yield self._read([(start, end)], chunk, seen)
        else:
            yield self._read(self._candidates(chunk), chunk, seen)

    def _read(
        self, places: Iterable[tuple[int, int]], chunk: bytes, seen: float
    ) -> tuple[list[int], list[Line], list[Found | None]]:
        starts, lines, dates = list[int](), list[Line](), list[Found | None]()
        cut, read = self._dates.cut, self.read
        for start, end in places:  # this runs for every line of an attack, and so it is flat
            bare = chunk[start:end]
            if bare[:1] == b"\0":  # the hole that a writer without O_APPEND leaves when its file is truncated
                bare = bare.lstrip(b"\0")
            if len(bare) > LONGEST:
                self.too_long += 1
                continue
            raw = bare.decode("utf-8", "replace").rstrip("\r\n")
            if raw:
                text, date = cut(raw, seen)
                starts.append(start)
                lines.append(_new(Line, (text, raw, read + start, end - start)))
                dates.append(date)
        return starts, lines, dates

    def judged(self, text: str, seen: float, ts: float) -> Event | None:
        """The event of one entry of the journal, written as fail2ban writes it, without a date."""
        if self._finders and not self._candidates(text.encode("utf-8", "replace")):
            return None
        judged = self._judge.judge(Line(text, text), seen)
        return self._event(judged, ts, seen) if judged.verdict is Verdict.FAILURE else None

    def _when(self, date: Found | None, seen: float) -> float:
        """The same for all lines of a second."""
        if date is None:
            return 0.0
        if date[0][0] != self._stamp[0]:
            self._stamp = (date[0][0], when(date, seen))
        return self._stamp[1]

    def _line(self, line: bytes, at: int, size: int, seen: float) -> tuple[Line, Found | None]:
        raw = line.decode("utf-8", "replace").rstrip("\r\n")
        text, date = self._dates.cut(raw, seen) if raw else (raw, None)
        return Line(text, raw, at, size), date

    def _event(self, judged: Judged, ts: float, seen: float) -> Event:
        fields: dict[str, Value] = {"filter": self._one.spec, "id": judged.identity}
        if judged.address:
            fields["src.ip"] = judged.address
        for name, text in judged.groups.items():
            fields["user" if name == "user" else f"f.{name.removeprefix('f') if name == 'fport' else name}"] = text
        raw = "\n".join([line.raw for line in judged.lines])[:LONGEST_RAW]
        return Event(FAILURE.name, seen, fields, self._source, ts, raw, forgeable=True)

    # Which lines ------------------------------------------------------------------------------------------------------

    def _candidates(self, chunk: bytes) -> list[tuple[int, int]]:
        """Start and end of each line that may match, in order."""
        if not self._finders:
            return list(_lines(chunk))
        found: dict[int, int] = {}
        for finder in self._finders:
            at = finder(chunk, 0)
            while at >= 0:
                start = chunk.rfind(b"\n", 0, at) + 1
                end = chunk.find(b"\n", at)
                end = len(chunk) if end < 0 else end
                found[start] = end
                at = finder(chunk, end)
        return sorted(found.items())

    def _many_lines(self, chunk: bytes, seen: float) -> Iterator[tuple[int, int]]:
        """As long as a line that may matter is held, every line; of all others the last ones are kept."""
        maybe = {start for start, _ in self._candidates(chunk)}
        size = self._one.rules.search.lines
        if not maybe and not self._marked:
            last = [(chunk[start:end], self.read + start) for start, end in _last_lines(chunk, size)]
            self._passed = [*self._passed, *last][-size:]
            return
        for start, end in _lines(chunk):
            if start in maybe:
                self._marked.add(self.read + start)
            if not self._marked:
                self._passed = [*self._passed, (chunk[start:end], self.read + start)][-size:]
                continue
            self._catch_up(seen)
            yield start, end
            self._marked &= {line.at for line in self._judge.held}

    def _catch_up(self, seen: float) -> None:
        for line, at in self._passed:
            if 0 < len(line) <= LONGEST:
                self._judge.pass_by(self._line(line, at, len(line), seen)[0])
        self._passed = []

    # What is held -------------------------------------------------------------------------------------------------------

    def held(self, seen: float) -> Mapping[str, Any] | None:
        """Where the lines stand that later ones are judged with: how far back, and how long; None where there are none."""
        if self._many:
            self._catch_up(seen)
        lines = self._judge.held if self._many else self._judge.remembered(seen)
        near = [line for line in lines if self.read - line.at <= _FARTHEST]
        if not near:
            return None
        return {"back": [[self.read - line.at, line.size] for line in near], "digest": _digest(line.raw for line in near)}

    def hold_again(self, held: Mapping[str, Any], before: Callable[[int], bytes], seen: float) -> None:
        """Judge again what was held; `before` reads the last bytes before the position. What has changed since is left out."""
        back = [(int(far), int(size)) for far, size in held["back"] if 0 < int(size) <= int(far) <= _FARTHEST]
        text = before(max((far for far, _ in back), default=0))
        lines = [text[len(text) - far :][:size] for far, size in back if far <= len(text)]
        if _digest(line.lstrip(b"\0").decode("utf-8", "replace").rstrip("\r\n") for line in lines) != held["digest"]:
            return
        for (far, size), line in zip(back, lines, strict=True):
            one, _ = self._line(line.lstrip(b"\0"), -far, size, seen)
            if self._many:
                self._judge.pass_by(one)
                self._marked |= {-far} if self._candidates(line) else set()
            else:
                self._judge.judge(one, seen)


class Readings:
    """All filters of one sensor. Nothing is read where no policy names what they find."""

    def __init__(self, filters: Iterable[Filter], source: str, wanted: frozenset[str] | None = None) -> None:
        """One reading for each."""
        heard = wanted is None or FAILURE.name in wanted
        self.each = tuple(Reading(one, source) for one in filters) if heard else ()

    def found(self, chunk: bytes, seen: float) -> list[tuple[int, Event]]:
        """The events of all of them, each with the place of its line in the chunk."""
        return [event for one in self.each for event in one.found(chunk, seen)]

    def with_held(self, position: str, seen: float) -> str:
        """The position, a map in JSON, with what is held, by filter."""
        held = {one.spec: held for one in self.each if (held := one.held(seen)) is not None}
        return f"{position[:-1]}, {json.dumps({'held': held})[1:]}" if held else position

    def hold_again(self, position: str | None, before: Callable[[int], bytes], seen: float) -> None:
        """Begin with what a position says is held; `before` reads the last bytes before it."""
        held = json.loads(position).get("held", {}) if position else {}
        for one in self.each:
            if one.spec in held:
                one.hold_again(held[one.spec], before, seen)

    def trouble(self) -> str:
        """What was not looked at, as a sentence; mostly nothing."""
        return trouble(self.each)

    def close(self) -> None:
        """None of them will search apart any more."""
        for one in self.each:
            one.close()


def trouble(each: Iterable[Reading]) -> str:
    """What these filters did not look at, as a sentence; mostly nothing."""
    each, said = list(each), []
    if long := sum(one.too_long for one in each):
        said.append(f"fail2ban's filters did not look at {_about(long)} longer than {LONGEST} bytes")
    if slow := [f"{_about(one.apart.slow)} by {one.spec}" for one in each if one.apart.slow]:
        said.append(f"given up, as they took too long: {', '.join(slow)}")
    if skipped := [f"{_about(one.apart.skipped)} by {one.spec}" for one in each if one.apart.skipped]:
        said.append(f"not looked at, as others had taken too long in the same minute: {', '.join(skipped)}")
    if resting := [one.spec for one in each if one.apart.resting]:
        said.append(f"{', '.join(resting)} looks at no line that is judged apart until the minute is over")
    return "; ".join(said)


def _about(many: int) -> str:
    """A number that does not change with each line, as every change is told."""
    least = many // 10 ** (len(str(many)) - 1) * 10 ** (len(str(many)) - 1)
    return f"{many} line{'s' if many > 1 else ''}" if many < 10 else f"{least} lines and more"


def _finders(one: Filter) -> list[Callable[[bytes, int], int]]:
    """For each literal, what finds it from a place on; -1 where it is not there any more."""
    found: list[Callable[[bytes, int], int]] = []
    for needle in sorted(fewer(one.needles or frozenset())):
        text = needle.text.encode("utf-8")
        found.append(_folding(text) if needle.fold else _plain(text))
    return found


def _plain(text: bytes) -> Callable[[bytes, int], int]:
    return lambda chunk, at: chunk.find(text, at)


def _folding(text: bytes) -> Callable[[bytes, int], int]:
    pattern = re.compile(re.escape(text), re.IGNORECASE)

    def find(chunk: bytes, at: int) -> int:
        hit = pattern.search(chunk, at)
        return hit.start() if hit else -1

    return find


def _lines(chunk: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start)
        end = len(chunk) if end < 0 else end
        yield start, end
        start = end + 1


def _last_lines(chunk: bytes, most: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    end = len(chunk) - 1 if chunk.endswith(b"\n") else len(chunk)
    while end >= 0 and len(found) < most:
        start = chunk.rfind(b"\n", 0, end) + 1
        found.append((start, end))
        end = start - 1
    return found[::-1]


def _digest(lines: Iterable[str]) -> str:
    """A hash, so that no text of the log stands in the journal's positions."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:32]
