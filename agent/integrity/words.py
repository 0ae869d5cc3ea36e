"""What is told of files, as events, and who did it as far as /proc still knows."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from agent.event import Event, Value
from agent.integrity.facts import Difference, Facts
from agent.integrity.kinds import BASELINE, FILE
from agent.login import began, name_of
from agent.visible import visible


class Who(NamedTuple):
    """Who changed something, as far as that could be seen in time."""

    pid: int = 0
    exe: str = ""
    user: str = ""


class Changed(NamedTuple):
    """A path that is not what was known of it."""

    path: bytes
    root: bytes
    old: Facts | None
    now: Facts | None
    differences: list[Difference]
    who: Who


def shown(path: bytes) -> str:
    """A path for people; whatever is in its name, it is one line and plays no tricks."""
    return visible(os.fsdecode(path))


def who(pid: int) -> Who:
    """What /proc still knows of a process: its program, and who logged in to start it, else whose it is."""
    if pid <= 0:
        return Who()
    place = Path(f"/proc/{pid}")
    try:
        exe = visible(place.joinpath("exe").readlink())
        uid = began(pid)
        uid = place.stat().st_uid if uid is None else uid
    except OSError:
        return Who(pid)
    return Who(pid, exe, name_of(uid))


def changed(source: str, one: Changed, each: Difference, package: str) -> Event:
    """The event of one way in which a path changed."""
    fields: dict[str, Value] = {"path": shown(one.path), "what": each.what, "old": visible(each.old), "new": visible(each.new)}
    fields |= {name: value for name, value in one.who._asdict().items() if value}
    if package and each.what in ("created", "changed"):
        fields["package"] = package
    by = f" by {one.who.exe}" if one.who.exe else ""
    raw = f"{fields['path']} {each.what}: {fields['old'] or 'nothing'} → {fields['new'] or 'nothing'}{by}"
    return Event(FILE.name, time.time(), fields, source, time.time(), raw)


def about_baseline(source: str, what: str, say: str, **fields: Value) -> Event:
    """The event of what became of the baseline."""
    return Event(BASELINE.name, time.time(), {"what": what, "say": say, **fields}, source, time.time(), say)
