"""A PostgreSQL server under load: pgbench, and writers that connect again for ever and count what they committed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from tests.postgres import Server, eventually, release


class Load:
    """pgbench with 8 clients, and writers that connect again for ever: each counts what it committed."""

    def __init__(self, server: Server) -> None:
        self.server, self.ended = server, threading.Event()
        self.threads: list[threading.Thread] = []

    def writer(self, name: str, *first: str, role: str = "app", wait: float = 0.02) -> None:
        thread = threading.Thread(target=self._write, args=(name, first, role, wait), daemon=True)
        self.threads.append(thread)
        thread.start()

    def _write(self, name: str, first: tuple[str, ...], role: str, wait: float) -> None:
        while not self.ended.is_set():
            with (
                suppress(psycopg.Error),
                psycopg.connect(self.server.dsn.replace("user=agent", f"user={role}"), autocommit=True) as session,
            ):
                for statement in first:
                    session.execute(statement.encode())
                while not self.ended.wait(wait):
                    session.execute(f"insert into load values ('{name}'); select pg_sleep(0.03)".encode())  # one transaction
            self.ended.wait(0.02)

    def counts(self) -> dict[str, int]:
        return dict(self.server.rows("select who, count(*) from load group by 1"))

    def balance(self) -> int:
        return int(self.server.value("select count(*) from pgbench_history"))


@contextmanager
def loaded(server: Server) -> Iterator[Load]:
    """The load, from its first commits on; nothing of it is left after."""
    server.run("create table load (who text)", "alter table load owner to app", "grant all on load to public")
    server.run("create role boss superuser login")
    server.call("pgbench", "-q", "-i", "-s", "1", "-h", "127.0.0.1", "-p", server.port, "-U", "postgres", "postgres")
    server.run("grant all on pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history to app")
    bench = [server.programs / "pgbench", "-n", "-c", 8, "-T", 60, "-h", "127.0.0.1", "-p", server.port, "-U", "app", "postgres"]
    made = Load(server)
    with subprocess.Popen([*map(str, bench)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            made.writer("honest")
            eventually(lambda: made.balance() > 20 and made.counts())
            yield made
        finally:
            made.ended.set()
            running.terminate()
            for thread in made.threads:
                thread.join(10)
    release(server)
    server.run("drop table load, pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history", "drop role boss")
