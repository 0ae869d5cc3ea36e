"""Which PostgreSQL roles belong to which leases of Vault's database engine.

A lease does not name its role. But the role's name ends in the second in which it was made, shortly before the lease, and
holds the first eight letters of the Vault role: v-<who>-<role>-<twenty random>-<Unix seconds> (OpenBao 2.7, Vault's default
template). Where there are more such roles than leases, some are somebody else's, and none is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.systems.postgres import Postgres
from agent.systems.postgres_reading import MOST_ROWS

_LEASE: Final = re.compile(r"(?P<mount>.+)/creds/(?P<role>[^/]+)/[^/]+")
_MAKING: Final = 3
"""Seconds that making a role may take before its lease is issued."""


@dataclass(frozen=True, slots=True)
class Found:
    """The roles that are surely the leases', those with open sessions first, and of how many leases none was found."""

    roles: tuple[str, ...]
    unsure: int


def is_database(lease: str) -> bool:
    """Whether a lease id, or a prefix of some, looks like the database engine's."""
    return "/creds/" in f"{lease}/"


def roles_of(postgres: Postgres, instance: str, issued: Mapping[str, float]) -> Found:
    """The roles of leases, by lease id and the Unix time of issue.

    Raises:
        CannotReach: PostgreSQL does not answer.
    """
    starts: dict[str, list[int]] = {}
    for lease, at in issued.items():
        if found := _LEASE.fullmatch(lease):
            starts.setdefault(found["role"][:8], []).append(int(at))
    roles, unsure = list[Any](), len(issued) - sum(map(len, starts.values()))
    for role, times in starts.items():
        seen = _made_in(postgres, instance, times)
        mine = [one for one in seen if _is_for(one.role, role)]
        if len(mine) > len(times) or len(seen) >= MOST_ROWS:
            mine = []
        roles += mine
        unsure += len(times) - len(mine)
    roles.sort(key=lambda one: (-one.sessions, one.role))
    return Found(tuple(one.role for one in roles), unsure)


def _is_for(name: str, role: str) -> bool:
    return re.fullmatch(rf"v-.{{0,8}}-{re.escape(role)}-[A-Za-z0-9]{{20}}-\d{{10}}", name) is not None


def _made_in(postgres: Postgres, instance: str, times: list[int]) -> list[Any]:
    """Roles that Vault made in the seconds before these, with how many sessions each has."""
    seconds = sorted({at - back for at in times for back in range(_MAKING)})
    return postgres.rows(
        """
        select r.rolname as role, (select count(*) from pg_stat_activity a where a.usesysid = r.oid) as sessions
        from pg_roles r
        where r.rolname like 'v-%%' and substring(r.rolname from '-([0-9]{10})$')::bigint = any (%s)
        order by sessions desc
        """,
        [seconds],
        instance=instance,
    )
