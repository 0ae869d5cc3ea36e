"""What `contain run` shows: on a terminal a calm stream of sentences over one status line, elsewhere log lines with fields."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, Self

from agent.cli.show import Ink, Show
from agent.event import CHECK, Event
from agent.record import Record
from agent.say import sentence
from agent.streams.sensor import SENSOR
from agent.visible import CUT, visible

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "finding": ("found", "yellow"),
    "refused": ("refused", "yellow"),
    "left_alone": ("spared", "dim"),
    "muted": ("muted", "dim"),
    "asked_for": ("waits", "yellow"),
    "approved": ("yes", "green"),
    "denied": ("no", "yellow"),
    "clock_set": ("clock", "yellow"),
    **dict.fromkeys(("paused", "resumed"), ("pause", "yellow")),
    "would": ("would", "yellow"),
    "intent": ("acts", ""),
    "in_force": ("in force", "green"),
    "healed": ("healed", "green"),
    "recovered": ("settled", "green"),
    "drifted": ("drift", "yellow"),
    "late": ("doubt", "yellow"),
    "lifted": ("lifted", "dim"),
    "lifting": ("lifting", "dim"),
    "released": ("release", "dim"),
    **dict.fromkeys(("recurred", "release_frozen"), ("again", "yellow")),
    **dict.fromkeys(("failed", "not_verified", "plan_failed", "lift_failed", "heal_failed"), ("failed", "red")),
    **dict.fromkeys(("bug", "policies_refused"), ("broken", "red")),
}
"""Record kind → the word in front of its sentence, and its colour; the rest is about the agent itself."""
_URGENT: Final = {"P0": "red", "P1": "red", "P2": "yellow", "P3": ""}
_LEVELS: Final = {"red": "error", "yellow": "warning"}
_SYSLOG: Final = {"error": 3, "warning": 4, "info": 6}
_FIELDS: Final = ("policy", "target", "action", "severity", "actor")
_PLENTY: Final = 200
"""Records of one second that are printed; of a burst of 10,000 offenders nobody reads 40,000 lines, and they cost it a tenth."""
_MORE: Final = "more happens in this second than is shown here; all of it: contain evidence show"
_SECONDS: Final = 5
"""Rates are averages over so long."""
_WIDEST: Final = 6
"""Kinds of events in the status line."""


class View(Protocol):
    """Where the daemon tells what happens. Used as a context manager, which also takes over the agent's own log."""

    def told(self, ts: float, record: Record, *, quiet: bool = False) -> None:
        """A record was committed; a quiet one is about what people do not want to be told of."""

    def say(self, level: str, text: str) -> None:
        """The program itself has something to say."""


class Brake:
    """Lets the first records of each second through, and every error. The journal has them all."""

    def __init__(self) -> None:
        self._second, self._printed = 0, 0

    def instead(self, ts: float, record: Record) -> str | None:
        """None where the record is to be printed; else what stands for it and those after it, empty where that was said."""
        if _level(record) == "error":
            return None
        if int(ts) != self._second:
            self._second, self._printed = int(ts), 0
        self._printed += 1
        if self._printed <= _PLENTY:
            return None
        return _MORE if self._printed == _PLENTY + 1 else ""


class Lines:
    """One line for each record, for a log: the sentence, then its fields. journald gets the level its own way."""

    saw = None
    """Events are not shown, so the daemon need not hand them over."""

    def __init__(self, show: Show, *, journald: bool = False) -> None:
        """`journald` reads stdout, and takes the level from a number in front (sd-daemon(3)); it knows the time itself."""
        self._show, self._journald, self._brake = show, journald, Brake()

    def __enter__(self) -> Self:
        _log_to(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def told(self, ts: float, record: Record, *, quiet: bool = False) -> None:
        """Print the record; one that is about nothing outside stays a sentence."""
        if self._show.json:
            body = {name: value for name, value in record.body.items() if name in _FIELDS}
            item = {"ts": ts, "kind": record.kind, "say": sentence(record), "incident": record.incident}
            self._show.document("records", [{**item, "mitigation": record.mitigation, "silenced": quiet, **body}])
            return
        if (instead := self._brake.instead(ts, record)) is not None:
            if instead:
                self._line("warning", instead, ts)
            return
        fields = {"kind": record.kind, "incident": record.incident, "mitigation": record.mitigation}
        fields |= {name: record.body[name] for name in _FIELDS if record.body.get(name)}
        spelled = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items() if value)
        self._line("info" if quiet else _level(record), f"{sentence(record)}  {spelled}", ts)

    def say(self, level: str, text: str) -> None:
        """Print a message of the program; on stderr where stdout carries JSON."""
        self._line(level, text, time.time())

    def _line(self, level: str, text: str, ts: float) -> None:
        head = f"<{_SYSLOG[level]}>" if self._journald else f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%SZ} {level:<7} "
        print(
            head + f"\n{head}".join(map(visible, text.splitlines())),
            file=sys.stderr if self._show.json else sys.stdout,
            flush=True,
        )


