"""A file system of 10 MiB and 100 inodes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.needs import need_root


@pytest.fixture
def small() -> Iterator[Path]:
    need_root()
    with TemporaryDirectory() as place:  # not under tmp_path, which a pytest beside us may be clearing up
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10M,nr_inodes=100", "small", place], check=True, timeout=10)
        yield Path(place)
        subprocess.run(["umount", place], check=True, timeout=10)
