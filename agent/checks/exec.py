"""What does a plug-in say? (The Nagios contract: hundreds of them exist.)"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Final

from agent.action import CannotReach
from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Duration, rough

MOST_OUTPUT: Final = 64 * 1024
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_LIMITS: Final = ("--core=0", "--cpu=60", "--as=4294967296", "--nofile=256", "--nproc=1024", "--fsize=16777216")
_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_PERFDATA: Final = re.compile(rf"(?:'[^']*'|[^=\s']+)=({_NUMBER})[^;\s]*(?:;({_NUMBER})?)?(?:;({_NUMBER})?)?")


@check
class Exec:
    """A monitoring plug-in is content: exit 0 is good, 1 and 2 are bad, anything else is unknown.

    `command` is a list of arguments; no shell reads it. It runs as the agent's user, with limits and a minimal environment.
    """

    command: Annotated[
        tuple[str, ...], About("the program and its arguments; no shell", "[/usr/lib/nagios/plugins/check_load, -w, '4']")
    ]
    within: Annotated[Duration, About("killed, and unknown, after this time, as in 10s")] = timedelta(seconds=10)

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("command is empty; write a list, as in [/usr/lib/nagios/plugins/check_load, -w, '4']")

    def ask(self) -> Answer:
        """Run it; the value is its first performance figure, the limit that figure's critical or warning one."""
        code, output = self._run()
        lines = output.splitlines()
        text, _, figures = (lines[0] if lines else "").partition("|")
        say = text.strip()[:500] or f"{self.command[0]} ended with {code} and said nothing"
        if code not in (0, 1, 2):
            return unknown(say, target=self.command[0])
        figure = _PERFDATA.match(figures.strip())
        value = float(figure[1]) if figure else None
        limit = float(figure[3] or figure[2]) if figure and (figure[3] or figure[2]) else None
        return (good if code == 0 else bad)(say, value=value, limit=limit, target=self.command[0])

    def _run(self) -> tuple[int, str]:
        """Its exit status and the first 64 KiB of what it said.

        The output goes to memory, not to a pipe: a grandchild that holds a pipe open cannot make us wait.
        """
        program = shutil.which(self.command[0], path=_ENVIRONMENT["PATH"])
        if program is None:
            raise CannotReach(f"cannot run {self.command[0]}: there is no such program")
        with open(os.memfd_create("plugin"), "r+b") as output:  # noqa: PTH123 - a descriptor, not a path
            child = subprocess.Popen(
                ["prlimit", *_LIMITS, "--", program, *self.command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
            try:
                code = child.wait(timeout=self.within.total_seconds())
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait(timeout=5)
                why = f"it ran longer than {rough(self.within)} and was killed"
                raise CannotReach(f"cannot hear {self.command[0]}: {why}") from None
            output.seek(0)
            return code, output.read(MOST_OUTPUT).decode("utf-8", "replace")
