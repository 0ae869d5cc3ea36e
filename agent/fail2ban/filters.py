"""A filter of fail2ban's, ready to judge: its expressions, its dates, its entries in the journal, and what to look for first.

    load("/etc/fail2ban/filter.d", "postfix[mode=aggressive]")

What cannot be done exactly as fail2ban does it is an error when the filter is loaded, with its file and line:

    usedns = yes, warn     a name would be looked up, and its owner decides what it stands for; without the option it is `no` here
    %c %x %X               dates that hang on the locale fail2ban was started in
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from agent.fail2ban.dates import Template, templates
from agent.fail2ban.detector import Detector
from agent.fail2ban.expressions import compiled, identifies
from agent.fail2ban.ini import Unusable
from agent.fail2ban.judge import Rules
from agent.fail2ban.needles import Needles, better, needed, together
from agent.fail2ban.options import Options
from agent.fail2ban.options import load as options_of
from agent.fail2ban.risk import risky
from agent.fail2ban.search import Expression, Search

WHERE: Final = "/etc/fail2ban/filter.d"
_MOST_LINES: Final = 100
_NOTHING: Final = re.compile(r"<[\w/-]+>")
_MOST_EXPRESSIONS: Final = 500

Alternative = tuple[tuple[str, str], ...]
"""Fields of the journal with their values: one value of each field must be there."""


@dataclass(frozen=True)
class Filter:
    """One filter. `needles`: a line (or the lines that are looked at together) without any of them means nothing."""

    spec: str
    rules: Rules
    dates: tuple[Template, ...]
    needles: Needles | None
    matches: tuple[Alternative, ...]
    risky: bool = False
    """A line could keep it busy for very long: its expressions search in another process, see agent/fail2ban/apart.py."""

    def detector(self) -> Detector:
        """A new detector of its dates, for one log."""
        return Detector(self.dates)


@lru_cache(maxsize=256)
def load(directory: str, spec: str, logtype: str = "file") -> Filter:
    """The filter of this name and parameters, as its files are now; they are read once.

    Raises:
        ValueError: there is no such filter, or it is not named rightly.
        Unusable: something in its files cannot be used; with file, line and the reason.
    """
    return made(options_of(Path(directory), spec, logtype), spec)


def usable(specs: Iterable[str], directory: str, logtype: str) -> None:
    """Read filters, so that what is wrong with them is said when agent.yaml is read.

    Raises:
        ValueError: one cannot be used; with the filter, its file and line.
    """
    for spec in specs:
        try:
            load(directory, spec, logtype)
        except Unusable as error:
            raise ValueError(f"filters cannot have `{spec}`: {error}") from None
        except ValueError as error:
            raise ValueError(f"filters: {error}") from None


def made(options: Options, spec: str) -> Filter:
    """The filter that these options describe.

    Raises:
        Unusable: one of them cannot be used.
    """
    raw = _raw(options)
    lines = _lines(options)
    prefix = _one(options, "prefregex", options.texts["prefregex"], raw=raw) if options.texts.get("prefregex") else None
    fail = tuple(_one(options, "failregex", text, multiline=lines > 1, raw=raw) for text in options.lines("failregex"))
    ignore = tuple(_one(options, "ignoreregex", text, raw=raw) for text in options.lines("ignoreregex"))
    if not fail:
        raise Unusable(f"{options.where('failregex')}: `{options.name}` has no failregex, so it can find nothing")
    if len(fail) + len(ignore) > _MOST_EXPRESSIONS:
        raise Unusable(f"{options.where('failregex')}: more than {_MOST_EXPRESSIONS} expressions")
    for text, one in zip(options.lines("failregex"), fail, strict=True):
        if _NOTHING.fullmatch(text):
            raise Unusable(f"{options.where('failregex')}: `{text}` stands for nothing; has the filter no such mode?")
        if not identifies(one) and not (prefix and identifies(prefix)):
            raise Unusable(f"{options.where('failregex')}: nothing in `{_short(text)}` tells who it was; write <HOST> or <F-ID>")
    every = (*fail, *ignore, *([prefix] if prefix else []))
    slow = any(risky(one.pattern) for one in every)
    dates = _dates(options)
    needles = _needles(prefix, fail, dates)
    return Filter(spec, Rules(Search(fail, ignore, prefix, lines), raw), dates, needles, _matches(options), slow)


def _one(options: Options, option: str, text: str, *, multiline: bool = False, raw: bool = False) -> Expression:
    try:
        return compiled(text, multiline=multiline, raw=raw)
    except ValueError as error:
        raise Unusable(f"{options.where(option)}: {option} `{_short(text)}`: {error}") from None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _raw(options: Options) -> bool:
    usedns = options.texts.get("usedns", "no").lower()
    if usedns not in ("no", "raw"):
        why = "host names are never looked up here, since whoever owns one decides what it stands for"
        raise Unusable(f"{options.where('usedns')}: usedns = {usedns}: {why}; write usedns = no, or {options.name}[usedns=no]")
    return usedns == "raw"


def _lines(options: Options) -> int:
    text = options.texts.get("maxlines", "1")
    if not text.isdigit() or not 1 <= int(text) <= _MOST_LINES:
        raise Unusable(f"{options.where('maxlines')}: maxlines = {text} is no number from 1 to {_MOST_LINES}")
    return int(text)


def _dates(options: Options) -> tuple[Template, ...]:
    try:
        found = templates([line.strip() for line in options.lines("datepattern") if line.strip()])
    except ValueError as error:
        raise Unusable(f"{options.where('datepattern')}: datepattern: {error}") from None
    if slow := next((one.written for one in found if risky(one.pattern)), ""):
        why = "a line could keep it busy for minutes; let no two repeats without end take the same characters"
        raise Unusable(f"{options.where('datepattern')}: datepattern `{_short(slow)}`: {why}")
    return found


def _needles(prefix: Expression | None, fail: tuple[Expression, ...], dates: tuple[Template, ...]) -> Needles | None:
    """What a line needs, as far as no date that is cut out of it could have parted it."""
    lead = all(one.lead for one in dates)
    if not lead and not all(one.lead or one.by_words for one in dates):
        return None
    each = together(needed(one.pattern, words=not lead, lead=2) for one in fail)
    return better(each, needed(prefix.pattern, words=not lead, lead=2) if prefix else None)


def _matches(options: Options) -> tuple[Alternative, ...]:
    """The journal's entries that it reads: each line of `journalmatch`, and each part of it between `+`, is one way to fit."""
    found: list[Alternative] = []
    for line in options.lines("journalmatch"):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise Unusable(f"{options.where('journalmatch')}: journalmatch: {error}") from None
        fields: list[tuple[str, str]] = []
        for word in [*words, "+"]:
            name, equals, value = word.partition("=")
            if word == "+" and fields:
                found.append(tuple(fields))
                fields = []
            elif word != "+":
                if not equals or not name.replace("_", "").isalnum() or not name.isupper():
                    raise Unusable(f"{options.where('journalmatch')}: journalmatch: `{word}` is no FIELD=value")
                fields.append((name, value))
    return tuple(found)
