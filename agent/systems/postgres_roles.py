"""PostgreSQL roles: their login taken away and their sessions ended, exactly as far as it can be given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.action import CannotReach, Holds, Protected, call, slow
from agent.systems.postgres_granted import mending
from agent.systems.postgres_reading import sqlstate
from agent.systems.postgres_sessions import PATIENCE, PostgresSessions, some

AT_ONCE: Final = 200
"""Roles in one call; that many take 30 ms."""
_TRIES: Final = 3
_IN_THE_WAY: Final = ("55P03", "XX000")
"""A transaction has changed one of them and is still open, or has just done so."""
_HARD: Final = "select 1 as one from pg_prepared_xacts where owner = session_user and gid like 'containment-%'"
_SESSIONS_OF: Final = """
    select pid, backend_start from pg_stat_activity where backend_type = 'client backend' and usename = any(%s::text[])
"""


class PostgresRoles(PostgresSessions):
    """Logins, by way of containment.lock_role, which refuses superusers, replication and the agent itself."""

    def refuse_to_lock(self, instance: str, *roles: str) -> None:
        """Nothing, for roles that may be cut off, or do not exist.

        Raises:
            Protected: one is a superuser, a role of replication, or the agent's own.
            CannotReach: as in `rows`.
        """
        found = self.rows(
            """
            select rolname, rolsuper, rolname = session_user as own from pg_roles
            where rolname = any(%s::text[]) and (rolsuper or rolreplication or rolname = session_user) order by 1
            """,
            [list(roles)],
            instance=instance,
        )
        for one in found:
            why = "the agent's own role" if one.own else "a superuser" if one.rolsuper else "a role of replication"
            raise Protected(f"cannot cut off role {one.rolname} on PostgreSQL {instance}: it is {why}")

    def _cut_off(self, instance: str, roles: Sequence[str]) -> None:
        """Take their logins and end their sessions. A thief may hold his own row (ALTER ROLE … PASSWORD, not yet committed):
        then the sessions end first.
        """
        self.refuse_to_lock(instance, *roles)
        for left in reversed(range(_TRIES)):
            try:
                self.granted(instance, "select containment.lock_role(one) from unnest(%s::text[]) as one", [list(roles)])
                break
            except CannotReach as error:
                if sqlstate(error) == "55P03" and self.rows(_HARD, instance=instance):
                    which = ", ".join(roles[:3]) + (f" and {len(roles) - 3} more" if len(roles) > 3 else "")
                    why = "stop_writes with strength hard has locked all roles; lift the hard stop first, or order this before it"
                    raise CannotReach(f"cannot take the login from {which} on PostgreSQL {instance}: {why}") from error.__cause__
                if not left or sqlstate(error) not in _IN_THE_WAY:
                    raise
                self.end(instance, _SESSIONS_OF, [list(roles)])
        self.end(instance, _SESSIONS_OF, [list(roles)])

    # For a time ---------------------------------------------------------------------------------------------------

    @call
    @slow(_TRIES * PATIENCE)
    def lock_role(self, instance: str, role: str) -> None:
        """Take the login away, note that it was taken, and end the role's sessions.

        Raises:
            Protected: as in `refuse_to_lock`.
        """
        self._cut_off(instance, [role])

    @call
    def unlock_role(self, instance: str, role: str) -> None:
        """Give the login back if it was taken here, and nobody has given it back since."""
        self.granted(instance, "select containment.unlock_role(%s)", [role])

    @call
    def role_locked(self, instance: str, role: str) -> bool | Holds:
        """Whether the login is taken, by us, and nobody is logged in as this role."""
        found = self.role(instance, role)
        if not found:
            return Holds("no", f"there is no role {role} any more")
        noted = "select 1 as one from containment.taken where kind = 'role' and id = %s"
        with mending():
            ours = bool(self.rows(noted, [found.oid], instance=instance))
        if found.rolcanlogin:
            return Holds("no", f"somebody has given role {role} its login back") if ours else False
        if not ours:
            return Holds("no", f"role {role} has no login, and it was not taken here")
        left = len(self.rows(_SESSIONS_OF, [[role]], instance=instance))
        return Holds("partly", f"role {role} cannot log in any more, and {some(left, 'session')} of it left") if left else True

    # For good -----------------------------------------------------------------------------------------------------

    @call
    @slow(_TRIES * PATIENCE)
    def end_roles(self, instance: str, roles: tuple[str, ...]) -> None:
        """Take the logins away for good and end the sessions of at most 200 roles; harmless for those that do not exist.

        Raises:
            Protected: as in `refuse_to_lock`; then none is touched.
        """
        if len(roles) > AT_ONCE:
            raise CannotReach(f"cannot end {len(roles)} roles at once on PostgreSQL {instance}: {AT_ONCE} is the most")
        self._cut_off(instance, roles)

    @call
    def roles_ended(self, instance: str, roles: tuple[str, ...]) -> bool | Holds:
        """Whether nobody is logged in as one of these roles, nor could be."""
        found = self.rows("select rolcanlogin from pg_roles where rolname = any(%s::text[])", [list(roles)], instance=instance)
        logins = sum(one.rolcanlogin for one in found)
        sessions = len(self.rows(_SESSIONS_OF, [list(roles)], instance=instance))
        if not logins and not sessions:
            return True
        if logins == len(roles):
            return False
        return Holds(
            "partly", f"{logins} of {some(len(roles), 'role')} can still log in, and {some(sessions, 'session')} of them left"
        )


NATIVE: Final = {
    "lock_role": """
ALTER ROLE {role} NOLOGIN;  -- by SELECT containment.lock_role({role_text});
SELECT containment.kick(pid, backend_start) FROM pg_stat_activity WHERE usename = {role_text};
""",
    "unlock_role": "ALTER ROLE {role} LOGIN;  -- by SELECT containment.unlock_role({role_text});",
    "role_locked": """
SELECT rolcanlogin FROM pg_roles WHERE rolname = {role_text};  -- false
SELECT count(*) FROM pg_stat_activity WHERE usename = {role_text};  -- 0
""",
    "end_roles": """
SELECT containment.lock_role(one) FROM unnest(ARRAY[{roles}]) AS one;  -- ALTER ROLE … NOLOGIN
SELECT containment.kick(pid, backend_start) FROM pg_stat_activity WHERE usename IN ({roles});
""",
    "roles_ended": """
SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname IN ({roles});  -- 0
SELECT count(*) FROM pg_stat_activity WHERE usename IN ({roles});  -- 0
""",
}
"""Each verb in SQL, for the dry run."""
