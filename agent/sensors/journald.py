"""Reads systemd's journal through a `journalctl` child, and believes only what journald itself put beside a message.

Any local user can log as `sshd` (`logger -t sshd …`), so SYSLOG_IDENTIFIER is never asked. A message is attributed by fields
that journald takes from the kernel (systemd.journal-fields(7), "Trusted Journal Fields"): the process's name together with
root's uid, or, where users run the program themselves as with sudo, with the path of a program that is setuid root; or by its
unit where a service's processes run as users of their own (nginx, Postfix, Dovecot). What came in on a service's standard
output is never believed: journald makes an entry of each line there, and `sshd -e` writes a newline in a user's name as it is.
Nor are the fields of a journal that another machine sent; its events are forgeable.

Facts (systemd 252): `--lines=0` with a match loses the first entries, so the first start takes the last entry's cursor and
goes on after it. Fields over 4 KiB are null without `--all`, and a MESSAGE that is no UTF-8 is a list of numbers.
"""

from __future__ import annotations

import json
import os
import select
import stat
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from agent.action import CannotReach
from agent.event import Event
from agent.fail2ban import filters as fail2ban
from agent.fail2ban import journal
from agent.schema import About
from agent.streams.parser import LONGEST_RAW, Parser, discover_parsers
from agent.streams.sensor import Backoff, Deliver, Outlet, sensor

_FIELDS: Final = "MESSAGE,_COMM,_UID,_EXE,_TRANSPORT,_SYSTEMD_UNIT"
_WHOLE: Final = ("syslog", "journal")
"""The transports that carry one message as one entry, whatever is in it."""
_LONGEST_ENTRY: Final = 64 << 10
"""Bytes of JSON. A parser's longest message is a fourth of it even as a list of numbers; any local user can write longer ones."""
_TURN: Final = 256 << 10
_LIVED: Final = 60.0
"""Seconds; a journalctl that lived so long was no failed start."""
_TOLD: Final = 30.0
"""Seconds between two words of a sensor that has nothing to read."""


@sensor
class Journald:
    """Messages of the journal, for the programs that the parsers read. `directory` reads other journal files than the host's.

    `filters` are fail2ban's, as they stand in `filters_dir`; their `journalmatch` says what they read: agent/fail2ban/journal.py.
    """

    parsers: Annotated[tuple[str, ...], About("what the messages are read with, as in [sshd, sudo]")] = ()
    directory: Annotated[str, About("read these journal files, not the host's", "/var/log/journal/remote")] = ""
    filters: Annotated[tuple[str, ...], About("fail2ban's filters, as in [sshd]")] = ()
    filters_dir: Annotated[str, About("where fail2ban's filters stand", "/etc/fail2ban/filter.d")] = fail2ban.WHERE

    def __post_init__(self) -> None:
        known = discover_parsers()
        if not self.parsers and not self.filters:
            raise ValueError("nothing reads the journal; write parsers: [sshd], or filters: [sshd] for those of fail2ban")
        journal.usable(self.filters, self.filters_dir)
        for name in self.parsers:
            if name not in known or not known[name].programs:
                fit = ", ".join(one for one, it in known.items() if it.programs)
                raise ValueError(f"cannot read {name} from the journal: no such parser; there are {fit}")

    @property
    def source(self) -> str:
        """`journal`, or with its directory."""
        return f"journal:{self.directory}" if self.directory else "journal"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:
        """Read until stopped; a journalctl that ends or cannot be started is told and started again."""
        known = discover_parsers()
        used = [known[name] for name in self.parsers]
        used = [one for one in used if wanted is None or any(kind.name in wanted for kind in one.kinds)]
        outlet = Outlet(self.source, deliver)
        filters = journal.Journal(self.filters, self.filters_dir, self.source, wanted)
        while not used and not filters:
            outlet.tell(ok=True, say="no policy names anything of the journal")
            if stop.wait(_TOLD):
                return
        reading = _Reading(used, self.directory, outlet, position or "", filters)
        backoff = Backoff()
        while not stop.is_set():
            started = time.monotonic()
            reading.go(stop)
            if time.monotonic() - started > _LIVED:
                backoff.reset()
            backoff.wait(stop)
        filters.close()


