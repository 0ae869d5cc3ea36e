"""When a server is not fenced by a restart: it would lose rows, not come up, follow another, or is not ours to restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actions.stop_writes import StopWrites
from agent.action import CannotReach, InProgress
from agent.schema import Ttl
from agent.systems.postgres import Postgres
from agent.systems.postgres_granted import GRANTS
from agent.systems.postgres_host import ROOM, find, refuse_unrestartable, restart
from tests.postgres import Server, eventually, planned
from tests.systemd_box import Box

FENCE = StopWrites(ttl=Ttl(None), strength="fence")
HERE = Path(__file__).parents[2]


def refused(postgres: Postgres) -> str:
    with pytest.raises(CannotReach) as error:
        planned(postgres, FENCE)
    return str(error.value)


def test_unlogged_tables_with_rows_are_named_and_empty_ones_are_nobodys_loss(postgres_server: Server, postgres: Postgres) -> None:
    postgres_server.run("create unlogged table empty (a int)")
    planned(postgres, FENCE)
    for name in "abcdef":
        postgres_server.run(f"create unlogged table cache_{name} as select 1 as a", database="shop")
    try:
        said = refused(postgres)
        fence = postgres.make_standby("main", postgres.cluster("main"))
        (answer,) = postgres.perform([fence])
    finally:
        postgres_server.run("drop table empty")
        for name in "abcdef":
            postgres_server.run(f"drop table cache_{name}", database="shop")

    names = ", ".join(f"shop.public.cache_{name}" for name in "abcde")
    assert said == (
        f"cannot fence PostgreSQL main: unlogged and not empty, this would be lost: {names} and 1 more;"
        " ALTER TABLE … SET LOGGED, TRUNCATE them, or use strength hard"
    )
    assert str(answer.error) == said
    assert not (postgres_server.data / "standby.signal").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("primary_conninfo", "host=10.0.0.9"),
        ("restore_command", "cp /archive/%f %p"),
        ("archive_cleanup_command", "pg_archivecleanup /archive %r"),
    ],
)
def test_settings_that_a_standby_obeys_are_refused(postgres_server: Server, postgres: Postgres, name: str, value: str) -> None:
    postgres_server.run(f"alter system set {name} = '{value}'", "select pg_reload_conf()")
    eventually(lambda: postgres_server.value(f"show {name}") == value)
    try:
        said = refused(postgres)
    finally:
        postgres_server.run(f"alter system reset {name}", "select pg_reload_conf()")

    assert said.startswith(f"cannot fence PostgreSQL main: with {name} as set, a standby would obey")


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("postgresql.conf", "work_mem 4MB 5MB", "syntax error"),
        ("postgresql.conf", "max_worker_processes = 4", "max_worker_processes: setting could not be applied"),
        ("pg_hba.conf", "host all all nowhere", "pg_hba.conf, line "),
    ],
)
def test_what_a_restart_would_stumble_over_or_bring_into_force_is_refused(
    postgres_server: Server, postgres: Postgres, file: str, line: str, said: str
) -> None:
    place = postgres_server.data / file
    whole = place.read_text(encoding="utf-8")
    place.write_text(f"{whole}\n{line}\n", encoding="utf-8")
    try:
        found = refused(postgres)
    finally:
        place.write_text(whole, encoding="utf-8")

    assert "it takes a restart, and with " in found
    assert said in found


def test_with_the_least_wal_it_would_not_come_up(postgres_server: Server, postgres: Postgres) -> None:
    before = dict(postgres_server.settings)
    postgres_server.stop("fast")
    postgres_server.settings |= {"wal_level": "minimal", "max_wal_senders": 0}
    postgres_server.start()
    try:
        said = refused(postgres)
    finally:
        postgres_server.stop("fast")
        postgres_server.settings = before
        postgres_server.start()

    assert "with wal_level as set" in said


def test_a_standby_and_a_standby_to_be_are_refused(postgres_server: Server, postgres: Postgres) -> None:
    planted = postgres_server.data / "standby.signal"
    planted.touch()
    try:
        to_be = refused(postgres)
    finally:
        planted.unlink()
    standby = Server(postgres_server.programs, postgres_server)
    try:
        standby.start()
        with closing(Postgres({"main": standby.dsn})) as there:
            is_one = refused(there)
    finally:
        standby.close()

    assert f"{planted} is there, and not from here" in to_be
    assert is_one == "cannot fence PostgreSQL main: it is a standby, where nobody can write; fence the primary"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with less room than a shutdown is sure to find enough."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM // 2}", "small", str(tmp_path)], check=True, timeout=10)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True, timeout=10)


def test_without_room_for_the_checkpoint_of_a_shutdown_it_is_refused(
    postgres_server: Server, postgres: Postgres, small: Path
) -> None:
    wal = postgres_server.data / "pg_wal"
    kept = wal.rename(postgres_server.data / "pg_wal.kept")
    wal.symlink_to(small)
    try:
        with pytest.raises(CannotReach, match=r"less than 64 MiB are free in .*/pg_wal, and a shutdown would panic there"):
            refuse_unrestartable("cannot", found(postgres, postgres_server))
    finally:
        wal.unlink()
        kept.rename(wal)


def found(postgres: Postgres, server: Server) -> Any:
    return find("cannot", str(server.data), postgres.row("select pg_backend_pid() as pid").pid)


# Whose server it is --------------------------------------------------------------------------------------------------


def test_another_servers_directory_or_none_is_not_this_servers(
    postgres_server: Server, postgres: Postgres, tmp_path: Path
) -> None:
    backend = postgres.row("select pg_backend_pid() as pid").pid
    other = tmp_path / "postmaster.pid"
    other.write_text("1\n")

    assert found(postgres, postgres_server).pid == postgres_server.postmaster
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CannotReach, match=f"does not run on this host with its data in {place}; run the agent on its host"):
            find("cannot", str(place), backend)
    with pytest.raises(CannotReach, match="does not run on this host"):
        find("cannot", str(postgres_server.data), 1)


def test_what_another_service_manages_is_refused(postgres_server: Server, postgres: Postgres) -> None:
    server = replace(found(postgres, postgres_server), unit="patroni.service")

    with pytest.raises(CannotReach, match=r"it belongs to patroni\.service, which would take the restart for a failure"):
        refuse_unrestartable("cannot", server)


def agent(*command: str, dsn: str, user: str = "root") -> Any:
    """What an agent of its own says, run by this command."""
    whole = [*command, sys.executable, "-m", "tests.fencing", dsn, user]
    done = subprocess.run(whole, cwd=HERE, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_another_pid_namespace_it_is_refused(postgres_server: Server) -> None:
    said = agent("unshare", "--pid", "--fork", "--mount-proc", dsn=postgres_server.dsn)

    assert "does not run on this host with its data in" in said["refused"]


def test_as_another_user_it_is_refused(postgres_server: Server) -> None:
    said = agent(dsn=postgres_server.dsn, user="nobody")

    assert said["refused"].startswith(
        "cannot fence PostgreSQL main: this takes root (CAP_SYS_PTRACE and CAP_DAC_OVERRIDE of it), or the"
    )


@pytest.mark.parametrize("user", ["root", "postgres"])
def test_as_root_or_the_servers_own_user_it_restarts_the_server_as_it_was(postgres_server: Server, user: str) -> None:
    before = running(postgres_server)

    said = agent(dsn=postgres_server.dsn, user=user)

    assert (said["applied"], said["standby"]) == ([["in_force", ""]], [True, []])
    assert (said["lifted"], said["after"]) == ([["lifted", ""]], False)
    assert running(postgres_server) == before


def running(server: Server) -> tuple[bytes, list[bytes]]:
    place = Path(f"/proc/{server.postmaster}")
    environment = (place / "environ").read_bytes().split(b"\0")
    return (place / "cmdline").read_bytes(), sorted(one for one in environment if not one.startswith(b"PG_GRANDPARENT"))


def test_a_restart_that_takes_long_is_under_way_and_ends_without_us(postgres_server: Server, postgres: Postgres) -> None:
    up = postgres_server.value("select pg_postmaster_start_time()")
    server = found(postgres, postgres_server)
    with psycopg.connect(postgres_server.admin) as session:
        backend = session.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(InProgress, match=r"its restart takes longer than 0.2 s, and goes on"):
                restart("cannot", server, within=0.2)
        finally:
            os.kill(backend, signal.SIGCONT)

    eventually(lambda: up_since(postgres_server) > up)


def up_since(server: Server) -> Any:
    try:
        return server.value("select pg_postmaster_start_time()")
    except psycopg.OperationalError:
        return datetime.min.replace(tzinfo=UTC)


# systemd -------------------------------------------------------------------------------------------------------------

UNIT = "postgresql@15-shop.service"
BY_HAND = ["/usr/bin/pg_ctlcluster", "--skip-systemctl-redirect", "15", "shop"]


@pytest.fixture(scope="module")
def box(make_box: type[Box]) -> Iterator[Box]:
    """A cluster as Debian makes it, and a systemd that runs it or does not."""
    made = make_box()
    try:
        made.boot()
        made.run("pg_createcluster", "15", "shop", "--", "-N", "-A", "trust")
        made.run("systemctl", "start", UNIT)
        made.run("sh", "-c", f"runuser -u postgres -- psql -q -X -p {port(made)} < {GRANTS}")
        made.run("systemctl", "stop", UNIT)
        yield made
    finally:
        made.close()


@contextmanager
def started(box: Box, *how: str) -> Iterator[None]:
    box.run(*how)
    try:
        yield
    finally:
        box.run(*BY_HAND, "-m", "fast", "stop")


def port(box: Box) -> int:
    text = box.run("cat", "/etc/postgresql/15/shop/postgresql.conf")
    return next(int(line.split()[2]) for line in text.splitlines() if line.startswith("port ="))


def inside(box: Box, *command: str) -> Any:
    dsn = f"host=/var/run/postgresql port={port(box)} user=agent dbname=postgres"
    run = f"cd {HERE} && exec {' '.join(command)} {sys.executable} -m tests.fencing '{dsn}'"
    return json.loads(box.run("sh", "-c", run, within=60))


def test_systemd_restarts_what_is_its_own_and_takes_it_for_no_failure(box: Box) -> None:
    with started(box, "systemctl", "start", UNIT):
        before = box.unit(UNIT, "MainPID")

        said = inside(box)

        assert said["native"].splitlines()[1] == f"systemctl restart {UNIT}"
        assert said["touches"] == ["postgres main", "database postgres", f"unit {UNIT}"]
        assert (said["applied"], said["standby"]) == ([["in_force", ""]], [True, []])
        assert (said["lifted"], said["after"]) == ([["lifted", ""]], False)
        assert (box.unit(UNIT, "ActiveState"), box.unit(UNIT, "Result")) == ("active", "success")
        assert box.unit(UNIT, "MainPID") not in (before, "0")


def test_an_agent_that_systemd_runs_does_not_take_a_server_of_nobodys_into_its_own_service(box: Box) -> None:
    with started(box, *BY_HAND, "start"):
        said = inside(box, "systemd-run", "-q", "--wait", "--pipe", "--collect", "--unit", "agent", "-d", "--")

    assert "systemd does not run it, and a restart from here would make it a part of agent.service" in said["refused"]
