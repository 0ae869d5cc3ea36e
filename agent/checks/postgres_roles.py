"""Has a PostgreSQL role more power than it should?"""

from __future__ import annotations

from typing import Annotated, Final

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.postgres import Postgres

MOST: Final = 20
"""Roles that have an answer of their own."""


@check
class PostgresRoles:
    """No role can do more than roles should, except those in `allowed`; `postgres`, the first superuser, always may.

    That is: superusers and whoever can become one, REPLICATION (reads the whole cluster), BYPASSRLS, CREATEROLE (grants itself
    nearly everything), and members of the roles that reach the server's files and programs or all rows.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    allowed: Annotated[tuple[str, ...], About("roles that may do more, as in [admin, replicator]")] = ()

    def ask(self, postgres: Postgres) -> list[Answer]:
        """One answer per role that can do more, at most 20; the target is the role."""
        found = postgres.rows(
            """
            select name, login, powers from (
                select rolname as name, rolcanlogin as login, rolsuper as superuser, array_to_string(
                    array_remove(array[
                        case when rolsuper then 'is a superuser' end,
                        case when rolreplication then 'has REPLICATION' end,
                        case when rolbypassrls then 'has BYPASSRLS' end,
                        case when rolcreaterole and not rolsuper then 'has CREATEROLE' end
                    ], null) || array(
                        select case when g.rolsuper then 'can become the superuser ' else 'is a member of ' end || g.rolname
                        from pg_roles g
                        where not r.rolsuper and g.oid <> r.oid and pg_has_role(r.oid, g.oid, 'member') and (g.rolsuper
                              or g.rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                                               'pg_read_all_data', 'pg_write_all_data', 'pg_create_subscription'))
                        order by g.rolname
                    ), ', ') as powers
                from pg_roles r
                where oid <> 10 and rolname not like 'pg\\_%%' and not rolname = any(%s)  -- 10 is initdb's own
            ) as each
            where powers <> '' order by not superuser, name
            """,
            [list(self.allowed)],
            instance=self.instance,
        )
        if not found:
            return [good("no role can do more than it should", value=0, limit=1, target=self.instance)]
        answers = []
        for one in found[:MOST]:
            say = f"role {one.name} {one.powers}{'' if one.login else ' (no login of its own)'}"
            answers.append(bad(f"{say}; take that away, or name it under allowed", value=1, limit=1, target=one.name))
        return answers
