"""A file that somebody names on the command line, read with their own rights: no more than is asked for, and without waiting."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def content_of(path: Path, most: int) -> bytes | None:
    """The content, one byte more than `most` where it is larger; None for a device or a pipe, which might never end.

    Raises:
        OSError: it is not there, is a directory, or may not be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return file.read(most + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else None
