"""What ops wrote wrong, and where: with the line, a caret, and how to mend it. All at once, never only the first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["error", "warning"]
_WIDEST: Final = 110
_CLOSE: Final = 0.6
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. `line` and `column` count from 1, `source` is the whole line, `width` the characters meant."""

    file: str
    line: int
    column: int
    source: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def word(self) -> str:
        """The characters meant."""
        return self.source[self.column - 1 : self.column - 1 + self.width]

    def excerpt(self) -> str:
        """The line with a caret under what is meant; a very long line is cut around it."""
        cut = max(0, self.column - _WIDEST // 2) if len(self.source) > _WIDEST else 0
        shown = self.source[cut : cut + _WIDEST].rstrip()
        before = "".join("\t" if character == "\t" else " " for character in shown[: self.column - 1 - cut])
        carets = "^" * max(1, min(self.width, len(shown) - len(before)))
        return f"{self.line:>5} | {shown}\n      | {before}{carets}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (`error`) or unwise (`warning`), and the mend where we know one."""

    place: Place
    text: str
    hint: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.level}: {self.text}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        if self.place.source:
            lines.append(self.place.excerpt())
        return "\n".join(lines)

    def to_json(self) -> dict[str, str | int]:
        """As `contain policy check --json` prints it."""
        place = self.place
        return {
            "file": place.file,
            "line": place.line,
            "col": place.column,
            "level": self.level,
            "message": self.text,
            "hint": self.hint,
        }


def in_order(found: Iterable[Problem]) -> tuple[Problem, ...]:
    """By file, line and column, as people read."""
    return tuple(sorted(found, key=lambda one: (one.place.file, one.place.line, one.place.column, one.level)))


class Problems(Exception):  # noqa: N818 - the word ops read
    """Everything wrong with the files that were read; `found` stands in order, warnings among the errors.

    The text is the errors alone: in a log, a status or after `contain reload`, warnings would hide what must be mended.
    """

    def __init__(self, found: Iterable[Problem]) -> None:
        self.found = in_order(found)
        super().__init__("\n".join(str(one) for one in self.found if one.level == "error"))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None. `ip` means `src.ip`, and case and -, _ and . do not count."""
    by_shape = {_shape(one): one for one in sorted(known)}
    wanted = _shape(word)
    if wanted in by_shape:
        return by_shape[wanted]
    tails = [one for shape, one in by_shape.items() if shape.endswith(f"_{wanted}")]
    if len(tails) == 1:
        return tails[0]
    close = difflib.get_close_matches(wanted, by_shape, n=1, cutoff=_CLOSE) if len(wanted) > 2 else []
    return by_shape[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the word that was probably meant, or else all that could be, if they are few."""
    known = sorted(known)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean `{close}`?"
    return f"one of {', '.join(known)}" if 0 < len(known) <= _MOST_NAMED else ""


def _shape(word: str) -> str:
    return word.lower().replace("-", "_").replace(".", "_").replace(" ", "_")
