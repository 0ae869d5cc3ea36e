"""Every TCP, UDP and raw socket of this host and of its containers, with the processes that hold it, from /proc (proc_net(5))."""

from __future__ import annotations

import ipaddress
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agent.systems.bounded import Found, Row, directory, link, read, text
from agent.systems.processes import MOST_PROCESSES, pids
from agent.systems.sock_diag import plain, read_hex

MOST_SOCKETS: Final = 30_000
MOST_OF_A_TABLE: Final = 10_000
"""So that a flood of connections leaves room for what else there is. The kernel lists those that listen first."""
MOST_OF_ANOTHERS_TABLE: Final = 1_000
"""In a network namespace other than ours, of which anybody may make one."""
MOST_NAMESPACES: Final = 64
_MOST_OPEN: Final = 20_000
_STATES: Final = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN",
    "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
"""TCP's states, as numbered in include/net/tcp_states.h."""


def sockets(found: Found) -> None:
    """Every TCP, UDP and raw socket with the processes that hold it, also in the network namespaces of containers."""
    rows, spaces, there = found.rows("sockets"), found.rows("namespaces"), pids()[:MOST_PROCESSES]
    own = _namespace("thread-self")
    spaces.append({"namespace": own, "own": True})
    _list_sockets(found, rows, "thread-self", (own, MOST_OF_A_TABLE))
    others: dict[str, int] = {}
    for pid in there:
        if (name := _namespace(pid)) and name != own:
            others.setdefault(name, pid)
    for name, pid in list(others.items())[:MOST_NAMESPACES]:
        spaces.append({"namespace": name, "seen_through": pid})
        try:
            _list_sockets(found, rows, pid, (name, MOST_OF_ANOTHERS_TABLE))
        except OSError as error:  # its last process has ended meanwhile, or we may not look
            found.leave_out(f"the sockets of network namespace {name}: {error.strerror}")
    _find_owners(found, rows, there)


def _namespace(pid: int | str) -> str:
    try:
        return link(f"/proc/{pid}/ns/net").strip("net:[]")
    except OSError:
        return ""


def _list_sockets(found: Found, rows: list[Row], pid: int | str, of: tuple[str, int]) -> None:
    """The sockets of a network namespace and at most so many of a table, seen through a process in it."""
    namespace, most = of
    for protocol in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        table = Path(f"/proc/{pid}/net/{protocol}")
        found.at = str(table)
        if not table.exists():  # IPv6 is switched off
            continue
        with table.open(encoding="ascii", errors="replace") as lines:
            next(lines, None)
            for number, line in enumerate(lines):
                if number >= most or len(rows) >= MOST_SOCKETS:
                    found.leave_out(f"sockets of {table} after the first {number}: that is too many")
                    break
                rows.append(_socket(protocol, line.split()) | {"namespace": namespace})
                if len(rows) % 256 == 0 and found.over(f"the rest of {table}"):
                    return
    for fields in _packet_sockets(pid):  # who listens to everything that passes
        rows.append({"protocol": "packet", "interface": int(fields[4]), "uid": int(fields[7]), "inode": int(fields[8])})
        rows[-1]["namespace"] = namespace


def _packet_sockets(pid: int | str) -> Iterator[list[str]]:
    with suppress(FileNotFoundError, PermissionError):
        yield from (line.split() for line in text(read(f"/proc/{pid}/net/packet")).splitlines()[1:] if len(line.split()) > 8)


def _socket(protocol: str, fields: list[str]) -> Row:
    state = int(fields[3], 16)
    row: dict[str, Any] = {"protocol": protocol, "local": _end(fields[1])}
    if int(fields[2].rpartition(":")[2], 16):
        row["remote"] = _end(fields[2])
    if protocol.startswith("tcp"):
        row["state"] = _STATES[state] if state < len(_STATES) else str(state)
    return row | {"uid": int(fields[7]), "inode": int(fields[9])}


def _end(raw: str) -> str:
    """`0100007F:0016` as 127.0.0.1:22."""
    address, _, port = raw.rpartition(":")
    found = plain(read_hex(address))
    return f"[{found}]:{int(port, 16)}" if isinstance(found, ipaddress.IPv6Address) else f"{found}:{int(port, 16)}"


def _find_owners(found: Found, rows: list[Row], there: list[int]) -> None:
    by_inode = defaultdict(list)
    for row in rows:
        if row["inode"]:  # a connection that is only waiting out its time belongs to nobody
            by_inode[f"socket:[{row['inode']}]"].append(row)
    hidden = 0
    for number, pid in enumerate(there):
        if found.over(f"the sockets that {len(there) - number} older processes hold"):
            return
        found.at = f"the open files of process {pid}"
        try:
            held = by_inode.keys() & _links(found, pid)
        except PermissionError:
            hidden += 1
            continue
        if held:
            owner = {"pid": pid, "name": _name(pid)}
            for row in (row for one in held for row in by_inode[one]):
                row["held_by"] = [*row.get("held_by", []), owner]
    if hidden:
        found.leave_out(f"which sockets {hidden} processes of others hold: that needs CAP_SYS_PTRACE")


def _links(found: Found, pid: int) -> set[str]:
    links = set()
    with suppress(FileNotFoundError, ProcessLookupError), directory(f"/proc/{pid}/fd") as own, os.scandir(own) as entries:
        for number, one in enumerate(entries):
            if number >= _MOST_OPEN:
                found.leave_out(f"open files of process {pid} after the first {number}")
                break
            with suppress(FileNotFoundError, ProcessLookupError):
                links.add(link(one.name, own))
    return links


def _name(pid: int) -> str:
    with suppress(OSError):
        return text(read(f"/proc/{pid}/comm").rstrip(b"\n"))
    return ""
