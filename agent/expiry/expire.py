"""End what is over without the agent: `contain expire`, started by a timer of systemd's, or by a person.

A living agent goes first: it has half a minute past each end. Whoever undoes holds the journal's lock, and the one of the
capsules' directory, so that neither a starting agent nor another timer undoes at the same moment.
"""

from __future__ import annotations

import fcntl
import os
import syslog
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import execute
from agent.action import CannotReach, System
from agent.expiry import capsule
from agent.expiry.capsule import Capsule, Types, place_of
from agent.expiry.expired import OVER, mark, note, opened, record
from agent.expiry.timers import Timers
from agent.visible import visible

if TYPE_CHECKING:
    from agent.evidence.journal import Journal
    from agent.grammar.config import Config
    from agent.messages import Release

AGENTS: Final = 30.0
"""Seconds past its end in which a living agent may still take a mitigation down itself: it tries again after 10 and 20."""
SILENT: Final = 8.0
"""The same for one that does not answer and yet has the journal: it is starting, or it hangs."""
ROUNDS: Final = 10
"""Tries in all; PostgreSQL may be restarting. With the waits between them they take two minutes and a half."""
LONGEST_WAIT: Final = 30.0
LONGEST: Final = 600.0
"""Seconds after which no new round begins; systemd ends it all a little later."""
TURN: Final = 120.0
"""Seconds to wait for another `contain expire` that is at it."""
STANDS_BACK: Final = 15.0
"""Seconds that a starting agent waits for one."""

Alive = Callable[[Path], bool]
"""Whether an agent answers at its control socket."""
Tell = Callable[[str], None]


def expire(place: Path, alive: Alive, tell: Tell) -> bool:
    """End whatever is over by the capsules of a directory, the last made first; whether nothing of it is left.

    Raises:
        CannotReach: others may write the directory, or somebody else is at it for too long.
    """
    if not place.is_dir():
        return True
    work = _Expiry(place, alive, tell)
    tries, until = 0, time.monotonic() + LONGEST
    while True:
        last = tries == ROUNDS - 1 or time.monotonic() > until
        with _turn(place, TURN):
            waits, failed = work.round(last=last)
        if last or not (waits or failed):
            break
        tries += failed
        time.sleep(min(2.0**tries, LONGEST_WAIT) if failed else 1.0)
    if why := Timers(place).keep(work.later, stop=False):
        tell(why)
    return not (waits or failed or work.refused)


def stand_back(socket: Path) -> None:
    """Wait, at a start, for a `contain expire` that is at work: then it has told the journal what it did."""
    try:
        with _turn(place_of(socket), STANDS_BACK):
            return
    except (CannotReach, OSError):  # there is no directory, or whoever holds it will notice that an agent lives
        return


