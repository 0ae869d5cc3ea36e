"""Texts as Sigma compares them: with `*` and `?`, whatever the case of the letters; and as regular expressions of ours.

`\\*`, `\\?` and `\\\\` stand for the characters themselves, and any other backslash for itself (sigma-rules, "Wildcards" and
"Escaping"). What one of our plain operators says exactly is left to it; all else becomes one expression, to be searched for.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.grammar.pattern import regular

_SPECIAL: Final = frozenset(r"\.^$*+?{}[]|()")
_FLAGS: Final = re.compile(r"\(\?([aims]+)\)")
_ASCII: Final = re.compile(r"\\[wWdDsSbB]")
_ELSEWHERE: Final = (
    (r"\Z", "the end of the text is \\z or $ in one, \\Z in the other; write $"),
    ("[[", "a set inside a set"),
    ("[^[", "a set inside a set"),
    ("{,", "a repeat without its least number"),
    ("(?u", "a flag that only Python has"),
    ("(?L", "a flag that only Python has"),
)
"""What means something else in PCRE, which Sigma's expressions are written in, and in Python."""
ANY: Final = None
ONE: Final = "?"
Token = tuple[str, bool] | None
"""A character that stands for itself, (ONE, True) for any single one, ANY for any number of them."""


@dataclass(frozen=True)
class Wanted:
    """One way for a text to fit: an expression without its flags, tied to the text's begin or end, or to neither.

    `plain` is the operator of ours that says the same, with its operand.
    """

    core: str
    flags: str = ""
    begin: bool = False
    end: bool = False
    plain: tuple[str, str] | None = None
    own: bool = True
    """Made here of a text: no `.` in it minds the flag s."""


def wanted(text: str, before: bool, after: bool, cased: bool) -> Wanted | None:
    """What a text of Sigma's asks for; None where it is nothing but `*`. `before` and `after`: anything may stand there."""
    tokens = [*([ANY] if before else []), *_tokens(text), *([ANY] if after else [])]
    if not tokens:
        return Wanted("", begin=True, end=True, plain=("is", ""))
    if all(one is ANY for one in tokens):
        return None
    begin, end = tokens[0] is not ANY, tokens[-1] is not ANY
    segments = _segments(tokens)
    exact = cased or not any(one and not one[1] and _has_case(one[0]) for one in tokens)
    core, tied = _core(segments, begin, end)
    dots = len(segments) > 1 or any(one and one[1] for one in tokens)
    flags = ("" if exact else "i") + ("s" if dots else "")
    return Wanted(core, flags, begin or tied, end, _plainly(segments, begin, end) if exact else None)


