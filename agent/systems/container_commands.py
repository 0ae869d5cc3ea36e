"""The commands that containers are cut off with: nft, ss, ip and nsenter, with a limit and errors as sentences."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from agent.action import CannotReach

WITHIN: Final = 3.0
"""Seconds that a command may take."""
PACKAGES: Final = {"nft": "nftables", "ss": "iproute2", "ip": "iproute2", "nsenter": "util-linux"}


def program(name: str) -> str:
    """Where a program is; people's PATH often lacks /usr/sbin.

    Raises:
        CannotReach: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise CannotReach(f"cannot isolate containers: the command {name} is missing; apt-get install {PACKAGES[name]}")
    return found


def run(command: Sequence[str], what: str, given: str = "", files: tuple[int, ...] = (), *, absent: bool = False) -> str:
    """What a command prints; nothing where `absent` is allowed and nft says that what is asked for is not there.

    Raises:
        CannotReach: it cannot be run, takes longer than 3 s, or fails.
    """
    try:
        done = subprocess.run(command, input=given.encode(), capture_output=True, timeout=WITHIN, pass_fds=files, check=False)
    except subprocess.TimeoutExpired:
        raise CannotReach(f"cannot {what}: no answer within {WITHIN:g} s") from None
    except OSError as error:
        raise CannotReach(f"cannot {what}: {error.strerror}") from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and not (absent and "No such file or directory" in said):
        raise CannotReach(f"cannot {what}: {(said.splitlines() or [f'exit {done.returncode}'])[0][:200]}")
    return done.stdout.decode(errors="replace")
