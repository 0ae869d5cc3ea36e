"""Dates in lines: where fail2ban's templates find one, since its expressions see a line with the date cut out.

A `datepattern` is a list of templates; without one, fail2ban's own list counts. Which template is tried first, and which of two
dates in a line is taken, hangs on what was read before; so a `Detector` remembers as fail2ban's does.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Final

from agent.fail2ban.needles import behind_no_word

ABBREVIATED: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ZONE: Final = r"[A-Z](?:[A-Z]{2,4})?"
_OFFSET: Final = r"[+-][01]\d(?::?\d{2})?"


def _one_of(group: str, words: tuple[str, ...]) -> str:
    """Longer words first, so that none hides behind its beginning."""
    return f"(?P<{group}>{'|'.join(sorted(words, key=len, reverse=True))})"


_YEARS: Final = "|".join(str(decade) for decade in range(200, (time.localtime().tm_year + 3) // 10 + 1))
"""From 2000 to three years from now, as fail2ban believes them, too."""
_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a": _one_of("a", tuple(day[:3] for day in _DAYS)),
        "A": _one_of("A", _DAYS),
        "b": _one_of("b", ABBREVIATED),
        "B": _one_of("B", MONTHS),
        "d": r"(?P<d>[1-2]\d|[0 ]?[1-9]|3[0-1])",
        "f": r"(?P<f>[0-9]{1,6})",
        "G": r"(?P<G>\d\d\d\d)",
        "H": r"(?P<H>[0-1]?\d|2[0-3])",
        "I": r"(?P<I>1[0-2]|0[1-9]|[1-9])",
        "j": r"(?P<j>36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])",
        "k": r" ?(?P<H>[0-2]?\d)",
        "l": r" ?(?P<I>1?\d)",
        "m": r"(?P<m>0?[1-9]|1[0-2])",
        "M": r"(?P<M>[0-5]?\d)",
        "p": r"(?P<p>am|pm)",
        "S": r"(?P<S>[0-5]?\d|6[0-1])",
        "U": r"(?P<U>5[0-3]|[0-4]\d|\d)",
        "u": r"(?P<u>[1-7])",
        "V": r"(?P<V>5[0-3]|0[1-9]|[1-4]\d|\d)",
        "W": r"(?P<W>5[0-3]|[0-4]\d|\d)",
        "w": r"(?P<w>[0-6])",
        "y": r"(?P<y>\d\d)",
        "Y": r"(?P<Y>\d{4})",
        "z": rf"(?P<z>Z|UTC|GMT|{_OFFSET})",
        "Z": r"(?P<Z>Z|[A-Z]{3,5})",
        "ExY": rf"(?P<Y>(?:{_YEARS})\d)",
        "Exy": r"(?P<y>\d{2})",
        "Exm": r"(?P<m>0[1-9]|1[0-2])",
        "Exd": r"(?P<d>[1-2]\d|0[1-9]|3[0-1])",
        "ExH": r"(?P<H>[0-1]\d|2[0-3])",
        "Exk": r" ?(?P<H>[0-1]?\d|2[0-3])",
        "Exl": r" ?(?P<I>1[0-2]|\d)",
        "ExM": r"(?P<M>[0-5]\d)",
        "ExS": r"(?P<S>[0-5]\d|6[0-1])",
        "ExZ": rf"(?P<Z>{_ZONE})",
        "Exz": rf"(?P<z>(?:{_ZONE})?{_OFFSET}|{_ZONE})",
        "%": "%",
    }
)
_LOCALE: Final = ("c", "x", "X")
_CODE: Final = re.compile(rf"%({'|'.join(sorted((re.escape(code) for code in (*_CODES, *_LOCALE)), key=len, reverse=True))})")
_LETTERS: Final = re.compile(r"(?<!%)%[aAbBpc]")

DEFAULTS: Final = (
    r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d(?:T|  ?)%H:%M:%S(?:[.,]%f)?(?:\s*%z)?",  # 2005-01-23T21:59:59.981, 2005/01/23 21:59:59
    r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",  # Sun Jan 23 21:59:59.011 2005
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",
    r"%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) %k:%M:%S",  # 23/01/2005 21:59:59
    r"%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?",  # 31/Oct/2006:09:22:55 -0000
    r"%m/%d/%ExY:%H:%M:%S",
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",
    r"EPOCH",
    r"{^LN-BEG}%H:%M:%S",
    r"^<%m/%d/%Exy@%H:%M:%S>",
    r"%Exy%Exm%Exd  ?%H:%M:%S",  # MySQL: 130322 11:46:11
    r"%b %d, %ExY %I:%M:%S %p",
    r"^%b-%d-%Exy %k:%M:%S",
    r"%ExY%Exm%Exd(?:T|  ?)%ExH%ExM%ExS(?:[.,]%f)?(?:\s*%z)?",
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"TAI64N",
)
"""What fail2ban reads where a filter says nothing, in its order."""

_AT_BEGIN: Final = "{^LN-BEG}"
_DATE: Final = re.compile(r"(?<!\\)\{DATE\}", re.IGNORECASE)
_EPOCH: Final = re.compile(r"(?<!\\)\{L?EPOCH\}", re.IGNORECASE)
_SECONDS: Final = r"\d{10,11}\b(?:\.\d{3,6})?"
_LONG_SECONDS: Final = r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?"
_TAI64N: Final = "@[0-9a-f]{24}"


@dataclass(frozen=True)
class Template:
    """One form of a date. The first group of the expression is what is cut out of the line.

    `fixed`: at the begin or end of a line. `lead`: before what it cuts out stand at most two characters, none of a word.
    `by_words`: what it cuts out never begins and ends inside of words. `epoch`: the group with Unix seconds, where it has them.
    """

    written: str
    expression: str
    fixed: bool
    begins: bool
    lead: bool
    by_words: bool
    weight: float = 1.0
    epoch: int = 0
    tai: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when it is first asked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(self.expression)


# From a pattern to a template -----------------------------------------------------------------------------------------

_FLAGS: Final = re.compile(r"(?:^|(?!<\\))\(\?[a-z]+\)")
_PLAIN_GROUP: Final = re.compile(r"(?<!\(\?)(?<!\\)\((?!\?)")
_WHOLE: Final = re.compile(r"^((?:\(\?\w+\))?\^?(?:\(\?\w+\))?)(.*?)(\$?)$")
_FREE_BEGIN: Final = re.compile(r"^\(*(?:\(\?\w+\))?(?:\^|\(*\*\*|\((?:\?:)?\^)")
_FREE_END: Final = re.compile(r"(?<!\\)(?:\$\)?|\\b|\\s|\*\*\)*)$")
_FREE_MARKS: Final = re.compile(r"^\(*(?:\(\?\w+\))?\(*\*\*|(?<!\\)\*\*\)*$")
_LINE_BEGIN: Final = re.compile(r"^(?:\(\?\w+\))?(?:\^|\((?:\?:)?\^(?!\|))")
_LINE_END: Final = re.compile(r"(?<![\\|])\$\)?$")
_BEGINS: Final = {"": "", "word": r"(?=^|\b|\W)", "line": r"^(?:\W{0,2})?"}
_WORD_END: Final = r"(?=\b|\W|$)"


def _bounded(  # noqa: PLR0913 - words of a declaration, each with its name
    written: str,
    expression: str,
    *,
    begin: str = "word",
    end: bool = True,
    whole: bool = False,
    epoch: int = 0,
    tai: bool = False,
) -> Template:
    """The expression between the bounds that it does not have itself; `begin` is word, line or free."""
    expression = expression.strip()
    flags = found[0] if (found := _FLAGS.search(expression)) else ""
    expression = expression.replace(flags, "", 1) if flags else expression
    begin = "" if begin == "free" or _FREE_BEGIN.search(expression) else begin
    end = end and not _FREE_END.search(expression)
    grouped = _PLAIN_GROUP.search(expression)
    whole = whole or not grouped
    if not grouped:
        expression = _WHOLE.sub(r"\1(\2)\3", expression)
    from_start = whole and (begin == "line" or expression.startswith("^("))
    expression = _BEGINS[begin] + expression + (_WORD_END if end else "")
    begins = begin == "line" or bool(_LINE_BEGIN.search(expression))
    fixed = begins or bool(_LINE_END.search(expression))
    expression = flags + _FREE_MARKS.sub(lambda found: found[0].replace("**", ""), expression)
    words = bool(epoch or tai) or (whole and begin == "word" and end)
    return Template(written, expression, fixed, begins, from_start, words, epoch=epoch, tai=tai)


@lru_cache(maxsize=512)
def template(pattern: str) -> Template:
    """The template of one line of a datepattern that is no list of others.

    Raises:
        ValueError: it is written wrongly.
    """
    key = pattern if "%" in pattern else pattern.upper()
    if "EPOCH" in key:
        long = "LEPOCH" in key
        if _EPOCH.search(pattern):
            seconds = _LONG_SECONDS if long else _SECONDS
            return _bounded(pattern, f"({_EPOCH.sub(lambda _: f'({seconds})', pattern)})", epoch=2)
        if key in [begin + name for begin in ("", "^", _AT_BEGIN) for name in ("EPOCH", "LEPOCH")]:
            return _epoch(pattern, _LONG_SECONDS if long else _SECONDS, anchored=key not in ("EPOCH", "LEPOCH"))
    if key in ("TAI64N", f"{_AT_BEGIN}TAI64N", "^TAI64N"):
        return _bounded(pattern, _TAI64N, begin="free" if key == "TAI64N" else "line", tai=True)
    return _by_codes(pattern)


def _epoch(written: str, seconds: str, *, anchored: bool) -> Template:
    if anchored:
        return _bounded(written, rf"((?P<square>(?<=^\[))?{seconds})(?(square)(?=\]))", begin="line", whole=True, epoch=1)
    before = r"(?:^|(?P<square>(?<=^\[))|(?P<selinux>(?<=\baudit\()))"
    behind = r"(?:(?(selinux)(?=:\d+\)))|(?(square)(?=\])))"
    return _bounded(written, f"({before}{seconds}){behind}", begin="free", epoch=1)


def _by_codes(pattern: str) -> Template:
    """A pattern with `%` codes, or without any."""
    written, begin, end = pattern, "word", True
    if pattern.startswith("{UNB}"):
        pattern, begin, end = pattern.removeprefix("{UNB}"), "free", False
    elif pattern.startswith(_AT_BEGIN):
        pattern, begin = pattern.removeprefix(_AT_BEGIN), "line"
    used = set(_CODE.findall(pattern))
    if used & set(_LOCALE):
        raise ValueError("%c, %x and %X hang on the locale that fail2ban runs in; write the codes out")
    if "%" in _CODE.sub("", pattern):
        raise ValueError("an unknown % code; write %% for a percent sign")
    expression = _CODE.sub(lambda found: _CODES[found[1]], pattern)
    made = _bounded(written, ("(?iu)" if _LETTERS.search(pattern) else "") + expression, begin=begin, end=end)
    try:
        groups = made.pattern.groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"bad expression: {error}") from None
    if not groups:
        raise ValueError("nothing in it is a group, so nothing can be cut out")
    return made if made.lead or made.by_words else replace(made, by_words=behind_no_word(made.pattern))


def _unbound(pattern: str) -> str:
    """Without the bounds that it says itself, to stand inside of another one."""
    bare = pattern.removeprefix("{UNB}").removeprefix(_AT_BEGIN)
    return re.sub(r"\(\?=\\b\|\\W\|\$\)$", "", re.sub(r"^\((?:\?:)?\^\|\\b\|\\W\)", "", bare))


@lru_cache(maxsize=1)
def _whole_list() -> tuple[Template, ...]:
    """fail2ban's own templates: first all of them at the begin of a line, which weigh more, then as they are."""
    anchored = [one for one in DEFAULTS if not one.startswith((_AT_BEGIN, "^"))]
    first = [template(_AT_BEGIN + one) for one in anchored]
    return (*(replace(one, weight=100.0) for one in first), *(template(one) for one in DEFAULTS))


