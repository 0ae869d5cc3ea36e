"""What a support bundle is made of. Each part is had on its own: a dead agent, a broken file or a missing program costs one."""

from __future__ import annotations

import os
import pwd
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agent import __version__
from agent.action import CannotReach
from agent.grammar.config import Config, find
from agent.support.bundle import MOST_OF_ONE, Left, Part
from agent.support.printed import printed

UNITS: Final = (
    "containment-agent.service",
    "containment-restore.service",
    "containment-expire.service",
    "containment-expire.timer",
)
MOST_RECORDS: Final = 5_000
MOST_LINES: Final = 5_000
MOST_FILES: Final = 500
_SOON: Final = 20.0
_OURS: Final = "containment"
"""How the names of all our nft tables begin."""
_ASKED: Final = {
    "status": "what is wrong and what is in force",
    "mitigations": "what is in force, and what was",
    "incidents": "incidents, and what was done",
    "checks": "the latest answers of checks",
    "approvals": "what waits for a person",
    "notify": "what waits to be told",
    "lists": "who is never touched",
    "pauses": "pauses, and those that are over",
    "alerts": "what other tools say fires",
}


@dataclass(frozen=True)
class Here:
    """What the parts are taken of: the file that counts, what could be read of it, and how the agent is asked.

    `ask` raises Left where no agent answers. `since` is in Unix seconds.
    """

    path: Path
    config: Config | None
    ask: Callable[[str], Mapping[str, Any]]
    since: float

    @property
    def state(self) -> Path:
        """Where evidence is kept, as far as that is known."""
        return self.config.state if self.config else Config.state

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.state / "journal.db"


def parts(here: Here) -> Iterator[Part]:
    """All of them, in the order in which they are looked at."""
    yield Part("versions.txt", "versions of the agent, its libraries, Python, the kernel, systemd and nft", _versions)
    yield Part("doctor.json", "contain doctor", lambda: _own(here, "doctor", "--json"))
    yield Part("config.json", "every setting, its source, and what the agent goes by", lambda: _own(here, "config", "--json"))
    yield Part("agent.yaml", "the file as it is", lambda: _text(here.path))
    yield Part("policies/check.txt", "contain policy check", lambda: _own(here, "policy", "check"))
    for name, text in _policies(here):
        yield Part(f"policies/{name}", "a file of policies", partial(str, text))
    for verb, about in _ASKED.items():
        yield Part(f"agent/{verb}.json", about, partial(here.ask, verb))
    yield Part("agent/metrics.prom", "contain metrics", lambda: _own(here, "metrics"))
    yield Part("records.jsonl", f"records of the journal since then, the newest {MOST_RECORDS}", lambda: _records(here))
    yield Part("evidence.json", "how large the journal is, and how far it is signed", lambda: _evidence(here))
    yield Part("sizes.txt", "files of the state directory, the disk, and what the agent's process takes", lambda: _sizes(here))
    yield Part("unit-log.txt", f"what our units have logged since then, the newest {MOST_LINES} lines", lambda: _log(here))
    yield Part("units.txt", "our units, as systemd has them", _units)
    yield Part("nft.txt", f"nft's tables whose names begin with {_OURS}, and no others", _nft)
    yield Part("environment.txt", "variables that steer contain", _environment)


# The agent ------------------------------------------------------------------------------------------------------------


def _own(here: Here, *words: str) -> str:
    """What another command of ours prints, in a process of its own: it may hang, or find a bug."""
    command = [sys.executable, "-m", "agent", *words, "--config", str(here.path)]
    if words[:2] == ("policy", "check"):
        command = [*command[:5], *(str(one) for one in (here.config.policies if here.config else ())), *command[5:]]
    root = str(Path(__file__).parents[2])
    said = printed(command, seconds=60, most=MOST_OF_ONE, more=_steering() | {"PYTHONPATH": root})
    if not said.text:
        raise Left(said.why or "it said nothing")
    return said.text


# Files ----------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_OF_ONE).decode(errors="backslashreplace")
    except OSError as error:
        raise Left(f"{path}: {error.strerror}") from error


def _policies(here: Here) -> Iterator[tuple[str, str]]:
    """Every policy file by a name without slashes; none where they cannot be read, which `contain policy check` says."""
    try:
        found = find(here.config.policies) if here.config else {}
    except CannotReach:
        found = {}
    for name, text in islice(sorted(found.items()), MOST_FILES):
        yield str(Path(name).absolute()).strip("/").replace("/", "_"), text


