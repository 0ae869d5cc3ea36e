"""What YAML's parser complains about, in words that say what to do.

libyaml and PyYAML's own parser word the same mistake differently, and neither says how to mend it; the places they name
are the same. So the cause is told from the text that stands there, and the parser's words are the last resort.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from agent.grammar.problem import Place, Problem

_FOLDED_COUNT: Final = re.compile(r":\s+(?P<value>>=?\s*\d[^,}\]#]*)")
_BRACED_FIELD: Final = re.compile(r"\$\{(?P<name>[\w.]+)\}?")
_KEY_LINE: Final = re.compile(r"\s*(?:- +)*[^\s:#][^:#]*:(?:\s|$)")
_UNQUOTED: Final = "@`%*&!"


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the parser stopped: the lines of the document, the line (from 0) and the column (from 0)."""

    file: str
    lines: Sequence[str]
    line: int
    column: int

    @property
    def text(self) -> str:
        return self.lines[self.line] if self.line < len(self.lines) else ""

    @property
    def starts_line(self) -> bool:
        return not self.text[: self.column].strip(" -\t")

    def place(self, column: int | None = None, width: int = 1) -> Place:
        column = self.column if column is None else column
        return Place(self.file, self.line + 1, column + 1, self.text, width)

    def moved(self, line: int) -> _Spot:
        """The first word of another line."""
        text = self.lines[line]
        return _Spot(self.file, self.lines, line, len(text) - len(text.lstrip(" -\t")))

    @property
    def ends_document(self) -> bool:
        return not self.text.strip() or self.text.startswith("---")

    def last_bracket(self) -> _Spot | None:
        """The last [ or { on the line above, which the end of the document came upon open."""
        above = self.previous()
        if above is None:
            return None
        column = max(above.text.rfind("["), above.text.rfind("{"))
        return _Spot(self.file, self.lines, above.line, column) if column >= 0 else None

    def previous(self) -> _Spot | None:
        """The first word of the last line above that says something."""
        for number in range(min(self.line, len(self.lines)) - 1, -1, -1):
            if self.lines[number].strip() and not self.lines[number].lstrip().startswith("#"):
                return self.moved(number)
        return None


def explain(error: yaml.MarkedYAMLError, file: str, lines: Sequence[str], first: int = 0) -> Problem:
    """The problem behind a parser's error. `lines` are the file's, `first` is the line (from 0) at which the parser began."""
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
    spots = [_Spot(file, lines, mark.line + first, mark.column) for mark in marks] or [_Spot(file, lines, first, 0)]
    spot, context = spots[0], spots[-1]
    problem, about = error.problem or "", error.context or ""
    if found := _known_slip(context if "flow" in about else spot):
        return found
    if "quoted scalar" in about:
        return _quoted(problem, context)
    if "flow" in about:
        return _flow(spot, context)
    if "simple key" in about:
        return _no_colon(context)
    if any(word in about for word in ("alias", "anchor", "tag")):
        return _needs_quotes(context)
    if problem.startswith("mapping values are not allowed"):
        return _stray_colon(spot)
    if "sequence entries are not allowed" in problem:
        return Problem(spot.place(), "a list does not begin beside its key", "put each `- …` on a line of its own, below the key")
    if "block" in about and "scalar" not in about:
        return _broken_block(spot)
    hint = f"look at the quotes and the indentation near here; the parser says: {problem}"
    return Problem(spot.place(), "this is not YAML", hint)


def _known_slip(spot: _Spot) -> Problem | None:
    """Slips that can be told from the line alone, whatever the parser said about it."""
    text = spot.text
    indent = text[: len(text) - len(text.lstrip())]
    if "\t" in indent:
        return Problem(spot.place(indent.index("\t")), "a tab in the indentation", "YAML indents with spaces only")
    if found := _FOLDED_COUNT.search(text):
        value = found["value"].rstrip().replace('"', "'")
        place = spot.place(found.start("value"), len(value))
        return Problem(place, "a text that begins with > needs quotes", f'write "{value}"')
    if found := _BRACED_FIELD.search(text):
        place = spot.place(found.start(), len(found[0]))
        return Problem(place, "a `$field` is written without braces", f"write ${found['name']}")
    if text[spot.column : spot.column + 1] in tuple(_UNQUOTED):
        return _needs_quotes(spot)
    return None


def _needs_quotes(spot: _Spot) -> Problem:
    sign = spot.text[spot.column : spot.column + 1]
    return Problem(spot.place(), f"a text that begins with {sign} needs quotes", 'put the whole text between "…"')


def _no_colon(spot: _Spot) -> Problem:
    place = spot.place(width=len(spot.text[spot.column :].rstrip()))
    return Problem(place, "expected `key: value`", "put a colon and a space after the key")


def _quoted(problem: str, context: _Spot) -> Problem:
    if "escape" in problem:
        at = context.text.find("\\", context.column)
        hint = "inside \"…\" a backslash is written \\\\; inside '…' it stands for itself"
        return Problem(context.place(max(at, context.column), 2), "an escape that YAML does not know", hint)
    return Problem(context.place(), "this quote is not closed", "end the text with the same quote")


def _flow(spot: _Spot, context: _Spot) -> Problem:
    if context.ends_document:
        context = context.last_bracket() or context
    bracket = context.text[context.column : context.column + 1]
    if bracket not in ("[", "{"):
        return Problem(spot.place(), "a value is missing here", "write it, or take the comma away")
    if spot.line != context.line:
        hint = f"end it with {']' if bracket == '[' else '}'}"
        return Problem(context.place(), f"the {bracket} that begins here is not closed", hint)
    hint = "values between brackets are parted by commas"
    return Problem(spot.place(), "a comma or a closing bracket is missing before this", hint)


def _stray_colon(spot: _Spot) -> Problem:
    above = spot.previous()
    words = spot.text[: spot.column].strip(" -")
    if ": " in words or words.endswith(":") or above is None:
        hint = 'a text with a colon and a space in it is written in quotes: "…"'
        return Problem(spot.place(), "a second colon in one line", hint)
    if not _KEY_LINE.match(above.text):
        return _no_colon(above)
    here = spot.moved(spot.line)
    hint = f"start it in column {above.column + 1}, like the line above it"
    return Problem(here.place(width=len(words)), "this line stands deeper than the lines it belongs to", hint)


def _broken_block(spot: _Spot) -> Problem:
    rest = spot.text[spot.column :]
    if rest.startswith(":"):
        return Problem(spot.place(), "a key is missing before this colon", "write `key: value`")
    if not spot.starts_line:
        hint = "put the whole value into quotes; inside '…' a quote is written ''"
        return Problem(spot.place(), "text after the end of the value", hint)
    hint = "the keys of one map start in one column, and so do the - of one list"
    return Problem(spot.place(width=len(rest.split(":")[0])), "this line belongs to none of the lines above it", hint)
