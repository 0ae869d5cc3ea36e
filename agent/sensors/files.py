"""Watches a short list of files and directories, and tells once what is not as the baseline has it.

The first time it sees a path, what is there becomes the baseline; from then on only a person changes that (`contain baseline
update`). Changes are seen live, and everything is looked at at each start and `every` so often. Symbolic links are never
followed, and what is mounted below a path needs a path of its own.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, cast

from agent.action import CannotReach
from agent.integrity.baseline import FILE_NAME, CannotUseBaseline
from agent.integrity.kinds import BASELINE, FILE
from agent.integrity.ledger import Ledger
from agent.integrity.looking import COALESCE, Looking, Pace
from agent.integrity.tree import MOST, Cover
from agent.integrity.watcher import watcher
from agent.schema import About, Duration
from agent.streams.sensor import Backoff, Deliver, Outlet, sensor

__all__ = ["BASELINE", "FILE", "Files", "placed"]

MOST_PATHS: Final = 1000


@sensor
class Files:
    """Files and directories with all in them, but for what a pattern of `skip` matches; `every` so often all is looked at."""

    coalesce: ClassVar[float] = COALESCE
    most: ClassVar[int] = MOST

    paths: Annotated[tuple[str, ...], About("files and directories with all below, as in [/etc/ssh, /etc/sudoers]")]
    skip: Annotated[tuple[str, ...], About("patterns of what is left out, as in [/etc/ssh/*.tmp]")] = ()
    every: Annotated[Duration, About("look at everything so often, beside what the kernel tells at once, as in 24h")] = timedelta(
        hours=24
    )
    baseline: Annotated[
        str,
        About("the baseline's file; one in the state directory where none is named", "/var/lib/containment-agent/baseline.db"),
    ] = ""

    def __post_init__(self) -> None:
        if not self.paths or len(self.paths) > MOST_PATHS:
            raise ValueError(f"name 1 to {MOST_PATHS} paths, as in paths: [/etc/passwd, /etc/ssh, /usr/local/bin]")
        for one in self.paths:
            if not one.startswith("/") or "\0" in one:
                raise ValueError(f"`{one}` is not a whole path; write /etc/ssh")
        if self.every < timedelta(minutes=1):
            raise ValueError("looking at all files more often than once a minute helps nobody; changes are seen live")
        object.__setattr__(self, "_inbox", queue.SimpleQueue())  # no parameter, and so no field

    @property
    def inbox(self) -> queue.SimpleQueue[Any]:
        """Where people's updates are put; the running sensor answers each with an event."""
        return cast("queue.SimpleQueue[Any]", self.__dict__["_inbox"])

    @property
    def source(self) -> str:
        """`files`: there is one such sensor, with one baseline."""
        return "files"

    @property
    def cover(self) -> Cover:
        """What it watches."""
        return Cover(self.paths, self.skip)

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Watch until stopped; a baseline that cannot be used is told and waited for."""
        backoff, last = Backoff(), position
        pace = Pace(self.every.total_seconds(), self.coalesce, self.most)
        while not stop.is_set():
            ledger: Ledger | None = None
            try:
                with closing(watcher()) as ears:
                    ledger = Ledger(Path(self.baseline), self.source, deliver, last)
                    Looking(self.cover, pace, ledger, ears, self.inbox, stop).run()
            except (CannotUseBaseline, sqlite3.Error, OSError) as error:
                outlet = Outlet(self.source, deliver)
                outlet.tell(ok=False, say=f"cannot keep the baseline {self.baseline}: {error}")
                backoff.wait(stop)
            finally:
                if ledger:
                    last = ledger.delivered  # what went out so far is the owner's to commit
                    ledger.close()


def placed(sensors: Mapping[str, Any], state: Path) -> dict[str, Any]:
    """The sensors, where the one for files has its baseline in the state directory.

    Raises:
        CannotReach: there are two of them.
    """
    ours = [name for name, one in sensors.items() if isinstance(one, Files)]
    if len(ours) > 1:
        raise CannotReach(
            f"cannot watch files twice: {' and '.join(ours)}; there is one baseline: write all paths into one of them"
        )
    return {
        name: replace(one, baseline=str(state / FILE_NAME)) if name in ours and not one.baseline else one
        for name, one in sensors.items()
    }
