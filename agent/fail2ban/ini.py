"""fail2ban's flavour of configuration files: several files become one, and texts in it name other texts.

NAME.conf, NAME.d/*.conf, NAME.local, NAME.d/*.local     in this order; what comes later wins
[INCLUDES] before = …, after = …                          files that are read before and after the one that names them
[Init?family=inet6]                                       options that count under a condition, kept as `option?family=inet6`
%(option)s %(known/option)s %(section/option)s            the text of another option; `known`: as it was before it was set anew
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Section = dict[str, str]

_INCLUDES: Final = "INCLUDES"
_CONDITION: Final = re.compile(r"(\w+)(\?.+)")
_ELSEWHERE: Final = re.compile(r"%\(([\w-]+/([^)]+))\)s")
_REFERENCE: Final = re.compile(r"%\(([^)]+)\)s")
_QUALIFIED: Final = re.compile(r"([\w-]+)/([^\s>]+)")
_DEEPEST: Final = 10
_MOST_FILES: Final = 200
_LARGEST: Final = 1 << 20


class Unusable(ValueError):  # noqa: N818 - a verdict
    """A file cannot be used: `FILE:LINE: why`, and after a semicolon how to mend it."""


@dataclass
class Settings:
    """The options of all the files together. `texts` are the files as they were read, to say where something stands."""

    defaults: Section = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def get(self, section: str, option: str, given: Mapping[str, str] | None = None) -> str | None:
        """An option with all that it names filled in; None where there is none. `given` options win over those of the files.

        Raises:
            Unusable: it names an option that does not exist, or itself.
        """
        known = self._known(section, given or {})
        option = option.lower()
        return self._filled(known[option], (section, option), known, 1) if option in known else None

    def named(self, section: str, option: str, given: Mapping[str, str]) -> str | None:
        """As `get`; a name with a slash is looked for in the section that it names first.

        Raises:
            Unusable: as `get`.
        """
        if found := _QUALIFIED.search(option):
            for other in self._sections_for(found[1], section):
                if (other in self.sections or other == "DEFAULT") and (text := self.get(other, found[2])) is not None:
                    return text
        return self.get(section, option, given)

    def own(self, section: str) -> list[str]:
        """The names of a section's own options, those of [DEFAULT] left out."""
        return list(self.sections.get(section, ()))

    def known(self, section: str, options: Mapping[str, str]) -> None:
        """Add what `%(known/option)s` means in a section."""
        self.sections.setdefault(section, {}).update({f"known/{name}": text for name, text in options.items()})

    def where(self, option: str, section: str = "") -> str:
        """`FILE:LINE` of an option, where it was set last; the last file where it is set nowhere."""
        option = option.partition("?")[0]
        place = ""
        for file, text in self.texts.items():
            current = ""
            for number, line in enumerate(text.splitlines(), 1):
                if line.startswith("["):
                    current = line.strip("[] \t").partition("?")[0]
                elif re.match(rf"{re.escape(option)}\s*[=:]", line, re.IGNORECASE) and (not section or current == section):
                    place = f"{file}:{number}"
        return place or f"{next(reversed(self.texts), '')}:1"

    def _known(self, section: str, given: Mapping[str, str]) -> dict[str, str]:
        own = self.defaults if section == "DEFAULT" else self.sections.get(section, {})
        return {**self.defaults, **own, **{name.lower(): text for name, text in given.items()}}

    @staticmethod
    def _sections_for(name: str, here: str) -> tuple[str, ...]:
        low = name.lower()
        return (f"KNOWN/{here}", here) if low == "known" else ("DEFAULT",) if low == "default" else (name,)

    def _filled(self, text: str, at: tuple[str, str], known: dict[str, str], depth: int) -> str:
        """The text with every `%(…)s` filled in, and `%%` as `%`."""
        section, option = at
        if depth > _DEEPEST:
            raise Unusable(f"{self.where(option, section)}: `{option}` names options that name others more than {_DEEPEST} deep")
        known = {**known, "__name__": section, **self._from_elsewhere(text, section, known)}
        parts: list[str] = []
        while "%" in text:
            before, _, text = text.partition("%")
            parts.append(before)
            if text.startswith("%"):
                parts.append("%")
                text = text[1:]
                continue
            found = _REFERENCE.match(f"%{text}")
            if found is None:
                raise Unusable(f"{self.where(option, section)}: a single % in `{option}`; write %% for a percent sign")
            text = text[found.end() - 1 :]
            value = known.get(found[1].lower())
            if value is None:
                raise Unusable(f"{self.where(option, section)}: `{option}` names `{found[1]}`, which is set nowhere")
            parts.append(self._filled(value, at, known, depth + 1) if "%" in value else value)
        return "".join([*parts, text])

    def _from_elsewhere(self, text: str, section: str, known: Mapping[str, str]) -> dict[str, str]:
        """What `%(section/option)s` in a text stands for; an option that a section lacks is taken from [DEFAULT]."""
        found: dict[str, str] = {}
        for whole, option in _ELSEWHERE.findall(text):
            name = whole[: -len(option) - 1]
            low = name.lower()
            own = self.sections.get(f"KNOWN/{section}" if low == "known" else name, {}) if low != "default" else {}
            value = own.get(option, self.defaults.get(option) if own or low in ("known", "default") else None)
            if value is not None and whole not in known:
                found[whole] = value
        return found


