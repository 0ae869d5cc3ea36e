"""`make demo`: the real play as root, in namespaces of its own; the recorded one in dry run where those cannot be had."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from tests.demo import attack, rehearsal

_NAMESPACES: Final = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
"""Every process inside ends with the first one, and then the networks and mounts are gone, too; the first one ends with us."""
_OWN_RUN: Final = ("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
"""Inside, /run is empty and private: for the names of the networks, and for what sshd wants there."""
_PROGRAMS: Final = {
    "nft": "nftables",
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "nginx": "nginx-light",
    "wrk": "wrk",
    "unshare": "util-linux",
}
INTERRUPTED: Final = 130


def main() -> int:
    """Play, and clean up whatever happens."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if sys.argv[1:2] == ["inside"]:
        subprocess.run(_OWN_RUN, check=True, timeout=10)
        status = attack.play(Path(sys.argv[2]))
        os._exit(status)  # and all that still runs in here ends with its first process
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="containment-demo-") as place:
            lacking = _lacking()
            return rehearsal.play(Path(place), lacking) if lacking else _in_namespaces(place)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; nothing of it is left.\n")
        return INTERRUPTED


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _lacking() -> list[str]:
    """What the real play lacks here, with the mend."""
    lacking = [f"{name}: apt-get install {package}" for name, package in _PROGRAMS.items() if not shutil.which(name)]
    if os.geteuid() != 0:
        return ["root, for network namespaces and nftables of its own: sudo make demo", *lacking]
    if not lacking:
        tried = subprocess.run([*_NAMESPACES, *_OWN_RUN], check=False, capture_output=True, text=True, timeout=10)
        lacking += [f"the right to make namespaces: {tried.stderr.strip()}"] if tried.returncode else []
    return lacking


def _in_namespaces(place: str) -> int:
    """Play inside; in a session of its own, so that Ctrl-C comes only here and ends everything at once."""
    command = [*_NAMESPACES, sys.executable, "-m", "tests.demo", "inside", place]
    with subprocess.Popen(command, start_new_session=True) as outer:
        try:
            return outer.wait(timeout=90)
        finally:
            for first in psutil.Process(outer.pid).children() if outer.poll() is None else ():
                first.kill()  # unshare ends when all that was inside has ended


if __name__ == "__main__":
    sys.exit(main())
