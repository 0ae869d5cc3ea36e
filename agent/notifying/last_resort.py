"""The last way to people: the terminals of whoever is logged in to this host, and syslog with its highest priority."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

from agent.evidence import ship
from agent.visible import visible

SECONDS: Final = 5.0
LONGEST: Final = 800
"""Characters: a terminal is no place for more."""
EMERGENCY: Final = 0


def cry(text: str) -> str:
    """Say it everywhere on this host, and answer where that was. Systemd and rsyslog pass priority emerg on to terminals, too."""
    said = visible(text, LONGEST)
    lines = f"containment-agent: {said}"
    went = {"terminals": _wall(lines), "syslog": ship.tell([lines.encode(errors="replace")], priority=EMERGENCY)}
    where = " and ".join(name for name, why in went.items() if not why) or "nobody"
    failed = "".join(f" ({name}: {why})" for name, why in went.items() if why)
    return f"nobody could be told by any channel; said to {where}{failed}: {said}"


def _wall(text: str) -> str:
    """Why the terminals were not told; empty where they were."""
    wall = shutil.which("wall")
    if os.geteuid() != 0:
        return "the agent does not run as root"
    if wall is None:
        return "there is no program wall; it is in the package bsdutils or util-linux"
    try:
        done = subprocess.run([wall], input=text.encode("ascii", "replace"), capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    return visible(done.stderr.decode(errors="replace"), 200) if done.returncode else ""
