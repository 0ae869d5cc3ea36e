"""Other words for addresses, users and hosts: the same one for the same, wherever it stands, and no way back from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, Final

_ADDRESS: Final = re.compile(
    r"(?<![A-Za-z0-9.])(?:\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![A-Za-z0-9]|\.\d)"
    r"|(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:.]{2,45}(?:/\d{1,3})?)"
)
_MAC: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")
_USER_KEYS: Final = frozenset({"user", "actor", "acked_by", "assigned", "reporter", "target_user", "ruser"})
_OURS: Final = frozenset({"root", "containment", "policy", "agent", "system", "nobody", "unknown", "you", "ops"})
"""Words that tell nothing of anybody."""
_NAME: Final = re.compile(r"[\w.@+$-]{3,64}\Z")
_MOST: Final = 100_000


class Pseudonyms:
    """Learns names, and replaces them; what an address is, is seen by its form."""

    def __init__(self) -> None:
        """Nothing is known but addresses."""
        self._words: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    @property
    def known(self) -> Mapping[str, str]:
        """Each name and the word for it, for those who know the host."""
        return {**self._names, **self._words}

    def host(self, *names: str) -> None:
        """Names of this host, the short ones as well."""
        for name in names:
            for one in dict.fromkeys((name, name.partition(".")[0])):
                if len(one) > 2 and one != "localhost":
                    self._names[one] = self._names.get(one) or self._new("host")
        self._pattern = None

    def users(self, names: Iterable[str]) -> None:
        """Names of people and accounts."""
        for name in names:
            plain = name.partition(" ")[0]
            if _NAME.match(plain) and plain not in _OURS and not plain.isdecimal() and len(self._names) < _MOST:
                self._names[plain] = self._names.get(plain) or self._new("user")
        self._pattern = None

    def find(self, value: Any, key: str = "") -> None:
        """Learn the names of users in a document: what stands under keys that name them."""
        if isinstance(value, Mapping):
            for name, one in value.items():
                self.find(one, str(name).rpartition(".")[2])
        elif isinstance(value, list | tuple):
            for one in value:
                self.find(one, key)
        elif isinstance(value, str) and key in _USER_KEYS:
            self.users([value])

    def text(self, text: str) -> str:
        """A text with other words in it."""
        if self._names:
            if self._pattern is None:
                longest = sorted(map(re.escape, self._names), key=len, reverse=True)
                self._pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(longest)})(?![\w-])")
            text = self._pattern.sub(lambda found: self._names[found[0]], text)
        text = _MAC.sub(lambda found: self._word("mac", found[0].lower()), text)
        return _ADDRESS.sub(self._address, text)

    def _address(self, found: re.Match[str]) -> str:
        written = found[0]
        for end in (len(written), len(written) - 1):  # `from 2001:db8::7: refused`
            try:
                one = ip_interface(written[:end])
            except ValueError:
                continue
            return self._said(one, "/" in written) + written[end:]
        return written

    def _said(self, one: IPv4Interface | IPv6Interface, length: bool) -> str:
        """What every host has tells nothing: loopback, and the whole internet."""
        if one.ip.is_loopback or one.ip.is_unspecified:
            return one.with_prefixlen if length else str(one.ip)
        sort = f"ip{one.version}"
        if one.network.prefixlen == one.max_prefixlen:
            return self._word(sort, str(one.ip)) + (f"/{one.network.prefixlen}" if length else "")
        return f"{self._word(f'{sort}-net', str(one.network))}/{one.network.prefixlen}"

    def _word(self, sort: str, name: str) -> str:
        if name not in self._words:
            if len(self._words) >= _MOST:
                return f"{sort}-of-many"
            self._words[name] = self._new(sort)
        return self._words[name]

    def _new(self, sort: str) -> str:
        self._counts[sort] = self._counts.get(sort, 0) + 1
        return f"{sort}-{self._counts[sort]}"
