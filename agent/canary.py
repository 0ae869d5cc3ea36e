"""The canary: every few minutes a line goes the whole way, from a file through a sensor, a policy and the guard to the kernel.

It is no test beside the agent but the agent at work: a real log line, read by a real sensor, found by a policy, planned, judged,
written down, blocked and read back. Whom it blocks for half a minute is nobody: 198.51.100.254 is kept for documentation (RFC
5737). What does not come through within a minute opens an incident that names the station it reached last.

An agent that hangs as a whole cannot say so here; systemd's watchdog and the checkpoints that leave the host see that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from agent.event import Event
from agent.judge import left_alone
from agent.messages import Message, Seen
from agent.parsers.canary import CANARY, LOST
from agent.policy import BUILT_IN, LOST_ROUND, ROUND, Clause, Limits, Part, Policy, Rate, Step, Test
from agent.record import Record
from agent.schema import Ttl
from agent.sensors.logfile import Logfile
from agent.turn import Agent, Turn, watching

log = logging.getLogger("agent")

IP: Final = "198.51.100.254"
BLOCKED: Final = timedelta(seconds=30)
FIRST: Final = 5.0
"""Seconds from the start to the first round."""
PATIENCE: Final = 60.0
"""Seconds that a round may take."""
AGAIN: Final = 10.0
"""Seconds until another look where what the round before blocked is still there."""
LARGEST: Final = 64 << 10
"""Bytes of the file; then it begins anew."""

Result = Literal["", "in_force", "would", "refused", "lost"]
_READ: Final = "the line was read, and no policy found it"
_STATIONS: Final[Mapping[str, str]] = {
    "finding": "a policy found it, and nothing came of its plan",
    "intent": "its intent was written down, and nobody confirmed that it holds",
    "late": "its intent was written down, and the system did not answer",
    "partly": "only a part of the block holds",
}
"""The last record of a round that went no further, and what that means."""
_FAILED: Final = ("plan_failed", "failed", "not_verified")


@dataclass
class Round:
    """One line on its way. Times are monotonic seconds, `at` is Unix seconds; `end` is where the line ends in the file."""

    nonce: str
    begun: float
    at: float
    end: int
    last: str = ""
    result: Result = ""
    say: str = ""
    took: float = 0.0


FILE: Final = "canary.log"
"""In the state directory."""


def policies(block_ip: type[Any], file: Path) -> tuple[Policy, ...]:
    """The two policies that no file holds: what finds a canary, and what finds that one was lost."""
    ours = Test("source", "is", f"file:{file}", f"file:{file}")
    found = Clause((Part(CANARY.name, (ours,)),), by=("src.ip",))
    lost = Clause((Part(LOST.name),), by=("say",))
    step = Step(block_ip, {"ttl": Ttl(BLOCKED)}, {"ip": "src.ip"})
    quick = Limits(Rate(100, timedelta(minutes=10)), cooldown=timedelta(seconds=1))
    told = "A canary of the agent did not come through: attacks may go unseen, or unanswered"
    return (
        Policy(ROUND, "P1", (found,), (step,), title="The agent's own canary", mode="dry_run", guard=quick, digest="built in"),
        Policy(LOST_ROUND, "P1", (lost,), title=told, mode="dry_run", digest="built in"),
    )


def beside(sensors: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The sensors, and the one that reads the canary's file."""
    return {**sensors, ROUND: Logfile(path=str(file), parsers=("canary",))}


