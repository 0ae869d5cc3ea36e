"""How it is measured what blocking takes. Times are seconds of one monotonic clock; what never came is infinite."""

from __future__ import annotations

import random
import socket
import sqlite3
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isinf, nan
from typing import Self

from pydantic_core import from_json

from agent.evidence.journal_read import read_only
from tests.bench.attack import Noise, failures, offenders
from tests.bench.contender import Contender
from tests.bench.ours import Ours
from tests.running import wait_for

COMMAND_PATIENCE = 60
_STALLED = 12.0
"""Seconds without one more block after which no more will come: CrowdSec's bouncer has asked a dozen times by then."""
_NO_MORE = 8.0
"""Seconds without any change after which nothing will be put back."""


def idle_latency(all_of_them: Sequence[Contender], times: int) -> dict[str, list[float]]:
    """Seconds from the last line of an offender to the kernel's word that it is dropped, each contender in its turn.

    The turns of the others are the silence before one's own, as attackers find it: fail2ban looks less often then.
    """
    targets = {one.name: _almost(one, times) for one in all_of_them}
    taken = defaultdict[str, list[float]](list)
    time.sleep(2.0)  # a peer does not say how far it has read
    for at in range(times):
        for one in _turned(all_of_them, at):
            time.sleep(random.uniform(0.05, 0.3))  # at no moment of anybody's own rhythm
            address = targets[one.name][at]
            written = one.log.write(failures(address, 1))
            one.ears.wait([address], 10)
            taken[one.name].append(one.ears.first.get(address, inf) - written)
    return taken


def _turned(all_of_them: Sequence[Contender], by: int) -> list[Contender]:
    by %= len(all_of_them)
    return [*all_of_them[by:], *all_of_them[:by]]


def busy_latency(one: Contender, seconds: float, a_second: int, patience: float) -> tuple[list[float], str]:
    """The same among so many lines of others a second, ten offenders a second, and nobody waits for the one before."""
    written: dict[bytes, float] = {}
    targets = _almost(one, int(seconds * 10))
    time.sleep(2.0)
    with Noise(one.log, a_second) as noise:
        for address in targets:
            time.sleep(random.uniform(0.05, 0.15))
            written[address] = one.log.write(failures(address, 1))
    one.ears.wait(targets, patience, stalled=_STALLED)
    taken = [one.ears.first.get(address, inf) - at for address, at in written.items()]
    never = taken.count(inf)
    said = f"{one.name}: {never} of {len(taken)} not within {patience:g} s of the last" if never else ""
    return taken, said + ("" if noise.kept_up else f"; only {noise.rate:,.0f} lines/s were written")


def _almost(one: Contender, times: int) -> list[bytes]:
    """Offenders that need one failure more."""
    targets = offenders(times)
    one.log.write("".join(failures(address, one.needed - 1) for address in targets))
    return targets


@dataclass(frozen=True)
class Burst:
    """Seconds until all were dropped (infinite: no more came), how many were, and seconds until the proof was durable (ours)."""

    seconds: float
    count: int
    proven: float = nan
    cut: bool = False
    """More were still coming when patience ended; `seconds` is that patience."""


def burst(one: Contender, size: int, patience: float) -> Burst:
    """Whole offenders, one after another in one write."""
    targets = offenders(size)
    text = "".join(failures(address, one.needed) for address in targets)
    proven = _recorded(one, size, patience) if isinstance(one, Ours) else lambda: nan
    written = one.log.write(text)
    recorded = proven() - written
    left = max(1.0, patience - (time.monotonic() - written))
    whole = one.ears.wait(targets, left, stalled=_STALLED)
    heard_all(one)
    known = [at for address in targets if (at := one.ears.first.get(address))]
    if whole:
        return Burst(max(known) - written, size, recorded)
    cut = time.monotonic() - max(known, default=written) < _STALLED
    return Burst(time.monotonic() - written if cut else inf, len(known), recorded, cut)


def _recorded(one: Ours, more: int, patience: float) -> Callable[[], float]:
    """Waits until so many more blocks were read back from the kernel and that is durable; answers the moment."""
    with read_only(one.journal) as reader:
        begin = reader.size

    def wait() -> float:
        until = time.monotonic() + patience
        sql = 'select count(*) from record where seq >= ? and instr(leaf, cast(\'"kind":"in_force"\' as blob))'
        with sqlite3.connect(f"file:{one.journal}?mode=ro", uri=True) as db:
            while time.monotonic() < until:
                (size,) = db.execute("select max(seq) from record").fetchone()
                if size - begin >= 3 * more - 1 and db.execute(sql, (begin,)).fetchone()[0] >= more:
                    return time.monotonic()
                time.sleep(0.005)
        return inf

    return wait


def heard_all(one: Contender) -> None:
    """A number of which the kernel's events are missing is none."""
    if one.ears.deaf:
        raise AssertionError(f"not every event of the kernel was heard, so no number counts: {one.ears.deaf}")


def late_intents(one: Ours) -> list[str]:
    """Every address that was dropped before its intent was written, or without one. Both stand on CLOCK_MONOTONIC."""
    written: dict[str, float] = {}
    with read_only(one.journal) as reader:
        for leaf in reader.leaves():
            if b'"kind":"intent"' in leaf:
                plain = from_json(leaf)
                written.setdefault(plain["body"]["target"], plain["mono"] / 1e9)
    dropped = {socket.inet_ntoa(address): at for address, at in one.ears.first.items()}
    return [ip for ip, at in dropped.items() if written.get(ip, inf) > at]


# What must survive ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restart:
    """Seconds: during which not all were dropped; from the start until it answers and all are; until a new one is."""

    bare: float
    back: float
    new: float


def restart(one: Contender, patience: float) -> Restart:
    """Stop it as its administrator would, and start it, while somebody new attacks all the time."""
    whole, stopped = len(one.ears.held), time.monotonic()
    one.stop()
    (new,) = offenders(1)
    with Hammer(one, new):
        started = time.monotonic()
        one.start()
        one.resynced(whole, patience)
        answered = time.monotonic()
        _wait_whole(one, whole)
        bare = one.ears.short_of(whole, stopped)
        last = one.ears.sizes[-1][0]
        one.ears.wait([new], _NO_MORE)
    heard_all(one)
    back = inf if isinf(bare) else max(answered, last if bare else answered) - started
    return Restart(bare, back, one.ears.first.get(new, inf) - started)


class Hammer:
    """Somebody who fails often enough to be blocked, again and again until that is done."""

    def __init__(self, one: Contender, address: bytes) -> None:
        self._one, self._address, self._stop = one, address, threading.Event()
        self._thread = threading.Thread(target=self._guess, name="hammer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _guess(self) -> None:
        while not self._stop.wait(0.05) and self._address not in self._one.ears.first:
            self._one.log.write(failures(self._address, self._one.needed))


def flush(one: Contender) -> float:
    """Seconds from an outside flush until everybody is dropped again."""
    whole, began = len(one.ears.held), time.monotonic()
    one.flush()
    wait_for(lambda: one.ears.least(began) == 0)
    _wait_whole(one, whole)
    heard_all(one)
    return one.ears.short_of(whole, began)


def _wait_whole(one: Contender, whole: int) -> None:
    """Until all are held, or for so long nothing has changed."""
    began = time.monotonic()
    while len(one.ears.held) < whole and time.monotonic() - max(began, one.ears.sizes[-1][0]) < _NO_MORE:
        time.sleep(0.005)


def command(words: Sequence[str]) -> float:
    """Seconds that a command takes, from start to end."""
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True, timeout=COMMAND_PATIENCE)
    return time.monotonic() - began
