"""The inside of a machine of network.py: run as a script in its namespace, it answers each line of JSON with one line of JSON.

Only Python's own library, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 0.3
"""Seconds to wait for an answer before it counts as dropped; a veth pair answers within a millisecond."""


def _serve(port: int) -> bool:
    for kind, answer in ((socket.SOCK_STREAM, _accept), (socket.SOCK_DGRAM, _echo)):
        server = socket.socket(socket.AF_INET6, kind)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            server.listen(512)
        threading.Thread(target=answer, args=(server,), daemon=True).start()
    return True


def _accept(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_repeat, args=(connection,), daemon=True).start()


def _repeat(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while said := connection.recv(1024):
            connection.sendall(said)


_heard: Counter[int] = Counter()


def _echo(server: socket.socket) -> None:
    port = server.getsockname()[1]
    while True:
        said, sender = server.recvfrom(1024)
        _heard[port] += 1
        with contextlib.suppress(OSError):  # a drop on the way out is EPERM here
            server.sendto(said, sender)


_held: list[socket.socket] = []


def _hold(address: str, port: int) -> int:
    _held.append(socket.create_connection((address, port), timeout=5))
    return len(_held) - 1


def _connects(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=PATIENCE):
        return True
    return False


def _talks(connection: int) -> bool:
    held = _held[connection]
    held.settimeout(PATIENCE)
    with contextlib.suppress(OSError):
        held.sendall(b"?")
        return held.recv(64).startswith(b"?")
    return False


def _udp(address: str, port: int, source: int = 0) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.bind(("", source))
        sender.settimeout(PATIENCE)
        sender.sendto(b"?", (address, port))
        return sender.recv(64) == b"?"
    return False


def _syns(address: str, port: int, times: int) -> int:
    opening = [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for _ in range(times)]
    for one in opening:
        one.setblocking(False)
        one.connect_ex((address, port))
    threading.Event().wait(PATIENCE)
    answered = 0
    for one in opening:
        with one, contextlib.suppress(OSError):
            one.getpeername()
            answered += 1
    return answered


def _flood(address: str, port: int, sources: int) -> int:
    target = socket.inet_aton(address)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number in range(sources):
            source = struct.pack(">I", 0x0B000000 + number)
            header = struct.pack(">BBHHHBBH", 0x45, 0, 29, 0, 0, 64, 17, 0) + source + target
            raw.sendto(header + struct.pack(">HHHH", 1024, port, 9, 0) + b"!", (address, 0))
    return sources


def _sum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _syn_flood(address: str, port: int, sources: int, seconds: float) -> int:
    """One SYN from each of so many made-up sources, 11.x.y.z, spread over some seconds."""
    target, begin = socket.inet_aton(address), time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number in range(min(sources, 20_000)):
            source = struct.pack(">I", 0x0B000000 + number)
            head = struct.pack(">HHIIBBHHH", 1024 + number, port, number, 0, 5 << 4, 2, 1024, 0, 0)
            summed = _sum(source + target + struct.pack(">HH", socket.IPPROTO_TCP, len(head)) + head)
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0) + source + target
            raw.sendto(ip + head[:16] + struct.pack(">H", summed) + head[18:], (address, 0))
            if number % 100 == 0:
                time.sleep(max(0.0, begin + seconds * number / sources - time.monotonic()))
    return sources


def _udp_flood(address: str, port: int, packets: int, seconds: float) -> int:
    """So many packets from one socket, spread over some seconds."""
    begin = time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(min(packets, 20_000)):
            with contextlib.suppress(OSError):  # a closed port answers with ICMP, and the next send is told
                sender.sendto(b"!" * 200, (address, port))
            if number % 100 == 0:
                time.sleep(max(0.0, begin + seconds * number / packets - time.monotonic()))
    return packets


def _reach(*tries: list[Any]) -> list[bool]:
    """All at once, since each that is dropped takes all our patience."""
    ways: dict[str, Callable[..., bool]] = {"connects": _connects, "talks": _talks, "udp": _udp}
    with ThreadPoolExecutor(len(tries)) as threads:
        return list(threads.map(lambda one: ways[one[0]](*one[1:]), tries))


_DOES: dict[str, Callable[..., object]] = {
    "listen": _serve,
    "reach": _reach,
    "hold": _hold,
    "heard": lambda port: _heard[port],
    "syns": _syns,
    "flood": _flood,
    "syn_flood": _syn_flood,
    "udp_flood": _udp_flood,
}


if __name__ == "__main__":
    for line in sys.stdin:
        what, *given = json.loads(line)
        sys.stdout.write(json.dumps(_DOES[what](*given)) + "\n")
        sys.stdout.flush()
