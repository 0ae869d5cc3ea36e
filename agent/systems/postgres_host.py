"""A PostgreSQL server on this host: where its files are, whom it runs as, and how it is restarted the way it was started.

All of it is held against the running server. A directory or a process number by itself may be another server's: one beside
it, or one in a container.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from agent.action import CannotReach, InProgress
from agent.systems.bounded import read

RESTART: Final = 45.0
"""Seconds that a restart is waited for; it goes on by itself after that. Writing out what is in memory is most of it."""
ROOM: Final = 64 << 20
"""Bytes that must be free: the checkpoint of a shutdown panics without, and then the server does not come up either."""
_ASK: Final = 5.0
_MOST: Final = 1 << 20
_FAST: Final = ("-m", "fast", "-w", "-t", "86400", "-s")
"""Never `immediate`, which is a crash. A shutdown can take as long as it takes: pg_ctl that gives up leaves the server down."""
_PATH: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running server's first process, and what a restart by hand keeps of it: who it is, its environment, its log."""

    pid: int
    directory: str
    programs: Path
    owner: int
    group: int
    groups: tuple[int, ...]
    environment: tuple[tuple[bytes, bytes], ...]
    log: str
    unit: str
    """The systemd service that it belongs to; empty where it is in none."""

    @property
    def command(self) -> list[str]:
        """What restarts it. pg_ctl keeps its command line (postmaster.opts); systemd would take pg_ctl's work for a failure."""
        if self.unit:
            return ["systemctl", "restart", self.unit]
        return [str(self.programs / "pg_ctl"), "restart", "-D", self.directory, *_FAST, "-l", self.log]

    @property
    def said(self) -> str:
        """The command as a person would type it."""
        as_owner = [] if self.unit else ["runuser", "-u", _named(self.owner), "--"]
        return shlex.join([*as_owner, *self.command])


def find(cannot: str, directory: str, backend: int) -> Postmaster:
    """The server that answers us: whose data directory this is, and whose child our own session's process is.

    Raises:
        CannotReach: `cannot …`: it does not run on this host, or we may not act for it.
    """
    try:
        pid = _pid(directory)
        if _status(backend)["PPid"] != str(pid) or not _lives_in(pid, directory):
            raise FileNotFoundError  # the number, or the path, is another server's
        if not os.path.samestat(os.stat("/"), os.stat(f"/proc/{pid}/root")):  # noqa: PTH116
            raise FileNotFoundError  # a container's: its programs are not ours
        status = _status(pid)
        owner = int(status["Uid"].split()[1])
        if os.geteuid() not in (0, owner):
            raise PermissionError
        return Postmaster(
            pid=pid,
            directory=directory,
            programs=Path(f"/proc/{pid}/exe").readlink().parent,
            owner=owner,
            group=int(status["Gid"].split()[1]),
            groups=tuple(map(int, status["Groups"].split())),
            environment=_environment(pid),
            log=_log(pid),
            unit=service_of(str(pid)),
        )
    except PermissionError as error:
        who = "root (CAP_SYS_PTRACE and CAP_DAC_OVERRIDE of it), or the user that the server runs as"
        raise CannotReach(f"{cannot}: this takes {who}; use strength hard") from error
    except (OSError, ValueError, KeyError, IndexError) as error:
        where = f"the server that answers does not run on this host with its data in {directory}"
        raise CannotReach(f"{cannot}: {where}; run the agent on its host, or use strength hard") from error


def runs(directory: str) -> bool:
    """Whether a server runs on this data directory; True too where that cannot be seen."""
    try:
        return _lives_in(_pid(directory), directory)
    except PermissionError:
        return True
    except (OSError, ValueError, IndexError):
        return False


def _pid(directory: str) -> int:
    return int(read(f"{directory}/postmaster.pid", 4096).split()[0])


def _lives_in(pid: int, directory: str) -> bool:
    """A server's own directory is where it stands, whatever path leads there."""
    return os.path.samestat(os.stat(directory), os.stat(f"/proc/{pid}/cwd"))  # noqa: PTH116 - beside the other of the pair


def _status(pid: int) -> dict[str, str]:
    lines = read(f"/proc/{pid}/status").decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _environment(pid: int) -> tuple[tuple[bytes, bytes], ...]:
    pairs = (one.partition(b"=") for one in read(f"/proc/{pid}/environ", _MOST).split(b"\0") if b"=" in one)
    return tuple((name, value) for name, _, value in pairs)


def _log(pid: int) -> str:
    """The file that it writes its messages to; with the logging collector it is a pipe, and opened anew by the server."""
    said = os.readlink(f"/proc/{pid}/fd/2")  # noqa: PTH115 - text, as pg_ctl wants it
    try:
        same = os.path.samestat(os.stat(said), os.stat(f"/proc/{pid}/fd/2"))  # noqa: PTH116
    except OSError:  # moved away, or no file at all
        return os.devnull
    return said if same and Path(said).is_file() else os.devnull


