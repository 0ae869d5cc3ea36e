"""A user's processes on a host, wherever they hide, and how to end them; those of containers with the same number are not hers.

A process is the user's if it is in her slice (logind puts every session there, with what `sudo` started in it), if it runs
under her uid beside the host's own first process, or if it is in a user namespace that she made: `unshare -Urp` would hide it
from the second test. A container that root made has a pid namespace of its own and no user namespace of hers, so its uid 1000
is somebody else.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach

GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_OWNER, _PARENT = 0xB704, 0xB702  # ioctl_ns(2): NS_GET_OWNER_UID, NS_GET_PARENT
_DEEPEST: Final = 33  # user_namespaces(7) nest 32 deep
_GONE: Final = (ProcessLookupError, FileNotFoundError)


@dataclass(frozen=True, slots=True)
class Home:
    """The host: its first process's namespaces and the root of its cgroups, as seen from here."""

    pids: Path
    users: Path
    cgroup: str

    @classmethod
    def of(cls, init: int) -> Home:
        """The host whose first process this is.

        Raises:
            CannotReach: it is gone, or it cannot be looked at.
        """
        place = Path(f"/proc/{init}")
        try:
            pids, users = ((place / "ns" / kind).readlink() for kind in ("pid", "user"))
            return cls(pids, users, _cgroup(place).removesuffix("/init.scope").rstrip("/"))
        except OSError as error:
            raise CannotReach(f"cannot look at process {init}: {error.strerror}; this needs root") from error


def find(home: Home, uid: int) -> list[int]:
    """The pids of the user's processes, zombies left out."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and belongs(home, uid, int(name))]  # noqa: PTH208


def belongs(home: Home, uid: int, pid: int) -> bool:
    """Whether the process lives and is the user's; False too where it ends while it is looked at."""
    place = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":\t", 1) for line in _lines(place / "status") if ":\t" in line)
        if status["State"][0] in "ZX":
            return False
        slice_, its = f"{home.cgroup}/user.slice/user-{uid}.slice/", f"{_cgroup(place)}/"
        if its.startswith(slice_):  # logind's own helper makes and clears her /run/user, as root, and nothing of hers
            return not its.startswith(f"{slice_}user-runtime-dir@{uid}.service/")
        return _by_namespace(home, uid, place, named=str(uid) in status["Uid"].split())
    except _GONE:
        return False


def _by_namespace(home: Home, uid: int, place: Path, *, named: bool) -> bool:
    try:
        if named and (place / "ns/pid").readlink() == home.pids:
            return True
        return (place / "ns/user").readlink() != home.users and uid in _owners(place / "ns/user")
    except PermissionError as error:
        if not named:  # more rights than even this agent has: nothing that a user could start
            return False
        raise CannotReach(f"cannot see whose process {place.name} is: {error.strerror}; this needs root") from error


def _cgroup(place: Path) -> str:
    """Its cgroup in systemd's tree: that of version 2, or the one by systemd's name on an older host."""
    lines = [line.split(":", 2) for line in _lines(place / "cgroup")]
    named = {kind: path for _, kind, path in lines if kind in ("", "name=systemd")}
    return max(named.values(), key=len, default="")


def _lines(file: Path) -> list[str]:
    """A user names her processes and cgroups as she likes: no UTF-8, and what Python takes for the end of a line too."""
    return file.read_bytes().decode(errors="replace").removesuffix("\n").split("\n")


def _owners(namespace: Path) -> Iterator[int]:
    """The uids of those who made a user namespace and the ones around it."""
    inner = os.open(namespace, os.O_RDONLY)
    try:
        for _ in range(_DEEPEST):
            yield struct.unpack("I", fcntl.ioctl(inner, _OWNER, bytes(4)))[0]
            try:
                outer = fcntl.ioctl(inner, _PARENT)
            except OSError:  # EPERM: it is our own, or one around it
                return
            os.close(inner)
            inner = outer
    finally:
        os.close(inner)


def end(home: Home, uid: int, within: float) -> None:
    """Ask every process of the user to end, and kill what is there after GRACE, again and again for what is forked meanwhile."""
    started = time.monotonic()
    for pid in find(home, uid):
        _send(home, uid, pid, signal.SIGTERM)
    while (left := find(home, uid)) and time.monotonic() < started + within:
        if time.monotonic() > started + GRACE:
            for pid in left:
                _send(home, uid, pid, signal.SIGKILL)
        time.sleep(0.05)


def _send(home: Home, uid: int, pid: int, number: signal.Signals) -> None:
    """A number can mean another process by the time it is used; so the process is pinned first, and looked at again."""
    with suppress(*_GONE):
        pinned = os.pidfd_open(pid)
        try:
            if belongs(home, uid, pid):
                signal.pidfd_send_signal(pinned, number)
        finally:
            os.close(pinned)


def describe(pid: int) -> dict[str, Any]:
    """One process for evidence: what it is, who started it, where from."""
    place = Path(f"/proc/{pid}")
    seen: dict[str, Any] = {"pid": pid}
    with suppress(OSError):
        seen["command"] = (place / "cmdline").read_bytes()[:1000].replace(b"\0", b" ").decode(errors="replace").strip()
        seen["name"] = (place / "comm").read_text(errors="replace").strip()
        fields = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
        seen |= {"parent": int(fields[1]), "started_ticks_after_boot": int(fields[19]), "uid": place.stat().st_uid}
        seen |= {"cgroup": _cgroup(place), "program": str((place / "exe").readlink()), "folder": str((place / "cwd").readlink())}
    return seen
