"""A real PostgreSQL from Debian's package: its own directory, a unix socket, a port on the session's own loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.systems.postgres import Postgres
from tests.needs import need

_ports = itertools.count(15432)
"""Below the ports that the kernel lends to outgoing connections (from 32768 on): one of those can be in use."""


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

    def run(self, *statements: str) -> None:
        """As the superuser, each in a transaction of its own."""
        with psycopg.connect(self.admin, autocommit=True, connect_timeout=5) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def value(self, query: str) -> Any:
        with psycopg.connect(self.admin, autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(query.encode()).fetchone()
        return found and found[0]

    @property
    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            os.kill(self.postmaster, signal.SIGCONT)
            self.stop()
        shutil.rmtree(self.home)

    def call(self, program: str, *args: object) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_postgres, str(self.programs / program), *map(str, args)]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            log = self.home / "log"
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}")


def programs() -> Path:
    return Path(need("/usr/lib/postgresql/*/bin/initdb", "postgresql-15")).parent


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Shared by the whole session: leave it running, and as you found it."""
    server = Server(programs())
    try:
        server.start()
        server.run(
            "create role agent login connection limit 8",
            "grant pg_monitor to agent",
            "create role app login",
            "create database shop owner app",
        )
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Postgres]:
    """The shared server, as the agent asks it: with a connection that is kept."""
    with closing(Postgres({"main": postgres_server.dsn})) as made:
        made.keep()
        yield made
