"""What this host cannot be without: learnt from real servers, remembered while they are silent, and never waited for long."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker as sdk
import pytest

from agent.grammar.config import Config
from agent.grammar.config_keys import DockerKeys, OpenKeys, PostgresKeys, VaultKeys
from agent.needs import MOST, Needs, Remembered
from agent.outside import systems
from agent.schema import address, spoken
from agent.systems.containers import Containers
from agent.systems.host import Host
from agent.systems.postgres import Postgres
from tests.docker_daemon import Dockerd
from tests.needs import need_root
from tests.postgres import Server, eventually
from tests.running import Running, wait_for


def needs(config: Config, postgres: Postgres | None = None, containers: Containers | None = None) -> Needs:
    return Needs(lambda: config, postgres or Postgres({}), containers or Containers())


def vault(url: str) -> VaultKeys:
    return VaultKeys(url=url, role_id="agent", secret_id_file=Path("/nonexistent"))


def lines(one: Needs) -> dict[str, str]:
    return {spoken(line.network): line.why for line in one.lines()}


def test_vaults_name_is_resolved_and_its_addresses_are_life_lines_and_stay_open_alike() -> None:
    one = needs(Config(vault=vault("https://localhost:8200")))

    found, openings = lines(one), one.openings()

    assert found["127.0.0.1"] == "Vault, in agent.yaml"
    assert set(found) == {opening.network for opening in openings}
    assert {(opening.ports, opening.direction) for opening in openings} == {((8200,), "out")}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (PostgresKeys(host="192.0.2.10", user="agent"), {("192.0.2.10", 5432)}),
        (PostgresKeys(host="/var/run/postgresql", user="agent"), set()),
        (PostgresKeys(dsn="host=192.0.2.10,192.0.2.11 port=5433,5434 dbname=shop"), {("192.0.2.10", 5433), ("192.0.2.11", 5434)}),
        (PostgresKeys(dsn="postgresql://agent@[2001:db8::7]:5433/shop"), {("2001:db8::7", 5433)}),
        (PostgresKeys(dsn="host=db.invalid hostaddr=192.0.2.12 dbname=shop"), {("192.0.2.12", 5432)}),
    ],
)
def test_a_server_elsewhere_is_a_life_line_and_one_on_a_socket_of_this_host_is_none(
    keys: PostgresKeys, expected: set[tuple[str, int]]
) -> None:
    one = needs(Config(postgres={"main": keys}))

    assert {(each.network, each.ports[0]) for each in one.openings()} == expected
    assert set(lines(one)) == {host for host, _ in expected}


def test_what_stays_open_when_the_host_is_isolated_is_never_touched_either() -> None:
    one = needs(Config(keep_open={"nats": OpenKeys(address("192.0.2.20"), (4222,))}))

    assert lines(one) == {"192.0.2.20": "keep_open nats in agent.yaml"}
    assert [opening.direction for opening in one.openings()] == ["in", "out"]


def test_whoever_replicates_from_a_server_is_a_life_line(postgres_server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    reads = [
        str(postgres_server.programs / "pg_receivewal"),
        "-h",
        "127.0.0.1",
        "-p",
        str(postgres_server.port),
        "-U",
        "postgres",
    ]
    reader = subprocess.Popen(["runuser", "-u", "postgres", "--", *reads, "-D", str(tmp_path)], stderr=subprocess.DEVNULL)
    postgres = Postgres({"main": postgres_server.dsn})
    one = needs(Config(postgres={"main": PostgresKeys(host="/nowhere", user="agent")}), postgres)
    try:
        eventually(lambda: [one.openings(), lines(one)][1])

        assert lines(one) == {"127.0.0.1": "replication of PostgreSQL main"}
    finally:
        postgres.close()
        subprocess.run(["kill", *_children(reader.pid)], check=False, timeout=10)  # runuser ends with it
        reader.wait(10)


def _children(pid: int) -> list[str]:
    return [*Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_bridge_that_speaks_for_clients_of_containers_is_an_address_of_this_host(docker: Dockerd) -> None:
    docker.network("front", "10.99.7.0/24")

    own = {spoken(line.network): line.why for line in Host().lifelines()}

    assert own["10.99.7.1"].startswith("an address of this host, on br-")


def test_a_gateway_that_docker_names_is_a_life_line_also_where_it_is_no_address_of_this_host(
    docker: Dockerd, containers: Containers
) -> None:
    pool = sdk.types.IPAMPool(subnet="10.99.8.0/24", gateway="10.99.8.254")
    made = docker.api.create_network("lan", driver="bridge", ipam=sdk.types.IPAMConfig(pool_configs=[pool]))["Id"]
    try:
        found = lines(needs(Config(docker=DockerKeys(Path(docker.socket))), containers=containers))
    finally:
        docker.api.remove_network(made)

    assert found["10.99.8.254"] == "the gateway of docker's network lan, which speaks for clients of its containers"


# Slow and silent sources ----------------------------------------------------------------------------------------------------


def test_a_source_that_hangs_holds_nobody_up_and_gets_one_thread_however_often_it_is_asked() -> None:
    known, over = Remembered(), threading.Event()
    begun, before = time.monotonic(), threading.active_count()

    for _ in range(5):
        known.ask({"hangs": lambda: [over.wait(30)], "answers": lambda: ["192.0.2.1"]}, 0.05)

    assert time.monotonic() - begun < 2
    assert threading.active_count() <= before + 2
    assert known.last("answers", "!") == (("192.0.2.1",), "")
    assert known.last("hangs", "silent") == ((), "silent")
    over.set()


def test_a_name_that_does_not_resolve_any_more_keeps_its_last_addresses_and_says_so() -> None:
    known, fails = Remembered(), threading.Event()

    def resolve() -> list[str]:
        if fails.is_set():
            raise OSError("no answer")
        return ["192.0.2.1"]

    known.ask({"name": resolve}, 1)
    fails.set()
    known.ask({"name": resolve}, 1)
    silent = known.last("name", "; it does not resolve now")
    fails.clear()
    known.ask({"name": resolve}, 1)

    assert silent == (("192.0.2.1",), "; it does not resolve now")
    assert known.last("name", "; it does not resolve now") == (("192.0.2.1",), "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_with_a_bug_is_silent_and_asked_again() -> None:
    known, answers, before = Remembered(), iter([lambda: 1 / 0, lambda: ["192.0.2.1"]]), threading.active_count()

    known.ask({"odd": next(answers)}, 1)  # type: ignore[dict-item]
    first = known.last("odd", "silent")
    eventually(lambda: threading.active_count() <= before)
    known.ask({"odd": next(answers)}, 1)  # type: ignore[dict-item]

    assert first == ((), "silent")
    assert known.last("odd", "silent") == (("192.0.2.1",), "")


def test_a_late_answer_still_counts() -> None:
    known, go = Remembered(), threading.Event()
    known.ask({"late": lambda: [go.wait(10) and "192.0.2.1"]}, 0.01)

    go.set()

    eventually(lambda: known.last("late", "") == (("192.0.2.1",), ""))


def test_a_name_with_hundreds_of_addresses_is_not_believed_in_all_of_them() -> None:
    known = Remembered()

    known.ask({"many": lambda: (f"192.0.2.{at % 256}" for at in range(500))}, 1)

    assert len(known.last("many", "")[0]) == MOST


def test_what_never_resolved_is_asked_for_once_and_then_in_the_lane_alone() -> None:
    one = needs(Config(vault=vault("https://vault.invalid:8200")))
    one.lines()

    begun = time.monotonic()
    found = one.lines()

    assert found == []
    assert time.monotonic() - begun < 0.1


def test_every_system_is_there_by_its_name() -> None:
    assert isinstance(systems(Config())["needs"], Needs)


# In the agent ---------------------------------------------------------------------------------------------------------------

YAML = """
never_touch: ["198.18.0.77"]
ssh_ports: [22022]
lists: {office: ["192.0.2.0/28"]}
systems:
  vault: {url: "https://198.51.100.9:8200", role_id: agent, secret_id_file: /nonexistent}
