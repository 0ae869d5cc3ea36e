"""Where the shell blocks of documents run: a sandbox beside a real agent, or a booted Debian with the package in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.debian import ATTACKER, IN_A_CONTAINER
from tests.docs.document import ROOT
from tests.docs.shell import Ended
from tests.running import wait_for
from tests.senders import scans
from tests.systemd_box import Box

_NSPAWN: Final = "/etc/systemd/system/containment-.service.d/nspawn.conf"
HOME: Final = "/root"
"""Where blocks begin in the box."""
_ENVIRONMENT: Final = ("HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=dumb", "NO_COLOR=1")
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUTSIDE: Final = """\
set -e
ip link set lo up
for one in etc usr/local; do
  mkdir -p {home}/over/$one {home}/work/$one
  mount -t overlay overlay -o lowerdir=/$one,upperdir={home}/over/$one,workdir={home}/work/$one /$one
done
echo ready
exec sleep infinity
"""
CONFIG: Final = """\
version: 1
host: db1
mode: enforce
canary: off
state: {home}/state
socket: {home}/agent.sock
policies: [/etc/containment-agent/policies]
never_touch: ["198.18.0.77"]
lists: {{office: ["192.0.2.0/25"], monitoring: []}}
feeds: {{threats: {{file: {home}/threats.txt}}}}
pages: {{listen: "127.0.0.1:9444"}}
sensors:
  auth: {{logfile: {{path: {home}/auth.log, parsers: [sshd, sudo], from_start: true}}}}
  watch: {{files: {{paths: [/etc/ssh]}}}}
checks:
  disks: {{disk: {{used_limit: 100}}, every: 1m}}
"""
SIGMA: Final = """\
title: Somebody became another by a number
logsource: {product: linux, service: sudo}
detection:
  selection: {USER: ['#-*', '#*4294967295']}
  condition: selection
