"""The types of the values in policies, actions, calls and events, and how each is read from text.

The same types check YAML, bind `$fields`, read calls back from the journal and make the JSON Schema, so that a value has
one meaning everywhere. A type that is more than its Python class carries a `Means` name: a field of an event fits a
parameter of an action when both mean the same.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import core_schema

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_TTL: Final = re.compile(r"(?P<first>\S+)(?:\s+x(?P<factor>\d+(?:\.\d+)?)\s+up\s+to\s+(?P<limit>\S+))?")
LONGEST: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class About:
    """One line for ops about a key or parameter: in hints, in editors, in the reference.

    `example` is a value as it stands in YAML, where the line does not end with one (`…, as in 10m`).
    """

    text: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """What a value stands for, beyond the Python class that holds it."""

    name: str


# Addresses --------------------------------------------------------------------------------------------------------


def address(text: object) -> IPv4Network | IPv6Network:
    """Read an address or network: '203.0.113.7', '10.0.0.0/8', '2001:db8::/64'. Never asks a resolver.

    Host bits are an error, and an IPv4 address written as IPv6 (::ffff:192.0.2.1, RFC 4291 §2.5.5.2) becomes IPv4.

    Raises:
        ValueError: the text is neither, with a hint on the mend where there is one.
    """
    if isinstance(text, IPv4Network | IPv6Network):
        return text
    if not isinstance(text, str):
        raise ValueError("expected an address or network")
    return _network(text)


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network:
    """Cached: a block's apply, undo and verify name the same address, and a start reads all of them back."""
    if (packed := _packed(text)) is not None:  # nearly all of them; ip_network would take twice as long
        return IPv4Network(packed)
    try:
        if "%" in text:  # Python reads whatever stands behind it as a zone, and writes it out again
            raise ValueError("a zone is no part of an address that packets carry")
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits set" in str(error):
            whole = ipaddress.ip_network(text, strict=False)
            raise ValueError(f"{text} has host bits set; for the containing network write {whole}") from None
        raise ValueError(f"`{text}` is neither an address nor a network") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def _packed(text: str) -> bytes | None:
    """A lone IPv4 address as its four bytes; None where the text is anything else. It takes nothing that ipaddress would not."""
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=8192)  # 300 bytes each; a flood with more sources than that costs 0.6 µs more for each line
def canonical(text: str) -> str | None:
    """The one spelling of a single address, or None where the text is no address. Cached: log lines repeat themselves."""
    try:
        if ":" not in text:
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def spoken(network: IPv4Network | IPv6Network) -> str:
    """As people write it: a lone address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


Address = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(address),
    PlainSerializer(spoken, return_type=str),
    WithJsonSchema({"type": "string", "description": "an address or network, as in 203.0.113.7 or 10.0.0.0/8"}),
    Means("address"),
]


# Times --------------------------------------------------------------------------------------------------------------


def duration(text: object) -> timedelta:
    """Read '90s', '2h', '1.5d', '250ms'.

    Raises:
        ValueError: no number with one of the units ms, s, m, h, d; or longer than ten years.
    """
    if isinstance(text, timedelta):
        return text
    if isinstance(text, int | float):  # the journal's JSON holds seconds; YAML never gives a number here
        return timedelta(seconds=text)
    found = _DURATION.fullmatch(str(text))
    if not found:
        raise ValueError(f"`{text}` is not a duration; use a number and ms, s, m, h or d, as in 90s or 2h")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"`{text}` is longer than ten years")
    return timedelta(seconds=seconds)


def spell(span: timedelta) -> str:
    """A duration as ops write it: 90s, 15m, 1h, 7d."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def rough(span: timedelta) -> str:
    """A span for people, in its two largest units: 250 ms, 42 s, 3 min 5 s, 4 d 7 h."""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    left, said = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        said += [f"{number} {unit}"] if number else []
    return " ".join(said[:2])


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(spell, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "description": "a duration, as in 90s or 2h"}),
    Means("duration"),
]


_SIZE: Final = re.compile(r"(\d{1,9}) ?(KiB|MiB|GiB|TiB)")
_BYTES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def size(text: object) -> int:
    """Read '256MiB', '1GiB' as bytes.

    Raises:
        ValueError: no whole number with one of the units KiB, MiB, GiB, TiB.
    """
    if isinstance(text, int):
        return text
    found = _SIZE.fullmatch(str(text))
    if not found:
        raise ValueError(f"`{text}` is not a size; use a whole number and KiB, MiB, GiB or TiB, as in 256MiB")
    return int(found[1]) * _BYTES[found[2]]


Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,9} ?(KiB|MiB|GiB|TiB)$", "description": "a size, as in 256MiB"}),
]


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a mitigation stays: `1h`, `1h x2 up to 7d` (longer for each repeat within 30 days), or `forever`.

    `first` is None for `forever`.
    """

    first: timedelta | None
    factor: float = 1.0
    limit: timedelta | None = None

    @classmethod
    def read(cls, text: object) -> Ttl:
        """Read the three spellings.

        Raises:
            ValueError: none of them, or the growth has no sense (factor below 1, limit below the first).
        """
        if isinstance(text, Ttl):
            return text
        if isinstance(text, timedelta):
            return cls(text)
        if text == "forever":
            return cls(None)
        found = _TTL.fullmatch(str(text).strip())
        if not found:
            raise ValueError(f"`{text}` is not a ttl; write 1h, `1h x2 up to 7d`, or forever")
        first = duration(found["first"])
        if first <= timedelta():
            raise ValueError("a ttl of nothing; write how long the mitigation stays")
        if found["factor"] is None:
            return cls(first)
        factor, limit = float(found["factor"]), duration(found["limit"])
        if factor < 1 or limit < first:
            raise ValueError(f"`{text}` shrinks; the factor is at least 1 and the limit at least {spell(first)}")
        return cls(first, factor, limit)

    def after(self, repeats: int) -> timedelta | None:
        """The ttl of the offence that comes after `repeats` earlier ones; None means forever."""
        if self.first is None:
            return None
        limit = self.limit or self.first
        grown = self.first.total_seconds() * self.factor ** min(repeats, 64)
        return min(limit, timedelta(seconds=min(grown, LONGEST.total_seconds())))

    def __str__(self) -> str:
        if self.first is None:
            return "forever"
        if self.limit is None:
            return spell(self.first)
        return f"{spell(self.first)} x{self.factor:g} up to {spell(self.limit)}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read, serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema())
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^(forever|\d+(\.\d+)?(ms|s|m|h|d)( x\d+(\.\d+)? up to \d+(\.\d+)?(ms|s|m|h|d))?)$",
            "description": "how long the mitigation stays: 1h, `1h x2 up to 7d` for repeat offenders, or forever",
        }


# Other words ---------------------------------------------------------------------------------------------------------


def _yes_or_no(text: object) -> bool:
    if isinstance(text, bool):
        return text
    if text not in ("true", "false"):
        raise ValueError(f"`{text}` is neither true nor false" if isinstance(text, str) else "expected true or false")
    return text == "true"


def _port(number: int) -> int:
    if not 0 < number < 65536:
        raise ValueError(f"{number} is no port; ports are 1 to 65535")
    return number


Flag = Annotated[bool, BeforeValidator(_yes_or_no)]
Port = Annotated[int, AfterValidator(_port), Means("port")]
Unit = Annotated[str, Means("unit")]
"""A systemd unit, as in `nginx.service`."""