def _records(here: Here) -> list[dict[str, Any]]:
    from agent.evidence.journal import CannotUseJournal, read_only

    try:
        with read_only(here.journal) as reader:
            first = max(reader.first_since(here.since), reader.size - MOST_RECORDS)
            found = reader.records(first - 1, MOST_RECORDS)
    except CannotUseJournal as error:
        raise Left(str(error).partition("\n")[0]) from error
    return [
        {"seq": one.seq, "ts": one.ts, "kind": one.record.kind, "incident": one.record.incident}
        | {"mitigation": one.record.mitigation, "body": dict(one.record.body)}
        for one in found
    ]


def _evidence(here: Here) -> dict[str, Any]:
    from agent.evidence.journal import CannotUseJournal, read_only

    try:
        with read_only(here.journal) as reader:
            signed = reader.checkpoints()[-1:]
            newest = reader.record(reader.size - 1)
            return {
                "records": reader.size,
                "newest": newest.ts if newest else None,
                "signed": signed[0].size if signed else 0,
                "signed_at": signed[0].ts if signed else None,
            }
    except CannotUseJournal as error:
        raise Left(str(error).partition("\n")[0]) from error


def _sizes(here: Here) -> str:
    lines = []
    try:
        found = sorted(here.state.iterdir())
    except OSError as error:
        raise Left(f"{here.state}: {error.strerror}") from error
    for one in found[:MOST_FILES]:
        at = one.lstat()
        inside = f", {sum(1 for _ in islice(one.rglob('*'), 100_000))} files" if one.is_dir() else ""
        lines.append(f"{at.st_size:>14,}  {at.st_mode:o}  {_owner(at.st_uid)}  {one.name}{inside}")
    disk = os.statvfs(here.state)
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    lines.append(f"\nthe disk of {here.state}: {free:,} of {whole:,} bytes are free, {disk.f_favail:,} inodes")
    return "\n".join([*lines, "", *_process(here)]) + "\n"


def _process(here: Here) -> Iterator[str]:
    try:
        pid = int(here.ask("status")["pid"])
        status = Path(f"/proc/{pid}/status").read_text()
        yield f"process {pid}, {sum(1 for _ in Path(f'/proc/{pid}/fd').iterdir())} files open"
    except (Left, OSError, KeyError, ValueError) as error:
        yield f"the agent's process cannot be looked at: {error}"
        return
    wanted = ("VmHWM", "VmRSS", "VmSwap", "Threads", "CapEff")
    yield from (line for line in status.splitlines() if line.startswith(wanted))


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# The host -------------------------------------------------------------------------------------------------------------


def _versions() -> str:
    kernel = os.uname()
    lines = [f"containment-agent {__version__}", f"Python {sys.version}", f"{kernel.sysname} {kernel.release} {kernel.machine}"]
    lines += [line for line in _text(Path("/etc/os-release")).splitlines() if line.startswith("PRETTY_NAME")]
    for command in (("systemctl", "--version"), ("nft", "--version")):
        said = printed(command, seconds=5, most=4096)
        lines.append(said.text.partition("\n")[0] or f"{command[0]}: {said.why}")
    try:
        needed = metadata.requires("containment-agent") or ()
    except metadata.PackageNotFoundError:
        needed = ()
    for one in needed:
        name = one.partition(";")[0].partition("[")[0].strip()
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return "\n".join(lines) + "\n"


def _log(here: Here) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(here.since))
    units = [f"--unit={one}" for one in UNITS]
    command = ["journalctl", *units, f"--since={since}", f"--lines={MOST_LINES}", "--no-pager", "--quiet", "--output=short-iso"]
    said = printed(command, seconds=_SOON, most=MOST_OF_ONE)
    if not said.text:
        raise Left(said.why or "the journal has none, or this user may not read it")
    return said.text


def _units() -> str:
    said = [
        printed(["systemctl", "show", "--no-pager", *UNITS], seconds=_SOON, most=MOST_OF_ONE),
        printed(["systemctl", "cat", "--no-pager", *UNITS], seconds=_SOON, most=MOST_OF_ONE),
        printed(["systemctl", "list-timers", "--all", "--no-pager", "containment-*"], seconds=_SOON, most=MOST_OF_ONE),
    ]
    if not any(one.text for one in said):
        raise Left(said[0].why or "systemd says nothing")
    return "\n".join(one.text or one.why for one in said)


def _nft() -> str:
    listed = printed(["nft", "list", "tables"], seconds=_SOON, most=MOST_OF_ONE)
    if listed.why:
        raise Left(listed.text.partition("\n")[0] or listed.why)
    rows = [line.split()[1:] for line in listed.text.splitlines()]
    ours = [row for row in rows if len(row) == 2 and row[1].startswith(_OURS)]
    said = [printed(["nft", "list", "table", *row], seconds=_SOON, most=MOST_OF_ONE) for row in ours]
    return "\n".join(f"{one.text}{one.why}" for one in said) or f"no table's name begins with {_OURS}\n"


def _environment() -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(_steering().items())) or "none is set\n"


def _steering() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("CONTAIN_")}
