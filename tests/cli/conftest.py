"""A real agent in the session's own network namespace, with its state in a directory of its own."""

from __future__ import annotations

import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import CONTAIN, ROOT, Said, contain, environment
from tests.needs import need, need_root

CONFIG = """\
version: 1
host: test1
mode: dry_run
state: state
socket: agent.sock
policies: [policies]
never_touch: ["198.18.0.77"]
lists: {office: ["192.0.2.0/25"], monitoring: []}
feeds: {threats: {file: threats.txt}}
sensors:
  auth: {logfile: {path: auth.log, parsers: [sshd], from_start: true}}
  watch: {files: {paths: [/etc/ssh]}}
checks:
  disks: {disk: {used_limit: 100}, every: 1m}
  nobody: {tcp: {host: 127.0.0.1, port: 1}, every: 1m}
"""
LINE = "{time} db1 sshd[812]: Failed password for root from {address} port 5112 ssh2\n"


class Agent:
    """`contain run` in a process, and everything it says."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, home / "agent.yaml"
        self.env = {"CONTAIN_CONFIG": str(self.config)}
        self.config.write_text(CONFIG.replace("auth.log", str(home / "auth.log")))
        (home / "policies").symlink_to(ROOT / "policies")
        self.log = home / "auth.log"
        self.log.touch()
        (home / "threats.txt").write_text("192.0.2.200\n")
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*CONTAIN, "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**self.env)
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.wait_for("policies are live")

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self._said.put(line)

    def wait_for(self, text: str) -> str:
        """The next line with this text in it."""
        heard, deadline = "", time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                line = self._said.get(timeout=deadline - time.monotonic())
            except queue.Empty:
                break
            heard += line
            if text in line:
                return line
        raise AssertionError(f"the agent did not say `{text}`, but:\n{heard}")

    def guess_passwords(self, address: str, times: int = 8) -> None:
        """What a password guesser leaves in the log."""
        with self.log.open("a") as log:
            log.writelines(LINE.format(time=time.strftime("%b %e %H:%M:%S"), address=address) for _ in range(times))

    def __call__(self, *args: object, stdin: str = "") -> Said:
        """A command that finds this agent."""
        return contain(*args, env=self.env, stdin=stdin, cwd=self.home)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self._listener.join(5)
        return code


@contextmanager
def running() -> Iterator[Agent]:
    """An agent from its start to its stop."""
    need_root()
    need("nft", "nftables")
    home = Path(tempfile.mkdtemp(prefix="contain-"))  # a socket's path must be short
    made = Agent(home)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(home)


@pytest.fixture(scope="package")
def agent() -> Iterator[Agent]:
    """Shared by all tests here: each lifts what it makes."""
    with running() as made:
        yield made
