"""What was ended without the agent, on its way into the journal: at once where nobody writes it, else at the next start."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from agent.action import CannotReach
from agent.expiry import capsule
from agent.expiry.capsule import Capsule, place_of
from agent.record import Record

if TYPE_CHECKING:
    from agent.evidence.journal import Journal
    from agent.grammar.config import Config
    from agent.state import State

WHO: Final = "contain expire"
OVER: Final = "its time was over, and no agent ended it"


@contextmanager
def opened(config: Config | None, secrets: Sequence[str]) -> Iterator[Journal | None]:
    """The journal to write, locked; None where there is none, or it cannot be had. None is ever made: that is the agent's.

    `secrets` are kept out of it.
    """
    from agent.evidence.journal import CannotUseJournal, EvidenceLost, Journal
    from agent.evidence.keys import CannotUseKey, load_or_make
    from agent.evidence.redact import Redactor

    key_file = config.state / "signing.key" if config else None
    if config is None or key_file is None or not (config.journal.exists() and key_file.exists()):
        yield None
        return
    try:
        key = load_or_make(key_file, host=config.host)
        keep = (config.evidence.keep_events.total_seconds(), config.evidence.keep_size)
        host = config.host or os.uname().nodename
        redact = Redactor(key.derive("redaction"))
        for one in secrets:
            redact.learn(one)
        journal = Journal(config.journal, host=host, key=key, redact=redact, keep_events=keep)
    except (CannotUseJournal, CannotUseKey, EvidenceLost, OSError):
        yield None
        return
    try:
        yield journal
    finally:
        journal.close()


def note(journal: Journal | None, records: Sequence[Record]) -> bool:
    """Write these down; whether that could be done."""
    from agent.evidence.journal import CannotRecord, CannotUseJournal, EvidenceLost

    if journal is None:
        return False
    try:
        journal.commit(time.time(), records)
    except (CannotRecord, CannotUseJournal, EvidenceLost):
        return False
    return True


def record(kind: str, one: Capsule, **more: Any) -> Record:
    """What happened to a mitigation, as a record."""
    body = {"because": OVER, "actor": WHO, "by_hand": False, **more}
    return Record(kind, body, one.incident, one.mitigation)


def mark(path: Path, one: Capsule, how: str) -> None:
    """Leave word beside a capsule that it was ended, for the next start.

    Raises:
        OSError: it cannot be written.
    """
    capsule.save(path.with_suffix(".done"), {"capsule": capsule.spelled(one), "ended": time.time(), "how": how})


class Writes(Protocol):
    """A journal, as far as it is needed here."""

    def commit(self, now: float, records: Sequence[Record], /) -> Any:
        """Write these down, durable on return."""


def take_over(socket: Path, journal: Writes, state: State) -> list[str]:
    """Write down, at a start, what was ended while the journal could not be written; returns what could not be read.

    Raises:
        EvidenceLost: there is no room for evidence.
    """
    from agent.fold import fold

    wrong = []
    for path in sorted(place_of(socket).glob("M-*.done")):
        try:
            said = _of_marker(capsule.load(path), state)
        except (CannotReach, ValueError) as error:
            wrong.append(f"cannot read what {path} says was ended: {error}")
            continue
        now, known = time.time(), state.mitigations.get(said.mitigation)
        if known is None or known.active:  # else that is written down, and a crash came before the marker was gone
            journal.commit(now, [said])
            fold(state, said, now)
        capsule.remove(path)
    return wrong


def _of_marker(plain: Any, state: State) -> Record:
    """What a marker says, as a record. Of a mitigation that this state does not mean by that name, it stands there for people."""
    if not isinstance(plain, dict) or not isinstance(plain.get("how"), str) or not isinstance(plain.get("ended"), float):
        raise ValueError("it is damaged")
    one = capsule.understood(plain.get("capsule"), state.systems)
    known = state.mitigations.get(one.mitigation)
    lifted = record("lifted", one, how=plain["how"], at=plain["ended"])
    if known is not None and known.key == one.key:
        return lifted
    about = {"was": one.mitigation, "action": one.action, "target": one.target, "describe": one.change.describe}
    return Record(lifted.kind, {**lifted.body, **about})
