"""What the two attackers do, with the programs that such people use: ssh and wrk. Both run in their own namespaces."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.demo.machines import HOST

NAMES: Final = ("root", "admin", "oracle", "git")
"""Two wrong passwords for each: eight, and policies/ssh_brute_force.yaml blocks at the eighth."""
_CONNECTIONS: Final = 10


def guess_passwords(place: Path) -> None:
    """Try two wrong passwords for each of a few users, until nobody answers any more."""
    askpass = place / "askpass"
    askpass.write_text("#!/bin/sh\necho hunter2\n")
    askpass.chmod(0o700)
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "PreferredAuthentications": "password",
        "PubkeyAuthentication": "no",
        "NumberOfPasswordPrompts": "2",
        "LogLevel": "ERROR",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    environment = {"PATH": os.environ["PATH"], "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    with contextlib.suppress(subprocess.TimeoutExpired):  # blocked in the middle of it
        for name in NAMES:
            subprocess.run(
                ["ssh", "-F", "/dev/null", *given, f"{name}@{HOST}", "id"],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=5,
                check=False,
            )


@dataclass(frozen=True, slots=True)
class Flooded:
    """What wrk counted: pages that came, and for how long it asked."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        """Pages per second."""
        return self.requests / self.seconds


def flood(seconds: int) -> Flooded:
    """Ask for the page as fast as a few connections can, each request on a new one.

    Raises:
        ValueError: wrk said something else than it does.
    """
    words = ["-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-H", "Connection: close", f"http://{HOST}/"]
    done = subprocess.run(["wrk", *words], capture_output=True, text=True, timeout=seconds + 10, check=False)
    found = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
    if found is None:
        raise ValueError(f"wrk said: {done.stdout}{done.stderr}")
    return Flooded(int(found[1]), float(found[2]))
