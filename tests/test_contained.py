"""What each containment is for, from the order or the finding to the end: the real agent, on the real systems."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.docker_daemon import Dockerd
from tests.network import nft, ruleset
from tests.openbao import Bao
from tests.postgres import Server, programs
from tests.running import CONTAIN, Running, wait_for

SHELF = Path(__file__).parent.parent / "policies"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of our own, with the grants that the agent ships."""
    made = Server(programs(), log_destination="jsonlog", logging_collector="on", log_filename="postgresql.log")
    try:
        made.start()
        made.run("create role app login", "create table orders (id bigserial, made timestamptz default now())")
        made.run("grant all on orders to app", "grant all on orders_id_seq to app")
        made.grant("postgres")
        yield made
    finally:
        made.close()


def agent(place: Path, yaml: str, *policies: str, mode: str = "enforce") -> Running:
    """An agent with shipped policies, and those alone."""
    made = Running(place, f"mode: {mode}\nssh_ports: [22022]\nlists: {{office: [], monitoring: []}}\n{yaml}", "")
    (made.place / "policies" / "test.yaml").unlink()
    for one in policies:
        (made.place / "policies" / one).write_text((SHELF / one).read_text())
    return made


def postgres(server: Server) -> str:
    return f"systems: {{postgres: {{main: {{dsn: '{server.dsn}'}}}}}}\n"


def may_write(server: Server, user: str = "app") -> bool:
    """Whether an ordinary application can write now, over a new connection."""
    with psycopg.connect(server.admin.replace("user=postgres", f"user={user}"), autocommit=True, connect_timeout=5) as there:
        try:
            there.execute("insert into orders default values")
        except psycopg.errors.ReadOnlySqlTransaction:
            return False
    return True


def kinds(made: Running) -> list[str]:
    told = made.contain("evidence", "show", "--json")
    return [one["kind"] for one in json.loads(told.stdout)["items"]]


def test_a_damaged_page_stops_the_writes_until_a_person_allows_them(server: Server, tmp_path: Path) -> None:
    server.run("create table damaged as select generate_series(1, 1000) as a")
    table = server.data / str(server.value("select pg_relation_filepath('damaged')"))
    server.stop("fast")
    with table.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xde\xad\xbe\xef")
    server.start()
    checks = "checks: {main-checksums: {postgres_checksums: {}, every: 1s, timeout: 1s}}\n"

    with agent(tmp_path / "agent", postgres(server) + checks, "postgres_corruption.yaml") as one:
        before = may_write(server)
        with pytest.raises(psycopg.errors.DataCorrupted):
            server.run("select sum(a) from damaged")
        wait_for(lambda: not may_write(server))
        wait_for(one.in_force)
        (incident,) = one.ask("incidents")["items"]
        files = one.contain("evidence", "files").stdout
        undone = one.contain("undo", "all", "--why", "the page is restored")
        after = may_write(server)
    server.run("drop table damaged")

    assert before
    assert incident["phase"] == "contained"
    assert "activity" in files
    assert undone.returncode == 0, undone.stderr
    assert after


def test_a_stop_of_writes_outlives_kill_nine_and_ends_in_time(server: Server, tmp_path: Path) -> None:
    one = agent(tmp_path / "agent", postgres(server)).start()
    ordered = one.contain("do", "stop_writes", "ttl=4s", "--why", "a drill", "--yes")
    stopped = not may_write(server)
    one.kill()
    still = not may_write(server)

    with one:
        wait_for(lambda: may_write(server))
        wait_for(lambda: "lifted" in kinds(one))

    assert ordered.returncode == 0, ordered.stderr
    assert stopped
    assert still


