"""Is more work waiting than the processors can do?"""

from __future__ import annotations

import os
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About


@check
class Load:
    """The load of the last minute, per processor, stays below `per_core_limit`."""

    per_core_limit: Annotated[float, About("bad above this load of the last minute for each processor", "4")] = 4

    def ask(self) -> Answer:
        """The value is the load per processor."""
        cores = os.cpu_count() or 1
        load = os.getloadavg()[0] / cores
        say = f"the load is {load:.1f} per processor ({cores} of them)"
        return (good if load < self.per_core_limit else bad)(say, value=load, limit=self.per_core_limit)