class _Reading:
    """One run: what is asked of journalctl, how far we are, and where the events go."""

    def __init__(
        self, parsers: Sequence[Parser], directory: str, outlet: Outlet, position: str, filters: journal.Journal
    ) -> None:
        self._filters = filters
        self._by_program = {program: one for one in parsers for program in one.programs}
        self._by_unit = {unit: one for one in parsers for unit in one.units}
        where = [f"--directory={directory}"] if directory else []
        self._command = ["journalctl", "--no-pager", "--output=json", *where]
        self._outlet, self._position = outlet, position
        self._foreign = bool(directory) and not _is_this_machines(Path(directory))
        self._begun = bool(position)
        self._trouble = ""

    def go(self, stop: threading.Event) -> None:
        """Start a journalctl and read until it ends or we are stopped."""
        self._trouble = ""
        try:
            if not self._begun:
                self._take_last_cursor()
            child = self._follow()
        except (OSError, subprocess.TimeoutExpired, CannotReach) as error:
            self._outlet.tell(ok=False, say=f"cannot read the journal: {error}")
            return
        try:
            while not stop.is_set() and self._turn(child):
                pass
        finally:
            _end(child)
        if not stop.is_set():
            say = f"journalctl ended with {child.returncode}: {self._trouble or 'it said nothing'}"
            self._outlet.tell(ok=False, say=say)

    def _take_last_cursor(self) -> None:
        """Begin behind the last entry there is; an empty journal is read from its start, which is now."""
        last = subprocess.run([*self._command, "--lines=1"], capture_output=True, timeout=30, check=False, env=_environment())
        if last.returncode != 0:
            raise CannotReach(last.stderr.decode("utf-8", "replace").strip())
        entry = _loaded(last.stdout)
        if "__CURSOR" in entry:
            self._position = str(entry["__CURSOR"])
            self._outlet.anchor(self._position)
        self._begun = True

    def _follow(self) -> subprocess.Popen[bytes]:
        after = [f"--after-cursor={self._position}"] if self._position else []
        only = [f"_COMM={program}" for program in self._by_program]
        only += ["+", *(f"_SYSTEMD_UNIT={unit}" for unit in self._by_unit)] if self._by_unit else []
        only += ["+", *self._filters.words] if only and self._filters else self._filters.words
        fields = ",".join([_FIELDS, *self._filters.fields])
        command = [*self._command, "--follow", "--lines=all", "--all", f"--output-fields={fields}", *after, *only]
        self._rest, self._skipping = b"", False
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
        )

    def _turn(self, child: subprocess.Popen[bytes]) -> bool:
        """Deliver what the child says within a quarter of a second; False once it has ended."""
        assert child.stdout is not None  # noqa: S101 - both are pipes, see _follow
        assert child.stderr is not None  # noqa: S101
        ready, _, _ = select.select([child.stdout, child.stderr], [], [], 0.25)
        if child.stderr in ready:
            said = os.read(child.stderr.fileno(), 4096).decode("utf-8", "replace").strip()
            self._trouble = said.splitlines()[-1] if said else self._trouble
        if child.stdout in ready:
            data = os.read(child.stdout.fileno(), _TURN)
            if not data:
                return False
            self._take(data)
        say = f"journalctl says: {self._trouble}" if self._trouble else "reads the journal"
        say += f"; {skipped}" if (skipped := self._filters.trouble()) else ""
        self._outlet.tell(ok=not self._trouble, say=say)
        return child.poll() is None or bool(ready)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._skipping:
            lines, self._skipping = lines[1:], False
        if len(self._rest) > _LONGEST_ENTRY:  # any local user can make one: it must not fill our memory
            self._rest, self._skipping = b"", True
        seen = time.time()
        events = []
        for line in lines:
            entry = _loaded(line) if len(line) <= _LONGEST_ENTRY else {}
            events += self._events(entry, seen)
            events += self._filters.events(entry, _text(entry.get("MESSAGE")), seen) if self._filters else ()
            self._position = str(entry.get("__CURSOR", self._position))
        self._outlet.send(events, self._position, lines=len(lines), size=len(data))

    def _events(self, entry: Mapping[str, Any], seen: float) -> list[Event]:
        program, uid, exe, unit = (entry.get(name) for name in ("_COMM", "_UID", "_EXE", "_SYSTEMD_UNIT"))
        by_root = uid == "0"
        by_user = isinstance(exe, str) and exe.rpartition("/")[2] == program and _is_setuid_root(exe)
        one = self._by_unit.get(unit) if isinstance(unit, str) else None
        if one is None and isinstance(program, str) and (by_root or by_user):
            one = self._by_program.get(program)
        text = _text(entry.get("MESSAGE"))
        if one is None or entry.get("_TRANSPORT") not in _WHOLE or len(text) > one.longest:
            return []
        said = one.read(text)
        if said is None:
            return []
        ts = int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6
        event = Event(
            said.kind, seen, said.fields, self._outlet.source, ts, text[:LONGEST_RAW], forgeable=not by_root or self._foreign
        )
        return [event] * said.times


def _loaded(line: bytes) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _text(message: object) -> str:
    """MESSAGE as text: a string, or a list of bytes where it is no UTF-8. No honest program sends two in one entry."""
    if isinstance(message, str):
        return message
    if isinstance(message, list) and all(isinstance(one, int) and 0 <= one < 256 for one in message):
        return bytes(message).decode("utf-8", "replace")
    return ""


@lru_cache(maxsize=256)
def _is_setuid_root(exe: str) -> bool:
    """True where the kernel itself guards the program from its user, as with /usr/bin/sudo: no preloaded library, no ptrace."""
    try:
        state = Path(exe).stat()
    except OSError:
        return False
    return state.st_uid == 0 and bool(state.st_mode & stat.S_ISUID)


def _is_this_machines(directory: Path) -> bool:
    """True for where this machine's journald writes: /var/log/journal/MACHINE-ID, with .NAME for a journal namespace.

    What systemd-journal-remote was sent lies elsewhere, and whoever sent it chose every field. Without a directory journalctl
    reads this machine's alone.
    """
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    at = directory.resolve()
    return bool(machine) and at.name.partition(".")[0] == machine and str(at.parent) in ("/var/log/journal", "/run/log/journal")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate(timeout=5)
