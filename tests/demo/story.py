"""What the demo tells: acts, sentences with their moment, and facts that were either seen or not."""

from __future__ import annotations

import re
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from agent.cli.show import Show

T = TypeVar("T")

_NARROW: Final = 80
_WIDE: Final = 110
_INDENT: Final = 10
_PACE: Final = 3.0
"""Seconds after which a wait says how it goes."""
_COLOURS: Final = {"seen": "green", "MISSED": "red", "agent": "bold", "dry run": "yellow", "$": "dim"}
_ESCAPES: Final = re.compile(r"\x1b\[[\d;]*[A-Za-z]")


class CannotGoOn(Exception):  # noqa: N818 - it ends the play, as agent.cli.ends.Stop ends a command
    """What the rest of the play stands on was not seen."""


class Story:
    """Prints as it happens, from any thread. `missed` are the facts that did not hold."""

    def __init__(self) -> None:
        self.began = time.time()
        self.missed: list[str] = []
        self.show = Show.here()
        self.width = min(_WIDE, max(_NARROW, self.show.width)) if self.show.terminal else _WIDE
        self._lock, self._acts = threading.Lock(), 0

    # Telling --------------------------------------------------------------------------------------------------------------

    def line(self, text: str = "", colour: str = "") -> None:
        """A line as it is."""
        with self._lock:
            sys.stdout.write(self.show.paint(text, colour) + "\n")
            sys.stdout.flush()

    def act(self, title: str) -> None:
        """The next act begins."""
        self._acts += 1
        self.line()
        self.line(f"{self._acts}. {title}", "bold")

    def tell(self, mark: str, text: str, at: float | None = None) -> None:
        """A sentence under its moment: Unix seconds, or now."""
        head = f"{(time.time() if at is None else at) - self.began:6.1f} s  {mark:<8} "
        lines = textwrap.wrap(text, self.width - len(head), break_on_hyphens=False) or [""]
        painted = head.replace(mark, self.show.paint(mark, _COLOURS.get(mark, "")), 1)
        self.line(("\n" + " " * len(head)).join([painted + lines[0], *lines[1:]]))

    @property
    def columns(self) -> int:
        """The width of an operator's terminal, shown inside this one."""
        return self.width - _INDENT

    def screen(self, command: str, said: str) -> None:
        """A command that an operator types, and what the terminal then shows."""
        self.tell("$", command)
        shown = said if self.show.colour else _ESCAPES.sub("", said)
        for one in shown.replace("\r", "").rstrip().split("\n"):
            self.line(f"{'':<{_INDENT}}{one}".rstrip())

    def numbers(self, rows: Sequence[tuple[str, str]]) -> None:
        """The end: a name and what was measured."""
        self.line()
        wide = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.line(f"  {name:<{wide}}  {value}")

    # Facts ----------------------------------------------------------------------------------------------------------------

    def fact(self, claim: str, held: object, instead: object = "") -> None:
        """A claim and whether it was observed; `instead` is what was there."""
        if held:
            self.tell("seen", claim)
            return
        self.missed.append(claim)
        self.tell("MISSED", f"{claim} (instead: {instead})" if instead else claim)

    def awaited(self, claim: str, ask: Callable[[], T | None], seconds: float, progress: Callable[[], str] | None = None) -> T:
        """The first answer that is there; `progress` is told now and then until it is.

        Raises:
            CannotGoOn: there was none in time; the claim counts as missed.
        """
        until, say = time.monotonic() + seconds, time.monotonic() + _PACE
        while (answer := ask()) is None:
            now = time.monotonic()
            if now > until:
                raise self.over(claim, f"nothing for {seconds:g} s")
            if progress and now > say:
                self.tell("so far", progress())
                say += _PACE
            time.sleep(0.01)
        return answer

    def over(self, claim: str, instead: str) -> CannotGoOn:
        """A claim that was missed, to be raised, since nothing can follow."""
        self.fact(claim, held=False, instead=instead)
        return CannotGoOn(claim)

    def end(self) -> int:
        """The exit status: 0 only if every fact was seen."""
        self.line()
        if not self.missed:
            self.line(f"All of this was seen to happen, in {time.time() - self.began:.0f} s.", "green")
            return 0
        self.line(f"{len(self.missed)} of the facts above did not hold:", "red")
        for claim in self.missed:
            self.line(f"  {claim}")
        return 1
