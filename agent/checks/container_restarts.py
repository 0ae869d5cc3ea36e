"""Do containers keep running, or does docker start them again and again?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.container_health import Restarts
from agent.systems.containers import Containers


@check
class ContainerRestarts:
    """Docker has not had to start containers again `restarts_limit` times in `restarts_span`: these, or all.

    A container that crashes and comes back looks as if it ran most of the time.
    """

    names: Annotated[tuple[str, ...], About("containers by name, as in [web, db]; all where none is named")] = ()
    restarts_limit: Annotated[int, About("so many restarts in `restarts_span` are bad", "3")] = 3
    restarts_span: Annotated[Duration, About("the time in which restarts are counted, as in 10m")] = timedelta(minutes=10)
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

    def ask(self, containers: Containers) -> Answer | list[Answer]:
        """One answer per container; the value is its restarts."""
        found = containers.restarts(self.names, self.restarts_span, self.within)
        return [self._judge(one) for one in found] or good("there are no containers")

    def _judge(self, one: Restarts) -> Answer:
        if one.state == "absent":
            return bad(f"{one.name} does not exist on this host", target=one.name)
        verdict, say = good, f"{one.name} is {one.state}"
        if one.count >= self.restarts_limit:
            verdict, say = bad, f"{one.name} keeps crashing: {one.count} restarts in {rough(self.restarts_span)}"
        return verdict(say, value=one.count, limit=self.restarts_limit, target=one.name)
