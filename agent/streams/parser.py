"""What a parser is: one program's text, line by line, that becomes events. It reads, and remembers nothing.

A log is mostly noise, so a parser says in `hint` which bytes a line must hold to be worth a look; `Scan` searches whole
chunks for them and hands over only the lines that have them.

    @parser(kinds=(FAILURE, SUCCESS), programs=("sshd",), hint=rb"sshd\\[\\d+\\]: (?:Failed |Accepted )")
    class Sshd:                                 the file's name is the parser's name in agent.yaml
        def read(self, text: str) -> Said | None: ...
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

from agent.event import Event, Kind, Value
from agent.streams.join import Join
from agent.streams.rates import MEASURED, Meter, Tally
from agent.streams.syslog import HEAD, time_of

LONGEST_RAW = 4096
"""Characters of a line that an event keeps."""
_BEGIN: Final = re.compile(rb"^[^\n]", re.MULTILINE)
_new: Final = tuple.__new__
"""A named tuple without the call of its own __new__, which would cost as much again."""


class Said(NamedTuple):
    """What one line means. `ts` is only for lines that carry their own time; `times` is how often it happened."""

    kind: str
    fields: Mapping[str, Value]
    ts: float = 0.0
    times: int = 1


def said_once(kind: str, fields: Mapping[str, Value]) -> Said:
    """`Said(kind, fields)` at a third of its cost, for the lines that an attack is made of."""
    return _new(Said, (kind, fields, 0.0, 1))


class Parser(Protocol):
    """An instance of the class under agent/parsers/.

    Attributes:
        programs: the syslog tags (and journald `_COMM` names) whose messages this reads. Empty: lines have no syslog header.
        hint: matches inside each line that may mean something; it begins with a literal, which makes the search run at
            memory speed. None: every line means something.
        longest: bytes of a line; longer ones are not looked at, so that no line costs more than 5 ms.
        join: which lines make one record, where a line alone does not; `read` gets the whole record.
        units: systemd's units whose own messages in the journal are believed, whoever they run as; see agent/sensors/journald.py.
        tally: counts requests in a chunk of whole lines, for programs whose rates matter more than their single lines.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    programs: ClassVar[tuple[str, ...]]
    hint: ClassVar[re.Pattern[bytes] | None]
    longest: ClassVar[int]
    join: ClassVar[Join | None]
    units: ClassVar[tuple[str, ...]]
    tally: Callable[[bytes], Tally] | None

    def read(self, text: str) -> Said | None:
        """What the line or message means; None where it means nothing to us. Never raises, whatever the text."""
        ...


class Scanner(Protocol):
    """Reads chunks by itself, and may remember what it read: agent/fail2ban/reading.py."""

    def found(self, chunk: bytes, seen: float) -> list[tuple[int, Event]]:
        """The events of a chunk of whole lines, each with the place of its line."""
        ...


T = TypeVar("T", bound=type)


def parser(
    *,
    kinds: tuple[Kind, ...],
    programs: tuple[str, ...] = (),
    hint: bytes = b"",
    longest: int = 4096,
    join: Join | None = None,
    units: tuple[str, ...] = (),
) -> Callable[[T], T]:
    """Declare the one parser of a file under agent/parsers/. What the words mean stands in `Parser`."""

    def declare(cls: T) -> T:
        if not (cls.__doc__ or "").strip() or not hasattr(cls, "read"):
            raise TypeError(f"{cls.__module__}: a parser needs a docstring and read()")
        made: Any = cls
        made.name, made.kinds, made.programs = cls.__module__.rpartition(".")[2], kinds, programs
        made.hint, made.longest, made.tally = re.compile(hint) if hint else None, longest, getattr(cls, "tally", None)
        made.join, made.units = join, units
        return typing.cast("T", made)

    return declare


def discover_parsers() -> dict[str, Parser]:
    """Every parser of agent/parsers/ by name."""
    from agent import parsers
    from agent.action import discover

    return {name: made() for name, made in discover(parsers, mark="read").items()}


