"""A real systemd as PID 1: systemd-nspawn over an overlay of this machine's own root. Nothing is built or downloaded.

CONTAIN_BOX_ROOT names another system's root to lie over: how the same tests run on another Debian.

It boots in a second with a network of its own, none of this machine's services, a system bus and a volatile journal. What
is written inside is gone when it closes. Facts that cost an afternoon each:

- `nspawn -D /` is refused, so the overlay comes first.
- SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 gives a pure cgroup2 view on a hybrid host, or `systemctl freeze` is refused.
- Without CAP_BPF and the bpf system call, IPAddressDeny= is silently ignored.
- Each box has a cgroup of its own, or two of them share /payload and leave directories behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.needs import need, need_root

LOWER = os.environ.get("CONTAIN_BOX_ROOT", "/")
_CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")
_HERE = Path(__file__).resolve().parents[1]
_ENTER = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")


class Box:
    """`Box({"/etc/systemd/system/a.service": "[Service]…"}).boot()`; a Path instead of text is copied, folders too."""

    def __init__(self, files: Mapping[str, str | Path] | None = None) -> None:
        self.name = f"box{uuid.uuid4().hex[:8]}"
        self.home = Path(tempfile.mkdtemp(prefix="box-", dir="/tmp"))
        _do("mount", "-t", "tmpfs", "-o", "size=2G,mode=0755", "box", self.home)
        for name in ("upper", "work", "root"):
            (self.home / name).mkdir()
        self.root = self.home / "root"
        layers = f"lowerdir={LOWER},upperdir={self.home}/upper,workdir={self.home}/work"
        _do("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        for wants in (self.root / "etc/systemd/system").glob("*.wants"):  # or this machine's own services start inside
            shutil.rmtree(wants)
        shutil.rmtree(self.root / "var/log/journal", ignore_errors=True)
        self.write("/etc/machine-id", uuid.uuid4().hex + "\n")
        self.write("/etc/hostname", self.name + "\n")
        self.write("/etc/systemd/journald.conf.d/box.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n")
        for place, content in (files or {}).items():
            self.write(place, content)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._cgroups: list[Path] = []
        self.pid = 0

    def write(self, place: str, content: str | Path) -> None:
        target = self.root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content, encoding="utf-8")
        elif content.is_dir():
            shutil.copytree(content, target, dirs_exist_ok=True)
        else:
            shutil.copy(content, target)

    @property
    def bus(self) -> str:
        """The box's system bus, as an address that can be reached from outside."""
        return f"unix:path=/proc/{self.pid}/root/run/dbus/system_bus_socket"

    def boot(self, within: float = 60) -> Box:
        """Start it, and wait until systemd says that it is up."""
        self._cgroups = [Path(one, self.name) for one in _CGROUPS if Path(one, "cgroup.procs").exists()]
        for one in self._cgroups:
            one.mkdir()
        join = "".join(f"echo $$ > {one}/cgroup.procs; " for one in self._cgroups)
        nspawn = f"exec systemd-nspawn -q -D {self.root} --machine={self.name} --register=no --keep-unit --console=pipe"
        inside = f"--bind-ro={_HERE}"  # nspawn's own /tmp would hide a clone that lies in this machine's
        rights = "--private-network --capability=CAP_BPF,CAP_PERFMON --system-call-filter=bpf"
        with (self.home / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", f"{join}{nspawn} {inside} {rights} -b systemd.unit=multi-user.target"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        until = time.monotonic() + within
        while time.monotonic() < until and self._nspawn.poll() is None:
            self.pid = self.pid or self._leader()
            if self.pid and self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"):
                return self
            time.sleep(0.05)
        raise RuntimeError(f"no boot: {(self.home / 'console').read_text(errors='replace')[-2000:]}")

    def _leader(self) -> int:
        """PID 1 of the box, as seen from outside: nspawn's child by the name of systemd."""
        assert self._nspawn
        for children in Path(f"/proc/{self._nspawn.pid}/task").glob("*/children"):
            for child in children.read_text().split():
                with suppress(FileNotFoundError):
                    if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                        return int(child)
        return 0

    def run(self, *command: str, check: bool = True, within: float = 30) -> str:
        """What a command prints, run inside as root with every capability."""
        done = subprocess.run(self.entered(*command), capture_output=True, text=True, timeout=within, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def entered(self, *command: str) -> list[str]:
        """The command as it is to be called from outside."""
        return ["nsenter", "-t", str(self.pid), *_ENTER, "--", *command]

    def unit(self, name: str, wanted: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "-p", wanted, "--value", name).strip()

    def stop(self) -> None:
        """Power it off; `boot()` starts it again with its files as they are."""
        if self._nspawn:
            if self.pid:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGRTMIN + 4)  # poweroff: systemd(1), SIGNALS
            else:
                self._nspawn.kill()
            try:
                self._nspawn.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
                self._nspawn.wait(5)
        self._nspawn, self.pid = None, 0
        for one in self._cgroups:
            _remove(one)
        self._cgroups = []

    def close(self) -> None:
        self.stop()
        _do("umount", self.root)
        _do("umount", self.home)
        self.home.rmdir()


def _do(*command: object) -> None:
    subprocess.run([*map(str, command)], check=True, timeout=30)


def _remove(cgroup: Path) -> None:
    """The kernel lets go of a cgroup a moment after its last process."""
    until = time.monotonic() + 2
    for folder, _, _ in os.walk(cgroup, topdown=False):
        while Path(folder).exists():
            try:
                Path(folder).rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


@pytest.fixture(scope="session")
def make_box() -> type[Box]:
    """Boxes for this session, or the reason why there are none."""
    need_root()
    need("systemd-nspawn", "systemd-container")
    need("dbus-daemon", "dbus")
    return Box
