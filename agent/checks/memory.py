"""Is memory running out?"""

from __future__ import annotations

from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About


@check
class Memory:
    """Programs can get more memory without swapping (MemAvailable of proc_meminfo(5)), at least `available_floor` percent."""

    available_floor: Annotated[float, About("bad below so many percent available", "5")] = 5

    def ask(self) -> Answer:
        """The value is percent available."""
        import psutil

        memory = psutil.virtual_memory()
        available = 100 * memory.available / memory.total
        verdict = good if available >= self.available_floor else bad
        say = f"{available:.0f} % of memory is available ({memory.available >> 20:,} of {memory.total >> 20:,} MiB)"
        return verdict(say, value=available, limit=self.available_floor)
