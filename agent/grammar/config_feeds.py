"""`feeds` in agent.yaml: lists of addresses that others keep, where they come from and what they may hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from annotated_types import Interval
from pydantic import AfterValidator

from agent.feeds.listing import Bounds
from agent.feeds.reading import Format, Layout
from agent.grammar.located import Node, Problem
from agent.schema import About, Address, Duration, Flag, address, rough

USUAL: Final = ("threats",)
"""Lists that shipped policies name, and that are there, empty, where agent.yaml says nothing of them."""
STAND_IN: Final = (address("192.0.2.128/25"), address("2001:db8:bad::/48"))
"""What stands on lists that others keep in tests of policies: documentation addresses (RFC 5737, 3849)."""
_POLITE: Final = timedelta(hours=1)
"""Spamhaus, FireHOL and others ask for at least this between two downloads."""
_SHORTEST: Final = timedelta(seconds=1)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_EVERY: Final = {"url": timedelta(hours=6), "crowdsec": timedelta(seconds=10)}
_FORWARDED: Final = re.compile(r"https://[^\s/@?#]+(?:[/?]\S*)?")
_LAPI: Final = re.compile(r"https?://[^\s/@?#]+")


def _public(text: str) -> str:
    """A server's address that nobody on the way can change."""
    if not _FORWARDED.fullmatch(text) or not _parts(text):
        if text.startswith("http://"):
            mend = "write https, or fetch it yourself and name the file"
            raise ValueError(f"whoever is on the way could put anybody on the list `{text}`; {mend}")
        raise ValueError(f"`{text}` is no address of a list; write https://lists.example.com/drop.txt, without a password")
    return text


