"""Reads the files that scanners leave in a directory, each once, and moves them away when what they say is kept.

    /var/spool/containment-agent/scans/            whole files, as in `trivy image -f json -o .a.json shop && mv .a.json a.json`
    /var/spool/containment-agent/scans/done/       what was read and committed, the latest 100
    /var/spool/containment-agent/scans/failed/     what could not be read, each with its reason beside it: a.json.why

A name that begins with a dot, or ends in .tmp or .part, is not looked at; neither is a file that still changes. A file is moved
after the commit of its events and never before: killed at any moment, it is there still, and its events are not told twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from agent.event import Event, Kind
from agent.intake.settings import BAD_INPUT
from agent.schema import About, Duration
from agent.streams.scan import FINDING, SCAN
from agent.streams.sender import BadDocumentError, Sender, discover_senders, events
from agent.streams.sensor import Backoff, Batch, Deliver, Outlet, sensor
from agent.visible import visible

__all__ = ["BAD_INPUT", "FINDING", "SCAN", "Drop"]

LARGEST: Final = 64 << 20
"""Bytes of one file."""
VALUES: Final = 2_000_000
"""Values in one file; one of a few bytes takes hundreds in memory."""
UNFINISHED: Final = 60.0
"""Seconds for which a file that is no JSON may still be being written: some scanners write as they go, with pauses."""
AGAIN: Final = 5
"""Looks until another try where evidence could not be written."""
REMEMBERED: Final = 200
"""Files that are known by their content to have been handed over: those that a crash kept from being moved."""
KEPT: Final = 100
"""Files in done/, and in failed/."""
MOST: Final = 1000
"""Files that one look takes notice of."""
_UNFINISHED: Final = (".tmp", ".part")


class Same(NamedTuple):
    """What a file is known by: it is another one as soon as any of it changes."""

    inode: int
    size: int
    changed: int


class _BadFileError(Exception):
    """The file is not to be read; the text says why."""


@sensor
class Drop:
    """Documents of one sender (a scanner's reports, say) that are left in a directory as whole files.

    It looks there so often; a file that has not changed from one look to the next is whole.
    """

    path: Annotated[str, About("the directory that files are left in", "/var/spool/scans")]
    sender: Annotated[str, About("the type of the sender whose documents these are", "trivy")]
    look: Annotated[Duration, About("look so often, as in 1s")] = timedelta(seconds=1)

    anchors: ClassVar[bool] = False

    def __post_init__(self) -> None:
        known = discover_senders()
        if self.sender not in known:
            raise ValueError(f"cannot read with `{self.sender}`: no such sender; there are {', '.join(sorted(known))}")
        try:
            known[self.sender]()
        except TypeError:
            raise ValueError(f"cannot read with `{self.sender}`: it needs options, which only the intake can give") from None

    @property
    def source(self) -> str:
        """As in `drop:/var/spool/containment-agent/scans`."""
        return f"drop:{self.path}"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of events that it can bring."""
        return self._made.kinds

    @property
    def _made(self) -> Sender:
        made: Sender = discover_senders()[self.sender]()
        return made

    def run(
        self,
        deliver: Deliver,
        position: str | None,
        stop: threading.Event,
        wanted: frozenset[str] | None = None,  # noqa: ARG002 - a report is taken in whole, whoever wants its findings
    ) -> None:
        """Look every second until stopped; a directory that is missing, or that anybody may write, is told and waited for."""
        look = self.look.total_seconds()
        spool = _Spool(Path(self.path), self._made, Outgoing(self.source, deliver, stop, AGAIN * look), _Handed.read(position))
        outlet, backoff = Outlet(self.source, deliver), Backoff()
        while not stop.is_set():
            try:
                with spool.opened():
                    outlet.tell(ok=True, say=f"reads {self.path}")
                    backoff.reset()
                    for name in spool.whole():
                        spool.take(name)
                        if stop.is_set():
                            return
            except OSError as error:
                outlet.tell(ok=False, say=f"cannot read {self.path}: {error.strerror}")
                backoff.wait(stop)
            except _BadFileError as error:
                outlet.tell(ok=False, say=f"cannot read {self.path}: {error}")
                backoff.wait(stop)
            stop.wait(look)


@dataclass
class _Handed:
    """The files that were handed over lately, oldest first, by what they are and hold."""

    keys: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, position: str | None) -> _Handed:
        try:
            keys = json.loads(position or "{}")["handed"]
        except (ValueError, KeyError, TypeError):
            return cls()
        return cls([str(one) for one in keys][-REMEMBERED:] if isinstance(keys, list) else [])

    def add(self, key: str) -> str:
        """The position with one more."""
        self.keys = [*(one for one in self.keys if one != key), key][-REMEMBERED:]
        return json.dumps({"handed": self.keys})


