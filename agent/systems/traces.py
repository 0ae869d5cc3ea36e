"""What else a responder looks at first: ways through the network, the ruleset, logins, the kernel, and what starts by itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from agent.systems.bounded import Found, Row, output, read, text
from agent.systems.processes import users

MOST_OUTPUT: Final = 1 << 20
MOST_RULESET: Final = 4 << 20
MOST_ROWS: Final = 2000
MOST_LOGINS: Final = 200
RECENT: Final = 7 * 86400.0
"""Seconds for which a changed unit file is news."""

ROUTES: Final = {
    "neighbours": ("ip", "-j", "neighbour", "show"),
    "routes": ("ip", "-j", "route", "show", "table", "all"),
    "rules": ("ip", "-j", "rule", "show"),
    "rules6": ("ip", "-6", "-j", "rule", "show"),
    "addresses": ("ip", "-j", "address", "show"),
}
RULESET: Final = ("nft", "-j", "list", "ruleset")
TERSE: Final = ("nft", "-j", "-t", "list", "ruleset")
"""The same without the elements of sets, which can take seconds to read."""


def routes(found: Found) -> None:
    """Who is near, where packets go, and our own addresses, as `ip` tells them."""
    for name, command in ROUTES.items():
        if (said := output(found, command, MOST_OUTPUT)) is not None:
            found.put(name, _json(said))


def ruleset(found: Found) -> None:
    """All of nftables; without the elements of sets where they are too many."""
    said = output(found, RULESET, MOST_RULESET, within=1.2)
    if said is None:
        said = output(found, TERSE, MOST_RULESET)
    if said is not None:
        found.put("nftables", _json(said))
    for family in ("ip", "ip6"):
        with suppress(OSError):  # no such module is loaded
            if legacy := text(read(f"/proc/net/{family}_tables_names")).split():
                found.put(f"legacy_{family}tables", legacy)
                found.leave_out(f"rules of legacy {family}tables, which nft does not show: {' '.join(legacy)}")


def _json(said: bytes) -> Any:
    try:
        return json.loads(said or b"[]")
    except ValueError:  # some versions of ip print JSON that is none
        return text(said)


# Logins ---------------------------------------------------------------------------------------------------------------

_UTMP: Final = struct.Struct("=h2xi32s4s32s256s2h3i4I20x")
"""struct utmp of utmp(5), which is the same for 32 and 64 bits on nearly every machine: 384 bytes."""
_KINDS: Final = {1: "run level", 2: "boot", 5: "init", 6: "login prompt", 7: "login", 8: "logout"}
_SESSION: Final = frozenset(
    {"UID", "USER", "REMOTE_HOST", "REMOTE_USER", "SERVICE", "TTY", "LEADER", "REALTIME", "STATE", "CLASS", "TYPE", "SCOPE"}
)


def logins(found: Found, run: Path = Path("/run"), log: Path = Path("/var/log")) -> None:
    """Who is logged in, by logind and utmp, and the latest of who was. Not btmp: people type passwords for names there."""
    sessions = found.rows("sessions")
    for file in sorted((run / "systemd/sessions").glob("*"))[:MOST_LOGINS]:
        found.at = str(file)
        with suppress(FileNotFoundError):  # it has just ended
            if file.is_file():
                pairs = (line.partition("=")[::2] for line in text(read(file)).splitlines())
                sessions.append({"session": file.name} | {name.lower(): one for name, one in pairs if name in _SESSION})
    for name, place in (("logged_in", run / "utmp"), ("logged_in_before", log / "wtmp")):
        found.at = str(place)
        try:
            found.put(name, list(_utmp(place)))
        except FileNotFoundError:
            found.leave_out(f"{place}: there is none")
    if Path("/var/lib/wtmpdb/wtmp.db").exists():
        found.leave_out("logins in /var/lib/wtmpdb/wtmp.db, which this version does not read")


def _utmp(place: Path) -> Iterator[Row]:
    with place.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size // _UTMP.size
        file.seek(max(0, whole - MOST_LOGINS) * _UTMP.size)
        data = file.read(MOST_LOGINS * _UTMP.size)
    for kind, pid, line, _, user, host, _, _, _, seconds, _, *address in _UTMP.iter_unpack(
        data[: len(data) // _UTMP.size * _UTMP.size]
    ):
        if kind:
            row = {"kind": _KINDS.get(kind, str(kind)), "pid": pid, "user": _word(user), "line": _word(line), "host": _word(host)}
            yield row | {"since": seconds & 0xFFFFFFFF} | ({"address": _address(address)} if any(address) else {})


def _word(raw: bytes) -> str:
    return text(raw.partition(b"\0")[0])


def _address(words: list[int]) -> str:
    import ipaddress

    raw = struct.pack("=4I", *words)
    return str(ipaddress.ip_address(raw if any(words[1:]) else raw[:4]))


# Kernel ---------------------------------------------------------------------------------------------------------------

_KERNEL: Final = ("tainted", "core_pattern", "modprobe", "randomize_va_space", "random/boot_id", "osrelease")


def kernel(found: Found) -> None:
    """Modules, mounts, and the settings by which the kernel starts programs of its own."""
    rows = found.rows("modules")
    with suppress(FileNotFoundError):  # a kernel without modules
        for line in text(read("/proc/modules", MOST_OUTPUT)).splitlines()[:MOST_ROWS]:
            name, size, _, used_by, *_ = line.split()
            taints = re.search(r"\((\w+)\)\Z", line)
            rows.append(
                {"name": name, "size": int(size), "used_by": used_by.strip(",-")} | ({"taints": taints[1]} if taints else {})
            )
    settings: Row = {}
    found.put("settings", settings)
    for name in _KERNEL:
        with suppress(OSError):
            settings[name] = text(read(f"/proc/sys/kernel/{name}")).strip()
    settings["uptime"] = float(read("/proc/uptime").split()[0])
    mounts = found.rows("mounts")
    for line in text(read("/proc/self/mountinfo", MOST_OUTPUT)).splitlines()[:MOST_ROWS]:  # proc_pid_mountinfo(5)
        left, _, right = line.partition(" - ")
        kind, source, *_ = right.split(" ")
        mounts.append({"at": left.split(" ")[4], "options": left.split(" ")[5], "kind": kind, "source": source})


# What starts by itself ------------------------------------------------------------------------------------------------

_ALWAYS: Final = (
    "etc/ld.so.preload", "etc/crontab", "etc/anacrontab", "etc/cron.*/*", "var/spool/cron/*", "var/spool/cron/crontabs/*",
    "var/spool/cron/atjobs/*", "etc/rc.local", "etc/passwd", "etc/shadow", "etc/group", "etc/sudoers", "etc/sudoers.d/*",
    "etc/ssh/sshd_config", "etc/ssh/sshd_config.d/*", "etc/pam.d/*", "etc/profile", "etc/profile.d/*", "etc/environment",
    "etc/modules-load.d/*", "etc/hosts", "etc/nsswitch.conf",
)  # fmt: skip
"""Told whenever they were changed; a responder compares."""
_WHEN_CHANGED: Final = (
    "etc/systemd/**/*", "run/systemd/system/**/*", "run/systemd/transient/*", "usr/local/lib/systemd/**/*",
    "usr/lib/systemd/system/*", "etc/init.d/*", "etc/udev/rules.d/*", "usr/local/bin/*", "usr/local/sbin/*",
)  # fmt: skip
_HOME: Final = (".ssh/authorized_keys", ".ssh/authorized_keys2", ".ssh/rc", ".bashrc", ".bash_profile", ".profile", ".zshrc")
_HOME_UNITS: Final = ".config/systemd/user"
_MOST_HASHED: Final = 1 << 20
_NEVER_HASHED: Final = "etc/shadow"
"""A hash of it would be a check on guesses of what is in it."""


def persistence(found: Found, root: Path = Path("/")) -> None:
    """What starts by itself or lets somebody in again: when it was changed and by its hash, not its contents.

    A change counts by ctime, which only root can set back, and not without traces. Homes come last: they may hang.
    """
    recent = time.time() - RECENT
    _note_all(found, found.rows("files"), _glob(root, _ALWAYS), lambda _: True)
    with suppress(FileNotFoundError):  # the one file whose contents are told: the libraries that every program has to load
        found.put("preload", text(read(root / "etc/ld.so.preload", 4096)))
    _note_all(found, found.rows("changed"), _glob(root, _WHEN_CHANGED), lambda seen: seen.st_ctime >= recent)
    rows = found.rows("homes")
    for home in sorted({root / home.lstrip("/") for _, home in users().values() if home.startswith("/")} | _homes(root)):
        found.at = str(home)
        if found.over(f"{home} and the homes after it"):
            return
        _note_all(found, rows, chain((home / name for name in _HOME), _entries(home / _HOME_UNITS)), lambda _: True)


def _homes(root: Path) -> set[Path]:
    return set((root / "home").glob("*")) | {root / "root"}


def _entries(place: Path) -> Iterator[Path]:
    """What stands in a directory that its user may have filled with millions of names: at most 100."""
    with suppress(OSError), os.scandir(place) as entries:
        yield from (Path(one.path) for one in islice(entries, 100))


def _glob(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from root.glob(pattern)


def _note_all(found: Found, rows: list[Row], files: Iterable[Path], wanted: Callable[[os.stat_result], bool]) -> None:
    for file in files:
        found.at = str(file)
        if len(rows) >= MOST_ROWS:
            found.leave_out(f"files beyond {MOST_ROWS}")
            return
        if found.over(f"files after {file}"):
            return
        try:
            seen = file.lstat()
            if not stat.S_ISDIR(seen.st_mode) and wanted(seen):
                rows.append(_file(file, seen))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found.leave_out(f"{file}: {error.strerror}")


def _file(file: Path, seen: os.stat_result) -> Row:
    row: Row = {
        "path": text(os.fsencode(file)),
        "mode": stat.filemode(seen.st_mode),
        "uid": seen.st_uid,
        "size": seen.st_size,
        "modified": seen.st_mtime,
        "changed": seen.st_ctime,
    }
    if stat.S_ISLNK(seen.st_mode):
        return row | {"link_to": text(os.fsencode(file.readlink()))}
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > _MOST_HASHED or str(file).endswith(_NEVER_HASHED):
        return row
    data = read(file, _MOST_HASHED)
    row["sha256"] = hashlib.sha256(data).hexdigest()
    return row | ({"keys": list(_fingerprints(data))} if file.name.startswith("authorized_keys") else {})


def _fingerprints(data: bytes) -> Iterator[str]:
    """Each key's kind and fingerprint as `ssh-keygen -l` prints it, and whether it comes with options such as `command=`."""
    for line in data.splitlines()[:MOST_ROWS]:
        words = line.split()
        at = next((n for n, one in enumerate(words) if one.startswith((b"ssh-", b"ecdsa-", b"sk-")) and n + 1 < len(words)), None)
        if at is None or line.startswith(b"#"):
            continue
        with suppress(binascii.Error, ValueError):
            hashed = hashlib.sha256(base64.b64decode(words[at + 1], validate=True)).digest()
            options = " with options" if at else ""
            yield f"{text(words[at])} SHA256:{base64.b64encode(hashed).decode().rstrip('=')}{options}"
