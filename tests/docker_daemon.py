"""A real dockerd from Debian's package, in a network and mounts of its own: it meets nothing of this machine's docker.

One serves the whole session and leaves nothing behind. Its only image is made of Debian's static busybox. Facts:

- The network is entered with setns(2) or `nsenter --net`; `ip netns exec` mounts another /sys, and dockerd finds no cgroups.
- The agent works in dockerd's network, as it does on a host: `docker` and `containers` have the test's thread enter it.
- What dockerd starts outlives it, so all of it runs in one cgroup, which is emptied in the end.
"""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker as sdk
import pytest
from docker.errors import DockerException

from agent.action import CannotReach
from agent.systems.container_api import Docker
from agent.systems.containers import Containers
from tests.needs import need, need_root

if TYPE_CHECKING:
    from tests.network import Machine

IMAGE = "tiny:1"
_CLONE_NEWNET = 0x40000000
_CGROUPS = Path("/sys/fs/cgroup")
_INSIDE = """
set -e
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward  # or dockerd has the chain FORWARD drop
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/docker  # it writes a key there
mount -t tmpfs tmpfs "$0/data"
echo 'nameserver 127.0.0.1' > "$0/resolv.conf"
mount --bind "$0/resolv.conf" /etc/resolv.conf
"""


class Dockerd:
    """`with Dockerd() as docker: docker.run("web", "sleep", "60")`; `api` is the SDK's own client."""

    def __init__(self) -> None:
        self.name = f"dockerd{uuid.uuid4().hex[:8]}"
        self.home = Path(tempfile.mkdtemp(prefix="dockerd-", dir="/tmp"))
        (self.home / "data").mkdir()
        self.socket = str(self.home / "docker.sock")
        self._daemon: subprocess.Popen[bytes] | None = None
        self._api: sdk.APIClient | None = None
        apart = ["unshare", "--mount", "--net", "--propagation", "private"]
        script = f'{_INSIDE}\ntouch "$0/ready"\nexec sleep infinity\n'
        self._holder = subprocess.Popen([*apart, "sh", "-c", script, str(self.home)])
        _wait(lambda: (self.home / "ready").exists() or self._holder.poll() is not None, "the daemon's own namespaces")
        self.cgroups = [one.parent for one in (*_CGROUPS.glob("cgroup.procs"), *_CGROUPS.glob("*/cgroup.procs"))]
        for one in self.cgroups:
            (one / self.name / "daemon").mkdir(parents=True)

    # The daemon -----------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._daemon
        return self._daemon.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        tell = "".join(f"echo $$ > {one}/{self.name}/daemon/cgroup.procs; " for one in self._process_trees())
        options = {
            "data-root": self.home / "data/root",
            "exec-root": self.home / "data/exec",  # on tmpfs too, or containerd waits for the disk a hundred times
            "pidfile": self.home / "pid",
            "host": f"unix://{self.socket}",
            "cgroup-parent": f"/{self.name}/containers",
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "storage-driver": "overlay2",
            "log-level": "warn",
            "shutdown-timeout": 1,
        }
        given = " ".join(f"--{name}={value}" for name, value in options.items())
        inside = ["nsenter", "-t", str(self._holder.pid), "--mount", "--net", "--", "sh", "-c", f"{tell}exec dockerd {given}"]
        with (self.home / "log").open("ab") as log:
            self._daemon = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait(self._answers, "dockerd")

    def _process_trees(self) -> list[Path]:
        """Of v1 only the tree without controllers: in the others dockerd's place decides what its containers may use."""
        return [one for one in self.cgroups if one.name in ("systemd", "unified") or one == _CGROUPS]

    def _answers(self) -> bool:
        assert self._daemon
        if self._daemon.poll() is not None:
            raise RuntimeError(f"dockerd ended: {(self.home / 'log').read_text(errors='replace')[-3000:]}")
        try:
            with Docker(self.socket, 2).to("start it") as api:
                return bool(api.ping())
        except CannotReach:
            return False

    def stop(self) -> None:
        """End it as systemd would; containers end with it."""
        if self._daemon is None:
            return
        with suppress(ProcessLookupError):
            self._daemon.send_signal(signal.SIGCONT)
            self._daemon.terminate()
        try:
            self._daemon.wait(15)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait(5)
        self._daemon = None

    def close(self) -> None:
        """Take away all that there is of it: containers, processes, cgroups, files; mounts and network go with the holder."""
        if self._api:
            with suppress(DockerException, OSError):
                self.clear()
            self._api.close()
        self.stop()
        for one in self.cgroups:
            _empty(one / self.name)
        self._holder.kill()
        self._holder.wait(5)
        for one in self.cgroups:
            _remove(one / self.name)
        shutil.rmtree(self.home)

    # Its containers -------------------------------------------------------------------------------------------------------

    @property
    def api(self) -> Any:
        """The SDK's low-level client, with the image loaded."""
        if self._api is None:
            self._api = sdk.APIClient(base_url=f"unix://{self.socket}", version="auto", timeout=20)
            self._api.import_image_from_data(_busybox(), repository="tiny", tag="1")
        return self._api

    def run(self, name: str, *command: str, host: dict[str, Any] | None = None, **given: Any) -> str:
        """Start a container; `host` is for create_host_config, the rest for create_container. Returns its id."""
        config = self.api.create_host_config(**(host or {}))
        todo = list(command) or ["sleep", "600"]
        made: str = self.api.create_container(IMAGE, todo, name=name, host_config=config, stop_timeout=0, **given)["Id"]
        self.api.start(made)
        return made

    def place(self, network: str, **given: Any) -> Any:
        """A networking_config with one network."""
        return self.api.create_networking_config({network: self.api.create_endpoint_config(**given)})

    def network(self, name: str, subnet: str) -> str:
        """A bridge, made where it is not there from an earlier test; returns its id."""
        for one in self.api.networks(names=[f"^{name}$"]):
            return str(one["Id"])
        pool = sdk.types.IPAMConfig(pool_configs=[sdk.types.IPAMPool(subnet=subnet)])
        made: str = self.api.create_network(name, driver="bridge", ipam=pool)["Id"]
        return made

    def attrs(self, name: str) -> Any:
        return self.api.inspect_container(name)

    def process(self, name: str) -> int:
        """The container's first process."""
        return int(self.attrs(name)["State"]["Pid"])

    def inside(self, name: str, *command: str, within: float = 5) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine in the container's network; one that takes too long has failed."""
        enter = ["nsenter", "-t", str(self.process(name)), "--net", "--"]
        return subprocess.run(
            [*enter, "timeout", str(within), *command], capture_output=True, text=True, check=False, timeout=within + 5
        )

    def do(self, name: str, *command: str) -> str:
        """What a command prints that runs in the container."""
        made = self.api.exec_create(name, list(command))
        return str(self.api.exec_start(made["Id"]).decode())

    def clear(self) -> None:
        """Remove every container that a test made; networks cost more time, and stay."""
        for one in self.api.containers(all=True):
            if self.attrs(one["Id"])["State"]["Paused"]:  # the list lags behind
                self.api.unpause(one["Id"])
            self.api.remove_container(one["Id"], force=True)

    def until(self, question: Callable[[], bool], what: str) -> None:
        """Wait for something to come true."""
        _wait(question, what)

    def health(self, name: str) -> str:
        """What docker says of its health check."""
        return str(self.attrs(name)["State"].get("Health", {}).get("Status", ""))

    @contextmanager
    def hung(self) -> Iterator[None]:
        """The daemon stopped by a signal: its socket takes connections, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def entered(self, name: str = "") -> Iterator[None]:
        """This thread in a container's network, or in dockerd's own; what it starts meanwhile stays there."""
        pid = self.process(name) if name else self._holder.pid
        own, theirs = (os.open(f"/proc/{one}/ns/net", os.O_RDONLY) for one in ("thread-self", pid))
        try:
            _setns(theirs)
            yield
        finally:
            _setns(own)
            os.close(own)
            os.close(theirs)


def _setns(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _busybox() -> bytes:
    """A root file system of one program with all its names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(need("busybox", "busybox-static"), "bin/busybox")
        for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True, timeout=5).stdout.split():
            if name != "busybox":
                _add(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox")
        for name in ("dev", "etc", "proc", "sys", "tmp"):
            _add(tar, name, type=tarfile.DIRTYPE, mode=0o755)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, **given: Any) -> None:
    one = tarfile.TarInfo(name)
    for key, value in given.items():
        setattr(one, key, value)
    tar.addfile(one)


