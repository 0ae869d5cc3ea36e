"""PostgreSQL's views of its own configuration files: pg_monitor does not include them, so whoever asks says what is missing."""

from __future__ import annotations

from typing import Final, Literal

from agent.systems.postgres import Postgres

_READS: Final = {"pg_hba_file_rules": "pg_hba_file_rules()", "pg_file_settings": "pg_show_all_file_settings()"}
"""View → the function in it. Both need their grant, and both are granted per database."""


def missing_grant(postgres: Postgres, view: Literal["pg_hba_file_rules", "pg_file_settings"], instance: str) -> str:
    """Why the view cannot be asked, with the grant that mends it; empty where it can.

    Raises:
        CannotReach: as in `Postgres.rows`.
    """
    seen = postgres.row(
        """
        select session_user as role, current_database() as database,
               has_table_privilege(%s, 'select') and has_function_privilege(%s, 'execute') as may
        """,
        [view, _READS[view]],
        instance=instance,
    )
    if seen.may:
        return ""
    return (
        f"cannot ask PostgreSQL {instance}: the role {seen.role} may not read {view}; run in the database {seen.database}:"
        f' GRANT SELECT ON {view} TO "{seen.role}"; GRANT EXECUTE ON FUNCTION {_READS[view]} TO "{seen.role}"'
    )
