"""Finds the date in each line of one log: which template is tried first, and which of two dates counts, as fail2ban does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.fail2ban.dates import Template

Found = tuple["re.Match[str]", Template]
_FAR: Final = 0x7FFFFFFF
_UNUSED: Final = 300.0


@dataclass
class _Tried:
    """A template with what came of it: how often it was taken, how often it fitted, when last, and how far in the line."""

    template: Template
    taken: int = 0
    fitted: int = 0
    last: float = 0.0
    distance: int = _FAR

    @property
    def weight(self) -> float:
        return self.taken * self.template.weight / max(1, self.distance)


class Detector:
    """Finds the date in each line of one log."""

    def __init__(self, templates: tuple[Template, ...]) -> None:
        """Nothing has been read."""
        self._tried = [_Tried(one) for one in templates]
        self._at = -1
        self._usual: _Tried | None = None
        self._first_unused = 0
        self._begin: tuple[int, str | None, str] = (1, None, "")
        self._end: tuple[int, str | None, str] = (_FAR, None, "")

    def find(self, line: str, now: float) -> Found | None:
        """The match and its template; None where the line has no date."""
        known, aside, ignored = None, None, -1
        if self._at >= 0:
            known, aside, ignored = self._as_before(line)
        at, found = known or self._search(line, aside, ignored)
        if found is None:
            return None
        return found, self._taken(at, found, line, now)

    def cut(self, line: str, now: float) -> tuple[str, Found | None]:
        """The line without its date."""
        one = self._usual
        if one is not None:  # as in the line before
            same = one.template.pattern.search(line)
            if same is not None and same.start() == self._begin[0]:
                one.fitted, one.taken, one.last = one.fitted + 1, one.taken + 1, now
                begin, end = same.span(1)
                return (line[:begin] + line[end:] if end > begin else line), (same, one.template)
        found = self.find(line, now)
        if found is None:
            return line, None
        begin, end = found[0].span(1)
        return (line[:begin] + line[end:] if end > begin else line), found

    def _as_before(self, line: str) -> tuple[tuple[int, re.Match[str]] | None, tuple[int, re.Match[str]] | None, int]:
        """Where the last template fits again in the same place; else what it found elsewhere, and whether to leave it out now."""
        one, ignored = self._tried[self._at], self._at
        begin, end = self._begin[0], self._end[0]
        if one.template.fixed:
            found = one.template.pattern.search(line)
        elif self._same_bounds(line, begin, end):
            found, ignored = one.template.pattern.search(line, begin, end), -1
        else:
            found = one.template.pattern.search(line)
        if found is None:
            return None, None, ignored
        one.fitted += 1
        if len(self._tried) == 1 or one.template.fixed or found.span() == (begin, end):
            return (self._at, found), None, ignored
        return None, (self._at, found), ignored

    def _same_bounds(self, line: str, begin: int, end: int) -> bool:
        left = line[begin - 1 : begin] == self._begin[1] or (
            line[begin : begin + 1] == self._begin[2] and not self._begin[2].isalnum()
        )
        return left and (
            line[end : end + 1] == self._end[2] or (line[end - 1 : end] == self._end[1] and not (self._end[1] or "").isalnum())
        )

    def _search(self, line: str, aside: tuple[int, re.Match[str]] | None, ignored: int) -> tuple[int, re.Match[str] | None]:
        """The first template that fits where it did before, or the one that finds a date nearest to the line's begin."""
        for at, one in enumerate(self._tried):
            if at == ignored:
                continue
            found = one.template.pattern.search(line)
            if found is None:
                continue
            one.fitted += 1
            begin = found.start()
            if at + 1 == len(self._tried) or one.template.fixed:
                return at, found
            if begin == 0 and one.taken and not self._tried[at + 1].fitted:
                return at, found
            if begin <= one.distance and begin <= self._begin[0]:
                return at, found
            if aside is None or begin < aside[1].start():  # perhaps a date in the message
                aside = at, found
        return aside or (-1, None)

    def _taken(self, at: int, found: re.Match[str], line: str, now: float) -> Template:
        one, (begin, end) = self._tried[at], found.span()
        one.taken, one.last, one.distance = one.taken + 1, now, begin
        if self._first_unused == at:
            self._first_unused += 1
        self._begin = (begin, line[begin - 1 : begin] if begin else "", line[begin : begin + 1])
        self._end = (end, line[end - 1 : end] if end else line[-1:], line[end : end + 1])
        self._at = self._moved(at) if at and at != self._at else at
        self._usual = one if one.template.fixed else None
        return one.template

    def _moved(self, at: int) -> int:
        """Move a template forwards in the list once it weighs more than those before it; where it is then."""
        one, tried = self._tried[at], self._tried
        old, weight = one.last - _UNUSED, one.weight

        def lighter(place: int) -> bool:
            return weight > tried[place].weight or old > tried[place].last

        place = self._first_unused if self._first_unused < at else at // 2
        if not lighter(place):
            if place == at - 1 or not lighter(at - 1):
                return at
            place = at - 1
        del tried[at]
        tried.insert(place, one)
        while self._first_unused < len(tried) and tried[self._first_unused].taken:
            self._first_unused += 1
        return place