"""
_LINE: Final = "{time} db1 sshd[812]: Failed password for root from {address} port 5112 ssh2\n"
REPORTS: Final = 7


def run(command: list[str], scratch: Path, within: float, cwd: Path | None = None) -> Ended:
    """Run it to files: what it leaves running in the background may hold its output open. That is ended with it."""
    with (scratch / "out").open("w+") as out, (scratch / "err").open("w+") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, text=True, start_new_session=True
        )
        try:
            code = process.wait(within)
        except subprocess.TimeoutExpired:
            code = 124
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        return Ended(code, (scratch / "out").read_text(errors="replace"), (scratch / "err").read_text(errors="replace"))


class Sandbox:
    """A real agent in namespaces of its own: a network, and an /etc and /usr/local that end with it. It enforces there."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="docs-"))  # a socket's path must be short
        self.cwd = self.home / "here"
        self.cwd.mkdir()
        words = ["unshare", "--net", "--mount", "--", "sh", "-c", _OUTSIDE.format(home=self.home)]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert self._holder.stdout
            assert self._holder.stdout.readline() == "ready\n", "no namespaces"
            self._furnish()
            self._agent = self._start()
            self._live_in()
        except BaseException as error:
            log = self.home / "log"
            error.add_note(log.read_text(errors="replace")[-3000:] if log.exists() else "the agent never began")
            self.close()
            raise

    _agent: subprocess.Popen[bytes] | None = None

    def _furnish(self) -> None:
        for path, text in {
            "/etc/containment-agent/agent.yaml": CONFIG.format(home=self.home),
            "/usr/local/bin/contain": f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m agent "$@"\n',
            f"{self.home}/threats.txt": "192.0.2.200\n",
            f"{self.home}/auth.log": "",
            "trivy.json": json.dumps(scans.trivy()),
            "grype.json": json.dumps(scans.grype()),
            "rule.yml": SIGMA,
        }.items():
            self.write("file", path, text)
        made = self.run(
            f"chmod +x /usr/local/bin/contain; cp -r {ROOT}/policies /etc/containment-agent/policies; "
            "ln -s /etc/containment-agent/policies policies"
        )
        assert made.returncode == 0, made.stderr

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("wb") as log:
            return subprocess.Popen(self._inside("contain", "run"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _live_in(self) -> None:
        """Seven reports of people are INC-1 to INC-7, and somebody at 203.0.113.7 guesses passwords, and is blocked."""
        wait_for(lambda: self.run("contain status --json").returncode == 0, 30)
        for number in range(REPORTS):
            assert self.run(f'contain report "the shop is slow at till {number + 1}"').returncode == 0
        with (self.home / "auth.log").open("a") as log:
            log.writelines(_LINE.format(time=time.strftime("%b %e %H:%M:%S"), address="203.0.113.7") for _ in range(9))
        wait_for(lambda: "203.0.113.7" in self.run("contain mitigations").stdout, 30)

    def _inside(self, *words: str) -> list[str]:
        enter = ["nsenter", "-t", str(self._holder.pid), "-n", "-m", f"--wdns={self.cwd}"]
        return [*enter, "env", "-i", *_ENVIRONMENT, _PATH, *words]

    def run(self, script: str, *, attacker: bool = False) -> Ended:
        """Carry out a script of bash here."""
        assert not attacker, "an attacker has a network of its own in the box alone"
        return run(self._inside("bash", "-c", script), self.home, 30)

    def write(self, how: str, path: str, text: str) -> None:
        """Write a file, or add to it; a relative path counts from where blocks run."""
        redirect = ">>" if how == "append" else ">"
        command = f'mkdir -p "$(dirname "$1")"; cat {redirect}"$1"'
        subprocess.run(self._inside("sh", "-ec", command, "sh", path), input=text, text=True, check=True, timeout=10)

    def close(self) -> None:
        """End the agent and everything else in here."""
        for process in (self._agent, self._holder):
            if process is not None:
                process.send_signal(signal.SIGTERM if process is self._agent else signal.SIGKILL)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
        if self._holder.stdout:
            self._holder.stdout.close()
        shutil.rmtree(self.home, ignore_errors=True)


class Installed:
    """A booted Debian for all documents, with the package lying at /root, an sshd, and an attacker beside it."""

    def __init__(self, deb: Path) -> None:
        self._box = Box({"/root/containment-agent.deb": deb})
        self._scratch = Path(tempfile.mkdtemp(prefix="docs-"))
        try:
            self._box.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self._box.name}\n")  # as Debian has it; sudo looks
            self._box.boot()
            self._box.run("sh", "-ec", ATTACKER)
            self._box.run("systemctl", "start", "ssh.service")
        except BaseException:
            self.close()
            raise

    def prepare(self, *, bare: bool) -> None:
        """Have the package installed, or not."""
        there = "install ok" in self._box.run("dpkg-query", "-W", "-f=${Status}", "containment-agent", check=False)
        if bare and there:
            self._box.run("dpkg", "--purge", "containment-agent", within=60)
        self.write("file", _NSPAWN, IN_A_CONTAINER)  # a purge takes it away, with all drop-ins
        if not bare and not there:
            self._box.run("dpkg", "--install", "/root/containment-agent.deb", within=90)

    def run(self, script: str, *, attacker: bool = False) -> Ended:
        """Carry out a script of bash, as root or in the attacker's network."""
        who = ["ip", "netns", "exec", "attacker"] if attacker else []
        words = [*who, "env", "-i", *_ENVIRONMENT, _PATH, "bash", "-c", f"cd {HOME}\n{script}"]
        return run(self._box.entered(*words), self._scratch, 90)

    def write(self, how: str, path: str, text: str) -> None:
        """Write a file, or add to it; a relative path counts from /root."""
        redirect = ">>" if how == "append" else ">"
        command = f'cd {HOME}; mkdir -p "$(dirname "$1")"; cat {redirect}"$1"'
        entered = self._box.entered("sh", "-ec", command, "sh", path)
        subprocess.run(entered, input=text, text=True, check=True, timeout=10)

    def close(self) -> None:
        """Power it off."""
        self._box.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
