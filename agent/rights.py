"""What an agent that is no root, as an installed one, does less well; and the drop-in that lets it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

NET_ADMIN: Final = 12
_PEER: Final = struct.Struct("=iII")


class Lack(NamedTuple):
    """Something that cannot be done here: in what it shows, and how to have it."""

    what: str
    say: str
    mend: str


_CAPABILITIES: Final = (
    (19, "evidence", "without CAP_SYS_PTRACE evidence does not say whose other users' sockets and open files are", "evidence"),
    (2, "files", "without CAP_DAC_READ_SEARCH logs and watched files that only root reads are not seen", "extra-logs"),
)
_ROOT: Final = (
    "as no root it cannot stop_service, freeze_service, isolate_service, isolate_container, lock_user, run_hook and "
    "stop_writes strength=fence; restart_service needs service-control.conf"
)


def held(pid: int | str = "self") -> int:
    """The capabilities in effect of a process, as a bit mask (capabilities(7))."""
    return int(_status(pid).get("CapEff", "0"), 16)


def lacking(control: Path) -> Iterator[Lack]:
    """What degrades with the rights of the agent that listens there; where none does, of this process."""
    try:
        pid: int | str = _listener(control)
        found = _status(pid)
    except OSError:
        pid = "self"
        found = _status(pid)
    whose = "this process" if pid == "self" else "the agent"
    have, effective = int(found.get("CapEff", "0"), 16), int(found.get("Uid", f"0\t{os.geteuid()}").split()[1])
    for number, about, say, name in _CAPABILITIES:
        if not have >> number & 1:
            yield Lack(f"rights: {about}", f"{whose} does less well: {say}", _dropin(name))
    if effective:
        yield Lack("rights: actions", f"{whose} does less: {_ROOT}", _dropin("root"))


def _dropin(name: str) -> str:
    return f"the drop-in {name}.conf of share/containment-agent/dropins, if you want that"


def _listener(control: Path) -> int:
    """The process that listens at a unix socket (SO_PEERCRED, unix(7)).

    Raises:
        OSError: nobody does, or we may not ask.
    """
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(2.0)
        there.connect(str(control))
        return int(_PEER.unpack(there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0])


def _status(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (one.partition(":") for one in lines)}