def read(stem: Path) -> Settings | None:
    """All that belongs to `DIR/NAME`, as one; None where there is no such file.

    Raises:
        Unusable: a file cannot be read, or breaks the rules of such files.
    """
    drop_ins = stem.parent / f"{stem.name}.d"
    files = [Path(f"{stem}.conf"), *sorted(drop_ins.glob("*.conf")), Path(f"{stem}.local"), *sorted(drop_ins.glob("*.local"))]
    merged = Settings()
    parsed: dict[Path, configparser.RawConfigParser | None] = {}

    def one(path: Path) -> configparser.RawConfigParser | None:
        if path not in parsed:
            text = _text_of(path)
            parsed[path] = None if text is None else _parsed(text, path)
            if text is not None:
                merged.texts[str(path)] = text
        return parsed[path]

    for path in _in_order([file for file in files if one(file)], one, ()):
        _merge(merged, one(path))
    return merged if merged.texts else None


def _text_of(path: Path) -> str | None:
    """The text of a file, None where there is none.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unusable(f"{path}:1: cannot read this file: {error.strerror}") from error
    if len(text) > _LARGEST:
        raise Unusable(f"{path}:1: larger than 1 MiB; this is no configuration file of fail2ban's")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(f"{path}:{text[: error.start].count(10) + 1}: this is no UTF-8") from error


def _parsed(text: str, path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    try:
        parser.read_string(text, str(path))
    except configparser.Error as error:
        line = getattr(error, "lineno", 0) or next((number for number, _ in getattr(error, "errors", ())), 1)
        why = str(error).splitlines()[0].partition("]: ")[2] or type(error).__name__
        raise Unusable(f"{path}:{line}: {why}") from error
    return parser


def _in_order(
    files: list[Path], one: Callable[[Path], configparser.RawConfigParser | None], seen: tuple[Path, ...]
) -> Iterator[Path]:
    """The files with their .local ones and with all that they include, in the order in which they count."""
    local = [(file, file.with_suffix(".local")) for file in files]
    for path in [path for file, own in local for path in ((file,) if own in files else (file, own))]:
        parser = one(path)
        if parser is None:
            continue
        if len(seen) > _MOST_FILES:
            raise Unusable(f"{path}:1: includes more than {_MOST_FILES} deep")
        included: dict[str, list[Path]] = {}
        for when in ("before", "after"):
            names = parser.get(_INCLUDES, when, fallback="").split("\n")
            others = [path.parent / name for name in names if name]
            included[when] = [file for other in others if other not in seen for file in _in_order([other], one, (*seen, path))]
        yield from (*included["before"], path, *included["after"])


def _merge(merged: Settings, parser: configparser.RawConfigParser | None) -> None:
    if parser is None:
        return
    merged.defaults.update(parser.defaults())
    for name in parser.sections():
        own = {option: parser.get(name, option) for option in parser[name] if option in parser._sections[name]}  # type: ignore[attr-defined]
        section = name
        if found := _CONDITION.fullmatch(name):
            section, own = found[1], {f"{option}{found[2]}": text for option, text in own.items()}
        there = merged.sections.get(section)
        if there is None:
            merged.sections[section] = own
            continue
        merged.sections.setdefault(f"KNOWN/{section}", {}).update({one: text for one, text in there.items() if one in own})
        there.update(own)