@contextmanager
def _turn(place: Path, within: float) -> Iterator[None]:
    """Be the only one who undoes by the capsules of this directory."""
    capsule.own(place)
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    until = time.monotonic() + within
    try:
        while not _locks(held):
            if time.monotonic() > until:
                raise CannotReach(f"cannot end what is over: another process has been at {place} for {within:g} s")
            time.sleep(0.1)
        yield
    finally:
        os.close(held)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class _World:
    """What an agent.yaml leads to; without one that can be read, the systems of this host alone, and no journal."""

    config: Config | None
    systems: Mapping[str, System]
    secrets: list[str]

    @property
    def written(self) -> bool:
        """Whether somebody is writing the journal at this moment: an agent that is starting, or hangs."""
        if self.config is None:
            return False
        try:
            held = os.open(self.config.journal.with_name(f"{self.config.journal.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _locks(held)
        finally:
            os.close(held)


class _Expiry:
    """The rounds of one `contain expire`. `later` are the ends to come, `refused` how many capsules cannot be used."""

    def __init__(self, place: Path, alive: Alive, tell: Tell) -> None:
        from agent.outside import systems

        self._place, self._alive, self._tell = place, alive, tell
        self._types: Types = {name: type(one) for name, one in systems(None).items()}
        self._worlds: dict[Path, _World] = {}
        self._begun: set[str] = set()
        self._seen: dict[str, float] = {}
        self._told: set[str] = set()
        self._answers: dict[Path, bool] = {}
        self.later: list[float] = []
        self.refused = 0

    def round(self, *, last: bool) -> tuple[bool, bool]:
        """Try everything that is over once; whether some of it is waited for, and whether some of it would not go."""
        now, found = time.time(), self._found()
        self._answers.clear()
        self.later = [one.until for _, one in found if one.until > now]
        over = [(path, one) for path, one in found if one.until <= now and not self._superseded(path, one, found)]
        waits = [(path, one) for path, one in over if self._waits(one, now)]
        mine = sorted((each for each in over if each not in waits), key=lambda each: each[1].number, reverse=True)
        if waits:
            self._once("the agent is running and ends it")
        failed = [self._end(config, [each for each in mine if each[1].config == config], last=last) for config in _configs(mine)]
        return bool(waits), any(failed)

    def _found(self) -> list[tuple[Path, Capsule]]:
        found, self.refused = [], 0
        for path in capsule.written(self._place):
            try:
                found.append((path, capsule.read(path, self._types)))
            except CannotReach as error:
                if path.exists():  # or the agent removed it in this moment
                    self.refused += 1
                    self._once(str(error))
        return found

    def _superseded(self, path: Path, one: Capsule, found: Sequence[tuple[Path, Capsule]]) -> bool:
        """Whether another mitigation holds the same for longer: then the undo is that one's."""
        if not any(each.key == one.key and each.until > max(one.until, time.time()) for _, each in found):
            return False
        with suppress(OSError):  # it is passed over as long as it is there
            capsule.remove(path)
        return True

    def _waits(self, one: Capsule, now: float) -> bool:
        """Whether it is left to an agent that lives, or is starting.

        Where all at once it is long over, somebody may have set the clock: a living agent moves its end, and has time for that.
        """
        seen = self._seen.setdefault(one.mitigation, time.monotonic())
        late = min(now - one.until, time.monotonic() - seen)
        if late > AGENTS:
            return False
        if one.socket not in self._answers:
            self._answers[one.socket] = self._alive(one.socket)
        return self._answers[one.socket] or (late < SILENT and self._world(one.config).written)

    def _world(self, path: Path) -> _World:
        if path not in self._worlds:
            self._worlds[path] = self._made(path)
        return self._worlds[path]

    def _made(self, path: Path) -> _World:
        from agent.grammar.problem import Problems
        from agent.outside import systems
        from agent.wiring import read_config_file

        try:
            config, secrets = read_config_file(path), list[str]()
            return _World(config, systems(config, secrets.append), secrets)
        except (Problems, CannotReach) as error:
            self._once(f"{error}\nWithout it, only what needs no agent.yaml can be undone.")
            return _World(None, systems(None), [])

    # One after the other ------------------------------------------------------------------------------------------------

    def _end(self, config: Path, mine: Sequence[tuple[Path, Capsule]], *, last: bool) -> bool:
        """Undo these; whether one of them would not go."""
        world, failed = self._world(config), False
        with opened(world.config, world.secrets) as journal:
            note(journal, [record("lifting", one) for _, one in mine if one.mitigation not in self._begun])
            self._begun.update(one.mitigation for _, one in mine)
            for path, one in mine:
                (release,) = execute.undo([(one.mitigation, one.change)], world.systems)
                if release.result == "failed":
                    failed = True
                    self._stays(journal, one, release, last=last)
                else:
                    self._ended(journal, path, one, _how(release))
        return failed

    def _ended(self, journal: Journal | None, path: Path, one: Capsule, how: str) -> None:
        self._tell(f"{one.mitigation} ({one.change.describe}): {how}")
        try:
            if not note(journal, [record("lifted", one, how=how)]):
                _log(syslog.LOG_WARNING, f"{one.mitigation}: {OVER}: {how}; the next start writes it into the journal")
                mark(path, one, how)
            capsule.remove(path)
        except OSError as error:  # a disk that is full or broken: what was done is done
            self._once(f"cannot write down that {one.mitigation} was ended: {error.strerror}: {path}")

    def _stays(self, journal: Journal | None, one: Capsule, release: Release, *, last: bool) -> None:
        self._once(f"{one.mitigation} ({one.change.describe}) would not go: {release.say}")
        if last:
            note(journal, [record("lift_failed", one, error=release.say, until=time.time())])
            mend = "start the agent, or undo it by hand: contain evidence show"
            _log(syslog.LOG_CRIT, f"{one.mitigation} ({one.change.describe}) is over and would not go: {release.say}; {mend}")

    def _once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tell(sentence)


def _configs(found: Sequence[tuple[Path, Capsule]]) -> list[Path]:
    return list(dict.fromkeys(one.config for _, one in found))


def _how(release: Release) -> str:
    return release.say or ("the system had let go already" if release.result == "gone" else "taken down")


def _log(priority: int, sentence: str) -> None:
    syslog.openlog("containment-agent")
    syslog.syslog(priority, visible(sentence))
