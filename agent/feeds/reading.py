"""The text of a list that others keep becomes networks: plain lines, JSON lines, CSV. Pure.

Plain: what stands in a line before `#` or `;`, of that the first word (FireHOL's netsets, Tor's exits, Spamhaus' old DROP).
JSON lines: `{"cidr": "192.0.2.0/24", …}`, as Spamhaus keeps DROP now; its last line, `{"type": "metadata", "records": …}`, says
how many there are. CSV: one column, by its number from 1 or by the name that the first row gives it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic_core import from_json

from agent.visible import visible
from agent.watching.networks import Codes, coded

Format = Literal["auto", "plain", "json_lines", "csv"]
SHOWN: Final = 3
"""Bad lines that are told word for word."""
LONGEST: Final = 4096
"""Bytes of a line; a longer one is none of a list's."""


class NotUsed(Exception):  # noqa: N818 - reads as the sentence it is
    """The text is no list that may be used. The text of the error says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a list is written. `column` is a CSV column or the name in JSON lines that holds the network."""

    format: Format = "auto"
    column: str = ""


@dataclass
class Read:
    """What stood in a text: sorted codes, those that lie in others included, and what could not be read."""

    codes: Codes = field(default_factory=lambda: {4: (), 6: ()})
    lines: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """What was bad, with the numbers of its lines; empty where nothing was."""
        more = f" and {self.bad - len(self.examples):,} more" if self.bad > len(self.examples) else ""
        return f"{self.bad:,} of {self.lines:,} lines are bad: {'; '.join(self.examples)}{more}" if self.bad else ""


def read(text: Iterable[bytes], layout: Layout, most: int) -> Read:
    """Every network of a text.

    Raises:
        NotUsed: it is no list at all (HTML, binary), more than 1 line in 20 is bad, it names more than `most` networks, or
            not as many as it says itself.
    """
    lines = _Lines(text)
    form = _form(lines, layout)
    found, result = {4: set[int](), 6: set[int]()}, Read()
    for number, word in _WORDS[form](lines, layout.column):
        result.lines += 1
        try:
            version, code = coded(word)
        except ValueError:
            _bad(result, number, word)
            continue
        found[version].add(code)
        if len(found[4]) + len(found[6]) > most:
            raise NotUsed(f"it names more than {most:,} networks; raise max_entries where that is right")
    if result.bad * 20 > result.lines:
        raise NotUsed(result.said)
    result.codes = {version: sorted(codes) for version, codes in found.items()}
    return result


def _bad(result: Read, number: int, word: str) -> None:
    result.bad += 1
    if len(result.examples) < SHOWN:
        result.examples.append(f"line {number}: `{visible(word, 40)}` is no address and no network")


# Formats ------------------------------------------------------------------------------------------------------------------


class _Lines:
    """The lines with their numbers, from 1; the first one that says something can be looked at before."""

    def __init__(self, text: Iterable[bytes]) -> None:
        self._rest = enumerate(text, 1)
        self._held: list[tuple[int, bytes]] = []

    def first(self) -> bytes:
        for number, line in self._rest:
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line  # a byte order mark  # noqa: PLW2901
            self._held.append((number, line))
            if line.strip() and not line.lstrip().startswith((b"#", b";")):
                return line.strip()
            if len(self._held) > 1000:
                break
        return b""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        yield from ((number, _decoded(line)) for number, line in self._held)
        yield from ((number, _decoded(line)) for number, line in self._rest)


def _decoded(line: bytes) -> str:
    if len(line) > LONGEST:
        raise NotUsed("a line of it is longer than 4 KiB, as in no list of addresses")
    return line.decode("utf-8", "replace")


def _form(lines: _Lines, layout: Layout) -> Format:
    first = lines.first()
    if first.startswith(b"<"):
        raise NotUsed(f"it is a page of HTML or XML, and no list: `{visible(_decoded(first[:200]), 60)}`")
    if b"\0" in first:
        raise NotUsed("it is binary, and no list; a packed one must be unpacked first")
    if layout.format == "auto":
        return "json_lines" if first.startswith(b"{") else "plain"
    return layout.format


def _plain(lines: Iterable[tuple[int, str]], _: str) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        words = line.partition("#")[0].partition(";")[0].split(None, 1)
        if words:
            yield number, words[0]


def _json_lines(lines: Iterable[tuple[int, str]], column: str) -> Iterator[tuple[int, str]]:
    name, told, count = column or "cidr", None, 0
    for number, line in lines:
        if not line.strip():
            continue
        row = _row(line)
        if row.get("type") == "metadata":
            told = row.get("records", told)
            continue
        count += 1
        yield number, str(row.get(name, line.strip()))
    if isinstance(told, int) and told != count:
        raise NotUsed(f"it says that it has {told:,} records, and has {count:,}: it was cut or put together")


def _row(line: str) -> dict[str, Any]:
    try:
        row = from_json(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _csv(lines: Iterable[tuple[int, str]], column: str) -> Iterator[tuple[int, str]]:
    at = int(column) - 1 if column.isdigit() else None
    first = True
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        row = _cells(line)
        if at is None:
            at, first = _named(row, column), False
            continue
        word = row[at].strip() if at < len(row) else line.strip()
        if first and not _is_address(word):  # the names of columns
            first = False
            continue
        first = False
        yield number, word


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        return []


def _named(row: list[str], column: str) -> int:
    names = [one.strip() for one in row]
    if column not in names:
        raise NotUsed(f"its first row has no column `{column}`, but {visible(', '.join(names), 120)}")
    return names.index(column)


def _is_address(word: str) -> bool:
    try:
        coded(word)
    except ValueError:
        return False
    return True


_WORDS: Final[dict[Format, Callable[[Iterable[tuple[int, str]], str], Iterator[tuple[int, str]]]]] = {
    "plain": _plain,
    "json_lines": _json_lines,
    "csv": _csv,
}
"""Each yields the number of a line and the word in it that should be a network."""
