"""Does PostgreSQL run with settings that lose data or hide what happens?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.postgres import Postgres

_MOST: Final = 3
"""Settings that are named."""


class _Danger(NamedTuple):
    """The values of a setting that are dangerous, and why."""

    values: tuple[str, ...]
    because: str


_DANGERS: Final[Mapping[str, _Danger]] = {
    "fsync": _Danger(("off",), "a crash of the host destroys data"),
    "full_page_writes": _Danger(("off",), "a crash of the host destroys pages"),
    "zero_damaged_pages": _Danger(("on",), "damaged pages are emptied, for good"),
    "ignore_checksum_failure": _Danger(("on",), "damaged pages are read as if they were whole"),
    "ignore_invalid_pages": _Danger(("on",), "recovery passes over what is missing"),
    "allow_system_table_mods": _Danger(("on",), "superusers can rewrite the catalogues"),
    "autovacuum": _Danger(("off",), "nothing is cleaned, until transaction numbers run out"),
    "track_activities": _Danger(("off",), "sessions do not show what they do"),
    "session_replication_role": _Danger(("replica", "local"), "triggers and foreign keys do not hold"),
    "log_min_messages": _Danger(("log", "fatal", "panic"), "errors do not reach the log, corruption among them"),
}


@check
class PostgresSettings:
    """No setting is in force that loses data or hides what happens: for the server, or for one role or database.

    `allowed` names settings that are meant to be so.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    allowed: Annotated[tuple[str, ...], About("settings that are meant to be so, as in [synchronous_commit]")] = ()

    def __post_init__(self) -> None:
        if unheard := [name for name in self.allowed if name not in _DANGERS]:
            raise ValueError(f"allowed names {', '.join(unheard)}; this check looks at {', '.join(_DANGERS)}")

    def ask(self, postgres: Postgres) -> Answer:
        """The value is the number of dangerous settings."""
        seen = postgres.rows(
            """
            select name, reset_val as value, '' as only_for from pg_settings where name = any(%s)
            union all
            select split_part(one, '=', 1), split_part(one, '=', 2),
                   concat_ws(' and ', 'role ' || rolname, 'database ' || datname)
            from pg_db_role_setting cross join unnest(setconfig) as one
                 left join pg_roles r on r.oid = setrole left join pg_database d on d.oid = setdatabase
            where split_part(one, '=', 1) = any(%s)
            """,
            [list(_DANGERS), list(_DANGERS)],
            instance=self.instance,
        )
        wrong = [one for one in seen if one.name not in self.allowed and _is_dangerous(one)]
        if not wrong:
            return good("no setting loses data or hides what happens", value=0, limit=1, target=self.instance)
        more = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        return bad(f"{'; '.join(map(_told, wrong[:_MOST]))}{more}", value=len(wrong), limit=1, target=self.instance)


def _is_dangerous(seen: Any) -> bool:
    return _plain(seen.value) in _DANGERS[seen.name].values


def _plain(value: str) -> str:
    """`on` and `off` for all that PostgreSQL takes for them; ALTER ROLE keeps what was written."""
    written = value.lower()
    if written == "1" or (written and ("true".startswith(written) or "yes".startswith(written))):
        return "on"
    if written == "0" or (written and ("false".startswith(written) or "no".startswith(written))) or written == "of":
        return "off"
    return written


def _told(seen: Any) -> str:
    only = f" for {seen.only_for}" if seen.only_for else ""
    return f"{seen.name} is {seen.value}{only}, so that {_DANGERS[seen.name].because}"
