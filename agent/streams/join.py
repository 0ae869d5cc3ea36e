"""Records of several lines: how far whole ones go, and where each begins. Nothing is kept: what is not whole is read again.

A log file's reader hands over whole records and leaves its offset at the first that is not, as it does with a line that has no
end yet. So nothing is held but a place, order stays, and a crash neither loses nor repeats a record. What does not become
whole within the join's patience, or grows beyond 64 KiB, is handed over cut and flagged, so that nothing is ever held for
long.

Where text in a record is a stranger's, its next line must never pass for a record of its own. So records are found by the rule
that the program itself writes by (quotes, a tab before each further line), from a place where one is known to begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

CUT: Final = b" [cut]\n"
"""What a line or record ends with that was too long or never ended; so it fits no pattern that is read from the right."""


class Join(Protocol):
    """How the lines of a format make records. `data` is whole lines, and begins where a record does."""

    @property
    def patience(self) -> float:
        """Seconds for which what is not whole is held."""
        ...

    def whole(self, data: bytes, *, late: bool) -> int:
        """How many bytes are whole records. `late`: patience is over; 0 means then that the rest is to be cut off."""
        ...

    def cut_at(self, data: bytes) -> int:
        """Where to cut what is too long: a place from which `rest` can find the record's end; 0 where there is none."""
        ...

    def closed(self, data: bytes) -> bytes:
        """A record that was cut off, flagged, and closed for whoever reads on behind it."""
        ...

    def rest(self, data: bytes) -> tuple[int, bool]:
        """How many bytes still belong to the record that was cut, and whether it ends there."""
        ...

    def records(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of each record, without its last newline."""
        ...


@dataclass(frozen=True)
class Quoted:
    """CSV (RFC 4180): a newline between quotes belongs to the text. A quote inside a text is doubled."""

    patience: float = 5.0

    def whole(self, data: bytes, *, late: bool) -> int:  # noqa: ARG002 - half a record is nothing
        """Up to the last newline that is not between quotes."""
        last = 0
        for _, end in self.records(data):
            last = end + 1
        return last

    def cut_at(self, data: bytes) -> int:
        """Where a quote is open: in its text."""
        return len(data) if _odd(data) else max(0, data.rfind(b'"'))

    def closed(self, data: bytes) -> bytes:
        """With its last quote."""
        return data + (b'"' if _odd(data) else b"") + CUT

    def rest(self, data: bytes) -> tuple[int, bool]:
        """The text is open: to the newline behind the record, or as far as it stays open."""
        at, odd = 0, True
        while (end := data.find(b"\n", at)) >= 0:
            odd ^= data.count(b'"', at, end) % 2 == 1
            at = end + 1
            if not odd:
                return at, True
        return (data.rfind(b'"') if _odd(data) else len(data)), False

    def records(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Line by line, as long as an odd number of quotes stands in them."""
        start = at = 0
        odd = False
        while (end := chunk.find(b"\n", at)) >= 0:
            odd ^= chunk.count(b'"', at, end) % 2 == 1
            at = end + 1
            if not odd:
                yield start, end
                start = at


def _odd(data: bytes) -> bool:
    return data.count(b'"') % 2 == 1


@dataclass(frozen=True)
class Further:
    """Lines that `further` matches go on with the record before them. It ends where the next one begins, or after a while."""

    further: re.Pattern[bytes]
    patience: float = 0.5

    def whole(self, data: bytes, *, late: bool) -> int:
        """Up to the last line that begins a record, which may go on."""
        if late:
            return len(data)
        last = 0
        for start, _ in self.records(data):
            last = start
        return last

    def cut_at(self, data: bytes) -> int:
        """Anywhere: its further lines show what they are."""
        return len(data)

    def closed(self, data: bytes) -> bytes:
        """With a last line."""
        return data + CUT

    def rest(self, data: bytes) -> tuple[int, bool]:
        """The rest of the line, and its further lines."""
        at = data.find(b"\n") + 1
        while 0 < at < len(data):
            end = data.find(b"\n", at)
            if end < 0:  # not all of it is there yet
                return at - 1, False
            if not self.further.match(data, at):
                return at, True
            at = end + 1
        return (at - 1 if at else len(data)), False

    def records(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Line by line."""
        start = at = 0
        while (end := chunk.find(b"\n", at)) >= 0:
            if at > start and not self.further.match(chunk, at):
                yield start, at - 1
                start = at
            at = end + 1
        if at > start:
            yield start, at - 1


# Lines inside lines -----------------------------------------------------------------------------------------------------

_LINE_ENDS: Final = b'\\n","stream":"'
_MAYBE: Final = b'\\\\n","stream":"'
"""A backslash and the letter n, or an escaped backslash and a newline: only JSON can tell."""


@dataclass(frozen=True)
class Wrapped:
    """Docker's json-file: each line an object with what a container wrote, a long line in pieces of 16 KiB, held together."""

    patience: float = 5.0

    def whole(self, data: bytes, *, late: bool) -> int:
        """Up to the first piece whose line does not end in `data`; of both streams, since their lines come mixed."""
        if late or (data.count(_LINE_ENDS) == data.count(b"\n") and _MAYBE not in data):
            return len(data)
        waiting: dict[str, int] = {}
        for at, stream, text in _pieces(data):
            if text.endswith("\n"):
                waiting.pop(stream, None)
            else:
                waiting.setdefault(stream, at)
        return min(waiting.values(), default=len(data))

    def cut_at(self, data: bytes) -> int:
        """Behind a whole line of the file."""
        return data.rfind(b"\n") + 1

    def closed(self, data: bytes) -> bytes:
        """As it is: `unwrapped` flags what has no end."""
        return data

    def rest(self, data: bytes) -> tuple[int, bool]:
        """Up to the last piece."""
        for at, _, text in _pieces(data):
            if text.endswith("\n"):
                return data.find(b"\n", at) + 1, True
        return data.rfind(b"\n") + 1, False

    def records(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Its lines; `unwrapped` is what makes sense of them."""
        return ((at, chunk.find(b"\n", at)) for at, _, _ in _pieces(chunk))


def unwrapped(chunk: bytes) -> bytes:
    """What the container wrote, as lines; those of the file that Docker did not write are left out."""
    waiting: dict[str, str] = {}
    lines: list[str] = []
    for _, stream, text in _pieces(chunk):
        whole = waiting.pop(stream, "") + text
        if text.endswith("\n"):
            lines.append(whole[:-1].replace("\n", " ") + "\n")
        else:
            waiting[stream] = whole
    lines += [text.replace("\n", " ") + CUT.decode() for text in waiting.values()]
    return "".join(lines).encode("utf-8", "replace")


def _pieces(data: bytes) -> Iterator[tuple[int, str, str]]:
    """Where each line of the file begins, its stream, and its text."""
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        try:
            one: Any = json.loads(data[at:end])
            yield at, str(one["stream"]), str(one["log"])
        except (ValueError, LookupError, TypeError, RecursionError):
            pass
        at = end + 1