class Screen:
    """The stream on a terminal. `saw` only counts, since it is called for every event."""

    def __init__(self, show: Show) -> None:
        self._show, self._lock, self._stop, self._brake = show, threading.Lock(), threading.Event(), Brake()
        self._kinds: Counter[str] = Counter()
        self._checks: dict[tuple[Any, Any], Any] = {}
        self._sensors: dict[Any, Any] = {}
        self._past: deque[tuple[float, Counter[str]]] = deque(maxlen=_SECONDS + 1)
        self._status = ""

    def __enter__(self) -> Self:
        _log_to(self)
        threading.Thread(target=self._keep_drawing, name="live view", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._lock:
            self._write("")

    def saw(self, event: Event) -> None:
        """Count an event; remember the latest answer of each check and the latest word of each sensor."""
        if event.kind == CHECK.name:
            self._checks[event.get("name"), event.get("target")] = event.get("state")
        elif event.kind == SENSOR.name:
            self._sensors[event.get("name")] = event.get("ok")
        else:
            self._kinds[event.kind] += 1

    def told(self, ts: float, record: Record, *, quiet: bool = False) -> None:
        """Print the record's sentence above the status line."""
        if (instead := self._brake.instead(ts, record)) is not None:
            if instead:
                self.say("warning", instead)
            return
        mark, colour = _MARKS.get(record.kind, ("agent", "dim"))
        if record.kind == "finding":
            colour = _URGENT.get(str(record.body.get("severity")), colour)
        self._stream(ts, Ink(mark, "dim" if quiet else colour), sentence(record))

    def say(self, level: str, text: str) -> None:
        """Print a message of the program."""
        colour = {"error": "red", "warning": "yellow"}.get(level, "dim")
        self._stream(time.time(), Ink(level, colour), text)

    def _stream(self, ts: float, mark: Ink, text: str) -> None:
        clock = f"{datetime.fromtimestamp(ts).astimezone():%H:%M:%S}"
        said = f"\n{'':<20}".join(map(visible, text.splitlines()))
        line = f"{self._show.paint(clock, 'dim')}  {self._show.paint(f'{mark.text:<8}', mark.colour)}  {said}"
        with self._lock:
            self._write(line + "\n")

    def _keep_drawing(self) -> None:
        while not self._stop.wait(1.0):
            self._past.append((time.monotonic(), Counter(self._kinds)))
            with self._lock:
                if not self._stop.is_set():
                    self._status = self._summary()
                    self._write("")

    def _write(self, text: str) -> None:
        """Replace the status line by the text and the status line anew."""
        status = "" if self._stop.is_set() else self._show.paint(self._status, "dim")
        sys.stdout.write(f"\r\x1b[2K{text}{status}")
        sys.stdout.flush()

    def _summary(self) -> str:
        (since, before), (until, now) = self._past[0], self._past[-1]
        rates = {kind: (count - before[kind]) / max(1.0, until - since) for kind, count in now.most_common(_WIDEST)}
        seen = "  ".join(f"{kind} {rate:.1f}/s" for kind, rate in rates.items())
        answers = Counter(map(str, self._checks.copy().values()))
        checks = ", ".join(f"{answers[state]} {state}" for state in ("good", "bad", "unknown") if answers[state])
        deaf = sum(1 for ok in self._sensors.copy().values() if not ok)
        parts = ["watching", seen or "no events yet", f"checks {checks}" if checks else ""]
        parts += [f"{deaf} of {len(self._sensors)} sensors cannot read" if deaf else ""]
        line = "   ".join(part for part in parts if part)
        return line if len(line) < self._show.width else line[: self._show.width - 2] + CUT


def view(show: Show) -> Lines | Screen:
    """The one that fits where stdout goes."""
    if show.terminal and not show.json:
        return Screen(show)
    return Lines(show, journald=bool(os.environ.get("JOURNAL_STREAM")))


def _level(record: Record) -> str:
    return _LEVELS.get(_MARKS.get(record.kind, ("", ""))[1], "info")


def _quoted(value: object) -> str:
    text = visible(value, 300)
    return f'"{text}"' if " " in text or not text else text


class _Handler(logging.Handler):
    """The program's log, shown where everything else is."""

    def __init__(self, target: View) -> None:
        super().__init__(logging.INFO)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "info"
        self._target.say(level, self.format(record))


def _log_to(target: View) -> None:
    log = logging.getLogger("agent")
    log.handlers[:] = [_Handler(target)]
    log.setLevel(logging.INFO)
    log.propagate = False
