"""A sensor that runs in a thread as in the daemon, and a journald of the test's own."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.streams.sensor import Batch, Sensor

Start = Callable[..., "Running"]
JOURNALD = Path("/lib/systemd/systemd-journald")


class Running:
    """A sensor in a thread, and what it delivered."""

    def __init__(self, sensor: Sensor, position: str | None, wanted: frozenset[str] | None) -> None:
        self.batches: queue.Queue[Batch] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=sensor.run, args=(self.batches.put, position, self._stop, wanted), daemon=True)
        self._thread.start()

    def next(self, kind: str) -> Batch:
        """The next batch that holds an event of the kind."""
        while True:
            batch = self.batches.get(timeout=30)
            if any(event.kind == kind for event in batch.events):
                return batch

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Running] = []

    def begin(sensor: Sensor, position: str | None = None, wanted: frozenset[str] | None = None) -> Running:
        running.append(Running(sensor, position, wanted))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


class Journal:
    """A real systemd-journald for a journal namespace of its own, and processes that log to it."""

    def __init__(self) -> None:
        self._name = f"contain{uuid.uuid4().hex[:8]}"
        self._sockets = Path(f"/run/systemd/journal.{self._name}")
        self._sockets.mkdir(parents=True)
        self._process = subprocess.Popen([str(JOURNALD), self._name], stderr=subprocess.DEVNULL)
        self.directory = self._found()

    def _found(self) -> Path:
        machine = Path("/etc/machine-id").read_text().strip()
        places = [Path(root, f"{machine}.{self._name}") for root in ("/var/log/journal", "/run/log/journal")]
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for place in places:
                if (self._sockets / "socket").exists() and list(place.glob("system.journal")):
                    return place
            time.sleep(0.02)  # journald tells only systemd that it is ready
        raise AssertionError(f"{JOURNALD} did not make its journal in any of {places}")

    def say(self, message: bytes, *, comm: str, uid: int = 0, more: bytes = b"", become_root: bool = False) -> None:
        """Log from a process of this name and user, or of a user who is root in a namespace of his own."""
        script = (
            "import ctypes, os, socket, sys\n"
            "ctypes.CDLL(None).prctl(15, sys.argv[1].encode())\n"  # PR_SET_NAME
            "os.setresuid(*[int(sys.argv[2])] * 3)\n"
            "if sys.argv[4:]:\n"
            "    ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: after the change of user /proc/self is root's
            "    assert ctypes.CDLL(None).unshare(0x10000000) == 0\n"  # CLONE_NEWUSER
            "    open('/proc/self/uid_map', 'w').write('0 ' + sys.argv[2] + ' 1')\n"
            "    assert os.getuid() == 0\n"
            "out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            "out.connect(sys.argv[3])\n"
            "out.send(sys.stdin.buffer.read())\n"
        )
        length = len(message).to_bytes(8, "little")
        entry = b"MESSAGE\n" + length + message + b"\nSYSLOG_IDENTIFIER=sshd\n" + more
        command = [shutil.which("python3") or "python3", "-c", script, comm, str(uid), str(self._sockets / "socket")]
        command += ["root"] if become_root else []
        subprocess.run(command, input=entry, check=True, timeout=10)

    def text(self) -> bytes:
        """All messages."""
        command = ["journalctl", f"--directory={self.directory}", "--output=cat", "--no-pager"]
        return subprocess.run(command, check=True, timeout=10, capture_output=True).stdout

    def stream(self) -> socket.socket:
        """What systemd gives a service as its standard error: journald makes an entry of each line."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(str(self._sockets / "stdout"))
        made.sendall(b"sshd\n\n6\n0\n0\n0\n0\n")
        return made

    @contextmanager
    def say_by(self, program: Path, message: bytes, *, uid: int) -> Iterator[None]:
        """Log through a copy of logger(1) that lies at this path and lives on: journald asks /proc who it is."""
        shutil.copyfile("/usr/bin/logger", program)
        program.chmod(0o755)
        command = [str(program), "--socket", str(self._sockets / "dev-log")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, user=uid) as logger:
            assert logger.stdin is not None
            logger.stdin.write(message + b"\n")
            logger.stdin.flush()
            yield

    def close(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)
        for left in (self._sockets, self.directory):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="module")
def journal() -> Iterator[Journal]:
    why = "" if os.geteuid() == 0 and JOURNALD.exists() else f"needs root and {JOURNALD} for a journald of its own"
    if why and os.environ.get("CI"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    made = Journal()
    yield made
    made.close()