def test_a_hung_postgresql_holds_up_no_other_containment_and_no_status(server: Server, tmp_path: Path) -> None:
    with agent(tmp_path / "agent", postgres(server)) as one:
        os.kill(server.postmaster, signal.SIGSTOP)
        sessions = server_sessions(server)
        for pid in sessions:
            os.kill(pid, signal.SIGSTOP)
        try:
            stuck = subprocess.Popen(
                [*CONTAIN, "do", "stop_writes", "ttl=1h", "--why", "a drill", "--yes", "--config", str(one.config)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            begun = time.monotonic()
            blocked = one.contain("block", "203.0.113.7", "--for", "1m")
            status = one.contain("status")
            quick = time.monotonic() - begun
            _, error = stuck.communicate(timeout=60)
        finally:
            for pid in (*sessions, server.postmaster):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        one.contain("undo", "all", "--yes")

    assert blocked.returncode == 0, blocked.stderr
    assert status.returncode == 0, status.stderr
    assert quick < 8  # two commands beside a system that answers to nobody; its own deadline is ten seconds
    assert stuck.returncode == 1
    assert "cannot" in error
    assert may_write(server)


def server_sessions(server: Server) -> list[int]:
    children = Path(f"/proc/{server.postmaster}/task/{server.postmaster}/children").read_text().split()
    return [int(one) for one in children]


# Vault ---------------------------------------------------------------------------------------------------------------------


def vault(bao: Bao, place: Path) -> str:
    secret = place / "secret-id"
    secret.write_text(bao.settings().secret_id())
    secret.chmod(0o600)
    given = {"url": bao.url, "role_id": bao.role_id, "mount": "containment", "ca_file": str(bao.cert)}
    return f"systems: {{vault: {json.dumps({**given, 'secret_id_file': str(secret)})}}}\n"


def test_a_stolen_vault_credential_that_looks_around_is_cut_off_with_all_its_tokens(bao: Bao, tmp_path: Path) -> None:
    bao.user("mallory-victim")
    stolen, other = bao.login("mallory-victim"), bao.login("mallory-victim")
    sensors = f"sensors: {{vault: {{logfile: {{path: '{bao.audit}', parsers: [vault_audit]}}}}}}\n"

    with agent(tmp_path / "agent", vault(bao, tmp_path) + sensors, "vault_probing.yaml") as one:
        for number in range(6):
            bao.raw("GET", f"secret/data/team-{number}", by=stolen["client_token"])
        wait_for(lambda: not bao.works(stolen))
        wait_for(lambda: not bao.knows(other), 30)
        (incident,) = one.ask("incidents")["items"]

    assert incident["policy"] == "vault-probing"
    assert incident["target"] == stolen["entity_id"]


# Containers ----------------------------------------------------------------------------------------------------------------


def test_a_shell_in_a_container_freezes_it_with_its_evidence_kept_and_undo_gives_it_back(docker: Dockerd, tmp_path: Path) -> None:
    log = tmp_path / "falco.json"
    log.touch()
    victim = docker.run("shop")
    before = docker.attrs("shop")["NetworkSettings"]["Networks"]
    yaml = f"systems: {{docker: {{socket: '{docker.socket}'}}}}\n"
    yaml += f"sensors: {{falco: {{logfile: {{path: '{log}', parsers: [falco], from_start: true}}}}}}\n"

    with agent(tmp_path / "agent", yaml, "container_compromise.yaml") as one:
        with log.open("a") as file:
            file.write(_alert(victim[:12]) + "\n")
        wait_for(lambda: docker.attrs("shop")["State"]["Paused"])
        wait_for(lambda: one.ask("incidents")["items"][0]["phase"] == "contained")
        cut = docker.attrs("shop")["NetworkSettings"]["Networks"]
        docker.api.unpause(victim)
        wait_for(lambda: docker.attrs("shop")["State"]["Paused"])  # drift: told by docker's events, put back
        files = one.contain("evidence", "files").stdout
        undone = one.contain("undo", "all", "--why", "it was us", "--yes")
        state = docker.attrs("shop")

    assert cut == {}
    assert "attributes" in files
    assert undone.returncode == 0, undone.stderr
    assert not state["State"]["Paused"]
    assert state["NetworkSettings"]["Networks"].keys() == before.keys()


def _alert(container: str) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
    fields: dict[str, Any] = {"container.id": container, "container.name": "shop", "proc.name": "sh", "user.name": "root"}
    alert = {
        "hostname": "db1",
        "output": "A shell was spawned in a container",
        "output_fields": fields,
        "priority": "Notice",
        "rule": "Terminal shell in container",
        "source": "syscall",
        "tags": ["container", "shell"],
        "time": stamp,
    }
    return json.dumps(alert, separators=(",", ":"))


# The host --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_host() -> Iterator[None]:
    """Whatever happens, the network of this session is open again."""
    yield
    if "containment_host" in ruleset():
        nft("delete table inet containment_host")


def armed() -> bool:
    """Whether the kernel still holds the host closed."""
    listed = ["nft", "list", "set", "inet", "containment_host", "armed"]
    return "expires" in subprocess.run(listed, capture_output=True, text=True, check=True, timeout=10).stdout


@pytest.mark.usefixtures("open_host")
def test_an_isolated_host_opens_again_by_itself_when_nobody_confirms_even_with_the_agent_dead(tmp_path: Path) -> None:
    one = agent(tmp_path / "agent", "never_touch: [198.51.100.7]\n").start()
    ordered = one.contain("do", "isolate_host", "ttl=1h", "confirm=10s", "--why", "a drill", "--yes")
    closed = "containment_host" in ruleset()
    one.kill()

    before = armed()
    wait_for(lambda: not armed(), 20)

    with one:
        wait_for(lambda: "containment_host" not in ruleset())

    assert ordered.returncode == 0, ordered.stderr
    assert "contain confirm" in ordered.stderr
    assert closed
    assert before


@pytest.mark.usefixtures("open_host")
def test_a_confirmed_isolation_stays_until_it_is_undone(tmp_path: Path) -> None:
    with agent(tmp_path / "agent", "never_touch: [198.51.100.7]\n") as one:
        ordered = one.contain("do", "isolate_host", "ttl=1h", "confirm=10s", "--why", "a drill", "--yes")
        assert ordered.returncode == 0, ordered.stdout + ordered.stderr
        confirmed = one.contain("confirm", "host", "--why", "I can still get in")
        (held,) = one.in_force()
        undone = one.contain("undo", "host", "--why", "over")
        after = ruleset()

    assert confirmed.returncode == 0, confirmed.stderr
    assert held["confirm"] is None
    assert held["left"] > 3000
    assert undone.returncode == 0, undone.stderr
    assert "containment_host" not in after
