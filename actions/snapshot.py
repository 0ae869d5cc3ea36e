"""Keep what a host, a PostgreSQL server or a container is doing now as evidence, before anybody changes it."""

from __future__ import annotations

from typing import Annotated, Literal

from agent.action import Call, CannotReach, Change, action
from agent.schema import About
from agent.systems.containers import Containers
from agent.systems.forensics import Forensics, everything
from agent.systems.postgres_evidence import PostgresEvidence


@action(impact="mild")
class Snapshot:
    """Keep what a host, a PostgreSQL server or a container is doing now, and change nothing.

    host: processes, sockets, routes, the ruleset, logins. postgres: sessions, locks, counters and configuration of `instance`.
    container: sockets, processes, what docker knows, its log and changed files. See it: `contain evidence files`.
    """

    what: Annotated[
        Literal["host", "postgres", "container"], About("what is looked at: the host, a PostgreSQL server, a container", "host")
    ] = "host"
    instance: Annotated[str, About("for postgres: the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    container: Annotated[str, About("for container: its name or id", "web")] = ""

    def plan(self, forensics: Forensics, postgres_evidence: PostgresEvidence, containers: Containers) -> list[Change]:
        """One change, whose captures are all it does; there is always something to see."""
        if (self.what == "container") != bool(self.container):
            mend = "write what=container container=web, or leave both out for the host"
            raise CannotReach(f"cannot take a snapshot: `container` goes with `what: container`, and only with that; {mend}")
        said, capture = self._of(forensics, postgres_evidence, containers)
        return [
            Change(
                describe=f"keep {said} as evidence",
                apply=forensics.look(),
                undo=None,
                verify=forensics.can_look(),
                capture=capture,
            )
        ]

    def _of(
        self, forensics: Forensics, postgres_evidence: PostgresEvidence, containers: Containers
    ) -> tuple[str, tuple[Call, ...]]:
        match self.what:
            case "host":
                return "what processes, sockets, routes, the ruleset and logins are now", everything(forensics)
            case "postgres":
                seen = (postgres_evidence.activity(instance=self.instance), postgres_evidence.settings(instance=self.instance))
                return f"the sessions, locks and configuration of PostgreSQL {self.instance}", seen
            case "container":
                together = containers.together(self.container)
                return f"what {together.group} does now", containers.everything(together)
