"""A real PostgreSQL from Debian's package: its own directory, a unix socket, a port on the session's own loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent import execute
from agent.action import Change, System
from agent.messages import Outcome
from agent.systems.postgres import Postgres
from agent.systems.postgres_evidence import PostgresEvidence
from agent.systems.postgres_granted import GRANTS
from tests.needs import need

_ports = itertools.count(15432)
"""Below the ports that the kernel lends to outgoing connections (from 32768 on): one of those can be in use."""
_WRITES = "-c default_transaction_read_only=off"


class Server:
    """One cluster with checksums. `dsn` is the agent's role (pg_monitor, no superuser), `admin` the superuser's."""

    def __init__(self, programs: Path, source: Server | None = None, **settings: Any) -> None:
        self.programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="pg-"))
        self.data = self.home / "data"
        self.port = next(_ports)
        self.settings = settings
        if os.geteuid() == 0:
            shutil.chown(self.home, "postgres")
        if source is None:
            self.call("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-k", "-N")
        else:
            self.call("pg_basebackup", "-D", self.data, "-d", source.admin, "-R", "-X", "stream", "--checkpoint=fast", "-N")

    @property
    def admin(self) -> str:
        return f"host={self.home} port={self.port} user=postgres dbname=postgres"

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=agent dbname=postgres"

    def start(self) -> None:
        wanted = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.home,
            "fsync": "off",
            "max_connections": 20,
            "max_wal_senders": 4,
            "shared_buffers": "16MB",
            "max_prepared_transactions": 4,
            **self.settings,
        }
        options = " ".join(f"-c {name}={value}" for name, value in wanted.items())
        self.call("pg_ctl", "start", "-w", "-t", "20", "-s", "-D", self.data, "-l", self.home / "log", "-o", options)

    def stop(self, how: str = "immediate") -> None:
        self.call("pg_ctl", "stop", "-w", "-t", "20", "-s", "-m", how, "-D", self.data)

    def run(self, *statements: str, database: str = "postgres") -> None:
        """As the superuser, each in a transaction of its own, which may write whatever the server's default."""
        with psycopg.connect(self.admin, dbname=database, autocommit=True, connect_timeout=5, options=_WRITES) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def grant(self, *databases: str) -> None:
        """Give the agent its role and rights, as an operator does."""
        for database in databases:
            connect = self.admin.replace("dbname=postgres", f"dbname={database}")
            self.call(
                "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", connect, "-f", "-", stdin=GRANTS.read_text(encoding="utf-8")
            )

    def value(self, query: str) -> Any:
        found = self.rows(query)
        return found[0][0] if found else None

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.admin, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()

    @property
    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            os.kill(self.postmaster, signal.SIGCONT)
            self.stop()
        shutil.rmtree(self.home)

    def call(self, program: str, *args: object, stdin: str | None = None) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_postgres, str(self.programs / program), *map(str, args)]
        done = subprocess.run(command, cwd="/", input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            log = self.home / "log"
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}")


def eventually(true: Callable[[], Any], within: float = 5) -> None:
    """Wait until it comes true; a failure where it does not in time."""
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


def met(server: Server, role: str, *before: str) -> str:
    """The code that an INSERT meets in a new session, after these statements; empty where it went through."""
    with psycopg.connect(server.dsn.replace("user=agent", f"user={role}"), autocommit=True) as session:
        try:
            for statement in (*before, "insert into written values (0)"):
                session.execute(statement.encode())
        except psycopg.Error as error:
            return error.sqlstate or "?"
    return ""


def systems_of(postgres: Postgres) -> dict[str, System]:
    """What actions on PostgreSQL need, by name."""
    return {"postgres": postgres, "postgres_evidence": PostgresEvidence(postgres)}


def planned(postgres: Postgres, action: Any) -> list[Change]:
    """What an action would change."""
    plan: list[Change] = action.plan(postgres, PostgresEvidence(postgres))
    return plan


def run(postgres: Postgres, action: Any) -> tuple[list[Change], list[Outcome]]:
    """Plan and apply an action, as the daemon does."""
    plan = planned(postgres, action)
    outcomes = execute.apply([[(f"M-{at}", one) for at, one in enumerate(plan)]], systems_of(postgres))[0]
    return plan, list(outcomes)


def take_back(postgres: Postgres, plan: list[Change]) -> list[tuple[str, str]]:
    """Undo a plan backwards: what came of each change, and its sentence."""
    jobs = [(f"M-{at}", one) for at, one in reversed(list(enumerate(plan)))]
    return [(one.result, one.say) for job in jobs for one in execute.undo([job], {"postgres": postgres})]


def release(server: Server) -> None:
    """Take away by hand whatever stop_writes may have left."""
    for gid, database in server.rows("select gid, database from pg_prepared_xacts"):
        server.run(f"rollback prepared '{gid}'", database=database)
    server.run("alter system reset default_transaction_read_only", "alter system reset lock_timeout", "select pg_reload_conf()")
    eventually(lambda: server.value("show default_transaction_read_only") == "off")


def programs() -> Path:
    return Path(need("/usr/lib/postgresql/*/bin/initdb", "postgresql-15")).parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Shared by the whole session: leave it running, and as you found it."""
    server = Server(programs())
    try:
        server.start()
        server.run("create role app login", "create database shop owner app")
        server.grant("postgres", "shop")
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Postgres]:
    """The shared server, as the agent asks it: with a connection that is kept."""
    with closing(Postgres({"main": postgres_server.dsn})) as made:
        made.keep()
        yield made


@pytest.fixture
def written(postgres_server: Server) -> Iterator[None]:
    """A table of the role app, and nothing left of a stop that a test did not end."""
    postgres_server.run("create table written (a int)", "alter table written owner to app")
    yield
    release(postgres_server)
    postgres_server.run("drop table written")
