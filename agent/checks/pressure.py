"""Does work wait for the processor, for memory, or for disks?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About


@check
class Pressure:
    """Work does not wait too long: percent of the last 10 seconds in which somebody waited for a processor (`some`), or in
    which everybody waited for memory or for disks (`full`). The kernel's pressure stall information, Linux 4.20 and newer."""

    cpu_limit: Annotated[float, About("bad above so many percent of the last 10 seconds waiting for a processor", "90")] = 90
    memory_limit: Annotated[float, About("the same for memory", "10")] = 10
    io_limit: Annotated[float, About("the same for disks", "50")] = 50

    def ask(self) -> list[Answer]:
        """One answer each for cpu, memory and io."""
        return [
            _judge("cpu", "some", "a processor", self.cpu_limit),
            _judge("memory", "full", "memory", self.memory_limit),
            _judge("io", "full", "disks", self.io_limit),
        ]


def _judge(resource: str, line: str, what: str, limit: float) -> Answer:
    try:
        text = Path("/proc/pressure", resource).read_text(encoding="ascii")
    except OSError as error:  # built without it, or there and switched off (psi=0)
        say = f"cannot read the pressure on {resource}: {error.strerror}; the check `load` does without"
        return unknown(say, target=resource)
    waited = avg10(text, line)
    say = f"{'some' if line == 'some' else 'all'} work waited for {what} {waited:.0f} % of the last 10 s"
    return (good if waited < limit else bad)(say, value=waited, limit=limit, target=resource)


def avg10(text: str, line: str) -> float:
    """The 10-second average of a line like `some avg10=1.50 avg60=0.40 avg300=0.09 total=27116`."""
    fields = next(one for one in text.splitlines() if one.startswith(line)).split()
    return float(fields[1].removeprefix("avg10="))
