"""Into a container's own network: its first process held on to, so that its number cannot come to mean another.

What is asked here is asked of the kernel, in /proc and in the container's network namespace, whatever docker says of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.systems.container_commands import program, run
from agent.systems.sock_diag import ESTABLISHED, plain, read_hex

RULES: Final = """\
add table inet containment
delete table inet containment
table inet containment {
  chain sent {
    type filter hook output priority -400; policy drop;
    ip daddr 127.0.0.11 drop
    meta oiftype loopback accept
  }
  chain got {
    type filter hook input priority -400; policy drop;
    meta iiftype loopback accept
  }
  chain passed {
    type filter hook forward priority -400; policy drop;
  }
}
"""
"""Loopback is known by its kind: with NET_ADMIN a container may call its way out `lo`. Docker's resolver at 127.0.0.11 asks the
host's for the container, also when the container has no network at all."""
OPEN: Final = ("state", "connected", "not", "dst", "127.0.0.0/8", "and", "not", "dst", "[::1]")
_CUT_AT_THE_HOST: Final = "veth"
_LINKED: Final = ("veth", "macvlan", "ipvlan", "macvtap", "ipvtap")


@dataclass(frozen=True, slots=True)
class Link:
    """A way out of a container's network. `peer` is the number of a veth's other end, 0 for what has none on the host."""

    name: str
    index: int
    peer: int


@dataclass(frozen=True, slots=True)
class Inside:
    """A container that runs, by its first process. `proc` and `net` are open files of /proc/<pid> and its network."""

    id: str
    name: str
    proc: int
    net: int

    @property
    def network(self) -> int:
        """What tells one network namespace from another."""
        return os.fstat(self.net).st_ino

    @property
    def on_host(self) -> bool:
        """Whether it has no network of its own, but the host's: rules meant for it would cut off the host."""
        return self.network in host_networks()

    def read(self, name: str) -> str:
        """A file below its /proc/<pid>.

        Raises:
            CannotReach: its process has ended since.
        """
        try:
            return Path(f"/proc/self/fd/{self.proc}", name).read_bytes().decode(errors="replace")
        except OSError as error:
            raise CannotReach(
                f"cannot look into {self.name}: {error.strerror}; it has just ended, or the agent is not root"
            ) from error

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command of the host in its network."""
        return [program("nsenter"), f"--net=/proc/self/fd/{self.net}", program(command[0]), *command[1:]]

    def run(self, *command: str, given: str = "", absent: bool = False) -> str:
        """What a command of the host prints when it runs in the container's network.

        Raises:
            CannotReach: it is missing, takes longer than 3 s, or fails (see `run` for `absent`).
        """
        return run(self.command(*command), f"run {command[0]} in the network of {self.name}", given, (self.net,), absent=absent)

    def links(self) -> list[Link]:
        """Every interface that leads out of its network."""
        found = []
        for one in json.loads(self.run("ip", "-j", "-d", "link", "show") or "[]"):
            kind = one.get("linkinfo", {}).get("info_kind", "device")
            if kind in _LINKED or (kind == "device" and one.get("link_type") == "ether"):
                found.append(Link(one["ifname"], one["ifindex"], one.get("link_index", 0) if kind == _CUT_AT_THE_HOST else 0))
        return found

    def silence(self) -> None:
        """Drop everything but loopback, and docker's resolver there too; then end what is open, or it would live on later.

        Raises:
            CannotReach: the container has the host's network, or nft or ss fail.
        """
        if self.on_host:
            raise CannotReach(f"cannot drop what {self.name} sends from inside: it has the host's own network")
        self.run("nft", "-f", "-", given=RULES)
        self.run("ss", "-K", "-H", "-n", "-t", "-u", *OPEN)

    def unsilence(self) -> None:
        """Take our rules out of its network."""
        if not self.on_host:
            self.run("nft", "-f", "-", given="add table inet containment\ndelete table inet containment\n")

    def silent(self) -> bool:
        """Whether our rules are there word for word and no others; the container may be able to change them."""
        listed = self.run("nft", "list", "table", "inet", "containment", absent=True)
        return _words(listed) == _words(RULES[RULES.index("table inet containment {") :])

    def established(self) -> int:
        """TCP connections that are open, but for those within its own loopback. 0 where it has the host's network."""
        return 0 if self.on_host else sum(1 for table in ("net/tcp", "net/tcp6") for _ in self._outside(table))

    def _outside(self, table: str) -> Iterator[str]:
        """proc(5): `sl local_address rem_address st …`; there is no tcp6 where IPv6 is switched off."""
        if not Path(f"/proc/self/fd/{self.proc}", table).exists():
            return
        for line in _lines(self.read(table))[1:]:
            _, _, remote, state, *_ = line.split(maxsplit=4)
            if int(state, 16) == ESTABLISHED and not plain(read_hex(remote.partition(":")[0])).is_loopback:
                yield line

    def frozen(self) -> bool:
        """Whether the kernel holds its processes: the freezer of cgroup v1, or cgroup.events of v2 (cgroups(7))."""
        groups = [line.split(":", 2) for line in _lines(self.read("cgroup"))]
        for _, controllers, path in groups:
            if controllers == "freezer" and (place := _mounted("freezer")):
                return _says(place / path.lstrip("/") / "freezer.state", "FROZEN")
        place = _mounted("")
        return bool(place) and any(
            _says(Path(str(place)) / path.lstrip("/") / "cgroup.events", "frozen 1") for _, kind, path in groups if kind == ""
        )

    def cgroup(self) -> Path | None:
        """Its directory in cgroup v2, which tells its sockets from others; None where there is none of its own."""
        place = _mounted("")
        for line in _lines(self.read("cgroup")):
            _, controllers, path = line.split(":", 2)
            parts = path.strip("/").split("/")
            at = next((at for at, part in enumerate(parts) if self.id in part), None)
            if controllers == "" and place and at is not None:
                return place / "/".join(parts[: at + 1])
        return None