keep_open: {nats: {address: 198.51.100.10, ports: [4222]}}
"""
POLICY = """\
policy: quiet
severity: P3
owner: nobody
when: {event: auth.ssh.failure, count: ">= 8 in 2m", by: src.ip}
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    need_root()
    with Running(tmp_path, YAML, POLICY) as made:
        yield made
    subprocess.run(["nft", "delete", "table", "inet", "containment"], check=False, timeout=10, capture_output=True)


def block(agent: Running, ip: str) -> subprocess.CompletedProcess[str]:
    return agent.contain("block", ip, "--for", "1h", "--why", "a test")


def test_an_agent_never_touches_vault_nor_what_it_keeps_open_and_says_why(agent: Running) -> None:
    first, second = block(agent, "198.51.100.9"), block(agent, "198.51.100.0/28")

    assert (first.returncode, second.returncode) == (3, 3)
    assert "198.51.100.9 is a life-line, never touched: Vault, in agent.yaml" in first.stderr
    assert "never touched" in second.stderr


def test_the_first_block_of_an_agent_comes_with_the_belt(agent: Running) -> None:
    before = _tables()

    assert block(agent, "203.0.113.9").returncode == 0

    assert "containment" not in before  # in a dry run it makes nothing
    allowed = subprocess.run(
        ["nft", "list", "set", "inet", "containment", "allow4"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    assert all(one in allowed for one in ("198.51.100.9", "198.51.100.10", "198.18.0.77"))


def test_an_agent_that_was_killed_brings_the_belt_of_today_to_the_blocks_of_yesterday(agent: Running) -> None:
    assert block(agent, "203.0.113.9").returncode == 0
    agent.kill()
    agent.config.write_text(agent.config.read_text().replace('"198.18.0.77"', '"198.18.0.77", "198.18.0.78"'))

    agent.start()

    shown = ["nft", "list", "set", "inet", "containment", "allow4"]
    wait_for(lambda: "198.18.0.78" in subprocess.run(shown, capture_output=True, text=True, check=True, timeout=10).stdout)


def _tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=10).stdout


def test_a_reload_that_names_a_life_line_lifts_what_blocks_it(agent: Running) -> None:
    assert block(agent, "203.0.113.9").returncode == 0
    agent.config.write_text(agent.config.read_text().replace('"198.18.0.77"', '"198.18.0.77", "203.0.113.0/24"'))

    assert agent.contain("reload").returncode == 0

    wait_for(lambda: not agent.in_force())
    ended = agent.ask("mitigations", ended=True)["items"]
    assert [one["stage"] for one in ended] == ["lifted"]


def test_entries_outlive_a_kill_and_end_as_they_were_to(agent: Running) -> None:
    added = agent.contain("list", "add", "never_touch", "203.0.113.9", "--for", "1h", "--why", "ours")
    assert added.returncode == 0, added.stderr

    agent.kill()
    agent.start()

    refused = block(agent, "203.0.113.9")
    assert refused.returncode == 3
    assert "take it off: contain list remove never_touch 203.0.113.9" in refused.stderr