def templates(patterns: list[str]) -> tuple[Template, ...]:
    """The templates of a datepattern, in the order in which they are tried at first; fail2ban's own where there is none.

    Raises:
        ValueError: one is written wrongly, or stands there twice.
    """
    found: dict[str, Template] = {}
    for pattern in patterns:
        for one in _of(pattern):
            if one.expression in found and pattern not in (_AT_BEGIN, "{DEFAULT}") and not _DATE.search(pattern):
                raise ValueError(f"`{pattern}` stands there twice")
            found.setdefault(one.expression, one)
    return tuple(found.values()) or _whole_list()


def _of(pattern: str) -> Iterator[Template]:
    key = pattern if "%" in pattern else pattern.upper()
    if key == _AT_BEGIN:
        yield from (one for one in _whole_list() if one.begins)
    elif key == "{DEFAULT}":
        yield from _whole_list()
    elif "{DATE}" in key:
        for one in DEFAULTS:
            date = _unbound(_named(one))
            yield template(_DATE.sub(lambda _, date=date: date, pattern))  # type: ignore[misc]
    else:
        yield template("{UNB}^" if key == "{NONE}" else pattern)


def _named(default: str) -> str:
    """How a default is called where it stands inside of another pattern."""
    return "Epoch" if default == "EPOCH" else default
