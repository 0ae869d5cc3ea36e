"""Who a user is by name, and who logged in to start a process, as the kernel remembers it through sudo (loginuid, audit(8))."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Final

_UNSET: Final = 0xFFFFFFFF


def began(pid: int) -> int | None:
    """The uid that a process's session began with; None for what no session began, and where the kernel keeps no such thing."""
    try:
        found = int(Path(f"/proc/{pid}/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if found == _UNSET else found


def name_of(uid: int) -> str:
    """A user's name; `uid 4711` where nobody has that number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
