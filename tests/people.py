"""A box with sshd and a person, alice, who logs in by key: her account and sessions, as they are on a host of today."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.systems.accounts import Accounts
from tests.needs import need
from tests.systemd_box import _ENTER, Box

UID = 4711
_SSHD = """Port 2222
HostKey /etc/ssh/box_key
UsePAM yes
PasswordAuthentication no
PidFile none
"""


class People:
    """The box, and alice in it."""

    def __init__(self, box: Box) -> None:
        self.box, self.run = box, box.run

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.box.pid}/root")

    def _ssh(self, *command: str) -> list[str]:
        options = ["-i", "/root/alice_key", "-p", "2222", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
        inside = ["nsenter", "-t", str(self.box.pid), *_ENTER, "--"]
        return [*inside, "ssh", "-q", *options, "-o", "UserKnownHostsFile=/dev/null", "alice@127.0.0.1", *command]

    def logs_in(self) -> bool:
        """Whether alice's key opens a session."""
        return subprocess.run(self._ssh("true"), timeout=20, check=False).returncode == 0

    @contextmanager
    def session(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A session of alice's that runs a command; it is there once that has printed a line."""
        process = subprocess.Popen(self._ssh(f"echo here; {command}"), stdout=subprocess.PIPE, start_new_session=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
        finally:
            with suppress(ProcessLookupError):  # the group, because nsenter forks
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=10)

    def shadow(self, user: str = "alice") -> str:
        return self.run("getent", "shadow", user).strip()

    def processes(self) -> list[str]:
        """The command lines of what runs under alice's uid in the box."""
        return self.run("ps", "-o", "args=", "-U", str(UID), check=False).splitlines()

    def wait_for(self, command: str) -> None:
        """Until some process of the box has a command line that ends so."""
        wait_until(lambda: any(line.endswith(command) for line in self.run("ps", "-eo", "args=").splitlines()))

    def reset(self) -> None:
        self.run("sh", "-c", f"pkill -KILL -U {UID}; usermod -e '' -p '$6$salt$hash' alice; systemctl reset-failed")
        wait_until(lambda: not self.processes())


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="session")
def booted_people(make_box: type[Box]) -> Iterator[People]:
    need("sshd", "openssh-server")
    need("sudo", "sudo")
    unit = "[Service]\nRuntimeDirectory=sshd\nExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/box_config\nKillMode=process\n"
    box = make_box(
        {
            "/etc/ssh/box_config": _SSHD,
            "/etc/systemd/system/people.service": unit,
            "/etc/systemd/system.conf.d/box.conf": "[Manager]\nDefaultTimeoutStopSec=1s\n",
            "/etc/sudoers.d/alice": "alice ALL=(ALL) NOPASSWD: ALL\n",
        }
    )
    try:
        made = People(box.boot())
        made.run(
            "sh", "-ec",
            f"useradd -m -u {UID} -s /bin/bash alice; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/box_key;"
            "ssh-keygen -q -t ed25519 -N '' -f /root/alice_key; mkdir -m 700 ~alice/.ssh;"
            "cp /root/alice_key.pub ~alice/.ssh/authorized_keys; chown -R alice: ~alice/.ssh;"
            "rm -f /run/nologin; systemctl start people.service",
        )  # fmt: skip
        wait_until(made.logs_in)
        yield made
    finally:
        box.close()


@pytest.fixture
def people(booted_people: People) -> People:
    """The box with alice's account as it was first, and nobody logged in."""
    booted_people.reset()
    return booted_people


@pytest.fixture
def accounts(people: People) -> Accounts:
    """The accounts of that box."""
    return Accounts(init=people.box.pid)
