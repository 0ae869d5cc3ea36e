"""A box with services to stop, restart, freeze and cut off, shared by the session; each test finds them as they were."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.systems.units import Units
from tests.network import Machine
from tests.systemd_box import Box

_ECHO = """
import os, socketserver, sys
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while said := self.request.recv(1024):
            self.request.sendall(said)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
handed = "LISTEN_FDS" in os.environ
server = Server(("127.0.0.1", int(sys.argv[1])), Echo, bind_and_activate=not handed)
if handed:
    server.socket.close()
    server.socket = __import__("socket").socket(fileno=3)
server.serve_forever()
"""
_SLEEP = "sleep infinity"
_STOP_MARK = "ExecStop=/bin/sh -c 'echo stopped by its own ExecStop >> /run/%N.stopped'"
_UNITS = {
    "/usr/lib/systemd/system/packaged.service": f"[Service]\nExecStart={_SLEEP}\n{_STOP_MARK}\n",
    "/etc/systemd/system/stubborn.service": f"[Service]\nExecStart={_SLEEP}\nRestart=always\nRestartSec=50ms\n{_STOP_MARK}\n",
    "/etc/systemd/system/idle.service": f"[Service]\nExecStart={_SLEEP}\n",
    "/etc/systemd/system/counted.service": f"[Service]\nExecStart={_SLEEP}\n",
    "/etc/systemd/system/filtered.service": (
        f"[Service]\nExecStart={_SLEEP}\nIPAddressDeny=10.0.0.0/8 192.168.0.0/16\nIPAddressAllow=10.1.0.0/16 10.2.0.0/16\n"
    ),
    "/etc/systemd/system/many@.service": f"[Service]\nExecStart={_SLEEP}\n",
    "/etc/systemd/system/child.service": f"[Unit]\nRequires=stubborn.service\n[Service]\nExecStart={_SLEEP}\n",
    "/etc/systemd/system/echo.service": f"[Service]\nExecStart={sys.executable} /opt/echo.py 9001\nEnvironment=KEY=hunter2\n",
    "/usr/lib/systemd/system/woken.service": f"[Service]\nExecStart={sys.executable} /opt/echo.py 9002\n",
    "/usr/lib/systemd/system/woken.socket": "[Socket]\nListenStream=127.0.0.1:9002\n",
    "/usr/lib/systemd/system/woken.timer": "[Timer]\nOnActiveSec=1d\n",
    "/etc/systemd/system/watched.service": (
        "[Service]\nType=notify\nNotifyAccess=all\nWatchdogSec=60\nExecStart=sh -c 'systemd-notify --ready; sleep infinity'\n"
    ),
    "/etc/systemd/system/fragile.service": (
        f"[Service]\nType=exec\nExecStartPre=test ! -e /run/fragile.broken\nExecStart={_SLEEP}\n"
    ),
    "/etc/systemd/system/slow.service": (
        f"[Service]\nExecStart={_SLEEP}\nExecStop=sh -c 'while [ -e /run/slow.stop ]; do sleep .05; done'\n"
    ),
    "/etc/systemd/system/late.service": (
        f"[Service]\nType=exec\nExecStartPre=sh -c 'while [ -e /run/late.start ]; do sleep .05; done'\nExecStart={_SLEEP}\n"
    ),
    "/etc/systemd/system/needs-late.service": (
        f"[Unit]\nRequires=late.service\nAfter=late.service\n[Service]\nExecStart={_SLEEP}\n"
    ),
    "/etc/systemd/system/lookalike.service": f"[Service]\nExecStart={_SLEEP}\n",
}
RUNNING = (
    *("packaged.service", "stubborn.service", "child.service", "many@1.service", "echo.service", "filtered.service"),
    *("woken.socket", "woken.timer", "watched.service", "fragile.service", "slow.service"),
)
RESTING = ("woken.service", "idle.service", "counted.service")


class ServiceBox:
    """The box, its units, and how to put them back."""

    def __init__(self, box: Box, machine: Machine) -> None:
        self.box, self.machine = box, machine
        self.run, self.unit = box.run, box.unit
        self.first = ""

    @property
    def root(self) -> str:
        return f"/proc/{self.box.pid}/root"

    def state(self, *units: str) -> str:
        """All that the actions may change of these units, and every file of this run that stands above theirs."""
        wanted = "Id,LoadState,UnitFileState,ActiveState,FreezerState,IPAddressDeny,IPAddressAllow,DropInPaths,FragmentPath"
        files = "find /run/systemd/system.control /run/systemd/system ! -type d 2>/dev/null"
        return self.run("sh", "-c", f"systemctl show -p {wanted} {' '.join(units)}; {files}; true")

    def drop_ins(self) -> str:
        """What systemctl set-property has written, word for word."""
        return self.run("sh", "-c", "cd /run/systemd/system.control 2>/dev/null && grep -r . . | sort", check=False)

    def wait(self, unit: str, wanted: str, value: str) -> None:
        """Until a property of a unit has that value."""
        until = time.monotonic() + 10
        while self.unit(unit, wanted) != value:
            assert time.monotonic() < until
            time.sleep(0.02)

    def hold(self, port: int) -> int:
        """A connection to a service, made as soon as it listens."""
        until = time.monotonic() + 10
        while not self.machine.connects("127.0.0.1", port):
            assert time.monotonic() < until
        return self.machine.hold("127.0.0.1", port)

    def reset(self) -> None:
        """As at the beginning; a look at it all is quicker than putting it back."""
        if self.state(*RUNNING, *RESTING) == self.first:
            return
        self.run(
            "sh", "-c",
            "rm -rf /run/systemd/system.control /run/systemd/system/* /run/*.stopped /run/*.broken /run/slow.stop;"
            f"systemctl thaw {' '.join(RUNNING)} 2>/dev/null;"
            "systemctl daemon-reload; systemctl reset-failed;"
            f"systemctl stop {' '.join(RESTING)}; systemctl start {' '.join(RUNNING)}",
        )  # fmt: skip
        self.first = self.state(*RUNNING, *RESTING)


@contextmanager
def booted(make_box: type[Box]) -> Iterator[ServiceBox]:
    """The box while it is entered."""
    box = make_box({**_UNITS, "/opt/echo.py": _ECHO})
    named = f"services-{box.name}"
    try:
        for one in Path("/usr/lib/systemd/system-generators").iterdir():  # each reload would run them all, for 0.1 s
            masked = box.root / "etc/systemd/system-generators" / one.name
            masked.parent.mkdir(exist_ok=True)
            masked.symlink_to("/dev/null")
        (box.root / "etc/systemd/system/sshd-too.service").symlink_to("lookalike.service")
        box.boot()
        subprocess.run(["ip", "netns", "attach", named, str(box.pid)], check=True, timeout=10)
        machine = Machine(named)
        try:
            yield ServiceBox(box, machine)
        finally:
            machine.close()
            subprocess.run(["ip", "netns", "delete", named], check=True, timeout=10)
    finally:
        box.close()


@pytest.fixture(scope="session")
def booted_services(make_box: type[Box]) -> Iterator[ServiceBox]:
    with booted(make_box) as made:
        yield made


@pytest.fixture
def services(booted_services: ServiceBox) -> ServiceBox:
    """The box with every service as it was first."""
    booted_services.reset()
    return booted_services


@pytest.fixture
def units(services: ServiceBox) -> Units:
    """The systemd of that box."""
    return Units(services.box.bus, services.root)