def _wait(until: Callable[[], object], what: str, within: float = 20) -> None:
    end = time.monotonic() + within
    while not until():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not there after {within:g} s")
        time.sleep(0.02)


def _empty(cgroup: Path) -> None:
    """Kill whatever is left in it; that is ours alone."""
    for tasks in cgroup.rglob("cgroup.procs"):
        for one in tasks.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGKILL)


def _remove(cgroup: Path) -> None:
    """The kernel lets go of a cgroup a moment after its last process."""

    def gone() -> bool:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        return not cgroup.exists()

    _wait(gone, f"the end of {cgroup}", within=5)


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """Shared by the whole session: leave it running and empty."""
    need_root()
    for program, package in (("dockerd", "docker.io"), ("busybox", "busybox-static"), ("iptables", "iptables")):
        need(program, package)
    made = Dockerd()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def docker(dockerd: Dockerd) -> Iterator[Dockerd]:
    """The shared daemon, entered by this thread and without containers; emptied afterwards."""
    with dockerd.entered():
        yield dockerd
        dockerd.clear()
        for family in ("netdev", "inet"):
            for name in tables(family):
                subprocess.run(["nft", "delete", "table", family, name], check=True, timeout=10)


@pytest.fixture
def host(docker: Dockerd) -> Iterator[Machine]:
    """A machine in dockerd's own network."""
    from tests.network import Machine  # a plugin too: pytest wants to be the first who imports it

    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture
def resolver(docker: Dockerd) -> Iterator[None]:
    """The host's resolver, on loopback as systemd's: every name is 192.0.2.53."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        server.settimeout(0.1)
        over = threading.Event()
        thread = threading.Thread(target=_answer, args=(server, over))
        thread.start()
        yield
        over.set()
        thread.join(5)


def _answer(server: socket.socket, over: threading.Event) -> None:
    """RFC 1035: the question comes back as it was, with one answer of type A."""
    while not over.is_set():
        with suppress(TimeoutError):
            asked, sender = server.recvfrom(512)
            end = asked.index(b"\0", 12) + 5
            flags = b"\x81\x80\0\1\0\1\0\0\0\0"
            server.sendto(asked[:2] + flags + asked[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\x35", sender)


def tables(family: str = "") -> list[str]:
    """What the agent has left in the kernel."""
    listed = subprocess.run(
        ["nft", "list", "tables", *([family] if family else [])], capture_output=True, text=True, check=True, timeout=10
    )
    return [line.split()[2] for line in listed.stdout.splitlines() if line.split()[2].startswith("containment")]


@pytest.fixture
def containers(docker: Dockerd) -> Containers:
    """The containers of the shared daemon, as the agent sees them."""
    return Containers(docker.socket)
