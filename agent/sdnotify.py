"""sd_notify(3): tell systemd that we are ready, reloading, alive or stopping. Does nothing outside systemd."""

from __future__ import annotations

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send state lines (`READY=1`, `STATUS=…`, `WATCHDOG=1`) to the service manager, if there is one.

    The socket is a path or, with a leading `@`, an abstract name. A manager that does not listen is no reason to fail.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    place = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.settimeout(1.0)
        try:
            manager.sendto("\n".join(lines).encode(), place)
        except OSError:
            return


def reloading() -> None:
    """Say that a reload begins; systemd waits for the next READY=1 (the stamp is what 253 and newer ask for)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between two signs of life, half of what systemd allows; None where no watchdog is set for this process."""
    usec, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    return int(usec) / 2_000_000 if usec and (not pid or int(pid) == os.getpid()) else None
