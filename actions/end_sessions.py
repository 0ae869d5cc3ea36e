"""End the PostgreSQL sessions of a role, from an address, or in a database."""

from __future__ import annotations

from typing import Annotated, ClassVar

from agent.action import CannotReach, Change, action
from agent.schema import About, Address, spoken
from agent.systems.postgres import Postgres, some
from agent.systems.postgres_evidence import PostgresEvidence


@action(impact="disruptive", mutes=("check postgres_reachable",))
class EndSessions:
    """End the PostgreSQL sessions of a role, from an address, in a database: those that fit all that is given.

    They are recorded first; what they had not committed is rolled back. They may log in again: `lock_role` prevents that.
    The agent's own and replication's are left alone.
    """

    nothing: ClassVar[str] = "no session fits"

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    role: Annotated[str, About("only sessions of this role; all roles where none is named", "shop")] = ""
    address: Annotated[
        Address | None, About("only sessions from this address or network; from everywhere where none is named", "203.0.113.7")
    ] = None
    database: Annotated[str, About("only sessions in this database; in all where none is named", "orders")] = ""

    def plan(self, postgres: Postgres, postgres_evidence: PostgresEvidence) -> list[Change]:
        """One change for the sessions that there are now, 1,000 at most, or none where there are none."""
        if not (self.role or self.address or self.database):
            raise CannotReach("cannot end sessions: whose is not said; give a role, an address or a database")
        if self.role:
            postgres.refuse_to_end(self.instance, self.role)
        found = tuple(postgres.sessions(self.instance, self.role, self.address, self.database))
        if not found:
            return []
        return [
            Change(
                describe=f"end {some(len(found), 'session')} {self._which()} on PostgreSQL {self.instance}",
                apply=postgres.end_sessions(instance=self.instance, sessions=found),
                undo=None,
                verify=postgres.sessions_ended(instance=self.instance, sessions=found),
                capture=(
                    postgres.sessions_seen(instance=self.instance, sessions=found),
                    postgres_evidence.activity(instance=self.instance),
                    postgres_evidence.settings(instance=self.instance),
                ),
                touches=(f"postgres {self.instance}", *sorted({f"role {one.role}" for one in found})),
            )
        ]

    def _which(self) -> str:
        said = [f"of role {self.role}"] if self.role else []
        said += [f"from {spoken(self.address)}"] if self.address else []
        said += [f"in database {self.database}"] if self.database else []
        return " ".join(said)