# From chunks to events ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scan:
    """Turns chunks of whole lines into events, building none that nobody wants.

    `wanted` are the kinds that some policy names; None means all.
    """

    source: str
    readers: tuple[Parser, ...]
    meters: tuple[tuple[Callable[[bytes], Tally], Meter], ...]
    beside: tuple[Scanner, ...] = ()

    @classmethod
    def of(cls, parsers: Sequence[Parser], source: str, wanted: frozenset[str] | None = None, every: float = 5.0) -> Scan:
        """The scan for these parsers, less those whose kinds nobody wants."""
        wanted = frozenset(kind.name for one in parsers for kind in one.kinds) if wanted is None else wanted
        rates = {kind.name for kind in MEASURED} & wanted
        readers = tuple(one for one in parsers if any(kind.name in wanted - rates for kind in one.kinds))
        meters = tuple((one.tally, Meter(source, every, rates)) for one in parsers if rates and one.tally)
        return cls(source, readers, meters)

    def events(self, chunk: bytes, seen: float) -> list[Event]:
        """Every event of the chunk in the order of its lines; meters only count."""
        for tally, meter in self.meters:
            meter.add(tally(chunk))
        found: list[tuple[int, Event]] = []
        for one in self.readers:
            self._read(one, chunk, seen, found)
        for other in self.beside:
            found += other.found(chunk, seen)
        if len(self.readers) + len(self.beside) > 1:
            found.sort(key=itemgetter(0))
        return [event for _, event in found]

    def tick(self, seen: float) -> list[Event]:
        """The rates, when they are due."""
        return [event for _, meter in self.meters for event in meter.tick(seen)]

    def _read(self, one: Parser, chunk: bytes, seen: float, found: list[tuple[int, Event]]) -> None:
        """One parser's events with the places of their lines. This runs for every line of an attack, and so it is flat."""
        programs, longest, read, source, match_head = one.programs, one.longest, one.read, self.source, HEAD.match
        sure = (
            frozenset() if programs else frozenset(kind.name for kind in one.kinds if not kind.forgeable)
        )  # anybody logs to syslog
        stamp, stamped = None, 0.0
        for start, end in _lines(one.hint, chunk) if one.join is None else _records(one.join, one.hint, chunk):
            # A writer without O_APPEND leaves a hole of NULs before its next line when its file is truncated.
            bare = chunk[start:end].lstrip(b"\0")
            if len(bare) > longest:
                continue
            text = line = bare.decode("utf-8", "replace")
            ts = 0.0
            if programs:
                head = match_head(line)
                if head is None or head[3] not in programs:
                    continue
                if (written := head[1]) is None or written != stamp:  # most lines are of the same second as the one before
                    stamp, stamped = written, time_of(head, seen)
                ts, text = stamped, line[head.end() :]
            said = read(text)
            if said is not None:
                kind, fields, own, times = said
                event = _new(Event, (kind, seen, fields, source, own or ts, line[:LONGEST_RAW], kind not in sure))
                if times == 1:
                    found.append((start, event))
                else:
                    found += [(start, event)] * times


def _records(join: Join, hint: re.Pattern[bytes] | None, chunk: bytes) -> Iterable[tuple[int, int]]:
    """Start and end of each record that the hint is found in."""
    return ((start, end) for start, end in join.records(chunk) if hint is None or hint.search(chunk, start, end))


def _lines(hint: re.Pattern[bytes] | None, chunk: bytes) -> Iterable[tuple[int, int]]:
    """Start and end of each line that the hint is found in, without its newline."""
    end = -1
    rfind, find = chunk.rfind, chunk.find
    for hit in hint.finditer(chunk) if hint else _BEGIN.finditer(chunk):
        at = hit.start()
        if at < end:  # one line, several hits
            continue
        start = rfind(b"\n", 0, at) + 1
        end = find(b"\n", at)
        if end < 0:
            end = len(chunk)
        yield start, end
