"""Isolating a container on a real dockerd: what every action promises, what is cut, and who is meant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from actions.isolate_container import IsolateContainer
from agent.action import CannotReach, Protected
from agent.systems.container_api import WITHIN
from agent.systems.containers import Containers
from tests.contract import ActionContract, Systems
from tests.docker_daemon import Dockerd, tables
from tests.isolating import HOUR, apply, everything, heal, results, server, soon, undo, web
from tests.network import Machine, ip


class TestIsolateAServerOnTwoNetworks(ActionContract):
    action = IsolateContainer(container="web", ttl=HOUR)
    docker: Dockerd

    @pytest.fixture
    def systems(self, docker: Dockerd, containers: Containers) -> Systems:
        self.docker = docker
        web(docker)
        return {"containers": containers}

    def world(self, systems: Systems) -> object:
        return everything(self.docker, "web")


# What is cut ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def internet(dockerd: Dockerd) -> Iterator[Machine]:
    """A machine at 198.51.100.1 beyond the host, which has 198.51.100.2 there."""
    name, outer, inner = f"contain-{os.getpid()}-net", f"i{os.getpid()}", f"i{os.getpid()}i"
    with dockerd.entered():
        ip("netns", "add", name)
        try:
            ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            for command, device, address in (((), outer, 2), (("-n", name), inner, 1)):
                ip(*command, "addr", "add", f"198.51.100.{address}/24", "dev", device)
                ip(*command, "link", "set", device, "up")
            machine = Machine(name)
            machine.listen(9000)
            yield machine
            machine.close()
            ip("link", "delete", outer)
        finally:
            ip("netns", "delete", name)


def test_every_open_connection_is_cut_stays_cut_and_is_dead_afterwards(
    docker: Dockerd, containers: Containers, internet: Machine, host: Machine
) -> None:
    web(docker)
    docker.run("peer", networking_config=docker.place("shop"))
    with docker.entered("peer"):
        peer = Machine()
    with docker.entered("web"):
        inside = Machine()
    held = [
        (internet, internet.hold("198.51.100.2", 8080)),
        (host, host.hold("10.91.1.9", 80)),
        (host, host.hold("127.0.0.1", 8080)),
        (peer, peer.hold("10.91.1.9", 80)),
        (inside, inside.hold("198.51.100.1", 9000)),
    ]
    before = [machine.talks(one) for machine, one in held]
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)

    apply(plan[:1], containers)
    cut_at_once = [machine.talks(one) for machine, one in held]
    outcomes = apply(plan[1:], containers)
    isolated = [internet.connects("198.51.100.2", 8080), peer.connects("10.91.1.9", 80), inside.connects("198.51.100.1", 9000)]
    releases = undo(plan, containers)
    after = [machine.talks(one) for machine, one in held]
    again = [internet.connects("198.51.100.2", 8080), peer.connects("10.91.1.9", 80), inside.connects("198.51.100.1", 9000)]
    peer.close()
    inside.close()

    assert before == [True] * 5
    assert cut_at_once == [False] * 5
    assert results(outcomes) == {"in_force"}
    assert isolated == [False] * 3
    assert results(releases) == {"lifted"}
    assert after == [False] * 5
    assert again == [True] * 3


def test_docker_resolves_no_names_for_it_any_more(docker: Dockerd, containers: Containers, resolver: None) -> None:
    server(docker)
    ask = ("busybox", "nslookup", "-type=a", "stolen.example", "127.0.0.11")
    plan = IsolateContainer(container="web", ttl=HOUR, keep_running=True).plan(containers)
    (silence,) = [one for one in plan if one.apply.verb == "silence"]
    others = [one for one in plan if one is not silence]

    apply(others, containers)
    leaking = docker.inside("web", *ask).stdout
    apply([silence], containers)
    silent = docker.inside("web", *ask, within=1).stdout

    assert "192.0.2.53" in leaking  # although it has no network left
    assert "192.0.2.53" not in silent


def test_what_keeps_running_is_cut_off_and_not_frozen(docker: Dockerd, containers: Containers, host: Machine) -> None:
    server(docker)
    action = IsolateContainer(container="web", ttl=HOUR, keep_running=True)
    plan = action.plan(containers)

    outcomes = apply(plan, containers)

    assert results(outcomes) == {"in_force"}
    assert action.plan(containers) == []
    assert docker.do("web", "echo", "alive") == "alive\n"
    assert not host.connects("10.91.1.9", 80)
    undo(plan, containers)
    assert soon(lambda: host.connects("10.91.1.9", 80))


# Who is meant -----------------------------------------------------------------------------------------------------------------


def test_all_that_share_its_network_are_isolated_whoever_is_named(docker: Dockerd, containers: Containers, host: Machine) -> None:
    server(docker)
    docker.run("side", "nc", "-ll", "-p", "81", "-e", "cat", host={"network_mode": "container:web"})
    docker.run("sleeper", host={"network_mode": "container:web"})
    docker.api.pause("sleeper")
    plan = IsolateContainer(container="side", ttl=HOUR).plan(containers)

    outcomes = apply(plan, containers)

    assert results(outcomes) == {"in_force"}
    assert set(plan[0].touches) == {"container web", "container side", "container sleeper"}
    assert IsolateContainer(container="web", ttl=HOUR).plan(containers) == []
    assert [docker.attrs(one)["State"]["Paused"] for one in ("web", "side", "sleeper")] == [True] * 3
    undo(plan, containers)
    assert [docker.attrs(one)["State"]["Paused"] for one in ("web", "side", "sleeper")] == [False, False, True]
    assert soon(lambda: host.connects("10.91.1.9", 80) and host.connects("10.91.1.9", 81))


def test_on_the_hosts_network_it_alone_is_cut_off(
    docker: Dockerd, containers: Containers, internet: Machine, host: Machine
) -> None:
    docker.run("proxy", "nc", "-ll", "-p", "8099", "-e", "cat", host={"network_mode": "host"})
    host.listen(7000)
    assert soon(lambda: internet.connects("198.51.100.2", 8099))
    held = internet.hold("198.51.100.2", 8099)
    plan = IsolateContainer(container="proxy", ttl=HOUR).plan(containers)

    outcomes = apply(plan, containers)
    during = [internet.connects("198.51.100.2", 8099), host.connects("127.0.0.1", 8099), internet.connects("198.51.100.2", 7000)]
    docker.api.restart("proxy", timeout=0)
    restarted = [containers.holds(one.verify) for one in plan]
    healed = heal(plan, containers)
    undo(plan, containers)

    assert [one.apply.verb for one in plan] == ["cut", "pause"]
    assert results(outcomes) == {"in_force"}
    assert during == [False, False, True]
    assert restarted == [False, False]
    assert set(healed) == {"in_force"}
    assert not internet.talks(held)
    assert internet.connects("198.51.100.2", 8099)
    assert tables() == []


def test_on_the_hosts_network_without_cgroup_v2_it_is_frozen_and_that_counts_as_a_part(
    docker: Dockerd, containers: Containers
) -> None:
    if not Path("/sys/fs/cgroup/unified").exists():
        pytest.skip("this machine has cgroup v2 alone, which no container can be without")
    docker.run("proxy", host={"network_mode": "host"})
    Path("/sys/fs/cgroup/unified/cgroup.procs").write_text(str(docker.process("proxy")))
    plan = IsolateContainer(container="proxy", ttl=HOUR).plan(containers)

    (outcome,) = apply(plan, containers)

    assert outcome.result == "partly"
    assert "it cannot be cut off without cgroup v2" in outcome.error
    assert "only frozen" in plan[0].describe
    assert results(undo(plan, containers)) == {"lifted"}
    with pytest.raises(CannotReach, match="leave out keep_running"):
        IsolateContainer(container="proxy", ttl=HOUR, keep_running=True).plan(containers)


def test_of_a_container_that_reaches_the_host_the_plan_says_so(docker: Dockerd, containers: Containers) -> None:
    docker.run("spy", host={"pid_mode": "host"})
    docker.run("helper", host={"binds": [f"{docker.socket}:/docker.sock"]})

    spy, helper = (IsolateContainer(container=name, ttl=HOUR).plan(containers) for name in ("spy", "helper"))

    assert "host" in spy[0].touches
    assert "spy: it sees the host's processes" in spy[0].describe
    assert "see isolate_host" in helper[0].describe


def test_a_protected_container_is_never_touched(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    (cut, *_) = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    docker.run("registry", labels={"containment.protect": "true"}, host={"network_mode": "container:web"})

    with pytest.raises(Protected, match="registry: its label containment"):
        IsolateContainer(container="web", ttl=HOUR).plan(containers)
    (answer,) = containers.perform([cut.apply])

    assert isinstance(answer.error, Protected)
    assert tables() == []


def test_the_agents_own_container_is_never_touched(docker: Dockerd) -> None:
    made = docker.run("agent")
    script = f"""
