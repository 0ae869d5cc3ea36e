"""The test session gets a network namespace of its own, so that no test can touch the machine's real ruleset."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

CLONE_NEWNET = 0x40000000

pytest_plugins = (
    "tests.docker_daemon",
    "tests.network",
    "tests.perimeter",
    "tests.postgres",
    "tests.openbao",
    "tests.systemd_box",
    "tests.debian",
    "tests.services",
    "tests.people",
    "tests.aws",
)
"""Real systems as fixtures, one file each."""


def _own_network() -> str:
    """Move this process (and so every later thread and child) into a fresh network; say why not where it cannot be."""
    if os.geteuid() != 0:
        return "needs root for a network namespace of its own (run: sudo make test)"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        return f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    return ""


signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it, and so would all we start
WHY_NO_NETWORK = _own_network()
