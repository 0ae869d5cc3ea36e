"""Who asks services whether they answer: ours, monit, and the floor; and the services, which note when they were asked."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from math import inf
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Final, Self

from tests.bench.contender import Contender, Task
from tests.bench.namespace import Namespace
from tests.bench.ours import Ours
from tests.running import Running

WITHIN: Final = 5
"""Seconds that an answer may take, for everybody."""
_HUNG: Final = 19_999
"""Nobody answers there: what is sent to it is dropped."""
_FIRST: Final = 20_000


class Services:
    """So many TCP ports on the loopback of a namespace; each connection is noted and closed. Runs in the benchmark's process."""

    def __init__(self, namespace: Namespace, count: int) -> None:
        self.asked: dict[int, list[float]] = {_FIRST + at: [] for at in range(count)}
        self._closed = False
        self._listening = namespace.run(lambda: [socket.create_server(("127.0.0.1", port), backlog=64) for port in self.asked])
        self._thread = threading.Thread(target=self._serve, name="services", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._thread.join()
        for one in self._listening:
            one.close()

    def _serve(self) -> None:
        with DefaultSelector() as ready:
            for one in self._listening:
                one.setblocking(False)
                ready.register(one, EVENT_READ, self.asked[one.getsockname()[1]])
            while not self._closed:
                for key, _ in ready.select(0.1):
                    with suppress(OSError):
                        key.fileobj.accept()[0].close()  # type: ignore[union-attr]
                        key.data.append(time.monotonic())

    def times(self, since: float) -> int:
        """How often any was asked since then."""
        return sum(at >= since for every in self.asked.values() for at in every)

    def longest(self, begin: float, end: float) -> float:
        """The longest time in between during which one of them was not asked; infinite where one never was."""
        times = [[begin, *(at for at in every if begin < at < end), end] for every in self.asked.values()]
        return max(max(b - a for a, b in pairwise(every)) if len(every) > 2 else inf for every in times)


class Asker(Contender):
    """Asks so many ports, each every so many seconds; with `hung`, one more port at which nobody answers."""

    def __init__(self, place: Path, count: int, every: float, *, hung: bool = False) -> None:
        super().__init__(place, Task())
        self.count, self.every, self.hung = count, every, hung
        self.ports = [*([_HUNG] if hung else []), *range(_FIRST, _FIRST + count)]

    def prepare(self) -> None:
        self.namespace.run(lambda: subprocess.run(["nft", "-f", "-"], input=_SILENT, text=True, check=True, timeout=10))
        self.services = Services(self.namespace, self.count).__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if services := getattr(self, "services", None):
            services.__exit__()

    def warm(self) -> None:
        """Every service is asked once."""
        until = time.monotonic() + 30
        while not all(self.services.asked.values()):
            if time.monotonic() > until:
                never = sum(not every for every in self.services.asked.values())
                raise AssertionError(f"it did not ask {never} of {self.count} within 30 s of its start: {self.said()}")
            time.sleep(0.02)


_SILENT: Final = f"""
add table inet silent
add chain inet silent leaving {{ type filter hook output priority 0; policy accept; }}
add rule inet silent leaving tcp dport {_HUNG} drop
"""


class OurAsker(Asker, Ours):
    """The agent, with checks and no log."""

    def __init__(self, place: Path, count: int, every: float, *, hung: bool = False) -> None:
        Asker.__init__(self, place, count, every, hung=hung)
        ask = f"every: {every:g}s, timeout: {WITHIN}s"
        checks = "".join(
            f"  c{port}: {{tcp: {{host: 127.0.0.1, port: {port}, within: {WITHIN}s}}, {ask}}}\n" for port in self.ports
        )
        self.agent = Running(place / "agent", f"mode: enforce\nchecks:\n{checks}", _ANY)


_ANY: Final = """
policy: service-down
title: A service does not answer
severity: P2
owner: sre
when:
  event: check
  by: name
  for: 3 of 5
"""


class Monit(Asker):
    """monit, as Debian packages it: each port a host of its own, asked in every cycle."""

    name = "monit"
    wants = (("monit", "monit"), ("nft", "nftables"))

    def _start(self) -> None:
        own, config = self.place, self.place / "monitrc"
        files = f"set pidfile {own}/pid\nset idfile {own}/id\nset statefile {own}/state\n"
        checks = "".join(
            f"check host c{port} with address 127.0.0.1\n  if failed port {port} with timeout {WITHIN} seconds then alert\n"
            for port in self.ports
        )
        config.touch(0o600)
        config.write_text(f"set daemon {self.every:g}\nset log {own}/log\n{files}{checks}")
        self.run("monit", "-I", "-c", str(config))


class FloorAsker(Asker):
    """The floor: a loop that connects to each port in turn."""

    name = "floor"

    def _start(self) -> None:
        self.run(sys.executable, "-c", _LOOP, str(self.every), *map(str, self.ports))


_LOOP: Final = f"""
import socket, sys, time
every, *ports = map(float, sys.argv[1:])
began, at = time.monotonic(), 0
while True:
    for port in ports:
        try:
            socket.create_connection(("127.0.0.1", int(port)), {WITHIN}).close()
        except OSError:
            pass
    at += 1
    time.sleep(max(0.0, began + at * every - time.monotonic()))
"""


def cpu_per_thousand(one: Asker, seconds: float) -> float:
    """Seconds of CPU for a thousand checks, everything else that it does meanwhile included."""
    began, before = time.monotonic(), one.cpu()
    time.sleep(seconds)
    spent, times = one.cpu() - before, one.services.times(began)
    if times < 0.5 * one.count * seconds / one.every:
        raise AssertionError(f"it asked {times:,} times within {seconds:g} s instead of {one.count * seconds / one.every:,.0f}")
    return spent * 1000 / times


def late_by(one: Asker, seconds: float) -> float:
    """Seconds beyond its interval that any other service waited longest, while one hangs."""
    began = time.monotonic()
    time.sleep(seconds)
    return max(0.0, one.services.longest(began, time.monotonic()) - one.every)