@dataclass(frozen=True)
class Outgoing:
    """Where events go, and word of their commit comes from. `again` are the seconds until another try."""

    source: str
    deliver: Deliver
    stop: threading.Event
    again: float

    def kept(self, made: tuple[Event, ...], position: str) -> bool:
        """Deliver, and wait for the commit; where it cannot come about, deliver the position alone again and again."""
        while not self.stop.is_set():
            answers = list[bool]()
            answered = threading.Event()
            self.deliver(Batch(self.source, made, position, 1 if made else 0, time.time(), partial(_answer, answers, answered)))
            while not answered.wait(0.1):
                if self.stop.is_set():
                    return False
            if answers[0]:
                return True
            made = ()  # they were looked at; what is missing is only that this is durable
            self.stop.wait(self.again)
        return False


def _answer(answers: list[bool], answered: threading.Event, durable: bool) -> None:
    answers.append(durable)
    answered.set()


class _Spool:
    """The directory. Everything in it is reached by its descriptor, so that nobody can put another one in its place."""

    def __init__(self, path: Path, sender: Sender, out: Outgoing, handed: _Handed) -> None:
        self._path, self._sender, self._out, self._handed = path, sender, out, handed
        self._seen: dict[str, Same] = {}
        self._fd = -1

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Look at the directory that is there now."""
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(self._fd).st_mode & stat.S_IWOTH:
                raise _BadFileError(f"anybody may leave files there; chmod o-w {self._path}")
            yield
        finally:
            os.close(self._fd)

    def whole(self) -> list[str]:
        """The names of files that have not changed since the last look, oldest first."""
        now: dict[str, Same] = {}
        with os.scandir(self._fd) as found:
            for entry in found:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED) or entry.is_dir(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    now[entry.name] = _same(entry.stat(follow_symlinks=False))
                if len(now) >= MOST:
                    break
        ready = [name for name, same in now.items() if self._seen.get(name) == same]
        self._seen = now
        return sorted(ready, key=lambda name: (now[name].changed, name))

    def take(self, name: str) -> None:
        """Hand a file over, wait until it is kept, and move it away; or put it aside with the reason why it was not read."""
        try:
            content, state = self._read(name)
        except FileNotFoundError:
            return
        except _BadFileError as error:
            self._aside(name, str(error), self._seen[name].inode)
            return
        digest = hashlib.sha256(content).hexdigest()[:32]
        try:
            made = self._events(content)
        except BadDocumentError as error:
            self._aside(name, str(error), state.st_ino)
            return
        except ValueError as error:
            if not 0 <= time.time() - state.st_mtime <= UNFINISHED:
                self._aside(name, f"no JSON: {error}", state.st_ino)
            return
        key = f"{digest}:{state.st_ino}:{state.st_mtime_ns}"
        if self._out.kept(() if key in self._handed.keys else tuple(made), self._handed.add(key)):
            self._done(name, digest, state)

    def _events(self, content: bytes) -> list[Event]:
        """What the file says.

        Raises:
            BadDocumentError: it is not of the form that the sender's tool writes.
            ValueError: it is no JSON, or not all of it is there.
        """
        if sum(content.count(mark) for mark in b",[{") > VALUES:
            raise BadDocumentError(f"more than {VALUES:,} values in one file")
        text = content.decode("utf-8-sig")
        try:
            document: Any = json.loads(text)
        except RecursionError:
            raise BadDocumentError("brackets in brackets without an end") from None
        return events(self._sender.read(document), self._sender, self._out.source, time.time(), text[:4096])

    # Files ----------------------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> tuple[bytes, os.stat_result]:
        """A file's content, if it is one that may be read."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _BadFileError(f"cannot open it: {error.strerror}") from None
        with os.fdopen(fd, "rb") as file:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise _BadFileError("it is no ordinary file")
            if state.st_nlink != 1:
                raise _BadFileError("it has another name as well, and may be somebody else's file")
            if state.st_mode & stat.S_IWOTH:
                raise _BadFileError("anybody may write it")
            try:
                content = file.read(LARGEST + 1) if state.st_size <= LARGEST else b""
            except OSError as error:
                raise _BadFileError(f"cannot read it: {error.strerror}") from None
            if len(content) > LARGEST or state.st_size > LARGEST:
                raise _BadFileError(f"it is larger than {LARGEST >> 20} MiB")
            return content, state

    def _done(self, name: str, digest: str, state: os.stat_result) -> None:
        stamp = f"{datetime.fromtimestamp(state.st_mtime, UTC):%Y%m%dT%H%M%SZ}"
        self._move(name, "done", f"{stamp}-{digest[:8]}-{name}", state.st_ino)

    def _aside(self, name: str, why: str, inode: int) -> None:
        """Put a file away that was not read, and tell it. The reason is there first: a file without one is never left."""
        if not self._told(name, why):
            return
        target = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{name}"
        with self._beside("failed") as there:
            fd = os.open(f"{_short(target)}.why", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=there)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(f"{visible(why, 2000)}\n")
        self._move(name, "failed", target, inode)

    def _told(self, name: str, why: str) -> bool:
        """Whether it is written down that a file cannot be read, once; its findings are lost until somebody looks."""
        key = f"aside:{self._seen[name].inode}:{self._seen[name].changed}"
        fields = {"sender": self._sender.name, "reason": visible(f"{name}: {why}", 300)}
        told = Event(BAD_INPUT.name, time.time(), fields, self._out.source, 0.0, "", BAD_INPUT.forgeable)
        return self._out.kept(() if key in self._handed.keys else (told,), self._handed.add(key))

    def _move(self, name: str, into: str, target: str, inode: int) -> None:
        """Move the file that was looked at; another one that has taken its name meanwhile stays, to be read."""
        self._seen.pop(name, None)
        target = _short(target)
        with self._beside(into) as there, contextlib.suppress(FileNotFoundError):
            if _inode(name, self._fd) != inode:
                return
            os.rename(name, target, src_dir_fd=self._fd, dst_dir_fd=there)
            if _inode(target, there) != inode:
                os.rename(target, f"again-{inode}-{name}", src_dir_fd=there, dst_dir_fd=self._fd)
            _forget_oldest(there)

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[int]:
        """The directory done/ or failed/, made where it is not there yet."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=self._fd)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)


def _same(state: os.stat_result) -> Same:
    return Same(state.st_ino, state.st_size, state.st_mtime_ns)


def _inode(name: str, where: int) -> int:
    return os.stat(name, dir_fd=where, follow_symlinks=False).st_ino


def _short(name: str) -> str:
    """A name that a file system takes, with room for what stands behind it."""
    return os.fsdecode(os.fsencode(name)[:240])


def _forget_oldest(there: int) -> None:
    """Leave the latest files; names begin with their time."""
    names = sorted({name.removesuffix(".why") for name in os.listdir(there)})
    for name in names[:-KEPT]:
        for one in (name, f"{name}.why"):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                os.unlink(one, dir_fd=there)
