"""The real agent as a process of its own: started, asked, killed and started again, as systemd and operators would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

CONTAIN = (sys.executable, "-m", "agent")


NEVER: Final = """\
policy: nothing
title: Nothing
severity: P3
owner: test
when: {event: auth.sudo.failure, by: user, count: ">= 100 in 1m"}
"""
"""A policy that finds nothing in any test, since an agent has one at least."""


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer; an error with the last one when time is up."""
    until = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds:g} s in vain; the last answer was {answer!r}")
        time.sleep(0.01)
    return answer


class Running:
    """One agent with its state under `place`. `log` is what it printed."""

    def __init__(self, place: Path, yaml: str, policies: str) -> None:
        """Write agent.yaml and one policy file; nothing runs yet."""
        self.place, self.process = place, None
        place.mkdir(parents=True, exist_ok=True)
        (place / "policies").mkdir(exist_ok=True)
        (place / "policies" / "test.yaml").write_text(policies)
        self.config, self.socket, self.log = place / "agent.yaml", place / "control.sock", place / "log"
        head = f"version: 1\nhost: db1\nstate: {place}/state\nsocket: {self.socket}\npolicies: [{place}/policies]\n"
        self.config.write_text(head + yaml + ("" if "canary:" in yaml else "canary: off\n"))

    process: subprocess.Popen[bytes] | None

    def start(self, *options: str, **environment: str) -> Running:
        """Start it, and wait until it answers."""
        self.spawn(*options, **environment)
        wait_for(lambda: self._answers() or self._died())
        return self

    def spawn(self, *options: str, **environment: str) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*CONTAIN, "run", "--config", str(self.config), *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )

    def _answers(self) -> bool:
        try:
            return bool(self.ask("ping") is not None)
        except OSError:
            return False

    def _died(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        return False

    def ask(self, verb: str, **body: Any) -> Any:
        """What the control socket answers."""
        text = json.dumps(body)
        request = f"POST /v1/{verb} HTTP/1.0\r\nHost: agent\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(30)
            there.connect(str(self.socket))
            there.sendall(request.encode())
            answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def contain(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this agent."""
        return contain(*words, "--config", str(self.config))

    def in_force(self) -> list[dict[str, Any]]:
        """What the agent says is in force, as read back from the systems."""
        return [one for one in self.ask("mitigations")["items"] if one["stage"] == "in_force"]

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        return self._end(signal.SIGTERM)

    def hangup(self) -> None:
        """Ask it to read the policies again."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGHUP)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        status, self.process = self.process.wait(timeout=30), None
        return status

    def __enter__(self) -> Running:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Whatever happened, nothing keeps running."""
        self._end(signal.SIGKILL)


def contain(*words: str, check: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `contain` as a person would, in a pipe."""
    done = subprocess.run([*CONTAIN, *words], capture_output=True, text=True, timeout=60, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"contain {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def sshd_lines(address: str, times: int, user: str = "root", pid: int = 812) -> Sequence[str]:
    """What rsyslog writes for so many wrong passwords."""
    stamp = time.strftime("%b %e %H:%M:%S")
    return [f"{stamp} db1 sshd[{pid}]: Failed password for {user} from {address} port {40000 + n} ssh2\n" for n in range(times)]
