"""How it is measured what a contender costs while it only watches: CPU, memory, time to read, time to match."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

from agent.streams.follow import Follower
from agent.streams.tail import TURN
from tests.bench.attack import chunks, failures, offenders
from tests.bench.contender import Contender
from tests.bench.ours import Ours

_PATIENCE: Final = 120.0
_MILLION: Final = 1_000_000


def idle(one: Contender, seconds: float) -> Callable[[], tuple[float, float]]:
    """Begin to watch; the answer waits, then tells the part of one core that it took (in %), and its memory (in MiB)."""
    began, before = time.monotonic(), one.cpu()

    def answer() -> tuple[float, float]:
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        return 100 * (one.cpu() - before) / (time.monotonic() - began), one.memory()

    return answer


def cpu_per_million(one: Contender, lines: int) -> float:
    """Seconds of CPU for a million lines that come in writes of 1,000, until an offender behind them is dropped."""
    before = one.cpu()
    for chunk in chunks(lines, 1000):
        one.log.write(chunk)
        time.sleep(0.002)
    _marked(one)
    return (one.cpu() - before) * _MILLION / (lines + one.needed)


def time_per_million(one: Contender, lines: int) -> float:
    """Seconds until an offender behind a million lines is dropped, all written at once: how quickly a backlog is read."""
    (last,) = offenders(1)
    backlog = b"".join(chunks(lines, lines)) + failures(last, one.needed).encode()
    written = one.log.write(backlog)
    _dropped(one, last)
    return (one.ears.first[last] - written) * _MILLION / (lines + one.needed)


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
    return (time.process_time() - began) * _MILLION / lines


def memory_after(one: Contender, addresses: int) -> float:
    """Memory (MiB) once so many addresses have failed once."""
    every = [failures((0x0C000000 + at).to_bytes(4, "big"), 1) for at in range(addresses)]
    for at in range(0, addresses, 1000):
        one.log.write("".join(every[at : at + 1000]))
        time.sleep(0.002)
    _marked(one)
    return one.memory()


def cpu_per_event(one: Contender, events: int) -> float:
    """Seconds of CPU for one failure, of which each address has fifty, until it has come to rest again."""
    addresses = [(0x0D000000 + at).to_bytes(4, "big") for at in range(max(1, events // 50))]
    one_each = "".join(failures(address, 1) for address in addresses)
    before, times = one.cpu(), events // len(addresses)
    for _ in range(times):
        one.log.write(one_each)
        time.sleep(0.01)
    _marked(one)
    _rested(one)
    return (one.cpu() - before) / (times * len(addresses) + one.needed)


def _rested(one: Contender) -> None:
    """Until half a second costs next to nothing: fail2ban's jails read for themselves, and the first to end is not the last."""
    until, before = time.monotonic() + _PATIENCE, one.cpu()
    while time.monotonic() < until:
        time.sleep(0.5)
        now = one.cpu()
        if now - before < 0.05:
            return
        before = now
    raise AssertionError(f"it was not done within {_PATIENCE:g} s")


def _marked(one: Contender) -> None:
    """Wait until it has read everything: the last in the log is an offender, and that one is dropped."""
    (last,) = offenders(1)
    one.log.write(failures(last, one.needed))
    _dropped(one, last)


def _dropped(one: Contender, last: bytes) -> None:
    if not one.ears.wait([last], _PATIENCE):
        ip = socket.inet_ntoa(last)
        raise AssertionError(f"it did not block {ip}, the last of its log, within {_PATIENCE:g} s: {one.said()}")
