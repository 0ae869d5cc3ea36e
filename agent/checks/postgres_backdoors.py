"""Are there objects in a PostgreSQL database through which somebody could come back?"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Final

from agent.check import Answer, bad, check, good
from agent.schema import About
from agent.systems.postgres import Postgres

MOST: Final = 20
"""Objects that have an answer of their own."""


@check
class PostgresBackdoors:
    """Nothing in the database runs with rights that its caller lacks, or takes rows elsewhere, but for what is `allowed`.

    Event triggers, untrusted languages, functions with a superuser's rights (SECURITY DEFINER), libraries that sessions load,
    extensions, publications and subscriptions. `allowed` names them as the answers do, `*` stands for anything:
    `extension pg_stat_statements`, `function audit.*`. It looks into the one database that the instance names.
    """

    instance: Annotated[str, About("the server, as agent.yaml calls it under systems: postgres", "main")] = "main"
    allowed: Annotated[
        tuple[str, ...],
        About(
            "what is meant to be there, named as answers name it, with *", '[extension pg_stat_statements, "function audit.*"]'
        ),
    ] = ()

    def ask(self, postgres: Postgres) -> list[Answer]:
        """One answer per object, at most 20; the target is the object."""
        found = postgres.rows(
            """
            select 'event trigger ' || evtname as name, evtowner::regrole::text as owner, 1 as place
            from pg_event_trigger where evtenabled <> 'D'
            union all
            select 'language ' || lanname, lanowner::regrole::text, 2 from pg_language where lanispl and not lanpltrusted
            union all
            select 'library ' || btrim(one, ' "'), 'the configuration', 3
            from pg_settings cross join unnest(string_to_array(reset_val, ',')) as one
            where name in ('shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries')
            union all
            select 'library ' || btrim(one, ' "'), coalesce(setrole::regrole::text, 'the configuration'), 3
            from pg_db_role_setting cross join unnest(setconfig) as line
                 cross join unnest(string_to_array(substr(line, strpos(line, '=') + 1), ',')) as one
            where split_part(line, '=', 1) in ('session_preload_libraries', 'local_preload_libraries')
            union all
            select 'function ' || p.oid::regprocedure::text, r.rolname, 4
            from pg_proc p join pg_roles r on r.oid = proowner join pg_namespace n on n.oid = pronamespace
            where prosecdef and rolsuper and p.oid >= 16384
                  and (nspname <> 'containment' or exists (  -- the agent's own, which only the agent may call
                      select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee <> proowner
                             and grantee is distinct from (select oid from pg_roles where rolname = session_user)))
            union all
            select 'extension ' || extname, extowner::regrole::text, 5 from pg_extension where extname <> 'plpgsql'
            union all
            select 'publication ' || pubname, pubowner::regrole::text, 6 from pg_publication
            union all
            select 'subscription ' || subname, subowner::regrole::text, 7
            from pg_subscription join pg_database d on d.oid = subdbid where datname = current_database()
            order by place, name
            """,
            instance=self.instance,
        )
        strange = [one for one in found if not self._allows(one.name)]
        if not strange:
            say = "the database holds nothing that runs with others' rights or takes rows elsewhere"
            return [good(say, value=0, limit=1, target=self.instance)]
        return [
            bad(
                f"{one.name}, of {one.owner}, is not among what is allowed: look into it, or allow it",
                value=1,
                limit=1,
                target=one.name,
            )
            for one in strange[:MOST]
        ]

    def _allows(self, name: str) -> bool:
        return name in self.allowed or any(fnmatchcase(name, pattern) for pattern in self.allowed)  # `[]` is no pattern of ours
