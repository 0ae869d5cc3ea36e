"""Take the login away from a PostgreSQL role, and end its sessions."""

from __future__ import annotations

from typing import Annotated

from agent.action import CannotReach, Change, action
from agent.schema import About, Ttl, spell
from agent.systems.postgres import Postgres, some
from agent.systems.postgres_evidence import PostgresEvidence


@action(impact="disruptive", mutes=("postgres.auth.failure",))
class LockRole:
    """Take the login away from a PostgreSQL role and end its sessions, as for a stolen password.

    Superusers, roles of replication and the agent's own are refused.
    """

    role: Annotated[str, About("the role that may not log in any more", "shop")]
    ttl: Ttl
    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"

    def plan(self, postgres: Postgres, postgres_evidence: PostgresEvidence) -> list[Change]:
        """One change; none for a role that has neither login nor session."""
        postgres.refuse_to_lock(self.instance, self.role)
        found = postgres.role(self.instance, self.role)
        if not found:
            raise CannotReach(f"cannot lock role {self.role}: PostgreSQL {self.instance} has no such role")
        sessions = tuple(postgres.sessions(self.instance, self.role))
        where = {"instance": self.instance}
        ended = f"end {some(len(sessions), 'session')} of {self.role} on PostgreSQL {self.instance}"
        seen = (postgres.sessions_seen(**where, sessions=sessions),) if sessions else ()
        capture = (*seen, postgres_evidence.activity(**where), postgres_evidence.settings(**where))
        touches = (f"postgres {self.instance}", f"role {self.role}")
        if found.rolcanlogin:
            lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
            return [
                Change(
                    describe=f"let nobody log in as {self.role} {lasting}, and {ended}",
                    apply=postgres.lock_role(**where, role=self.role),
                    undo=postgres.unlock_role(**where, role=self.role),
                    verify=postgres.role_locked(**where, role=self.role),
                    capture=capture,
                    touches=touches,
                )
            ]
        if not sessions:
            return []
        return [
            Change(
                describe=f"{ended}; the role has no login",
                apply=postgres.end_sessions(**where, sessions=sessions),
                undo=None,
                verify=postgres.sessions_ended(**where, sessions=sessions),
                capture=capture,
                touches=touches,
            )
        ]
