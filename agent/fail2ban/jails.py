"""fail2ban's jails: which filter over which logs, how many failures within what time, and for how long somebody is banned.

jail.conf, jail.d/*.conf, jail.local and jail.d/*.local are read together, as fail2ban reads them. What a jail asks for that
has no like here is kept as a sentence in its `lost`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from glob import glob
from pathlib import Path
from typing import Final

from agent.fail2ban import options
from agent.fail2ban.filters import load
from agent.fail2ban.ini import Settings, Unusable, read
from agent.schema import LONGEST, spoken

_YES: Final = ("1", "on", "true", "yes")
_FILTER_OPTIONS: Final = ("failregex", "ignoreregex", "prefregex", "datepattern", "maxlines")
_UNITS: Final = (
    (re.compile(r"s|sec|seconds?"), 1.0),
    (re.compile(r"m|mm|min|minutes?"), 60.0),
    (re.compile(r"h|hh|hou|hours?"), 3600.0),
    (re.compile(r"d|dd|da|days?"), 86400.0),
    (re.compile(r"w|ww|wee|weeks?"), 7 * 86400.0),
    (re.compile(r"mo|mon|months?"), 30.4375 * 86400.0),
    (re.compile(r"y|yy|yea|years?"), 365.25 * 86400.0),
)
_TIME: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_ACTION: Final = re.compile(r"""([^\[\s]+)(?:\[(?:[^\]"']|"[^"]*"|'[^']*')*\])*""")
_BLOCKS: Final = ("iptables", "nftables", "firewallcmd", "ufw", "shorewall", "route", "ipset", "hostsdeny", "dummy")
_MOST_PORTS: Final = 64
_MOST_FILES: Final = 64


@dataclass(frozen=True)
class Jail:
    """One enabled jail. `bantime` None is for ever; `longest` is how long it grows to for those who come again, None: not at all.

    `files` are its logs; `missing` those of which there is none now; `journal`: it reads the journal instead.
    """

    name: str
    filter: str
    maxretry: int
    findtime: timedelta
    bantime: timedelta | None
    longest: timedelta | None = None
    blocks: bool = True
    ports: tuple[int, ...] = ()
    ignored: tuple[str, ...] = ()
    journal: bool = False
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Jails:
    """All enabled jails, and those that cannot be carried over at all, with the reason."""

    each: tuple[Jail, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


def jails(directory: Path) -> Jails:
    """The enabled jails of a directory like /etc/fail2ban.

    Raises:
        ValueError: there is no jail.conf or jail.local, or its files break the rules.
    """
    settings = read(directory / "jail")
    if settings is None:
        raise ValueError(f"there is no jail.conf and no jail.local in {directory}")
    settings.defaults |= {"fail2ban_version": "1.0.2", "fail2ban_confpath": str(directory)}
    found, skipped = [], {}
    for name in settings.sections:
        if name == "INCLUDES" or name.startswith("KNOWN/"):
            continue
        try:
            if (settings.get(name, "enabled") or "").lower() in _YES:
                found.append(_Reader(settings, name, directory).jail())
        except ValueError as error:
            skipped[name] = str(error)
    return Jails(tuple(found), skipped)


class _Reader:
    """Reads one jail; what has no like here goes to `lost`, what is worth knowing to `notes`."""

    def __init__(self, settings: Settings, name: str, directory: Path) -> None:
        self._settings, self._name, self._filters = settings, name, directory / "filter.d"
        self._lost: list[str] = []
        self._notes: list[str] = []

    def jail(self) -> Jail:
        """The jail.

        Raises:
            ValueError: its filter, or a number in it, cannot be read.
        """
        journal = self._text("backend").startswith("systemd")
        spec = self._filter(journal=journal)
        files, missing = ((), ()) if journal else self._files()
        blocks = self._blocks()
        bantime = self._time("bantime", "10m")
        jail = Jail(
            self._name,
            spec,
            int(self._text("maxretry") or 5),
            self._time("findtime", "10m") or LONGEST,
            bantime,
            self._longest() if bantime else None,
            blocks,
            self._ports() if blocks else (),
            tuple(self._ignored()),
            journal,
            files,
            missing,
        )
        self._what_is_lost()
        return replace(jail, lost=tuple(self._lost), notes=tuple(self._notes))

    def _text(self, option: str) -> str:
        return (self._settings.get(self._name, option) or "").strip()

    def _filter(self, *, journal: bool) -> str:
        spec = self._text("filter")
        if not spec:
            raise ValueError("it names no filter")
        name, given = options.named(spec)
        known = options.load(self._filters, spec, "journal" if journal else "file").texts
        self._settings.known(self._name, {one: text for one, text in known.items() if not one.startswith("known/")})
        for option in _FILTER_OPTIONS:
            if (text := self._text(option)) and text != known.get(option, "").strip():
                self._lost.append(f"{option} of the jail: write it to {self._filters}/{name}.local instead")
        match = self._text("journalmatch")
        if journal and match and match != known.get("journalmatch", "") and not {'"', "\n"} & set(match):
            given["journalmatch"] = match
        spec = f"{name}[{', '.join(f'{key}={_quoted(value)}' for key, value in given.items())}]" if given else name
        load(str(self._filters), spec, "journal" if journal else "file")
        return spec

    def _files(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The logs as they are now, and the patterns that fit none."""
        files: list[str] = []
        missing: list[str] = []
        for line in self._text("logpath").split("\n"):
            path = re.sub(r" (?:tail|head)$", "", line.strip())
            there = sorted(glob(path))[:_MOST_FILES] if path else []  # noqa: PTH207 - a pattern with an absolute path
            files += there
            missing += [path] if path and not there else []
        if not files and not missing:
            self._lost.append("it has no logpath: fail2ban reads nothing for it")
        return tuple(dict.fromkeys(files)), tuple(missing)

    def _time(self, option: str, default: str) -> timedelta | None:
        text = self._text(option) or default
        return None if text.strip() == "-1" else seconds(text)

    def _longest(self) -> timedelta | None:
        if self._text("bantime.increment").lower() not in _YES:
            return None
        for option in ("bantime.formula", "bantime.multipliers", "bantime.factor", "bantime.rndtime", "bantime.overalljails"):
            if self._text(option):
                self._lost.append(f"{option} = {self._text(option)}: here the time doubles for each repeat within 30 days")
        limit = self._text("bantime.maxtime")
        return min(seconds(limit), LONGEST) if limit else LONGEST

    def _blocks(self) -> bool:
        """Whether one of its actions keeps an address away; the others are told."""
        try:
            names = [found[1] for found in _ACTION.finditer(self._text("action"))]
        except Unusable as error:
            self._lost.append(f"its action, which fail2ban cannot read either: {error}")
            return True
        blocking = [name for name in names if name.startswith(_BLOCKS)]
        self._lost += [f"the action {name}" for name in dict.fromkeys(names) if name not in blocking]
        self._all = any("allports" in name for name in blocking)
        return bool(blocking)

    def _ports(self) -> tuple[int, ...]:
        """The ports that are closed to an address; none is all."""
        text = self._text("port")
        if self._all or not text or text in ("all", "any", "0:65535"):
            return ()
        try:
            found = sorted({port for word in re.split(r"[,\s]+", text) if word for port in _span(word)})
        except (ValueError, OSError):
            self._notes.append(f"port = {text} cannot be read here; all ports are closed to an address")
            return ()
        if len(found) > _MOST_PORTS:
            self._notes.append(f"port = {text} is more than {_MOST_PORTS} ports; all are closed to an address")
            return ()
        return tuple(found)

    def _ignored(self) -> Iterator[str]:
        for word in re.split(r"[ ,\n]+", self._text("ignoreip")):
            if not word:
                continue
            try:
                yield spoken(ipaddress.ip_network(word.strip("[]"), strict=False))
            except ValueError:
                self._lost.append(f"ignoreip {word}: a name is never looked up; write its addresses")

    def _what_is_lost(self) -> None:
        if command := self._text("ignorecommand"):
            self._lost.append(f"ignorecommand = {command}")
        if (usedns := self._text("usedns").lower()) in ("yes", "warn"):
            self._notes.append(
                f"usedns = {usedns}: host names in logs are never looked up here, so a line with only a name is no failure"
            )
        if (encoding := self._text("logencoding").lower()) not in ("", "auto", "utf-8", "utf8"):
            self._lost.append(f"logencoding = {encoding}: logs are read as UTF-8")
        if zone := self._text("logtimezone"):
            self._notes.append(f"logtimezone = {zone}: windows run on the time at which a line is read, so it does not matter")


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"[\s,\[\]=]", value) else value


def _span(word: str) -> Iterable[int]:
    first, colon, last = word.partition(":")
    begin, end = _port(first), _port(last) if colon else _port(first)
    if end - begin > _MOST_PORTS:
        return range(1, _MOST_PORTS + 3)
    return range(max(1, begin), end + 1)


def _port(word: str) -> int:
    return int(word) if word.isdigit() else socket.getservbyname(word)


def seconds(text: str) -> timedelta:
    """fail2ban's times: `600`, `10m`, `1h 30min`, `1d12h`; ten years at most.

    Raises:
        ValueError: it is none of them.
    """
    total, at = 0.0, 0
    text = text.strip()
    while at < len(text) and (found := _TIME.match(text, at)):
        unit = next((size for form, size in _UNITS if form.fullmatch(found[2].lower())), 1.0 if not found[2] else None)
        if unit is None:
            break
        total, at = total + float(found[1]) * unit, found.end()
    if not text or text[at:].strip() or total <= 0:
        raise ValueError(f"`{text}` is no time that can be read; write 10m, or 1h 30m")
    return min(timedelta(seconds=round(total)), LONGEST)
