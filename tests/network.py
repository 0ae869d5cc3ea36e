"""Machines in network namespaces around this process, which is the host: an attacker, a bystander, and a container.

attacker 10.77.1.1 fd77:1::1 ──┐
                               ├── host 10.77.x.2 fd77:x::2 ──── container 10.77.3.1 fd77:3::1 (host port 8080 → 80)
bystander 10.77.2.1 fd77:2::1 ─┘
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.systems.firewall import Firewall
from tests import machine
from tests.needs import need_root


class Machine:
    """A machine to send packets from. `name` is its namespace, empty for the host's own."""

    def __init__(self, name: str = "") -> None:
        inside = ["ip", "netns", "exec", name] if name else []
        self._process = subprocess.Popen(
            [*inside, sys.executable, machine.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, *question: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def listen(self, port: int) -> None:
        """Echo what comes to this TCP and UDP port, IPv4 and IPv6."""
        self._ask("listen", port)

    def connects(self, address: str, port: int) -> bool:
        """Whether a new TCP connection is answered."""
        return self.reach(("connects", address, port))[0]

    def reach(self, *tries: tuple[str | int, ...]) -> list[bool]:
        """Several at once: ("connects", address, port), ("udp", address, port[, from port]) or ("talks", connection)."""
        return [bool(one) for one in self._ask("reach", *tries)]

    def hold(self, address: str, port: int) -> int:
        """Open a TCP connection and keep it."""
        return int(self._ask("hold", address, port))

    def talks(self, connection: int) -> bool:
        """Whether a held connection still carries words there and back."""
        return self.reach(("talks", connection))[0]

    def heard(self, port: int) -> int:
        """How many UDP packets came to a port it listens on."""
        return int(self._ask("heard", port))

    def udp(self, address: str, port: int) -> bool:
        """Whether a UDP packet is echoed."""
        return self.reach(("udp", address, port))[0]

    def syns(self, address: str, port: int, times: int) -> int:
        """How many of so many new TCP connections, opened all at once, are answered."""
        return int(self._ask("syns", address, port, times))

    def flood(self, address: str, port: int, sources: int) -> int:
        """One UDP packet from each of so many made-up sources, 11.x.y.z; the number sent."""
        return int(self._ask("flood", address, port, sources))

    def syn_flood(self, address: str, port: int, sources: int, seconds: float) -> int:
        """One SYN from each of so many made-up sources, 11.x.y.z, spread over some seconds."""
        return int(self._ask("syn_flood", address, port, sources, seconds))

    def udp_flood(self, address: str, port: int, packets: int, seconds: float) -> int:
        """So many UDP packets from one socket, spread over some seconds."""
        return int(self._ask("udp_flood", address, port, packets, seconds))

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()


class Network:
    """The machines; use as a context."""

    def __init__(self) -> None:
        self._names: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The namespaces of attacker, bystander and container."""
        return tuple(self._names)

    def __enter__(self) -> Network:
        with contextlib.ExitStack() as building:
            self._open = building
            building.callback(self._remove)
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path("/proc/sys/net", switch).write_text("1")
            self.attacker, self.bystander, self.container = (self._machine(n, at) for at, n in enumerate("abc", 1))
            self.host = self._start("")
            nft(_PUBLISHED)
            self._open = building.pop_all()  # all is well: it stays open until __exit__
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _machine(self, letter: str, number: int) -> Machine:
        name, inner, outer = f"contain-{os.getpid()}-{letter}", f"t{os.getpid()}{letter}i", f"t{os.getpid()}{letter}"
        ip("netns", "add", name)
        self._names.append(name)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        for command, device, host in (((), outer, 2), (("-n", name), inner, 1)):
            ip(*command, "link", "set", device, "up")
            ip(*command, "addr", "add", f"10.77.{number}.{host}/24", "dev", device)
            ip(*command, "addr", "add", f"fd77:{number}::{host}/64", "dev", device, "nodad")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", f"10.77.{number}.2")
        ip("-n", name, "-6", "route", "add", "default", "via", f"fd77:{number}::2")
        return self._start(name)

    def _start(self, name: str) -> Machine:
        made = Machine(name)
        self._open.callback(made.close)
        return made

    def _remove(self) -> None:
        for name in self._names:
            outer = f"t{name.removeprefix('contain-').replace('-', '')}"  # with its namespace it would go some time later
            subprocess.run(["ip", "link", "delete", outer], check=False, timeout=10)
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10)
        subprocess.run(["nft", "delete", "table", "inet", "docker"], check=False, timeout=10, capture_output=True)


_PUBLISHED = """
table inet docker {
  chain published {
    type nat hook prerouting priority dstnat; policy accept;
    meta nfproto ipv4 fib daddr type local meta l4proto { tcp, udp } th dport 8080 dnat ip to 10.77.3.1:80
    meta nfproto ipv6 fib daddr type local meta l4proto { tcp, udp } th dport 8080 dnat ip6 to [fd77:3::1]:80
  }
}
"""


def ip(*words: str) -> None:
    """Run iproute2."""
    subprocess.run(["ip", *words], check=True, timeout=10)


def nft(script: str) -> None:
    """Load a script with the real nft, as anybody else on the host would."""
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True, timeout=10)


def ruleset(*table: str) -> str:
    """What nft shows of one table, or of all, without counters and times."""
    listed = ["table", *table] if table else ["ruleset"]
    return subprocess.run(["nft", "-s", "list", *listed], capture_output=True, text=True, check=True, timeout=10).stdout


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """The machines, with echoes on each."""
    need_root()
    with Network() as made:
        made.host.listen(22)
        made.host.listen(7000)
        made.container.listen(80)
        made.attacker.listen(9000)
        made.bystander.listen(9000)
        yield made


@pytest.fixture
def firewall() -> Iterator[Firewall]:
    """A prepared table of the agent's, in a namespace where somebody else has rules too; gone afterwards."""
    need_root()
    _without_tables()  # of an agent that another module killed in this namespace
    nft(SOMEBODY_ELSES)
    made = Firewall()
    made.prepare()
    yield made
    _without_tables()


def _without_tables() -> None:
    for table in ("containment", "somebody"):
        subprocess.run(["nft", "delete", "table", "inet", table], check=False, timeout=10, capture_output=True)


SOMEBODY_ELSES = """
table inet somebody {
  set listed { type ipv4_addr; flags interval; elements = { 192.0.2.0/25, 198.51.100.7 }
  }
  chain input { type filter hook input priority 0; policy accept;
    ip saddr @listed drop
  }
}
"""


def seen(firewall: Firewall) -> object:
    """Every ruleset of the namespace without times, and what is held with its time to ten seconds."""
    text = re.sub(r" timeout \S+?(?=[\s,}])", "", ruleset())
    held = [(str(one.undo), one.expires_in and round(one.expires_in / 10)) for one in firewall.held()]
    return text, sorted(held, key=str)
