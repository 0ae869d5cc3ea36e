"""The people's accounts of this host: /etc/passwd and /etc/shadow, and the processes that run under them.

An account is locked by its expiry date, which PAM's account check asks for at every way in: ssh with a key too, cron and at
jobs, `su`, lingering user services. An `!` before the password hash closes what asks for the password alone, and can be taken
away again without anybody knowing the hash. What does not ask: root's own `sudo -u`, `su` without PAM, and other hosts.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from agent.action import Call, CannotReach, Holds, Protected, System, call, slow
from agent.systems import user_processes
from agent.systems.system_bus import Bus, open_bus
from agent.systems.user_processes import GRACE, Home

EXPIRED: Final = "1"
"""The day after the epoch: shadow(5) says not to use 0, which some read as never."""
PEOPLE: Final = 1000
"""The first uid of people; below are services, which stop_service stops."""
MOST: Final = 256
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_ADMINS: Final = ("sudo", "wheel", "admin")
_LOGIN: Final = "org.freedesktop.login1"


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `expires` is in days since 1970 as text, empty for never; `lockable` says whether its password can be
    barred and unbarred again; `alone` are the groups of administrators that have no other member."""

    name: str
    uid: int
    expires: str
    locked: bool
    lockable: bool
    alone: tuple[str, ...]


class NoSuchAccount(CannotReach):
    """The password files of this host have no such account."""