def _parts(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and text.isascii() and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _lapi(text: str) -> str:
    text = text.rstrip("/").removesuffix("/v1")
    if not _LAPI.fullmatch(text) or not _parts(text):
        raise ValueError(f"`{text}` is no address of CrowdSec's local API; write http://127.0.0.1:8080")
    if text.startswith("http://") and not _here(urlsplit(text).hostname or ""):
        raise ValueError(f"the key for `{text}` would be seen by whoever is on the way; write https, with ca_file")
    return text


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _period(span: timedelta) -> timedelta:
    if span < _SHORTEST:
        raise ValueError(f"{rough(span)} is too short; the shortest time here is 1s")
    return span


Every = Annotated[Duration, AfterValidator(_period)]


@dataclass(frozen=True)
class CrowdsecKeys:
    """Where CrowdSec's decisions are asked for, and which of them."""

    key_file: Annotated[Path, About("a file that only the agent can read, with what `cscli bouncers add` said")]
    url: Annotated[str, AfterValidator(_lapi), About("its local API", '"http://127.0.0.1:8080"')] = "http://127.0.0.1:8080"
    origins: Annotated[tuple[str, ...], About("decisions of these origins alone, as in [crowdsec, cscli, CAPI]")] = ()
    scenarios: Annotated[tuple[str, ...], About("decisions whose scenario has one of these words, as in [ssh]")] = ()

    elsewhere: ClassVar[Mapping[str, str]] = {
        "api_key": "put it into a file and name that: key_file: …",
        "key": "put it into a file and name that: key_file: …",
        "scenarios_containing": "write scenarios: [ssh]",
    }


@dataclass(frozen=True)
class FeedKeys:
    """One list that others keep: a file, a server's text, or CrowdSec's decisions."""

    file: Annotated[Path | None, About("a file, read again when it changes")] = None
    url: Annotated[
        Annotated[str, AfterValidator(_public)] | None,
        About("where it is fetched, over https", '"https://lists.example.com/drop.txt"'),
    ] = None
    crowdsec: Annotated[CrowdsecKeys | None, About("CrowdSec's decisions, as in {key_file: crowdsec-key}")] = None
    every: Annotated[Every | None, About("fetch it so often, as in 6h; at least 1h from others' servers")] = None
    format: Annotated[Format, About("how it is written: auto knows plain lines from JSON lines; csv must be said")] = "auto"
    column: Annotated[
        str, About("the column of a CSV, by number from 1 or by name; in JSON lines the name, else cidr", "cidr")
    ] = ""
    max_entries: Annotated[Annotated[int, Interval(ge=1, le=1_000_000)], About("more networks than that, and it is not used")] = (
        100_000
    )
    min_prefix: Annotated[Annotated[int, Interval(ge=1, le=32)], About("networks of IPv4 wider than that are left out")] = 8
    min_prefix_v6: Annotated[Annotated[int, Interval(ge=1, le=128)], About("the same for IPv6")] = 19
    max_age: Annotated[Every | None, About("not refreshed for so long, it is empty; 7d; of a file only where it is said")] = None
    private: Annotated[Flag, About("it is our own: its server may stand inside, and private networks may be on it")] = False
    ca_file: Annotated[Path | None, About("the issuers of its server's certificate, where the host does not know them")] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "path": "write file: …",
        "interval": "write every: 6h",
        "type": "write what it is: file: …, url: …, or crowdsec: {…}",
        "addresses": "addresses that stand in agent.yaml belong under lists",
    }

    def __post_init__(self) -> None:
        """One source, and what goes with it."""
        given = [name for name in ("file", "url", "crowdsec") if getattr(self, name) is not None]
        if len(given) != 1:
            many = f"{given[0]} and {given[1]} are two lists" if given else "this says nowhere to get it from"
            raise ValueError(f"{many}; write one of file: …, url: …, crowdsec: {{…}}")
        if self.file is not None and self.every is not None:
            raise ValueError("every is for what is fetched; a file is read when it changes")
        if self.url is not None and not self.private and self.every is not None and self.every < _POLITE:
            mend = "write at least 1h, or private: true for your own"
            raise ValueError(f"every {rough(self.every)} would bother others' servers; {mend}")
        if (self.format == "csv") is not bool(self.column) and self.format != "json_lines":
            raise ValueError("column and format: csv go together; write format: csv and column: 2, or its name")
        if self.format == "csv" and self.column in ("0", "00"):
            raise ValueError("column counts from 1; write column: 1 for the first")

    @property
    def kind(self) -> str:
        """`file`, `url` or `crowdsec`."""
        return next(name for name in ("file", "url", "crowdsec") if getattr(self, name) is not None)

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return str(self.file or self.url or (self.crowdsec and f"CrowdSec at {self.crowdsec.url}"))

    @property
    def period(self) -> timedelta:
        """How often it is fetched; nothing for a file."""
        return self.every or _EVERY.get(self.kind, timedelta())

    @property
    def longest(self) -> timedelta | None:
        """After what time without a refresh it counts as empty; None for never."""
        return self.max_age or (None if self.file else timedelta(days=7))

    @property
    def bounds(self) -> Bounds:
        """What it may hold."""
        return Bounds(self.max_entries, self.min_prefix, self.min_prefix_v6, self.private)

    @property
    def layout(self) -> Layout:
        """How it is written."""
        return Layout(self.format, self.column)


def feeds(given: Mapping[str, FeedKeys | None] | None, root: Node, found: list[Problem]) -> dict[str, FeedKeys]:
    """The feeds by name; what is wrong with their names, or two of them together, goes to `found`."""
    nodes = root.pairs["feeds"].value.pairs if given is not None else {}
    lists = root.pairs["lists"].value.pairs if "lists" in root.pairs else {}
    first: dict[str, str] = {}
    for name, pair in nodes.items():
        if name in lists or name == "never_touch":
            text = f"`{name}` is a list of agent.yaml already" if name in lists else "`never_touch` is what nobody touches"
            found.append(
                Problem(pair.key.place, text, "give this one another name; a policy may name both: {list: [one, other]}")
            )
        elif not _NAME.fullmatch(name):
            hint = "write letters, digits, `-`, `_` and `.`; a file is called so"
            found.append(Problem(pair.key.place, f"`{name}` is no name for a list that others keep", hint))
        one = (given or {}).get(name)
        if one is not None and (same := first.setdefault(one.source, name)) != name:
            hint = "have one, and let policies name that"
            found.append(Problem(pair.key.place, f"`{name}` comes from the same place as `{same}`", hint))
    return {name: one for name, one in (given or {}).items() if one is not None}


def lists_of(lists: Mapping[str, tuple[Address, ...]], fed: Iterable[str]) -> dict[str, tuple[Address, ...]]:
    """The lists of agent.yaml, with those that shipped policies name and that nobody keeps: empty, so that people can add."""
    return {**lists, **{name: () for name in USUAL if name not in lists and name not in fed}}
