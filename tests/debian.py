"""The Debian package of this tree, built once for all tests of a run, and what a box needs to be attacked in."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.needs import need

HERE: Final = Path(__file__).resolve().parents[1]
ATTACKER: Final = """\
ip netns add attacker
ip link add outside type veth peer name inside netns attacker
ip addr add 203.0.113.1/24 dev outside; ip link set outside up
ip -n attacker addr add 203.0.113.7/24 dev inside; ip -n attacker link set inside up; ip -n attacker link set lo up
"""
"""Somebody at 203.0.113.7, for whom the box is 203.0.113.1. It is to be made again after each boot."""
IN_A_CONTAINER: Final = "[Service]\nProtectKernelTunables=no\nProtectControlGroups=no\n"
"""nspawn gives its container a boot id of its own by a mount over /proc/sys/kernel/random/boot_id, which these two undo inside
the unit: journalctl --follow then waits for entries of this machine's boot. Only a container has that trouble."""


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from this tree and the libraries that these tests run with; by one worker, for all of them.

    Or the one that CONTAIN_BOX_DEB names, where boxes are of another release than this machine.
    """
    if made := os.environ.get("CONTAIN_BOX_DEB"):
        return Path(made)
    need("dpkg-deb", "dpkg")
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "deb"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found := list(place.glob("*.deb"))):
            command = [sys.executable, str(HERE / "systemd/package/deb.py"), "--out", str(place), "--level", "1"]
            subprocess.run(command, check=True, timeout=110, stdout=subprocess.PIPE)
            found = list(place.glob("*.deb"))
    return found[0]