import sys
import time
from datetime import timedelta
from pathlib import Path
for tasks in Path("/sys/fs/cgroup").rglob("*{made}*/cgroup.procs"):
    tasks.write_text("0")
from actions.isolate_container import IsolateContainer
from agent.action import Protected
from agent.schema import Ttl
from agent.systems import container_cut
from agent.systems.container_api import WITHIN
from agent.systems.containers import Containers
try:
    IsolateContainer(container="agent", ttl=Ttl(timedelta(hours=1))).plan(Containers({docker.socket!r}))
except Protected as error:
    print(error)
"""

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=20)

    assert said.stdout == "cannot isolate agent: the agent itself runs in it\n", said.stderr


def test_it_is_found_by_name_by_id_and_by_twelve_digits_of_it(docker: Dockerd, containers: Containers) -> None:
    made = docker.run("web")

    found = [containers.together(given).group.members[0].name for given in ("web", made, made[:12])]

    assert found == ["web"] * 3
    for given, why in ((made[:11], "at least twelve digits"), ("w", "docker knows none"), ("../web", "no container can have")):
        with pytest.raises(CannotReach, match=why):
            containers.together(given)


def test_a_process_that_left_its_cgroup_is_not_taken_for_one_that_ended(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    for tree in docker.cgroups:
        (tree / "cgroup.procs").write_text(str(docker.process("web")))

    (answer,) = containers.perform([plan[0].apply])

    assert "which has left its cgroup" in str(answer.error)
    assert tables() == []


# Evidence, and docker itself ---------------------------------------------------------------------------------------------------


def test_evidence_is_taken_of_every_container_before_the_first_change(docker: Dockerd, containers: Containers) -> None:
    docker.run("web", "sh", "-c", "echo hello; echo trouble >&2; touch /tmp/dropped; exec sleep 600")
    first, *rest = IsolateContainer(container="web", ttl=HOUR).plan(containers)

    answers = containers.perform(first.capture)

    found = {one.verb: answer.value for one, answer in zip(first.capture, answers, strict=True)}
    assert [one for one in answers if one.error] == []
    assert "eth0" in found["network_state"]["ip -d address show"]
    assert found["processes"]["processes"][0][-1] == "sleep 600"
    assert found["attributes"]["Name"] == "/web"
    assert found["usage"]["memory_stats"] is not None
    assert {line.split(b" ", 1)[1] for line in found["logs"].splitlines()} == {b"hello", b"trouble"}
    assert b"/tmp/dropped" in found["changed_files"]
    assert all(one.capture == () for one in rest)


def test_of_logs_the_newest_are_kept(docker: Dockerd, containers: Containers) -> None:
    script = (
        "i=0; while [ $i -lt 700 ]; do head -c 12000 /dev/zero | tr '\\0' x; echo $i; i=$((i+1)); done; echo done; exec sleep 600"
    )
    docker.run("web", "sh", "-c", script)
    docker.until(lambda: b"done" in docker.api.logs("web", tail=1), "its last line")
    who = containers.together("web").group.members[0]

    (answer,) = containers.perform([containers.logs(who=who)])

    assert 4_100_000 < len(answer.value) <= 4 << 20
    assert answer.value.endswith(b"done\n")


def test_a_hung_docker_is_told_within_the_time_of_a_verb(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    impatient = Containers(docker.socket, within=timedelta(milliseconds=500))
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)

    with docker.hung():
        with pytest.raises(CannotReach, match=r"docker gave no answer within 0.5 s; does dockerd hang"):
            IsolateContainer(container="web", ttl=HOUR).plan(impatient)
        (answer,) = impatient.perform([plan[0].verify])

    assert "docker gave no answer" in str(answer.error)
    assert WITHIN + timedelta(seconds=1) <= timedelta(seconds=10)


def test_without_docker_the_error_says_how_to_mend_it() -> None:
    with pytest.raises(CannotReach, match="docker does not listen at /nowhere/docker"):
        IsolateContainer(container="web", ttl=HOUR).plan(Containers("/nowhere/docker.sock"))