@contextmanager
def inside(container: str, name: str, pid: int) -> Iterator[Inside | None]:
    """Hold on to the first process of a container, known by its whole id; None where it has ended.

    Its cgroup must bear the id: the number may belong to another process by now, even to one of the host.
    """
    opened: list[int] = []
    try:
        opened.append(os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        opened.append(os.open(f"/proc/self/fd/{opened[0]}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        found = Inside(container, name, *opened)
        there = container in found.read("cgroup")
    except (FileNotFoundError, ProcessLookupError, CannotReach):
        there = False
    except OSError as error:
        _close(opened)
        raise CannotReach(f"cannot enter the network of {name}: {error.strerror}; run the agent as root") from error
    try:
        yield found if there else None
    finally:
        _close(opened)


def _close(files: Sequence[int]) -> None:
    for one in files:
        os.close(one)


def host_networks() -> set[int]:
    """The network this agent runs in, and that of PID 1 where it can be seen."""
    found = {Path("/proc/thread-self/ns/net").stat().st_ino}
    with suppress(OSError):  # not root: then no container can be entered either
        found.add(Path("/proc/1/ns/net").stat().st_ino)
    return found


def members(networks: set[int]) -> set[str]:
    """The ids of all containers with a process in one of these networks, by the cgroups of the processes."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if (process / "ns/net").stat().st_ino in networks:
                found.update(_ID.findall((process / "cgroup").read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue  # it has just ended
    return found


_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def ours(one: Inside) -> bool:
    """Whether the agent itself runs in that container: in its cgroup, or with its files."""
    if one.id in Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace"):
        return True
    try:
        return Path(f"/proc/self/fd/{one.proc}/ns/mnt").stat().st_ino == Path("/proc/self/ns/mnt").stat().st_ino
    except OSError:  # it has just ended
        return False


def _mounted(controller: str) -> Path | None:
    """Where cgroup v2 is mounted (no controller named), or that controller's hierarchy of v1."""
    for line in _lines(Path("/proc/self/mountinfo").read_bytes().decode(errors="replace")):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
            return Path(before.split(" ")[4])
    return None


def _words(rules: str) -> list[str]:
    """Rules without their priorities: some versions of nft write -400 as `raw - 100`."""
    return re.sub(r"priority [^;]+;", "", rules).split()


def _lines(text: str) -> list[str]:
    """Lines of /proc. Names in them are anybody's choice, and splitlines() would break one at a U+2028 or form feed."""
    return text.removesuffix("\n").split("\n")


def _says(file: Path, text: str) -> bool:
    try:
        return text in file.read_text(encoding="ascii")
    except OSError:
        return False