class Accounts(System):
    """The accounts of the host whose first process is `init`, as seen from here."""

    name = "accounts"
    rights = "root, by the drop-in root.conf; the package passwd"

    def __init__(self, init: int = 1, patience: float = 7.0) -> None:
        """`patience` in seconds is for usermod, which waits while somebody else holds the password files."""
        self._init, self._patience = init, patience
        self._root = Path("/" if init == 1 else f"/proc/{init}/root")

    # Facts for plans ----------------------------------------------------------------------------------------------

    def account(self, user: str, what: str) -> Account:
        """One account; `what` is to be done to it, as in `lock alice`.

        Raises:
            Protected: root, a service's account, or the one that this agent runs under.
            NoSuchAccount: there is none here.
            CannotReach: this user may not see it.
        """
        if not _NAME.fullmatch(user):
            raise CannotReach(f"cannot {what}: no account is called `{user}`")
        passwd = self._line("passwd", user, what)
        shadow = self._line("shadow", user, what)
        uid, gid, held = int(passwd[2]), passwd[3], shadow[1]
        self._refuse_protected(user, uid, what)
        locked = held.startswith("!")
        return Account(user, uid, shadow[7], locked, bool(held) and not locked, self._alone(user, gid))

    def _line(self, file: str, user: str, what: str) -> list[str]:
        try:
            text = (self._root / "etc" / file).read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise CannotReach(f"cannot {what}: /etc/{file}: {error.strerror}; this needs root") from error
        # people write their own names and rooms: splitlines() would take U+2028 in one for the end of the line
        found = next((line.split(":") for line in text.split("\n") if line.startswith(f"{user}:")), None)
        if found is None:
            raise NoSuchAccount(f"cannot {what}: it is not in /etc/{file}; lock it where it is kept (a directory server?)")
        return found + [""] * 9

    def _refuse_protected(self, user: str, uid: int, what: str) -> None:
        if uid == 0:
            raise Protected(f"cannot {what}: {user} is root, and nobody could mend anything")
        if uid in (os.getuid(), os.geteuid()):
            raise Protected(f"cannot {what}: this agent runs under {user}")
        if uid < PEOPLE or uid == 65534:
            raise Protected(f"cannot {what}: {user} (uid {uid}) belongs to the system; stop_service stops services")
        if f"/user-{uid}.slice/" in Path("/proc/self/cgroup").read_text():
            raise Protected(f"cannot {what}: this agent runs in a session of {user}")

    def _alone(self, user: str, gid: str) -> tuple[str, ...]:
        alone = []
        with suppress(OSError):
            for line in (self._root / "etc/group").read_bytes().decode(errors="surrogateescape").split("\n"):
                name, _, number, members = (line.split(":") + [""] * 4)[:4]
                inside = {*filter(None, members.split(","))} | ({user} if number == gid else set())
                alone += [name] if name in _ADMINS and inside == {user} else []
        return tuple(alone)

    def processes(self, uid: int) -> int:
        """How many processes the user has.

        Raises:
            CannotReach: this needs root.
        """
        return len(user_processes.find(Home.of(self._init), uid))

    # Lock ---------------------------------------------------------------------------------------------------------

    @call
    def lock(self, user: str, bar: bool) -> None:
        """Expire the account, and `bar` its password too."""
        self.account(user, f"lock {user}")
        self._usermod(user, f"lock {user}", "--expiredate", EXPIRED, *(("--lock",) if bar else ()))

    @call
    def unlock(self, user: str, expires: str, bar: bool) -> None:
        """Put the expiry date back, and unbar the password that was barred; what somebody changed meanwhile stays."""
        found = self.account(user, f"unlock {user}")
        change = ["--expiredate", expires] if found.expires == EXPIRED else []
        change += ["--unlock"] if bar and found.locked else []
        if change:
            self._usermod(user, f"unlock {user}", *change)

    @call
    def is_locked(self, user: str, expires: str, bar: bool) -> bool | Holds:
        """Whether the account is expired and, where that was wanted, its password barred; `expires` is the date before."""
        try:
            found = self.account(user, f"see whether {user} is locked")
        except NoSuchAccount:
            return Holds("no", f"the account {user} is gone: this host has none of that name any more")
        if found.expires == EXPIRED and (found.locked or not bar):
            return True
        if found.expires == EXPIRED and expires != EXPIRED:
            return Holds("partly", f"{user} is expired, and the password is not barred any more")
        if bar and found.locked:
            return Holds("partly", f"the password of {user} is barred, and the account is not expired")
        if found.expires != expires:
            return Holds("no", f"somebody else has set the expiry date of {user} to day {found.expires or 'never'}")
        return False

    def _usermod(self, user: str, what: str, *change: str) -> None:
        rooted = [] if self._init == 1 else ["--root", str(self._root)]
        command = ["usermod", *rooted, *change, user]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self._patience, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotReach(f"cannot {what}: usermod: {error}") from error
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[0]
            raise CannotReach(f"cannot {what}: {why}; usermod needs root and a writable /etc")

    # Sessions -----------------------------------------------------------------------------------------------------

    @call
    @slow(5)
    def end_sessions(self, user: str, uid: int) -> None:
        """End every session and process of the user: logind first where there is one, then SIGTERM, then SIGKILL."""
        self._refuse_protected(user, uid, f"end the sessions of {user}")
        home = Home.of(self._init)
        with suppress(CannotReach), self._logind(f"end the sessions of {user}") as bus:
            bus.ask("/org/freedesktop/login1", f"{_LOGIN}.Manager.TerminateUser", "u", uid)
        user_processes.end(home, uid, within=8.0)

    @call
    def sessions_ended(self, user: str, uid: int) -> bool | Holds:
        """Whether no process of the user is left."""
        left = user_processes.find(Home.of(self._init), uid)
        if not left:
            return True
        named = [f"{one.get('name', '?')} ({one['pid']})" for one in map(user_processes.describe, left[:5])]
        return Holds("partly", f"{len(left)} processes of {user} go on: {', '.join(named)}{' …' if len(left) > 5 else ''}")

    @call
    def who(self, user: str, uid: int) -> dict[str, Any]:
        """The user's sessions as logind knows them, and every process of the user."""
        left = user_processes.find(Home.of(self._init), uid)
        sessions: list[dict[str, Any]] = []
        with suppress(CannotReach), self._logind(f"list the sessions of {user}") as bus:
            (listed,) = bus.ask("/org/freedesktop/login1", f"{_LOGIN}.Manager.ListSessions")
            for path in [path for _, owner, _, _, path in listed if owner == uid][:MOST]:
                found = bus.properties(path)
                wanted = ("Id", "Service", "Remote", "RemoteHost", "RemoteUser", "TTY", "Type", "Timestamp", "Leader", "State")
                sessions.append({name: found.get(name) for name in wanted})
        processes = [user_processes.describe(one) for one in left[:MOST]]
        return {"sessions": sessions, "processes": processes, "processes_left_out": max(0, len(left) - MOST)}

    def _logind(self, what: str) -> AbstractContextManager[Bus]:
        bus = f"unix:path={self._root / 'run/dbus/system_bus_socket'}"
        return open_bus(bus, _LOGIN, what, timedelta(seconds=2))

    # --------------------------------------------------------------------------------------------------------------

    def native(self, one: Call) -> str:
        """The same as commands for a shell."""
        user, args = one.args["user"], one.args
        match one.verb:
            case "lock":
                return f"usermod --expiredate {EXPIRED}{' --lock' if args['bar'] else ''} {user}"
            case "unlock":
                return f"usermod --expiredate '{args['expires']}'{' --unlock' if args['bar'] else ''} {user}"
            case "is_locked":
                return f"getent shadow {user} | cut -d: -f2,8  # begins with ! or *, ends with :{EXPIRED}"
            case "end_sessions":
                number = args["uid"]
                kill = f"pkill -TERM -U {number}; sleep {GRACE:g}; pkill -KILL -U {number}  # not in containers of root"
                return f"loginctl terminate-user {user}\n{kill}"
            case "sessions_ended":
                return f"pgrep -U {args['uid']}; systemd-cgls /user.slice/user-{args['uid']}.slice  # none"
        return f"loginctl user-status {user}; ps -f -U {args['uid']}"
