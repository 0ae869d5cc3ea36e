"""Entries of the journal through filters of fail2ban's: which ones a filter reads, and how an entry looks as a line.

A filter's `journalmatch` says what it reads. Unlike our parsers, it may go by what a program calls itself and read what a service
writes to its standard output; so whoever can log on this host can make its events, as with fail2ban. What a connection said
before a restart is forgotten by it, as by fail2ban.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agent.event import Event
from agent.fail2ban import filters
from agent.fail2ban.filters import Alternative, Filter
from agent.fail2ban.kinds import FAILURE
from agent.fail2ban.reading import LONGEST, Reading, trouble

_LINE: Final = ("_HOSTNAME", "SYSLOG_IDENTIFIER", "_COMM", "SYSLOG_PID", "_PID", "MESSAGE", "_SOURCE_MONOTONIC_TIMESTAMP")
_TIMES: Final = ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP")


def usable(specs: Iterable[str], directory: str) -> None:
    """Read filters for the journal, so that what is wrong with them is said when agent.yaml is read.

    Raises:
        ValueError: one cannot be used; with the reason and the mend.
    """
    specs = tuple(specs)
    filters.usable(specs, directory, "journal")
    for spec in specs:
        one = filters.load(directory, spec, "journal")
        if not one.matches:
            mend = "write what to read: " + _with(spec, 'journalmatch="_SYSTEMD_UNIT=NAME.service"')
            raise ValueError(f"filters: `{spec}` has no journalmatch, and would read the whole journal; {mend}")
        if one.rules.search.lines > 1:
            raise ValueError(
                f"filters: `{spec}` looks at {one.rules.search.lines} lines together; read its log file, with logfile"
            )


def _with(spec: str, parameter: str) -> str:
    return f"'{spec[:-1]}, {parameter}]'" if spec.endswith("]") else f"'{spec}[{parameter}]'"


class Journal:
    """All filters of the journal's sensor. `fields` are what it needs of an entry, `words` what to ask journalctl for."""

    def __init__(self, specs: Iterable[str], directory: str, source: str, wanted: frozenset[str] | None) -> None:
        """Nothing has been read; without a policy about them, nothing will be."""
        heard = wanted is None or FAILURE.name in wanted
        used = [filters.load(directory, spec, "journal") for spec in specs] if heard else []
        self._each: Sequence[tuple[Filter, Reading]] = [(one, Reading(one, source)) for one in used]
        ways = [way for one in used for way in one.matches]
        self.fields = sorted({*_LINE, _TIMES[0], *(name for way in ways for name, _ in way)}) if used else []
        self.words = [word for way in ways for word in ("+", *(f"{name}={value}" for name, value in way))][1:]

    def __bool__(self) -> bool:
        return bool(self._each)

    def events(self, entry: Mapping[str, Any], message: str, seen: float) -> list[Event]:
        """The events of one entry, whose MESSAGE is given as text."""
        found: list[Event] = []
        line = ""
        for one, reading in self._each:
            if not any(_fits(entry, way) for way in one.matches):
                continue
            line = line or line_of(entry, message)
            if len(line) > LONGEST:
                reading.too_long += 1
            elif event := reading.judged(line, seen, _time(entry)):
                found.append(event)
        return found

    def trouble(self) -> str:
        """As Readings'."""
        return trouble(reading for _, reading in self._each)

    def close(self) -> None:
        """None of them will search apart any more."""
        for _, reading in self._each:
            reading.close()


def line_of(entry: Mapping[str, Any], message: str) -> str:
    """`HOST PROGRAM[PID]: MESSAGE`, as fail2ban writes an entry; a newline in the message is written as `\\n`."""
    words = [str(entry["_HOSTNAME"])] if entry.get("_HOSTNAME") else []
    program, pid = entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM"), entry.get("SYSLOG_PID") or entry.get("_PID")
    if program:
        words.append(f"{program}[{_digits(str(pid))}]:" if pid else f"{program}:")
        if words[-1] == "kernel:":
            words.append(f"[{int(entry.get('_SOURCE_MONOTONIC_TIMESTAMP') or 0) / 1e6:12.6f}]")
    return " ".join([*words, message]).replace("\n", "\\n")


def _digits(pid: str) -> str:
    return str(int(pid)) if pid.isdecimal() and len(pid) < 20 else pid


def _fits(entry: Mapping[str, Any], way: Alternative) -> bool:
    """Whether the entry has one of the values for each of the fields."""
    for name in {name for name, _ in way}:
        has = entry.get(name)
        values = has if isinstance(has, list) else [has]
        if not any(value in values for other, value in way if other == name):
            return False
    return True


def _time(entry: Mapping[str, Any]) -> float:
    text = next((str(entry[name]) for name in _TIMES if entry.get(name)), "0")
    return int(text) / 1e6 if text.isdecimal() and len(text) < 20 else 0.0
