"""The real agent, mortal: it names the moments of its life in a file, and dies by kill -9 at the one that it is told.

    python -m tests.chaos.mortal <agent.yaml> <file for the moments> [<the moment to die at>]

A moment is before or after something that a crash can part from the rest: a commit of the journal ("after record intent#1")
and a call that changes a system or takes evidence of it ("before call firewall.block#1").
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.action import Answer, Call, Change
from agent.daemon import Daemon
from agent.record import Record
from agent.wiring import build, read_config_file


class Fate:
    """Where moments are told, and where it ends."""

    def __init__(self, file: Path, death: str) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._death, self._seen, self._lock = death, Counter[str](), threading.Lock()
        self.telling: set[tuple[str, str]] = set()
        """Systems and verbs whose calls are moments: all that plans want, but for looks."""

    def begins(self, what: str) -> str:
        """Its name, by which it `ends`; the third of its kind is #3."""
        with self._lock:
            self._seen[what] += 1
            name = f"{what}#{self._seen[what]}"
        self._moment(f"before {name}")
        return name

    def ends(self, name: str) -> None:
        self._moment(f"after {name}")

    def _moment(self, name: str) -> None:
        os.write(self._file, f"{name}\n".encode())
        if name == self._death:
            os.kill(os.getpid(), signal.SIGKILL)

    def learn(self, change: Change) -> None:
        calls = [change.apply, change.undo, *change.capture]
        self.telling.update((one.system, one.verb) for one in calls if one)


class _Journal:
    """A journal whose commits are moments."""

    def __init__(self, journal: Any, fate: Fate) -> None:
        self._journal, self._fate = journal, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def commit(self, now: float, records: Sequence[Record], **given: Any) -> int:
        for one in records:
            if isinstance(change := one.body.get("change"), Change):
                self._fate.learn(change)
        kinds = "+".join(dict.fromkeys(one.kind for one in records))
        name = self._fate.begins(f"record {kinds}") if records else ""
        size: int = self._journal.commit(now, records, **given)
        if name:
            self._fate.ends(name)
        return size


class _System:
    """A system whose changes are moments."""

    def __init__(self, system: Any, fate: Fate) -> None:
        self._system, self._fate = system, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def perform(self, calls: Sequence[Call]) -> list[Answer]:
        telling = dict.fromkeys(f"{one.system}.{one.verb}" for one in calls if (one.system, one.verb) in self._fate.telling)
        names = [self._fate.begins(f"call {one}") for one in telling]
        answers: list[Answer] = self._system.perform(calls)
        for one in names:
            self._fate.ends(one)
        return answers


def mortal(daemon: Daemon, fate: Fate) -> Daemon:
    """The same agent with other parts: those that tell."""
    parts = daemon.parts
    for one in parts.agent.state.mitigations.values():
        fate.learn(one.change)
    systems: Mapping[str, Any] = {name: _System(one, fate) for name, one in parts.systems.items()}
    journal: Any = _Journal(parts.journal, fate)
    return Daemon(replace(parts, journal=journal, systems=systems))


def main(config: str, moments: str, death: str = "") -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path, fate = Path(config), Fate(Path(moments), death)
    mortal(build(read_config_file(path), config_path=path, told=_told), fate).run()


def _told(_now: float, record: Record, *, quiet: bool = False) -> None:
    logging.info("%s %s %s", record.kind, record.mitigation, {k: v for k, v in record.body.items() if k != "change"})


if __name__ == "__main__":
    main(*sys.argv[1:])