def _named(owner: int) -> str:
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"#{owner}"


def service_of(process: str) -> str:
    """The first systemd service in a process's cgroup; empty where there is none."""
    lines = [line.split(":", 2) for line in read(f"/proc/{process}/cgroup").decode(errors="replace").splitlines()]
    paths = [path for _, kind, path in lines if kind in ("", "name=systemd")]
    return next((part for part in max(paths, key=len, default="").split("/") if part.endswith(".service")), "")


# Restarting -----------------------------------------------------------------------------------------------------------


def refuse_unrestartable(cannot: str, server: Postmaster) -> None:
    """Nothing, where a restart from here leaves the server where and what it was.

    Raises:
        CannotReach: somebody else manages it, it would become a part of the agent's own service, or no room for a checkpoint.
    """
    for place in (server.directory, f"{server.directory}/pg_wal"):
        free = os.statvfs(place)
        if free.f_bavail * free.f_frsize < ROOM:
            raise CannotReach(f"{cannot}: less than {ROOM >> 20} MiB are free in {place}, and a shutdown would panic there")
    if server.unit:
        _refuse_unit(cannot, server)
    elif own := service_of("self"):
        mend = f"fence it by hand: create {server.directory}/standby.signal, then {server.said}"
        raise CannotReach(f"{cannot}: systemd does not run it, and a restart from here would make it a part of {own}; {mend}")
    elif not (server.programs / "pg_ctl").exists():
        raise CannotReach(f"{cannot}: {server.programs} has no pg_ctl any more; was it upgraded while the server ran?")


def _refuse_unit(cannot: str, server: Postmaster) -> None:
    """systemd may restart what is PostgreSQL's own unit, with the server as its main process, and a shutdown that is fast."""
    if not fnmatchcase(server.unit, "postgresql*.service"):
        raise CannotReach(
            f"{cannot}: it belongs to {server.unit}, which would take the restart for a failure, or promote it again;"
            " stop writes with what manages it (Patroni: pause it first), or with strength hard"
        )
    if os.geteuid() != 0:
        raise CannotReach(f"{cannot}: only root may restart {server.unit}; run the agent as root, or use strength hard")
    wanted = ["-p", "MainPID", "-p", "KillSignal", "-p", "ExecStop"]
    try:
        done = subprocess.run(
            ["systemctl", "show", *wanted, server.unit], env=_PATH, capture_output=True, text=True, timeout=_ASK, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotReach(f"{cannot}: systemctl does not answer: {error}") from error
    has = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if has.get("MainPID") != str(server.pid):
        raise CannotReach(f"{cannot}: it is not the main process of {server.unit}; restart that unit in good time, and try again")
    if has.get("KillSignal") != "2" and "-m fast" not in has.get("ExecStop", ""):
        raise CannotReach(f"{cannot}: {server.unit} does not stop it by a fast shutdown (SIGINT); set KillSignal=SIGINT there")


def restart(cannot: str, server: Postmaster, within: float = RESTART) -> None:
    """Restart it, with the rights and the environment that it had. It goes on, and ends, without us.

    Raises:
        CannotReach: refused, or it does not come up.
        InProgress: it is not done `within` these seconds, and goes on.
    """
    try:
        with TemporaryFile() as said:  # no pipe, or what goes on would be ended by its first word to us
            going = _begin(server, said)
            try:
                failed = going.wait(timeout=within)
            except subprocess.TimeoutExpired:
                threading.Thread(target=going.wait, name="pg-restart", daemon=True).start()  # or it would stay a zombie
                raise InProgress(f"its restart takes longer than {within:g} s, and goes on") from None
            said.seek(0)
            why = said.read(1000).decode(errors="replace").strip().splitlines() or [f"it ended with {failed}"]
    except OSError as error:
        raise CannotReach(f"{cannot}: {server.said}: {error.strerror}") from error
    if failed:
        raise CannotReach(f"{cannot}: {server.said}: {why[0]}; look at the server's log ({server.log})")


def _begin(server: Postmaster, said: IO[bytes]) -> subprocess.Popen[bytes]:
    as_owner = os.geteuid() == 0 and not server.unit
    return subprocess.Popen(
        server.command,
        cwd="/",
        # Not by way of runuser: root would load what an environment of the server's names in LD_PRELOAD.
        env=_PATH if server.unit else dict(server.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,  # the server does not inherit it: -l
        start_new_session=True,  # ending the agent must not end what would start the server again
        user=server.owner if as_owner else None,
        group=server.group if as_owner else None,
        extra_groups=server.groups if as_owner else None,
    )
