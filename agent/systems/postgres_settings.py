"""Two settings of a PostgreSQL server, changed by compare-and-set: what somebody else has changed since is left as it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent.action import CannotReach, Holds, call
from agent.systems.postgres_granted import mending
from agent.systems.postgres_reading import execute
from agent.systems.postgres_roles import PostgresRoles

RELOAD: Final = 2.0
"""Seconds in which a server that is well reads its settings anew; 2 ms are usual."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What we write to postgresql.auto.conf, and how pg_settings spells it once it is in force."""

    name: str
    ours: str
    in_force: str


READ_ONLY: Final = Setting("default_transaction_read_only", "on", "on")
LOCK_TIMEOUT: Final = Setting("lock_timeout", "500ms", "500")


class PostgresSettings(PostgresRoles):
    """ALTER SYSTEM, as far as the grants allow it, and whether the server has taken it up."""

    def written(self, instance: str, setting: Setting) -> str:
        """The value in postgresql.auto.conf; empty where it holds none.

        Raises:
            CannotReach: as in `rows`, or the grants are missing.
        """
        with mending():
            found = self.rows(
                """
                select setting from pg_file_settings where name = %s and sourcefile like '%%/postgresql.auto.conf' order by seqno
                """,
                [setting.name],
                instance=instance,
            )
        return str(found[-1].setting) if found else ""

    def in_force(self, instance: str, setting: Setting) -> str:
        """What a new session gets. The kept one knows it without a login: what it has set for itself is not counted."""
        return str(self.row("select reset_val from pg_settings where name = %s", [setting.name], instance=instance).reset_val)

    def refuse_unreadable(self, instance: str, setting: Setting) -> None:
        """Nothing, where a change of the setting would come into force.

        Raises:
            CannotReach: the server could not read its files, or has the setting on its command line, which wins.
        """
        from psycopg.sql import SQL, Identifier

        cannot = f"cannot change {setting.name} on PostgreSQL {instance}"
        with mending():
            broken = self.rows(
                "select sourcefile, sourceline, error from pg_file_settings where error is not null and name is null",
                instance=instance,
            )
        if broken:
            where = f"{broken[0].sourcefile}, line {broken[0].sourceline}: {broken[0].error}"
            raise CannotReach(f"{cannot}: with the error in {where}, the server would ignore it; mend that line")
        with self.session(instance) as connection:  # rolled back, and the session's own value is there again
            execute(instance, connection, "begin")
            execute(instance, connection, SQL("reset {}").format(Identifier(setting.name)))
            (found,) = execute(instance, connection, "select source from pg_settings where name = %s", [setting.name])
        if found.source == "command line":
            raise CannotReach(f"{cannot}: it stands on the server's command line, which wins; restart it without")

    def write(self, instance: str, setting: Setting, value: str) -> datetime:
        """Write a value to postgresql.auto.conf (empty: take it out), have it read, and see that it was; the server's time then.

        Raises:
            CannotReach: refused; or not read, as by a stopped postmaster or with an error in a file. It stands there then.
        """
        from psycopg.sql import SQL, Identifier, Literal

        name = Identifier(setting.name)
        one = SQL("alter system set {} = {}").format(name, Literal(value)) if value else SQL("alter system reset {}").format(name)
        with mending():
            before = self.row("select pg_conf_load_time() as read", instance=instance).read
            self.rows(one, instance=instance)
            self.rows("select pg_reload_conf()", instance=instance)
        until = time.monotonic() + RELOAD
        while time.monotonic() < until:
            now = self.row("select pg_conf_load_time() as read, clock_timestamp() as time", instance=instance)
            if now.read != before and (value != setting.ours or self.in_force(instance, setting) == setting.in_force):
                read: datetime = now.time
                return read
            time.sleep(0.005)
        raise CannotReach(
            f"cannot change {setting.name} on PostgreSQL {instance}: it is written, and the server has not read it in"
            f" {RELOAD:g} s; is its postmaster stopped (kill -CONT), or is there an error in pg_file_settings?"
        )

    def take(self, instance: str, setting: Setting, before: str) -> bool:
        """Write our value and have it read; False where it is in force already.

        Raises:
            CannotReach: as in `write`; or somebody has changed the setting since it was planned for, and is not overruled.
        """
        stands = self.stands(instance, setting, before)
        if stands is True:
            return False
        if isinstance(stands, Holds) and stands.how == "no":
            raise CannotReach(f"cannot change {setting.name} on PostgreSQL {instance}: {stands.say}; plan it anew")
        self.write(instance, setting, setting.ours)
        return True

    def put_back(self, instance: str, setting: Setting, before: str) -> None:
        """Write what stood there before, unless somebody has changed it since.

        Raises:
            CannotReach: as in `write`.
        """
        written = self.written(instance, setting)
        unread = written == before and self.in_force(instance, setting) == setting.in_force
        if written == setting.ours or unread:
            self.write(instance, setting, before)

    def stands(self, instance: str, setting: Setting, before: str) -> bool | Holds:
        """Whether our value is written and in force; said where somebody else has changed it."""
        written, in_force = self.written(instance, setting), self.in_force(instance, setting)
        if written == setting.ours:
            if in_force == setting.in_force:
                return True
            return Holds("partly", f"{setting.name} = {written} is written, and the server has not read it: it has {in_force}")
        if written != before:
            return Holds("no", f"somebody has changed {setting.name} in postgresql.auto.conf to {written or 'nothing'}")
        if in_force == setting.in_force and not self._stands_elsewhere(instance, setting):
            return Holds("partly", f"{setting.name} is as before in postgresql.auto.conf, and {in_force} is still in force")
        return False

    def _stands_elsewhere(self, instance: str, setting: Setting) -> bool:
        """Whether another file has the setting: somebody may have written the same there."""
        others = "select 1 as one from pg_file_settings where name = %s and sourcefile not like '%%/postgresql.auto.conf'"
        return bool(self.rows(others, [setting.name], instance=instance))

    # How long writers wait for a lock -----------------------------------------------------------------------------

    @call
    def limit_lock_waits(self, instance: str, before: str) -> None:
        """Let nobody wait longer than 500 ms for a lock, so that writers do not pile up and take every slot."""
        self.take(instance, LOCK_TIMEOUT, before)

    @call
    def unlimit_lock_waits(self, instance: str, before: str) -> None:
        """Give lock_timeout its former value, unless somebody has changed it since."""
        self.put_back(instance, LOCK_TIMEOUT, before)

    @call
    def lock_waits_limited(self, instance: str, before: str) -> bool | Holds:
        """Whether our lock_timeout is in force."""
        return self.stands(instance, LOCK_TIMEOUT, before)


NATIVE: Final = {
    "limit_lock_waits": "ALTER SYSTEM SET lock_timeout = '500ms'; SELECT pg_reload_conf();",
    "unlimit_lock_waits": "ALTER SYSTEM {before_set} lock_timeout{before_value}; SELECT pg_reload_conf();  -- if still ours",
    "lock_waits_limited": "SELECT reset_val FROM pg_settings WHERE name = 'lock_timeout';  -- 500",
}
"""Each verb in SQL, for the dry run."""
