"""What a test needs from the machine: a missing program fails in CI and is skipped, with its reason, at a desk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need(program: str, package: str) -> str:
    """The path of a program (a name, or a path with wildcards: the last one that fits), from a Debian package."""
    found = shutil.which(program) or max(map(str, Path("/").glob(program.lstrip("/"))), default="")
    if not found:
        lacking(f"{program} is missing: apt-get install {package}")
    return found


def need_root() -> None:
    """The rights to make namespaces and mounts."""
    if os.geteuid() != 0:
        lacking("needs root (run: sudo make test)")


def lacking(why: str) -> None:
    """End this test: a failure where CI=true, so that nothing is left out there unseen."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
