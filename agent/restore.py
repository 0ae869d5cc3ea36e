"""Put back, at boot, what the kernel forgot: blocks, limits and the isolation of this host whose time is not over.

It runs before any network is there, and so asks nobody: what was in force stands in the journal, which is only read. Everything
else waits for the agent, which looks after all of it at its start.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent import execute
from agent.action import CannotReach, Change, System
from agent.drift import for_the_rest
from agent.evidence.recall import old_state
from agent.fold import fold
from agent.guard import Lifeline, Lifelines, barred
from agent.people.listed import CONFIGURED
from agent.record import Stored
from agent.snapshot import restore as read_snapshot
from agent.state import State

if TYPE_CHECKING:
    from agent.grammar.config import Config

KERNEL: Final = ("firewall", "perimeter")
"""Systems that are the kernel's alone: they need neither network nor another service, and forget all at a reboot."""


class Restored(NamedTuple):
    """How many are in force again, one sentence for each that is not, and by how many seconds the clock was behind."""

    names: tuple[str, ...]
    failed: tuple[str, ...]
    behind: float


def restore(config: Config, world: Mapping[str, System], wall: float) -> Restored:
    """Put back what the journal says is in force, for the time that is left by the clock; doing it twice is harmless.

    `wall` is the host's clock in Unix seconds. A clock that stands before the journal's last record is wrong, as without a
    battery: that record's time counts then, so that nothing lasts longer than it had left when the host went down.

    Raises:
        CannotReach: an agent runs, and does this itself; or the kernel lets us write no rules.
        CannotUseJournal: the journal cannot be read, or is not whole.
    """
    if not config.journal.exists():
        return Restored((), (), 0.0)
    with _alone(config.journal):
        state, last = _known(config, world)
        now = max(wall, last)
        jobs = [(one.id, for_the_rest(one, now)) for one in state.in_force() if _ours(one.change) and one.left(now) != 0.0]
        jobs.sort(key=lambda job: KERNEL.index(job[1].apply.system))
        if not jobs:
            return Restored((), (), now - wall)
        lines = _lifelines(config, world, state)
        firewall: Any = world["firewall"]
        firewall.protect([one.network for one in lines.lines])
        firewall.prepare()
        return _put_back(jobs, world, lines, config.protected)._replace(behind=now - wall)


def _put_back(jobs: Sequence[execute.Job], world: Mapping[str, System], lines: Lifelines, protected: Sequence[str]) -> Restored:
    def door(changes: Sequence[Change]) -> Mapping[int, str]:
        return barred(changes, lines, protected)

    outcomes = [one for batch in execute.apply([(job,) for job in jobs], world, door=door) for one in batch]
    names = tuple(one.mitigation for one in outcomes if one.result in ("in_force", "partly"))
    failed = tuple(f"{one.mitigation}: {one.error or one.result}" for one in outcomes if one.mitigation not in names)
    return Restored(names, failed, 0.0)


def _ours(change: Change) -> bool:
    return change.apply.system in KERNEL


def _known(config: Config, world: Mapping[str, System]) -> tuple[State, float]:
    """What was known when the agent wrote last, and the time of that (Unix seconds)."""
    types = {name: type(one) for name, one in world.items()}
    last = 0.0

    def build(plain: Any | None, records: Iterable[Stored]) -> State:
        nonlocal last
        state = read_snapshot(plain, types)
        for one in records:
            fold(state, one.record, one.ts)
            last = one.ts
        return state

    return old_state(config.journal, config.state / "signing.key", build), last or _written(config.journal)


def _written(journal: Path) -> float:
    """When the last record was written, where a snapshot covers it."""
    from agent.evidence.journal_read import read_only

    with read_only(journal) as reader:
        record = reader.record(reader.size - 1) if reader.size else None
    return record.ts if record else 0.0


def _lifelines(config: Config, world: Mapping[str, System], state: State) -> Lifelines:
    """Those of agent.yaml, those that people added, and what of this host is there already: early at boot, perhaps nothing."""
    host: Any = world["host"]
    try:
        here = [Lifeline(one.network, one.why) for one in host.lifelines(config.ssh_ports) if one.sure]
    except CannotReach:
        here = []
    return Lifelines([*(Lifeline(one, CONFIGURED) for one in config.never_touch), *state.lists.lines(), *here])


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    """See that no agent is writing the journal, and let none begin: it could lift what is put back here at that moment."""
    try:
        held = os.open(journal.with_name(f"{journal.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # nobody ever wrote it from here
        yield
        return
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise CannotReach(f"cannot put back what {journal} says: an agent is running, and does that itself") from None
    try:
        yield
    finally:
        os.close(held)
