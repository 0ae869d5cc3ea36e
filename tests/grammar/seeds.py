"""Policy files with seeded mistakes, and what is said of each: the comments under a line say it, a caret under its place.

    severity: P5
    #         ^^ error: `P5` is not one of P0, P1, P2, P3
    #            hint: P0 (all is down, or data is lost) to P3 (cosmetic)

The caret stands in the column, `<` instead of a caret means column 1, and the words are how the message begins. `error!` is a
mistake that an editor with the JSON Schema must show as well. Several comments may stand under one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

SEEDED: Final = Path(__file__).parent / "seeded"
_SAID: Final = re.compile(r"#(?P<before> *)(?P<mark>\^+|<) (?P<level>error|warning)(?P<shown>!?): (?P<text>.+)")
_HINT: Final = re.compile(r"# +hint: (?P<hint>.+)")


@dataclass(frozen=True)
class Seed:
    """One seeded mistake, and how its message and its hint begin."""

    file: str
    line: int
    column: int
    level: str
    text: str
    structural: bool
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.text}"


def files() -> dict[str, str]:
    """Every seeded file by name; what is no UTF-8 stands as it does when the agent reads it."""
    return {path.name: path.read_bytes().decode("utf-8", "surrogateescape") for path in sorted(SEEDED.glob("*.yaml"))}


def seeds(name: str, text: str) -> Iterator[Seed]:
    """The mistakes that the comments of a file announce."""
    last: Seed | None = None
    line = 0
    for number, written in enumerate(text.splitlines(), 1):
        if said := _SAID.fullmatch(written):
            if last is not None:
                yield last
            column = 1 if said["mark"] == "<" else len(said["before"]) + 2
            last = Seed(name, line, column, said["level"], said["text"], bool(said["shown"]))
        elif (hint := _HINT.fullmatch(written)) and last is not None:
            last = replace(last, hint=hint["hint"])
        else:
            line = number
    if last is not None:
        yield last
