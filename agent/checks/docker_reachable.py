"""Does docker answer?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.action import CannotReach
from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.container_api import NotAllowed
from agent.systems.containers import Containers


@check
class DockerReachable:
    """Docker answers on its socket. One that hangs still lists nothing, stops nothing, and starts nothing again."""

    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=2)

    def ask(self, containers: Containers) -> Answer:
        """The value is the seconds that the answer took."""
        limit = self.within.total_seconds()
        try:
            took = containers.ping(self.within)
        except NotAllowed:
            raise
        except CannotReach as error:
            return bad(str(error), limit=limit, target="docker")
        return good(f"docker answered within {rough(took)}", value=took.total_seconds(), limit=limit, target="docker")