@dataclass
class Canary:
    """Belongs to the owner's thread. `position` says how far the sensor has read; `clock` gives monotonic seconds."""

    agent: Agent
    file: Path
    every: float
    position: Callable[[str], str | None]
    clock: Callable[[], float] = time.monotonic
    round: Round | None = None
    say: str = ""
    """Why there is no round just now."""
    _due: float = field(init=False)
    _look: float = field(init=False)
    _incident: str = field(init=False)

    def __post_init__(self) -> None:
        self._due = self._look = self.clock() + FIRST
        before = self.agent.state.incident_for(ROUND, IP)
        self._incident = before.id if before else ""
        with contextlib.suppress(OSError):
            _append(self.file, b"")  # its sensor is there before the first round

    def turn(self, now: float, tell: Callable[[Message], None]) -> None:
        """Begin a round when one is due, and `tell` when the last one is stuck. `now` is Unix seconds."""
        if self.round and not self.round.result:
            if self.clock() - self.round.begun > PATIENCE:
                self._lost(self._station(self.round), tell)
            return
        if self.clock() < max(self._due, self._look):
            return
        if any(one.active and one.policy == ROUND for one in self.agent.state.mitigations.values()):
            self._stuck(tell)
            return
        self._due = self.clock() + self.every
        self.say = self._why_not(now)
        if self.say:
            with contextlib.suppress(OSError):
                _append(self.file, b"# no round just now\n")  # so that its sensor is not taken for one that fell silent
            return
        self._begin(now)

    def _why_not(self, now: float) -> str:
        """Why a round would come to nothing, though all is well."""
        policy = self.agent.policies.get(ROUND)
        if policy and self.agent.mode(policy) == "off":
            return f"switched off: contain policy mode {ROUND} enforce"
        return left_alone(Turn(self.agent, now), ROUND, IP)

    def _stuck(self, tell: Callable[[Message], None]) -> None:
        """What the round before blocked has not ended yet; after another whole period that is an alarm."""
        self._look = self.clock() + AGAIN
        if self.clock() - self._due > self.every:
            self._due = self.clock() + self.every
            self._lost(f"the block of {IP} by the round before did not end", tell)

    def _begin(self, now: float) -> None:
        """Write the line. It is blocked for real as soon as anything else would be."""
        self._as_real_as_the_others()
        nonce = secrets.token_hex(8)
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        begun = self.clock()
        try:
            end = _append(self.file, f"{stamp} containment-agent canary: nonce={nonce} ip={IP}\n".encode())
        except OSError as error:
            self.say = f"cannot write {self.file}: {error.strerror}"
            log.warning("canary: %s", self.say)
            return
        self.round = Round(nonce, begun, now, end)

    def _as_real_as_the_others(self) -> None:
        modes = {self.agent.mode(one) for name, one in self.agent.policies.items() if name not in BUILT_IN}
        mode: Literal["enforce", "dry_run"] = "enforce" if "enforce" in modes else "dry_run"
        ours = self.agent.policies.get(ROUND)
        if ours and ours.mode != mode:
            self.agent.policies[ROUND] = replace(ours, mode=mode)
            self.agent.watch = watching(self.agent)

    # On its way -------------------------------------------------------------------------------------------------------------

    def heard(self, record: Record) -> bool:
        """Follow the round by what is written down; True for records of rounds, which nobody wants to see go by."""
        if not record.incident or (record.body.get("policy") != ROUND and record.incident != self._incident):
            return False
        self._incident = record.incident
        if self.round and not self.round.result and (self.round.last or _nonce(record) == self.round.nonce):
            self._advance(self.round, record)
        return True

    def _advance(self, one: Round, record: Record) -> None:
        kind, body = record.kind, record.body
        one.took = self.clock() - one.begun
        if kind in ("in_force", "nothing_to_do") or (kind == "recovered" and body["holds"]):
            one.result = "in_force"
        elif kind == "would":
            one.result = "would"
        elif kind == "refused":
            one.result, one.say = "refused", str(body.get("because", ""))
        elif kind in _FAILED:
            one.last, one.say = kind, str(body.get("error", ""))
        elif kind in _STATIONS:
            one.last = kind

    def watched(self, told: Callable[[float, Record], None]) -> Callable[[float, Record], None]:
        """`told` for all other records; those of rounds are followed here."""

        def hear(ts: float, record: Record) -> None:
            if not self.heard(record):
                told(ts, record)

        return hear

    def _station(self, one: Round) -> str:
        """How far the line came."""
        if one.last in _FAILED:
            return f"the block failed: {one.say}"
        if one.last:
            return _STATIONS[one.last]
        return _READ if self._read(one) else "the line was written, and no sensor read it"

    def _read(self, one: Round) -> bool:
        position = self.position(f"file:{self.file}")
        files = json.loads(position)["files"] if position else []
        return bool(files) and int(files[-1]["offset"]) >= one.end

    def _lost(self, say: str, tell: Callable[[Message], None]) -> None:
        if self.round:
            self.round.result, self.round.say = "lost", say
        log.error("a canary did not come through: %s", say)
        tell(Seen((Event(LOST.name, time.time(), {"say": say}, "canary"),)))

    def status(self) -> dict[str, Any]:
        """The last round for people: when, what came of it, and how many milliseconds it took."""
        one = self.round
        known = {"at": one.at, "result": one.result, "ms": round(1000 * one.took, 1), "say": one.say} if one else {}
        return {"every": self.every, "at": None, "result": "", "ms": None, **known, "say": self.say or (one.say if one else "")}


def _nonce(record: Record) -> object:
    event = record.body.get("event")
    return event.get("nonce") if isinstance(event, Mapping) else None


def _append(file: Path, line: bytes) -> int:
    """Append the line, to an empty file where this one is full; where the line ends.

    Raises:
        OSError: it cannot be written.
    """
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size + len(line) > LARGEST:
            os.truncate(fd, 0)
        if os.write(fd, line) < len(line):  # the next line must not become a part of this one
            os.truncate(fd, 0)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
