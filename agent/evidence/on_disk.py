"""What a power cut must not undo: the names in a directory, beside what the files hold."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Have on the disk what was made, renamed or removed in a directory; a file that was flushed may still be without a name."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(held)
    finally:
        os.close(held)
