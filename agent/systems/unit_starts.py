"""How often a unit was started again, read from what systemd itself wrote to the journal: it survives this agent's restarts."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import timedelta
from typing import Final

from agent.action import CannotReach

_STARTED: Final = "39f53479d3a045ac8e11786248231fbf"  # sd-messages.h: SD_MESSAGE_UNIT_STARTED
_BLIND: Final = re.compile(r"not seeing messages|No journal files")
_MEND: Final = "; journald must keep a journal, and the agent's user be in the group systemd-journal"


def restarts(unit: str, most: int, within: timedelta, root: str) -> int:
    """How many of a unit's starts since boot, up to `most`, came `within` this time and after an earlier one.

    Only lines that PID 1 wrote are believed: anybody may write one that says the same (journald's fields with a `_`).

    Raises:
        CannotReach: the journal cannot be read, or not all of it.
    """
    asked = ["_PID=1", "_UID=0", f"MESSAGE_ID={_STARTED}", f"UNIT={unit}"]
    command = ["journalctl", "-b", "-r", "-n", str(most + 1), "-o", "json", "--output-fields=UNIT", "--no-pager"]
    rooted = [f"--root={root}"] if root != "/" else []
    try:
        done = subprocess.run([*command, *rooted, *asked], capture_output=True, text=True, timeout=4, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotReach(f"cannot count the restarts of {unit}: {error}") from error
    if done.returncode or _BLIND.search(done.stderr):  # it ends well also where it sees nothing
        why = done.stderr.strip().splitlines()[:1] or [f"journalctl ended with {done.returncode}"]
        raise CannotReach(f"cannot count the restarts of {unit}: {why[0]}{_MEND}")
    at = [int(json.loads(line)["__REALTIME_TIMESTAMP"]) / 1e6 for line in done.stdout.splitlines() if line.startswith("{")]
    since = time.time() - within.total_seconds()
    return sum(one >= since for one in at[: max(0, len(at) - 1)])  # the oldest had none before it
