"""How each number is taken. Times are seconds between two moments of one monotonic clock; one that never came is infinite."""

from __future__ import annotations

import random
import socket
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isinf, nan

from pydantic_core import from_json

from agent.evidence.journal_read import read_only
from agent.streams.follow import Follower
from agent.streams.tail import TURN
from tests.bench.attack import Noise, chunks, failures, offenders
from tests.bench.contenders import Contender, Ours
from tests.running import wait_for

COMMAND_PATIENCE = 60


@dataclass(frozen=True)
class Cell:
    """One number of one contender: what stands for its tries, the least and the most of them, and what has to be said with it."""

    value: float
    low: float = nan
    high: float = nan
    tries: int = 1
    note: str = ""


def percentile(tries: Sequence[float], part: float, note: str = "") -> Cell:
    """What so large a part of the tries did not exceed; 0.5 is the median."""
    in_order = sorted(tries)
    value = statistics.median(in_order) if part == 0.5 else in_order[min(len(in_order) - 1, int(part * len(in_order)))]
    return Cell(value, in_order[0], in_order[-1], len(in_order), note)


# From a line to a drop ---------------------------------------------------------------------------------------------------


def idle_latency(one: Contender, times: int) -> list[float]:
    """Seconds from the last line of each of some offenders to the kernel's word that it is dropped, one after another."""
    taken = []
    for address in _almost(one, times):
        time.sleep(random.uniform(0.02, 0.2))  # at no moment of anybody's own rhythm
        written = one.log.write(failures(address, 1))
        one.ears.wait([address], 10)
        taken.append(one.ears.first.get(address, inf) - written)
    return taken


def busy_latency(one: Contender, seconds: float, a_second: int, patience: float) -> tuple[list[float], str]:
    """The same among so many lines of others a second, ten offenders a second, and nobody waits for the one before."""
    written: dict[bytes, float] = {}
    targets = _almost(one, int(seconds * 10))
    with Noise(one.log, a_second) as noise:
        for address in targets:
            time.sleep(random.uniform(0.05, 0.15))
            written[address] = one.log.write(failures(address, 1))
    one.ears.wait(targets, patience, stalled=5)
    taken = [one.ears.first.get(address, inf) - at for address, at in written.items()]
    never = taken.count(inf)
    return taken, f"{noise.written / noise.seconds:,.0f} lines/s" + (f", {never} of {len(taken)} never" if never else "")


def _almost(one: Contender, times: int) -> list[bytes]:
    """Offenders that need one failure more."""
    targets = offenders(times)
    one.log.write("".join(failures(address, one.needed - 1) for address in targets))
    time.sleep(1.5)  # a peer does not say how far it has read
    return targets


def burst(one: Contender, size: int, patience: float) -> tuple[float, int, float]:
    """Seconds until all of so many offenders are dropped, how many of them were, and seconds until our journal has the proof."""
    targets = offenders(size)
    text = "".join(failures(address, one.needed) for address in targets)
    proven = _recorded(one, size, patience) if isinstance(one, Ours) else lambda: nan
    written = one.log.write(text)
    recorded = proven() - written
    one.ears.wait(targets, patience, stalled=10)
    _heard_all(one)
    known = [at for address in targets if (at := one.ears.first.get(address))]
    return (max(known) - written if len(known) == size else inf), len(known), recorded


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


def _heard_all(one: Contender) -> None:
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


def restart(one: Contender, patience: float) -> tuple[float, float]:
    """Seconds during which not all were dropped, and seconds from the start until the program answers and has all of them."""
    whole, stopped = len(one.ears.held), time.monotonic()
    one.stop()
    started = time.monotonic()
    one.start()
    if isinstance(one, Ours):
        wait_for(lambda: one.agent.ask("status")["mitigations"]["total"] >= whole, patience)
    answered = time.monotonic()
    _wait_whole(one, whole, patience)
    _heard_all(one)
    bare = one.ears.short_of(whole, stopped)
    return bare, inf if isinf(bare) else max(answered, one.ears.sizes[-1][0]) - started


def flush(one: Contender, patience: float) -> tuple[float, int]:
    """Seconds from an outside flush until everybody is dropped again, and how many of them are."""
    whole, began = len(one.ears.held), time.monotonic()
    one.flush()
    wait_for(lambda: one.ears.least(began) == 0)
    _wait_whole(one, whole, patience)
    _heard_all(one)
    return one.ears.short_of(whole, began), len(one.ears.held)


def _wait_whole(one: Contender, whole: int, patience: float) -> None:
    """Until all are held, or for so long nothing has changed."""
    while len(one.ears.held) < whole and time.monotonic() - one.ears.sizes[-1][0] < patience:
        time.sleep(0.005)


# What it costs -------------------------------------------------------------------------------------------------------------


def idle(one: Contender, seconds: float) -> Callable[[], tuple[float, float]]:
    """Begin to watch; the answer waits, then tells the part of one core that it took (in %), and its memory (in MiB)."""
    began, before = time.monotonic(), one.cpu()

    def answer() -> tuple[float, float]:
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        return 100 * (one.cpu() - before) / (time.monotonic() - began), one.memory()

    return answer


def cpu_per_million(one: Contender, lines: int) -> float:
    """Seconds of CPU for a million lines of a lively log, from the first of `lines` until an offender behind them is dropped."""
    before = one.cpu()
    for chunk in chunks(lines, 1000):
        one.log.write(chunk)
        time.sleep(0.002)
    _marked(one)
    return (one.cpu() - before) * 1_000_000 / (lines + one.needed)


def read_per_million(one: Contender) -> float:
    """Seconds of CPU to read a million of its log's lines and to do nothing with them: ours as a sensor does, else plainly."""
    read = Follower(one.log.path) if isinstance(one, Ours) else None
    began, lines = time.process_time(), 0
    if read:
        read.start(None, from_start=True)
        while chunk := read.read():
            lines += chunk.count(b"\n")
        read.close()
    else:
        with one.log.path.open("rb", buffering=0) as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(TURN), b""))
    return (time.process_time() - began) * 1_000_000 / lines


def memory_after(one: Contender, addresses: int) -> float:
    """Memory (MiB) once so many addresses have failed once."""
    every = [failures((0x0C000000 + at).to_bytes(4, "big"), 1) for at in range(addresses)]
    for at in range(0, addresses, 1000):
        one.log.write("".join(every[at : at + 1000]))
        time.sleep(0.002)
    _marked(one)
    return one.memory()


def _marked(one: Contender) -> None:
    """Wait until it has read everything: the last in the log is an offender, and that one is dropped."""
    (last,) = offenders(1)
    one.log.write(failures(last, one.needed))
    if not one.ears.wait([last], 120):
        raise AssertionError(f"{one.name} did not block the last offender of its log within 120 s: {one.said()}")


def command(words: Sequence[str], times: int) -> Cell:
    """Seconds that a command takes, from start to end."""
    taken = []
    for _ in range(times):
        began = time.monotonic()
        subprocess.run(words, check=True, capture_output=True, timeout=COMMAND_PATIENCE)
        taken.append(time.monotonic() - began)
    return percentile(taken, 0.5)
