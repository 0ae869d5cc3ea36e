"""Whether the kernel really drops a cgroup's packets: the programs attached to it are run on made-up packets.

systemd takes IPAddressDeny= and says so wherever it runs, also where it may not load BPF programs; then nothing is dropped.
So the kernel is asked, by BPF_PROG_QUERY for the programs and BPF_PROG_TEST_RUN for what each of them makes of a packet that
never leaves this call (bpf(2), linux/bpf.h). That needs CAP_SYS_ADMIN, or the answer is that it cannot be seen.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import platform
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from agent.action import CannotReach

_SYSCALL: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_TEST_RUN, _NEXT_ID, _OPEN, _QUERY = 10, 11, 13, 16  # enum bpf_cmd
_HOOKS: Final = (0, 1)  # BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS
_EFFECTIVE: Final = 1  # BPF_F_QUERY_EFFECTIVE: those of the cgroups above count too
_MOST: Final = 64


def drops(cgroup: Path, address: IPv4Address | IPv6Address) -> bool:
    """Whether what comes from and what goes to this address is dropped, for every process in the cgroup.

    Raises:
        CannotReach: the kernel does not say.
    """
    packet = _packet(address)
    try:
        folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CannotReach(f"cannot see whether the kernel filters {cgroup}: {error.strerror}") from error
    try:
        return all(any(not _run(one, packet) & 1 for one in _attached(folder, hook)) for hook in _HOOKS)
    except OSError as error:
        raise CannotReach(f"cannot see whether the kernel filters {cgroup}: {_why(error)}") from error
    finally:
        os.close(folder)


def may_see() -> None:
    """Find out whether `drops` can be answered at all.

    Raises:
        CannotReach: it cannot, with the mend.
    """
    try:
        _bpf(_NEXT_ID, bytearray(struct.pack("=III", 0, 0, 0)))
    except OSError as error:
        if error.errno != errno.ENOENT:  # there is no program yet
            raise CannotReach(f"cannot see whether the kernel filters a cgroup: {_why(error)}") from error


def _why(error: OSError) -> str:
    mend = "; give the agent CAP_SYS_ADMIN and allow it the system call bpf" if error.errno == errno.EPERM else ""
    return f"bpf: {error.strerror}{mend}"


def _attached(folder: int, hook: int) -> list[int]:
    ids = (ctypes.c_uint32 * _MOST)()
    attributes = bytearray(struct.pack("=IIIIQI36x", folder, hook, _EFFECTIVE, 0, ctypes.addressof(ids), _MOST))
    _bpf(_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return list(ids[:count])


def _run(program: int, packet: bytes) -> int:
    """What a program answers to a packet; bit 0 lets it through."""
    opened = _bpf(_OPEN, bytearray(struct.pack("=III", program, 0, 0)))
    try:
        given, left = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(256)
        places = (ctypes.addressof(given), ctypes.addressof(left))
        attributes = bytearray(struct.pack("=IIIIQQII32x", opened, 0, len(packet), 256, *places, 1, 0))
        _bpf(_TEST_RUN, attributes)
        return int(struct.unpack_from("=I", attributes, 4)[0])
    finally:
        os.close(opened)


def _bpf(command: int, attributes: bytearray) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"not known how to ask on {platform.machine()}")
    given = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    answer = ctypes.CDLL(None, use_errno=True).syscall(number, command, given, len(attributes))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(answer)


def _packet(address: IPv4Address | IPv6Address) -> bytes:
    """An Ethernet frame with an empty UDP packet from the address to itself: it is source and destination at once."""
    udp = struct.pack("!HHHH", 9, 9, 8, 0)
    where = address.packed * 2
    if isinstance(address, ipaddress.IPv4Address):
        return bytes(12) + struct.pack("!HBBHHHBBH", 0x0800, 0x45, 0, 28, 0, 0, 64, 17, 0) + where + udp
    return bytes(12) + struct.pack("!HIHBB", 0x86DD, 0x60000000, 8, 17, 64) + where + udp
