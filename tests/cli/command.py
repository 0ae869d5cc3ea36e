"""The real `contain` in a process of its own: its output piped, or read by a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CONTAIN = [sys.executable, "-m", "agent"]
ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str


def environment(**given: str) -> dict[str, str]:
    """Nothing of the tester's own settings; no agent is found unless one is named."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", "CONTAIN_CONFIG": "/nowhere/agent.yaml"} | given


def contain(*args: object, env: Mapping[str, str] | None = None, stdin: str = "", cwd: Path | None = None) -> Said:
    """Run it with pipes."""
    done = subprocess.run(
        [*CONTAIN, *map(str, args)],
        input=stdin,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
        env=environment(**(env or {})),
        cwd=cwd,
    )
    return Said(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A command on a terminal of so many columns; stdout and stderr are one there."""

    def __init__(self, *args: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, columns: int = 100) -> None:
        self._main, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (30, columns))
        given = environment(**(env or {}))
        self.process = subprocess.Popen(
            [*CONTAIN, *map(str, args)], stdin=terminal, stdout=terminal, stderr=terminal, env=given, cwd=cwd
        )
        os.close(terminal)
        self.heard = ""

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def until(self, text: str) -> None:
        """Read until this is on the screen."""
        deadline = time.monotonic() + 30
        while text not in self.heard:
            assert time.monotonic() < deadline, f"30 s without `{text}`, after:\n{self.heard}"
            assert self._read(), f"it ended without `{text}`, after:\n{self.heard}"

    def end(self) -> Said:
        """Read to the end."""
        while self._read():
            pass
        os.close(self._main)
        return Said(self.process.wait(10), self.heard, "")

    def _read(self) -> bool:
        """Something more, or the end."""
        ready, _, _ = select.select([self._main], [], [], 30)
        assert ready, f"it said nothing for 30 s, after:\n{self.heard}"
        try:
            more = os.read(self._main, 65536)
        except OSError:  # EIO: the last one to hold the terminal has closed it
            return False
        self.heard += more.decode(errors="replace")
        return bool(more)


def at_terminal(*args: object, env: Mapping[str, str] | None = None, typed: str = "") -> Said:
    """Run it on a terminal, and type something."""
    terminal = Terminal(*args, env=env)
    terminal.type(typed)
    return terminal.end()
