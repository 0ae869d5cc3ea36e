"""The bytes of nf_tables messages over netlink: made and read. Pure.

Formats and numbers: linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h (uapi, stable). The kernel
writes in the machine's byte order on the outside, and big-endian inside nf_tables' attributes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

NESTED: Final = 0x8000
HEADER: Final = struct.Struct("=IHHII")
NUMBER: Final = struct.Struct(">I")
_ATTRIBUTE: Final = struct.Struct("=HH")
_LONG: Final = struct.Struct(">Q")
_PADDING: Final = (b"", b"\0", b"\0\0", b"\0\0\0")
_HAS_DETAILS: Final = 0x200
_LARGEST: Final = 60_000
"""Bytes of elements in one message; an attribute's length is 16 bits."""


class Write(NamedTuple):
    """Elements to add to one set or to delete from it. Deleting without any element empties the set."""

    set: str
    add: bool
    elements: Sequence[bytes]


class Element(NamedTuple):
    """An element as the kernel gives it back. `left` is in seconds, None for ever; `last` is the other end of a range."""

    key: bytes
    last: bytes | None
    closing: bool
    left: float | None
    packets: int
    size: int


# Made -----------------------------------------------------------------------------------------------------------------


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = len(payload) + 4
    return _ATTRIBUTE.pack(size, kind) + payload + _PADDING[-size & 3]


def text(kind: int, word: str) -> bytes:
    """An attribute that holds a name."""
    return attribute(kind, word.encode() + b"\0")


def element(key: bytes, settings: bytes = b"", last: bytes | None = None) -> bytes:
    """One element of a set; with `last`, the whole range (sets of ranges over joined keys)."""
    body = attribute(1 | NESTED, attribute(1, key)) + settings
    if last is not None:
        body += attribute(10 | NESTED, attribute(1, last))
    return attribute(1 | NESTED, body)


def interval(start: bytes, end: bytes | None, settings: bytes = b"") -> bytes:
    """Both borders of an interval; `end` is the first address behind it, None where the address space ends."""
    opening = element(start, settings)
    return opening if end is None else opening + element(end, attribute(3, NUMBER.pack(1)))


def settings(milliseconds: int | None, counted: tuple[int, int] | None = None) -> bytes:
    """What an element carries: how long it stays (None for ever), and packets and bytes its counter starts with."""
    made = attribute(4, _LONG.pack(milliseconds)) if milliseconds is not None else b""
    if counted:
        values = attribute(1, _LONG.pack(counted[1])) + attribute(2, _LONG.pack(counted[0]))
        made += attribute(7 | NESTED, text(1, "counter") + attribute(2 | NESTED, values))
    return made


_COUNTER: Final = text(1, "counter")

# Read -----------------------------------------------------------------------------------------------------------------


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Each message of one read: type, flags, number, and the whole of it."""
    at = 0
    while at + 16 <= len(data):
        size, kind, flags, number, _ = HEADER.unpack_from(data, at)
        if size < 16:
            return
        yield kind, flags, number, data[at : at + size]
        at += size + 3 & ~3


def generation_of(message: bytes) -> tuple[int, int, str]:
    """What a NEWGEN message says: the generation, and the pid and name of who made it."""
    generation, pid, name = 0, 0, ""
    for kind, start, stop in attributes(message, 20, len(message)):
        if kind == 1:
            generation = NUMBER.unpack_from(message, start)[0]
        elif kind == 2:
            pid = NUMBER.unpack_from(message, start)[0]
        elif kind == 3:
            name = message[start:stop].rstrip(b"\0").decode(errors="replace")
    return generation, pid, name


def attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each attribute: its kind, and where its payload starts and stops."""
    while at + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4:
            return
        yield kind & 0x3FFF, at + 4, at + size
        at += size + 3 & ~3


def name_in(message: bytes, wanted: int) -> str:
    """The name that an attribute of this kind holds, empty where there is none."""
    for kind, start, stop in attributes(message, 20, len(message)):
        if kind == wanted:
            return message[start:stop].rstrip(b"\0").decode(errors="replace")
    return ""


