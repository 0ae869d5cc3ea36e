"""Do containers pass their own health checks?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good, unknown
from agent.schema import About, Duration
from agent.systems.container_health import Health
from agent.systems.containers import Containers


@check
class ContainerHealth:
    """Containers pass the health checks that their images or `docker run --health-cmd` gave them.

    With `names`, these containers run and pass theirs, if they have one; without, all that have one and run.
    """

    names: Annotated[tuple[str, ...], About("containers by name, as in [web, db]; all where none is named")] = ()
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

    def ask(self, containers: Containers) -> Answer | list[Answer]:
        """One answer per container; the value is how many times in a row its check has failed."""
        found = containers.healths(self.names, self.within)
        return [_judge(one) for one in found] or good("no container that runs has a health check")


def _judge(one: Health) -> Answer:
    if one.state in ("healthy", "none"):
        say = f"{one.name} runs, and has no health check" if one.state == "none" else f"{one.name} is healthy"
        return good(say, value=0, target=one.name)
    if one.state == "starting":
        return unknown(f"{one.name} is starting, and its health check has not decided yet", target=one.name)
    if one.state == "absent":
        return bad(f"{one.name} does not exist on this host", target=one.name)
    if one.state != "unhealthy":
        return bad(f"{one.name} does not run: it is {one.state}", target=one.name)
    said = f": {one.said}" if one.said else ""
    return bad(f"{one.name} is unhealthy, {one.failures} failures in a row{said}", value=one.failures, target=one.name)
