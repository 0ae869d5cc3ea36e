"""Look at this host before the agent knows it: what runs, what listens, which logs there are, who is logged in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach
from agent.systems.host import Host, Lifeline

_SYSTEMD: Final = Path("/run/systemd/system")
JOURNALS: Final = (Path("/run/log/journal"), Path("/var/log/journal"))
_AUTH_LOGS: Final = (Path("/var/log/auth.log"), Path("/var/log/secure"))
_NGINX_LOGS: Final = Path("/var/log/nginx")
_DOCKER: Final = (Path("/run/docker.sock"), Path("/var/run/docker.sock"))
PG_SOCKETS: Final = Path("/var/run/postgresql")
_PLUMBING: Final = ("systemd-", "getty@", "serial-getty@", "user@", "user-runtime-dir@", "dbus", "polkit", "containment-agent")
"""Units that every host has; the agent asks about those that somebody installed for a purpose."""
MOST: Final = 40


@dataclass(frozen=True, slots=True)
class Listening:
    """A TCP port that something listens on: the program behind it, where this user may see it, and the port's name in
    /etc/services, where it has one."""

    address: str
    port: int
    program: str
    service: str

    @property
    def dial(self) -> str:
        """The address to connect to from here."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found. `safe` are the life-lines that the agent finds by itself, those of people on ssh included; `you` is
    whoever asks, where he is connected over ssh; `missed` says what could not be seen."""

    host: str
    units: tuple[str, ...] = ()
    listening: tuple[Listening, ...] = ()
    postgres: tuple[int, ...] = ()
    docker: bool = False
    journald: bool = False
    auth_log: Path | None = None
    access_logs: tuple[Path, ...] = ()
    ssh_ports: tuple[int, ...] = (22,)
    safe: tuple[Lifeline, ...] = ()
    you: str = ""
    missed: tuple[str, ...] = ()


def look() -> Looked:
    """Look at everything; a part that cannot be seen is missing from the answer, and named in `missed`."""
    missed: list[str] = []
    listening = tuple(_listening(missed))
    ssh_ports = tuple(sorted({one.port for one in listening if one.program == "sshd"})) or (22,)
    return Looked(
        host=socket.gethostname(),
        units=tuple(_units(missed)),
        listening=listening,
        postgres=tuple(_postgres_ports()),
        docker=any(one.exists() for one in _DOCKER),
        journald=any(one.is_dir() and any(one.iterdir()) for one in JOURNALS) and shutil.which("journalctl") is not None,
        auth_log=next((one for one in _AUTH_LOGS if one.exists()), None),
        access_logs=tuple(sorted(_NGINX_LOGS.glob("*access*.log"))[:MOST]) if _NGINX_LOGS.is_dir() else (),
        ssh_ports=ssh_ports,
        safe=tuple(_safe(ssh_ports, missed)),
        you=os.environ.get("SSH_CONNECTION", "").partition(" ")[0].partition("%")[0],
        missed=tuple(missed),
    )


def _units(missed: list[str]) -> Iterable[str]:
    """Services that run, without the plumbing."""
    if not _SYSTEMD.is_dir():
        missed.append("units: systemd does not run here")
        return []
    command = ["systemctl", "list-units", "--type=service", "--state=running", "--output=json", "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=True)
        listed: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        missed.append(f"units: systemctl does not say ({error})")
        return []
    return sorted(one["unit"] for one in listed if not one["unit"].startswith(_PLUMBING))[:MOST]


def _listening(missed: list[str]) -> Iterable[Listening]:
    """TCP ports with a listener, one for each port."""
    import psutil

    try:
        sockets = psutil.net_connections("tcp")
    except (OSError, psutil.Error) as error:
        missed.append(f"listening ports: {error}")
        return []
    found: dict[int, Listening] = {}
    for one in sockets:
        if one.status == psutil.CONN_LISTEN and one.laddr:
            address, port = one.laddr
            found.setdefault(port, Listening(address, port, _program(one.pid), _service(port)))
    return [found[port] for port in sorted(found)][:MOST]


def _program(pid: int | None) -> str:
    import psutil

    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:  # it ended, or belongs to somebody else
        return ""


def _service(port: int) -> str:
    try:
        return socket.getservbyport(port, "tcp")
    except OSError:
        return ""


def _postgres_ports() -> Iterable[int]:
    """Local servers, by the sockets Debian gives them."""
    names = [one.name.rpartition(".")[2] for one in PG_SOCKETS.glob(".s.PGSQL.*")] if PG_SOCKETS.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())[:MOST]


def _safe(ports: Iterable[int], missed: list[str]) -> Iterable[Lifeline]:
    try:
        return Host().lifelines(ports)[:MOST]
    except CannotReach as error:
        missed.append(str(error))
        return []
