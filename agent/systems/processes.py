"""Every process of this host, read from /proc (proc(5)), the newest first.

Not through psutil: it hides that an executable was deleted, knows no containers, and cannot stop halfway.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.systems.bounded import Found, Row, directory, link, read, text

MOST_PROCESSES: Final = 5000
_MOST_COMMAND: Final = 4096
_SHORT_COMMAND: Final = 256
_MOST_COMMANDS: Final = 4 << 20
"""Bytes of command lines in all; once they are used up, each gets the short end."""
_MOST_PATH: Final = 512
_MOST_HASHED: Final = 50 << 20
"""Bytes of executables that are hashed, the unusual ones first."""
_USUAL: Final = ("/usr/", "/bin/", "/sbin/", "/lib/")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATUS: Final = re.compile(rb"^TracerPid:\t(\d+)$.*^Uid:\t(\d+)\t(\d+)", re.MULTILINE | re.DOTALL)
_CONTAINER: Final = re.compile(r"[0-9a-f]{64}")
_TELLING: Final = re.compile(r"--?\S*(passw(or)?d|passphrase|secret|token|(api|access|private|secret)[_-]?key)\Z", re.IGNORECASE)


def users() -> dict[int, tuple[str, str]]:
    """Local accounts: uid → name and home. Not by getpwuid, which may ask a directory server that does not answer."""
    found: dict[int, tuple[str, str]] = {}
    for line in text(read("/etc/passwd", 1 << 20)).splitlines():
        name, *rest = line.split(":")
        if len(rest) >= 5 and rest[1].isdecimal():
            found.setdefault(int(rest[1]), (name, rest[4]))
    return found


def pids() -> list[int]:
    """The numbers of all processes, the highest first, which are mostly the newest."""
    with os.scandir("/proc") as entries:
        return sorted((int(one.name) for one in entries if one.name.isdecimal()), reverse=True)


# Processes ------------------------------------------------------------------------------------------------------------


def processes(found: Found) -> None:
    """First what each process is, then its command line and open files, last the hashes of what they run."""
    rows, there = found.rows("processes"), pids()
    names, boot = users(), _boot_time()
    if len(there) > MOST_PROCESSES:
        found.leave_out(f"the {len(there) - MOST_PROCESSES} oldest of {len(there)} processes: that is too many")
    for number, pid in enumerate(there[:MOST_PROCESSES]):
        if found.over(f"{len(there) - number} older processes"):
            return
        found.at = f"process {pid}"
        with suppress(FileNotFoundError, ProcessLookupError), directory(f"/proc/{pid}") as own:  # or it has ended meanwhile
            rows.append({"pid": pid} | _identity(own, names, boot))
    _ask_each(found, rows)
    _hash(found, rows)


def _boot_time() -> int:
    return next((int(line.split()[1]) for line in read("/proc/stat", 1 << 20).splitlines() if line.startswith(b"btime ")), 0)


def _identity(own: int, names: dict[int, tuple[str, str]], boot: int) -> Row:
    """What a process is, from its own directory in /proc."""
    before, _, after = read("stat", below=own).rpartition(b")")
    fields = after.split()
    status = _STATUS.search(read("status", below=own))
    tracer, uid, euid = map(int, status.groups()) if status else (0, -1, -1)
    row: Row = {
        "parent": int(fields[1]),
        "name": text(before.partition(b"(")[2]),
        "state": text(fields[0]),
        "started": boot + int(fields[19]) / _TICKS,
        "uid": uid,
        "user": names.get(uid, ("", ""))[0],
        "cpu": (int(fields[11]) + int(fields[12])) / _TICKS,
        "memory": int(fields[21]) * _PAGE,
    }
    row |= {"effective_uid": euid} if euid != uid else {}
    row |= {"traced_by": tracer} if tracer else {}
    with suppress(FileNotFoundError):  # a kernel without control groups
        row |= belongs_to(text(read("cgroup", below=own)))
    for name in ("exe", "cwd"):
        with suppress(OSError):  # a kernel thread has none; another's may be hidden from us
            row[name] = link(name, own)
            if len(row[name]) > _MOST_PATH:
                row[name] = f"…{row[name][-_MOST_PATH:]}"
    if row.get("exe", "").endswith(" (deleted)"):
        row |= {"exe": row["exe"].removesuffix(" (deleted)"), "deleted": True}
    return row


def belongs_to(cgroups: str) -> Row:
    """The unit and container of a process, from its control group: that of systemd where there are several (version 1)."""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in cgroups.splitlines() if line.count(":") >= 2}
    path = paths.get("name=systemd", "/") if paths.get("", "/") == "/" else paths[""]
    unit = next((one for one in reversed(path.split("/")) if one.endswith((".service", ".scope"))), "")
    container = _CONTAINER.search(cgroups)
    return {"cgroup": path[:_MOST_PATH]} | ({"unit": unit} if unit else {}) | ({"container": container[0]} if container else {})


def _ask_each(found: Found, rows: list[Row]) -> None:
    hidden, left = 0, _MOST_COMMANDS
    for number, row in enumerate(rows):
        if found.over(f"command line and open files of {len(rows) - number} older processes"):
            return
        found.at = f"the command line of process {row['pid']}"
        try:
            most = _MOST_COMMAND if left > 0 else _SHORT_COMMAND
            raw = read(f"/proc/{row['pid']}/cmdline", most)
            left -= len(raw)
            row["command"] = _without_secrets([text(one) for one in raw.rstrip(b"\0").split(b"\0")]) if raw else []
            if len(raw) == most:
                row["command_cut"] = True
            row["open_files"] = _open_files(Path(f"/proc/{row['pid']}/fd"))
        except PermissionError:
            hidden += 1
        except (FileNotFoundError, ProcessLookupError):
            row["ended"] = True
    if hidden:
        found.leave_out(f"open files and executables of {hidden} processes of others: that needs CAP_SYS_PTRACE")


def _open_files(place: Path) -> int:
    """Their number, which Linux 6.2 gives as the directory's size."""
    return place.stat().st_size or sum(1 for _ in place.iterdir())


def _without_secrets(words: list[str]) -> list[str]:
    """What follows `--password` or `--token` as a word of its own; everything else is the redactor's, who sees one word only."""
    pairs = zip(["", *words], words, strict=False)
    return ["[left out]" if _TELLING.fullmatch(flag) and not word.startswith("-") else word for flag, word in pairs]


def _hash(found: Found, rows: list[Row]) -> None:
    """SHA-256 of what runs: deleted files first, then those outside the system's own directories, then the rest."""
    known: dict[tuple[int, int], str | None] = {}
    left = _MOST_HASHED
    for row in sorted((one for one in rows if one.get("exe")), key=_unusual):
        if found.over("hashes of the other executables"):
            return
        found.at = f"the executable of process {row['pid']}, {row['exe']}"
        with suppress(OSError), Path(f"/proc/{row['pid']}/exe").open("rb") as file:
            seen = os.fstat(file.fileno())
            key = seen.st_dev, seen.st_ino
            if key not in known:
                fits = seen.st_size <= left
                left -= seen.st_size if fits else 0
                known[key] = hashlib.file_digest(file, "sha256").hexdigest() if fits else None
            if known[key]:
                row["sha256"] = known[key]
    if skipped := sum(one is None for one in known.values()):
        found.leave_out(f"hashes of {skipped} executables: {_MOST_HASHED >> 20} MiB are hashed at most")


def _unusual(row: Row) -> int:
    if row.get("deleted"):
        return 0
    return 2 if row["exe"].startswith(_USUAL) else 1
