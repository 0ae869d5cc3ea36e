"""Sends a bounded number of SYNs with forged sources from a network namespace of its own, once told to on stdin.

syn_flood.py DESTINATION PORT COUNT      waits for a line, sends, prints `sent`
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
MOST = 3000


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: bytes, destination: bytes, port: int, number: int) -> bytes:
    head = struct.pack("!HHIIBBHHH", 1024 + number % 60000, port, number, 0, 5 << 4, 2, 1024, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 40, number & 0xFFFF, 0, 64, socket.IPPROTO_TCP, 0) + source + destination + head


def main(destination: str, port: int, count: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        sys.exit(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for number in range(min(count, MOST)):
        source = socket.inet_aton(f"10.99.{number // 250 + 1}.{number % 250 + 1}")
        out.sendto(syn(source, socket.inet_aton(destination), port, number), (destination, 0))
    sys.stdout.write("sent\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the namespace lives as long as this process


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