def keys(message: bytes) -> list[bytes]:
    """The key of each element. A look back reads ten thousand of them, and so its loop is written out."""
    found, head = list[bytes](), _ATTRIBUTE.unpack_from
    for start, stop in _listed(message):
        at = start
        while at + 4 <= stop:
            size, kind = head(message, at)
            if kind & 0x3FFF == 1:
                found.append(message[at + 8 : at + 4 + head(message, at + 4)[0]])  # the value inside, without its padding
                break
            at += max(size, 4) + 3 & ~3
    return found


def elements(message: bytes) -> Iterator[Element]:
    """Each element of a set."""
    for start, stop in _listed(message):
        yield _element(message, start, stop)


def _listed(message: bytes) -> list[tuple[int, int]]:
    """Where each element of a message starts and stops."""
    lists = [(start, stop) for kind, start, stop in attributes(message, 20, len(message)) if kind == 3]
    return [(start, stop) for begin, end in lists for _, start, stop in attributes(message, begin, end)]


def _element(data: bytes, at: int, end: int) -> Element:
    """Ten thousand of these are read at once, and so its loop is written out."""
    key, last, closing, left, counted = b"", None, False, None, (0, 0)
    while at + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        kind &= 0x3FFF
        if kind == 1:
            key = _value(data, at + 4)
        elif kind == 5:
            left = _LONG.unpack_from(data, at + 4)[0] / 1000
        elif kind == 7:
            counted = _counter(data, at + 4, at + size) or counted
        elif kind == 11:  # several expressions: a limit, and then the counter of what was over it
            for _, start, stop in attributes(data, at + 4, at + size):
                counted = _counter(data, start, stop) or counted
        elif kind == 3:
            closing = bool(NUMBER.unpack_from(data, at + 4)[0] & 1)
        elif kind == 10:
            last = _value(data, at + 4)
        at += max(size, 4) + 3 & ~3
    return Element(key, last, closing, left, *counted)


def _value(data: bytes, at: int) -> bytes:
    """The value inside, without the padding of what is around it."""
    return data[at + 4 : at + int(_ATTRIBUTE.unpack_from(data, at)[0])]


def _counter(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Packets and bytes, or None where the expression is no counter."""
    if not data.startswith(_COUNTER, at):
        return None
    values = {}
    for kind, start, _ in attributes(data, at + len(_COUNTER) + 4, end):
        if kind in (1, 2):
            values[kind] = _LONG.unpack_from(data, start)[0]
    return values.get(2, 0), values.get(1, 0)


def error(message: bytes, flags: int) -> tuple[int, str, int]:
    """An error message's code (0 is an acknowledgement), the kernel's own words, and the offset of what it means."""
    code = -struct.unpack_from("=i", message, 16)[0]
    detail, offset = "", 0
    if flags & _HAS_DETAILS:
        for kind, start, stop in attributes(message, 36, len(message)):
            if kind == 1:
                detail = message[start:stop].rstrip(b"\0").decode(errors="replace")
            elif kind == 2:
                offset = struct.unpack_from("=I", message, start)[0]
    return code, detail, offset


def chunks(write: Write) -> Iterator[tuple[int, Sequence[bytes]]]:
    """The elements in pieces that fit a message, each with the place of its first."""
    begin, size = 0, 0
    for at, one in enumerate(write.elements):
        if size + len(one) > _LARGEST:
            yield begin, write.elements[begin:at]
            begin, size = at, 0
        size += len(one)
    yield begin, write.elements[begin:]


def culprit(write: Write, begin: int, offset: int) -> int | None:
    """The place of the element that holds byte `offset` of a message that starts with element `begin`; 0 is the set's name."""
    at = len(text(2, write.set)) + 4
    for place in range(begin, len(write.elements)):
        if at <= offset < at + len(write.elements[place]):
            return place
        at += len(write.elements[place])
    return None
