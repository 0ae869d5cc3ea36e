"""Capsules: all that an undo needs, one file for each mitigation that its system does not end by itself.

They lie beside the control socket, away from the journal, and are their owner's alone: whoever may write one says what is undone.
No secret is in them: calls carry none, and nothing that people or logs said is written here.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from agent.action import CannotReach, Change, System, first_reason, read_change
from agent.evidence.leaf import write_plain
from agent.evidence.on_disk import sync_directory

VERSION: Final = 1
LARGEST: Final = 4 << 20
"""Bytes; the largest there are hold a few hundred databases or openings."""

Types = Mapping[str, type[System]]


@dataclass(frozen=True, slots=True)
class Capsule:
    """One mitigation as it is ended without journal and agent. `until` is Unix seconds; the paths are absolute."""

    host: str
    mitigation: str
    incident: str
    action: str
    target: str
    actor: str
    until: float
    config: Path
    socket: Path
    change: Change

    @property
    def key(self) -> str:
        """What it is about in the world; agent/state.py makes the same of a mitigation."""
        return str(self.change.undo)

    @property
    def number(self) -> int:
        """Its place among all that were made: the last is taken back first."""
        return int(self.mitigation.rpartition("-")[2])


@with_config(ConfigDict(extra="ignore", strict=True))
class _Written(TypedDict):
    host: str
    mitigation: Annotated[str, Field(pattern=r"^M-[0-9]+$")]
    incident: str
    action: str
    target: str
    actor: str
    until: float
    config: str
    socket: str
    change: dict[str, Any]


_WRITTEN: Final = TypeAdapter(_Written)


def place_of(socket: Path) -> Path:
    """The directory of the capsules of the agent that listens there."""
    return socket.absolute().with_suffix(".undo")


def ends_elsewhere(change: Change) -> bool:
    """Whether nobody has to end this: its system holds the end (the kernel's timeouts), or it is done once."""
    return change.undo is None or "ttl" in change.apply.args


def spelled(one: Capsule) -> dict[str, Any]:
    """A capsule as JSON values."""
    return {"version": VERSION, **{each.name: getattr(one, each.name) for each in fields(one)}}


def understood(plain: Any, types: Types) -> Capsule:
    """A capsule from JSON values.

    Raises:
        ValueError: a newer agent's, or it is none; the text says why.
    """
    if not isinstance(plain, dict):
        raise ValueError("it is damaged: it holds no JSON object")
    if plain.get("version") != VERSION:
        raise ValueError(f"it has version {plain.get('version')}, and this agent knows {VERSION}; use the agent that wrote it")
    try:
        known = _WRITTEN.validate_python(plain)
        change = read_change(known["change"], types)
        if not (change.apply and change.undo and change.verify):
            raise ValueError("its change has no undo")
    except ValueError as error:  # pydantic's ValidationError is one
        raise ValueError(f"it is damaged: {first_reason(error)}") from None
    except (KeyError, TypeError, AttributeError, CannotReach) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from None
    return Capsule(
        host=known["host"],
        mitigation=known["mitigation"],
        incident=known["incident"],
        action=known["action"],
        target=known["target"],
        actor=known["actor"],
        until=known["until"],
        config=Path(known["config"]),
        socket=Path(known["socket"]),
        change=change,
    )


# Files ------------------------------------------------------------------------------------------------------------------


def file_of(place: Path, mitigation: str) -> Path:
    """Where the capsule of a mitigation lies."""
    return place / f"{mitigation}.json"


def written(place: Path) -> Iterator[Path]:
    """The files of a directory that should hold capsules; none where there is no directory."""
    return iter(sorted(place.glob("M-*.json")))


def read(path: Path, types: Types) -> Capsule:
    """The capsule in a file.

    Raises:
        CannotReach: it cannot be read, is damaged or a newer agent's, or somebody else could have written it.
    """
    try:
        return understood(load(path), types)
    except ValueError as error:
        mend = "what it would end stands in the journal: contain evidence show"
        raise CannotReach(f"cannot use the capsule {path}: {error}; {mend}") from None


def load(path: Path) -> Any:
    """The JSON of a file that nobody but this user could have written.

    Raises:
        CannotReach: it cannot be read, or others may write it.
        ValueError: it holds no JSON.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                who = f"it belongs to uid {facts.st_uid} and has mode {facts.st_mode & 0o7777:04o}"
                mend = "run this as its owner, or chmod 600 it once you know what is in it"
                raise CannotReach(f"cannot use the capsule {path}: others may write it: {who}; {mend}")
            return from_json(file.read(LARGEST))
    except OSError as error:
        raise CannotReach(f"cannot use the capsule {path}: {error.strerror}; run this as the agent's user") from error
    except ValueError as error:
        raise ValueError(f"it is damaged: {error}") from None


def write(place: Path, one: Capsule, *, known: bool) -> None:
    """Write a capsule whole or not at all, durable on return. One that is in its way and not `known` is moved aside: somebody
    else's undo, of before the journal was lost.

    Raises:
        CannotReach: it cannot be written.
    """
    target = file_of(place, one.mitigation)
    try:
        make(place)
        if not known and os.path.lexists(target):
            target.rename(target.with_name(f"{target.stem}-{time.time_ns()}.json"))
        save(target, spelled(one))
    except OSError as error:
        raise CannotReach(f"cannot write the capsule {target}: {error.strerror}; see `socket:` in agent.yaml") from error


def save(target: Path, plain: Mapping[str, Any]) -> None:
    """Write JSON values to a file, whole or not at all, durable on return."""
    fresh = _fresh(target)
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(write_plain(plain, what="a capsule"))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(target)
    sync_directory(target.parent)


def remove(path: Path) -> None:
    """Have a file gone, also after a power cut, and what was left of one that could not be written."""
    _fresh(path).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.unlink()
        sync_directory(path.parent)


def _fresh(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


def make(place: Path) -> None:
    """Have the directory there, its owner's alone.

    Raises:
        CannotReach: there is one that others may write.
        OSError: it cannot be made.
    """
    place.mkdir(mode=0o700, exist_ok=True)
    own(place)


def own(place: Path) -> None:
    """See that a directory is this user's alone.

    Raises:
        CannotReach: others may write there.
        OSError: it cannot be looked at.
    """
    facts = place.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        who = f"it belongs to uid {facts.st_uid} and has mode {facts.st_mode & 0o7777:04o}"
        raise CannotReach(f"cannot use {place}: others may write it: {who}; run this as its owner, or move it away")
