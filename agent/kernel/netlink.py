"""The kernel's nf_tables over netlink: elements of sets, what is there, and which generation of the ruleset it is.

`nft` writes the rules; elements are written here, because `nft` reads every interval set of the host before it adds a single
element (a second and more beside somebody's GeoIP list), and this takes 20 µs whatever else is loaded. A transaction is
atomic, and can be tied to a generation: if anybody changed the ruleset since, nothing is written.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from agent.action import CannotReach
from agent.kernel.netlink_format import (
    HEADER,
    NESTED,
    NUMBER,
    Element,
    Write,
    attribute,
    attributes,
    chunks,
    culprit,
    element,
    elements,
    error,
    keys,
    messages,
    name_in,
    text,
)

NETLINK_NETFILTER: Final = 12
SUBSYSTEM: Final = 10
NEWSETELEM, GETSETELEM, DELSETELEM, NEWGEN, GETGEN = 12, 13, 14, 15, 16
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET = 1, 4, 7, 10
_BEGIN, _END = 0x10, 0x11
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x400
_INTERRUPTED: Final = 0x10
_ERROR, _DONE = 2, 3
_INET: Final = 1
_PATIENCE: Final = 10
"""How often a set is read again. While the kernel moves a set to a larger hash table, a dump leaves elements out and gives as
many others twice, without a word (seen on Linux 6.18 with 100,000 new elements)."""
_AT_ONCE: Final = 64
"""Questions in one write: their answers fit the room that a socket has also without CAP_NET_ADMIN."""
_FAMILY: Final = struct.Struct(">BBH")

_WHY: Final = {
    errno.EPERM: "the kernel does not allow it; the agent needs CAP_NET_ADMIN (run it as root, or by its unit)",
    errno.ENFILE: "the set is full",
    errno.ENOENT: "there is no such table, set or element",
    errno.EEXIST: "an element is there already, or overlaps one that is",
    errno.ERESTART: "somebody else changed the ruleset in the same moment",
    errno.EOPNOTSUPP: "this kernel does not support it",
    errno.EPROTONOSUPPORT: "this kernel has no nf_tables; load it: modprobe nf_tables",
}


class Refused(CannotReach):
    """The kernel said no, and nothing was written. `culprit` is (which write, which element), where the kernel names it."""

    def __init__(self, code: int, detail: str = "", culprit: tuple[int, int] | None = None) -> None:
        why = _WHY.get(code) or os.strerror(code)
        self.code, self.why, self.culprit = code, f"{why} ({detail})" if detail else why, culprit
        super().__init__(f"cannot reach the kernel's ruleset: {self.why}")

    @property
    def outdated(self) -> bool:
        """Whether it says that what was read before is not so any more."""
        return self.code in (errno.ERESTART, errno.ENOENT, errno.EEXIST)

    @property
    def unfit(self) -> bool:
        """Whether it says that this kernel wants the message in another form."""
        return self.code in (errno.EOPNOTSUPP, errno.EINVAL, errno.EMSGSIZE)


class Netlink:
    """One socket to the nf_tables of this process's network namespace. For one thread at a time.

    Every method raises Refused where the kernel says no.
    """

    def __init__(self, table: str) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as refusal:
            raise Refused(refusal.errno or errno.EIO) from None
        weakref.finalize(self, self._socket.close)  # a process that asks one question does not close it
        self._socket.settimeout(10)
        for option in (10, 11):  # NETLINK_CAP_ACK and NETLINK_EXT_ACK: short errors that name the culprit
            self._socket.setsockopt(270, option, 1)
        with suppress(PermissionError):  # SO_SNDBUFFORCE and SO_RCVBUFFORCE: a transaction is one write
            self._socket.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)
            self._socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        self._socket.bind((0, 0))
        self._table = text(1, table)
        self._number = 0

    def generation(self) -> int:
        """The number of the ruleset; it moves with every transaction of anybody in this namespace (7 µs)."""
        for reply in self._ask(GETGEN, b"", family=0):
            for kind, start, _ in attributes(reply, 20, len(reply)):
                if kind == 1:
                    return int(NUMBER.unpack_from(reply, start)[0])
        raise Refused(errno.EPROTO)

    def table(self) -> tuple[int, str] | None:
        """The table's flags and comment, or None where there is no such table."""
        try:
            (reply,) = self._ask(_GETTABLE, self._table)
        except Refused as refusal:
            if refusal.code == errno.ENOENT:
                return None
            raise
        flags, comment = 0, ""
        for kind, start, stop in attributes(reply, 20, len(reply)):
            if kind == 2:
                flags = NUMBER.unpack_from(reply, start)[0]
            elif kind == 6 and reply[start : start + 1] == b"\0":  # user data as libnftnl writes it: type, length, text
                comment = reply[start + 2 : stop].rstrip(b"\0").decode(errors="replace")
        return flags, comment

    def sets(self) -> list[str]:
        """The names of the table's sets."""
        return [name_in(reply, 2) for reply in self._ask(_GETSET, self._table, dump=True)]

    def chains(self) -> list[str]:
        """The names of the table's chains. The kernel lists those of all tables."""
        replies = self._ask(_GETCHAIN, b"", dump=True)
        return [name_in(reply, 3) for reply in replies if reply.startswith(self._table, 20)]

    def rules(self) -> list[bytes]:
        """The table's rules as the kernel holds them, for comparing."""
        replies = self._ask(_GETRULE, self._table, dump=True)
        return [reply[20:] for reply in replies if reply.startswith(self._table, 20)]

    def dump(self, name: str) -> list[Element]:
        """Every living element of a set. An interval gives two: where it opens, and where it closes."""
        for _ in range(_PATIENCE):
            found = [one for reply in self._listed(name) for one in elements(reply)]
            if len({(one.key, one.last, one.closing) for one in found}) == len(found):
                break
        return found

    def keys(self, name: str) -> set[bytes]:
        """The keys of every living element of a set without ranges; half the work of `dump`."""
        for _ in range(_PATIENCE):
            found = [key for reply in self._listed(name) for key in keys(reply)]
            if len(set(found)) == len(found):
                break
        return set(found)

    def _listed(self, name: str) -> list[bytes]:
        return self._ask(GETSETELEM, self._table + text(2, name), dump=True)

    def get(self, name: str, key: bytes) -> Element | None:
        """One element of a set without ranges, or None where it is not there."""
        body = self._table + text(2, name) + attribute(3 | NESTED, element(key))
        try:
            return next((one for reply in self._ask(GETSETELEM, body) for one in elements(reply)), None)
        except Refused as refusal:
            if refusal.code == errno.ENOENT:
                return None
            raise

    def among(self, name: str, wanted: Iterable[bytes]) -> set[bytes]:
        """Those of these keys that a set without ranges holds: a question for each, whatever else the set holds (4 µs)."""
        keys, there = list(wanted), set[bytes]()
        for begin in range(0, len(keys), _AT_ONCE):
            there |= self._among(name, keys[begin : begin + _AT_ONCE])
        return there

    def _among(self, name: str, keys: Sequence[bytes]) -> set[bytes]:
        """The same for as many as are asked in one write; the kernel answers each by its number."""
        kind, listed = SUBSYSTEM << 8 | GETSETELEM, self._table + text(2, name)
        questions, asked = list[bytes](), dict[int, bytes]()
        for key in keys:
            questions.append(self._message(kind, 0, listed + attribute(3 | NESTED, element(key))))
            asked[self._number] = key
        self._send(b"".join(questions))
        there = set[bytes]()
        while asked:
            for answer, flags, number, reply in self._receive():
                key = asked.pop(number, b"")
                if not key:
                    continue  # left over from an earlier question
                if answer != _ERROR:
                    there.add(key)
                elif (refusal := error(reply, flags))[0] != errno.ENOENT:
                    self._drain()
                    raise Refused(*refusal[:2])
        return there

    def transact(self, writes: Sequence[Write], generation: int | None = None) -> None:
        """Write all or nothing, with one acknowledgement; with `generation`, only while the ruleset is still that one."""
        tied = attribute(1, NUMBER.pack(generation)) if generation is not None else b""
        first = self._number + 1
        messages, starts = [self._message(_BEGIN, 0, tied, family=0, resource=SUBSYSTEM)], [(0, 0)]
        for at, write in enumerate(writes):
            kind = SUBSYSTEM << 8 | (NEWSETELEM if write.add else DELSETELEM)
            for begin, body in chunks(write):
                last = at == len(writes) - 1 and begin + len(body) == len(write.elements)
                listed = attribute(3 | NESTED, b"".join(body)) if body else b""
                flags = (_CREATE if write.add else 0) | (_ACK if last else 0)
                messages.append(self._message(kind, flags, self._table + text(2, write.set) + listed))
                starts.append((at, begin))
        acknowledged = self._number
        messages.append(self._message(_END, 0, b"", family=0, resource=SUBSYSTEM))
        self._send(b"".join(messages))
        self._await(acknowledged, first, writes, starts)

    def _await(self, acknowledged: int, first: int, writes: Sequence[Write], starts: Sequence[tuple[int, int]]) -> None:
        """Read until the acknowledgement. The kernel answers within send(), so that what follows an error is here already."""
        while True:
            for kind, flags, number, reply in self._receive():
                if kind != _ERROR or not first <= number <= acknowledged:
                    continue  # left over from an earlier refusal
                code, detail, offset = error(reply, flags)
                if code:
                    at, begin = starts[number - first]
                    place = culprit(writes[at], begin, offset - 20 - len(self._table)) if number > first and offset else None
                    self._drain()
                    raise Refused(code, detail, None if place is None else (at, place))
                if number == acknowledged:
                    return

    def _ask(self, kind: int, body: bytes, *, dump: bool = False, family: int = _INET) -> list[bytes]:
        """One question, every reply. A dump that others disturbed is asked again, five times at most."""
        for _ in range(5):
            self._send(self._message(SUBSYSTEM << 8 | kind, _DUMP if dump else 0, body, family=family))
            replies, whole = self._replies(dump)
            if whole:
                break
        return replies

    def _replies(self, dump: bool) -> tuple[list[bytes], bool]:
        replies: list[bytes] = []
        whole = True
        while True:
            for kind, flags, number, reply in self._receive():
                if number != self._number:
                    continue
                whole = whole and not flags & _INTERRUPTED
                if kind == _ERROR:
                    raise Refused(*error(reply, flags)[:2])
                if kind == _DONE:
                    return replies, whole
                replies.append(reply)
                if not dump:
                    return replies, True

    def _message(self, kind: int, flags: int, body: bytes, *, family: int = _INET, resource: int = 0) -> bytes:
        self._number = self._number + 1 & 0x7FFFFFFF
        return HEADER.pack(20 + len(body), kind, _REQUEST | flags, self._number, 0) + _FAMILY.pack(family, 0, resource) + body

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as refusal:
            raise Refused(refusal.errno or errno.ETIMEDOUT) from None

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        try:
            return list(messages(self._socket.recv(1 << 16)))
        except OSError as refusal:
            raise Refused(refusal.errno or errno.ETIMEDOUT) from None

    def _drain(self) -> None:
        self._socket.setblocking(False)
        with suppress(OSError):
            while self._socket.recv(1 << 16):
                pass
        self._socket.settimeout(10)
