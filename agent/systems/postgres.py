"""PostgreSQL servers, by name: what they say about themselves, and what the agent can stop there.

Watching needs a role with pg_monitor; everything else needs agent/grants/postgres.sql, and no superuser.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from agent.action import Call, CannotReach
from agent.systems import (
    postgres_fence,
    postgres_roles,
    postgres_sessions,
    postgres_settings,
    postgres_standby,
    postgres_writes,
)
from agent.systems.postgres_fit import Cluster
from agent.systems.postgres_granted import MEND
from agent.systems.postgres_reading import NotAdmitted
from agent.systems.postgres_roles import AT_ONCE as ROLES_AT_ONCE
from agent.systems.postgres_sessions import Session, some
from agent.systems.postgres_settings import LOCK_TIMEOUT, READ_ONLY
from agent.systems.postgres_standby import PostgresStandby

__all__ = ["LOCK_TIMEOUT", "READ_ONLY", "ROLES_AT_ONCE", "NotAdmitted", "Postgres", "Session", "some"]
_NATIVE: Final[dict[str, str]] = (
    postgres_sessions.NATIVE
    | postgres_roles.NATIVE
    | postgres_settings.NATIVE
    | postgres_writes.NATIVE
    | postgres_fence.NATIVE
    | postgres_standby.NATIVE
)
_MOST_SHOWN: Final = 5


class Postgres(PostgresStandby):
    """The PostgreSQL servers of agent.yaml: name → connection string or URL."""

    def lacks(self, instance: str) -> list[str]:
        """What of agent/grants/postgres.sql is missing, and what strength hard needs besides; a sentence with its mend each.

        Raises:
            CannotReach: as in `rows`; without pg_monitor for one.
        """
        said = [f"{one}; {MEND}" for one in self.ungranted(instance)]
        for database in self.databases(instance):
            ground = self.ground(instance, database)
            said += [f"database {database} cannot be fenced: {ground.lacks}"] if ground.lacks else []
        (has,) = self.rows("select current_setting('max_prepared_transactions')::int as prepared", instance=instance)
        if has.prepared < len(self.databases(instance)):
            needs = f"{len(self.databases(instance))}, one for each database"
            said.append(
                f"max_prepared_transactions is {has.prepared}, and stop_writes with strength hard needs {needs}; set it, restart"
            )
        return said

    def refuse_unable(self, instance: str) -> None:
        """Nothing, where writes can be stopped.

        Raises:
            CannotReach: the grants are missing, or a change of settings would not come into force.
        """
        if lacking := self.ungranted(instance):
            raise CannotReach(f"cannot stop writes on PostgreSQL {instance}: {'; '.join(lacking)}; {MEND}")
        self.refuse_unreadable(instance, READ_ONLY)

    def native(self, one: Call) -> str:
        """The SQL of a call, with its values in place; of a fence by restart, the commands."""
        words = {part: said for name, value in one.args.items() for part, said in _words(name, value).items()}
        return _NATIVE[one.verb].format(**words).strip()


def _words(name: str, value: Any) -> dict[str, str]:
    """A value as SQL writes it: `role` as a name, `role_text` as a text; `before` as what ALTER SYSTEM says."""
    if name == "before":
        return {"before_set": "SET" if value else "RESET", "before_value": f" = {_text(value)}" if value else ""}
    if isinstance(value, Cluster):
        return {"mark": value.mark, "signal": shlex.quote(value.signal), "restart": value.restart}
    if isinstance(value, str):
        return {
            name: '"' + value.replace('"', '""') + '"',
            f"{name}_text": _text(value),
            f"{name}_bare": value.replace("'", "''"),
        }
    if isinstance(value, tuple):
        shown = ", ".join(
            f"({one.pid}, {_text(one.begun)})" if isinstance(one, Session) else _text(one) for one in value[:_MOST_SHOWN]
        )
        return {name: shown + (f" /* and {len(value) - _MOST_SHOWN} more */" if len(value) > _MOST_SHOWN else "")}
    return {name: str(value)}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