def expression(text: str, flags: str) -> Wanted:
    """A regular expression of Sigma's, with the flags that its modifiers give.

    Raises:
        ValueError: it is none, or could mean something else here.
    """
    for part, why in _ELSEWHERE:
        if part in text:
            raise ValueError(f"`{part}` in a regular expression means something else in Sigma and here: {why}")
    if found := _FLAGS.match(text):
        text, flags = text[found.end() :], flags + found[1]
    flags += "a" if _ASCII.search(text) else ""
    made = Wanted(text, "".join(sorted(set(flags))), own=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compiled = regular(searched([made]))
        except Warning as warning:
            raise ValueError(f"this regular expression means something else in Sigma and here: {warning}") from None
    if compiled.flags & re.VERBOSE:
        raise ValueError("an expression with blanks that do not count; write it without (?x)")
    return made


def searched(ways: Sequence[Wanted]) -> str:
    """One expression that is found in a text where any of the ways fits."""
    ways = _alike(ways)
    flags = {one.flags for one in ways}
    if len(flags) > 1:
        return "|".join(f"(?{one.flags}:{_whole(one)})" if one.flags else f"(?:{_whole(one)})" for one in ways)
    head = f"(?{flags.pop()})" if flags != {""} else ""
    if len(ways) == 1:
        return head + _whole(ways[0])
    begin, end = all(one.begin for one in ways), all(one.end for one in ways)
    inside = "|".join(
        (r"\A" if one.begin and not begin else "") + one.core + (r"\Z" if one.end and not end else "") for one in ways
    )
    return f"{head}{chr(92) + 'A' if begin else ''}(?:{inside}){chr(92) + 'Z' if end else ''}"


def all_of(fits: Sequence[Sequence[Wanted]], not_fits: Sequence[Sequence[Wanted]]) -> str:
    """One expression that is found where some way of each of `fits` does, and none of `not_fits`."""
    looks = [f"(?={_anywhere(one)})" for one in fits] + [f"(?!{_anywhere(one)})" for one in not_fits]
    return r"\A" + "".join(looks)


def _anywhere(ways: Sequence[Wanted]) -> str:
    """The ways as they are looked for from the begin of a text on."""
    ways = _alike(ways)
    if len(ways) == 1:
        return _from_begin(ways[0])
    return "|".join(_from_begin(one) for one in ways)


def _from_begin(one: Wanted) -> str:
    body = _whole(_untied(one))
    scoped = f"(?{one.flags}:{body})" if one.flags else f"(?:{body})"
    return scoped if one.begin else f"(?s:.*?){scoped}"


def _untied(one: Wanted) -> Wanted:
    """The same without `\\A`, for a place that is the text's begin already."""
    return Wanted(one.core, one.flags, False, one.end, one.plain, one.own)


def _alike(ways: Sequence[Wanted]) -> list[Wanted]:
    """Our own with the flag s where one of them needs it, so that fewer flags differ."""
    dots = any("s" in one.flags for one in ways if one.own)
    return [
        Wanted(one.core, one.flags + "s", one.begin, one.end, one.plain) if dots and one.own and "s" not in one.flags else one
        for one in ways
    ]


def _whole(one: Wanted) -> str:
    core = one.core if one.own or "|" not in one.core or not (one.begin or one.end) else f"(?:{one.core})"
    return (r"\A" if one.begin else "") + core + (r"\Z" if one.end else "")


# Tokens -------------------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        one, after = text[at], text[at + 1 : at + 2]
        if one == "\\" and after and after in "\\*?":
            found.append((after, False))
            at += 2
            continue
        found.append(ANY if one == "*" else (ONE, True) if one == "?" else (one, False))
        at += 1
    return found


def _segments(tokens: Sequence[Token]) -> list[list[tuple[str, bool]]]:
    """What stands between the `*`, without empty parts."""
    parts: list[list[tuple[str, bool]]] = [[]]
    for one in tokens:
        if one is ANY:
            parts.append([])
        else:
            parts[-1].append(one)
    return [part for part in parts if part]


def _core(segments: Sequence[Sequence[tuple[str, bool]]], begin: bool, end: bool) -> tuple[str, bool]:
    """The expression, and whether it must be tied to the begin of the text, though the first part may stand anywhere.

    Parts between two `*` have one length, so the first place where they fit is as good as any, and none is tried again.
    """
    written = ["".join("." if wild else _escaped(one) for one, wild in part) for part in segments]
    if len(written) == 1:
        return written[0], False
    head = written[0] if begin else f"(?>.*?{written[0]})"
    middle = "".join(f"(?>.*?{one})" for one in written[1:-1])
    return f"{head}{middle}.*{'' if end else '?'}{written[-1]}", True


def _plainly(segments: Sequence[Sequence[tuple[str, bool]]], begin: bool, end: bool) -> tuple[str, str]:
    literal = len(segments) == 1 and not any(wild for _, wild in segments[0])
    text = "".join(one for one, _ in segments[0])
    if literal and begin == end:
        return ("is" if begin else "has"), text
    parts = ["".join("?" if wild else f"[{one}]" if one in "*?[" else one for one, wild in part) for part in segments]
    return "glob", ("" if begin else "*") + "*".join(parts) + ("" if end else "*")


def _escaped(one: str) -> str:
    return f"\\{one}" if one in _SPECIAL else one


def _has_case(one: str) -> bool:
    return one.lower() != one or one.upper() != one
