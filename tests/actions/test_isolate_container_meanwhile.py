"""What happens to an isolated container meanwhile: restarts, successors, crashes of the agent, changes by others."""

from __future__ import annotations

import pytest

from actions.isolate_container import IsolateContainer
from agent.systems import container_cut
from agent.systems.containers import Containers
from tests.docker_daemon import Dockerd, tables
from tests.isolating import ECHO, HOUR, apply, heal, results, server, soon, undo, web
from tests.network import Machine, ip

# Restarts ---------------------------------------------------------------------------------------------------------------------


def test_a_container_that_is_restarted_is_isolated_again(docker: Dockerd, containers: Containers, host: Machine) -> None:
    web(docker)
    before = docker.attrs("web")["HostConfig"]
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.api.restart("web", timeout=0)
    drifted = [one.apply.verb for one in plan if not containers.holds(one.verify)]
    healed = heal(plan, containers)

    assert drifted == ["silence", "pause"]
    assert set(healed) == {"in_force"}
    assert docker.attrs("web")["State"]["Paused"]
    assert results(undo(plan, containers)) == {"lifted"}
    assert soon(lambda: host.connects("10.91.1.9", 80))
    assert docker.attrs("web")["HostConfig"] == before


def test_it_stays_down_and_disconnected_when_docker_restarts(docker: Dockerd, containers: Containers) -> None:
    web(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.stop()
    docker.start()
    holding = [containers.holds(one.verify) for one in plan]
    state = docker.attrs("web")["State"]["Status"]
    releases = undo(plan, containers)

    assert holding == [True] * len(plan)
    assert state == "exited"
    assert results(releases) == {"lifted"}
    assert "web does not run" in [one.say for one in releases]
    assert sorted(docker.attrs("web")["NetworkSettings"]["Networks"]) == ["back", "shop"]
    assert docker.attrs("web")["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert tables() == []


@pytest.mark.parametrize("again", ["web", "shop-web-1"])
def test_whoever_takes_its_place_is_isolated_too(docker: Dockerd, containers: Containers, host: Machine, again: str) -> None:
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "1",
    }
    labels = labels if again != "web" else {}
    server(docker, labels=labels)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.api.remove_container("web", force=True)
    place = docker.place("shop", ipv4_address="10.91.1.9")
    docker.run(again, *ECHO, labels=labels, networking_config=place)
    docker.run("other", *ECHO, networking_config=docker.place("shop", ipv4_address="10.91.1.10"))
    heal(plan[:3], containers)

    assert [containers.holds(one.verify) for one in plan[:3]] == [True] * 3
    assert docker.attrs(again)["State"]["Paused"]
    assert not host.connects("10.91.1.9", 80)
    assert host.connects("10.91.1.10", 80)
    assert results(undo(plan, containers)) == {"lifted", "gone"}
    assert not docker.attrs(again)["State"]["Paused"]
    assert soon(lambda: host.connects("10.91.1.9", 80))


def test_whoever_took_its_place_and_is_isolated_again_goes_on_in_the_end(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    action = IsolateContainer(container="web", ttl=HOUR)
    first = action.plan(containers)
    apply(first, containers)
    docker.api.remove_container("web", force=True)
    server(docker)
    heal(first[:3], containers)

    second = action.plan(containers)
    apply(second, containers)
    undo(first, containers)
    heal(second, containers)
    undo(second, containers)

    assert [one.apply.verb for one in second] == ["disconnect"]
    assert not docker.attrs("web")["State"]["Paused"]
    assert tables() == []


def test_one_that_does_not_run_is_isolated_as_soon_as_it_does(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    docker.api.stop("web", timeout=0)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)

    outcomes = apply(plan, containers)
    docker.api.start("web")
    healed = heal(plan, containers)

    assert results(outcomes) == {"in_force"}
    assert set(healed) == {"in_force"}
    assert docker.attrs("web")["State"]["Paused"]
    assert docker.attrs("web")["NetworkSettings"]["Networks"] == {}


# The world goes on meanwhile ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "at"), [("silent", 1), ("paused", 2)])
def test_what_a_crash_in_the_middle_of_a_verb_leaves_is_a_part_and_is_taken_away(
    docker: Dockerd, containers: Containers, word: str, at: int
) -> None:
    server(docker)
    change = IsolateContainer(container="web", ttl=HOUR).plan(containers)[at]
    container_cut.mark(change.apply.args["group"].key, word)  # all that the verb has done by then

    (half,) = containers.perform([change.verify])
    (release,) = undo([change], containers)

    assert half.value.how == "partly"
    assert release.result == "lifted"
    assert tables() == []


def test_when_it_is_removed_meanwhile_that_is_told_and_nothing_stays(docker: Dockerd, containers: Containers) -> None:
    web(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.api.remove_container("web", force=True)
    releases = undo(plan, containers)

    assert results(releases) <= {"lifted", "gone"}
    assert all("gone" in one.say for one in releases)
    assert tables() == []


def test_a_network_that_is_gone_is_told_and_one_made_anew_is_taken(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.api.remove_network("shop")
    first = undo(plan, containers)
    docker.network("shop", "10.91.1.0/24")
    second = undo(plan, containers)

    assert [one.say for one in first if one.result == "failed"] == [
        "cannot reconnect web to shop: that network is gone; make it again (docker network create shop), then undo this once more"
    ]
    assert results(second) == {"lifted", "gone"}
    assert docker.attrs("web")["NetworkSettings"]["Networks"]["shop"]["IPAddress"] == "10.91.1.9"


def test_an_address_that_somebody_took_meanwhile_is_told(docker: Dockerd, containers: Containers) -> None:
    server(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.run("thief", networking_config=docker.place("shop", ipv4_address="10.91.1.9"))
    releases = undo(plan, containers)

    assert results(releases) == {"lifted"}
    assert "web is in shop, with another address instead of 10.91.1.9" in [one.say for one in releases]
    assert "shop" in docker.attrs("web")["NetworkSettings"]["Networks"]


def test_what_somebody_else_changed_meanwhile_is_left_alone(docker: Dockerd, containers: Containers) -> None:
    web(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    docker.api.update_container("web", restart_policy={"Name": "always"})
    releases = undo(plan, containers)

    assert "the restart policy of web is always now; it was on-failure:4" in [one.say for one in releases]
    assert docker.attrs("web")["HostConfig"]["RestartPolicy"]["Name"] == "always"


@pytest.mark.parametrize(
    "instead",
    [
        "add table inet containment { flags dormant; }",
        "flush chain inet containment sent; add rule inet containment sent ip daddr 127.0.0.11 drop;"
        ' add rule inet containment sent oifname "eth0" accept',
    ],
)
def test_rules_that_the_container_bends_to_its_will_are_seen_and_laid_again(
    docker: Dockerd, containers: Containers, instead: str
) -> None:
    server(docker)
    plan = IsolateContainer(container="web", ttl=HOUR, keep_running=True).plan(containers)
    apply(plan, containers)

    docker.inside("web", "nft", instead)
    drifted = [one.apply.verb for one in plan if not containers.holds(one.verify)]
    healed = heal(plan, containers)

    assert (drifted, healed) == (["silence"], ["in_force"])


def test_what_the_container_calls_loopback_is_not_let_through(docker: Dockerd, containers: Containers, host: Machine) -> None:
    server(docker)
    group = containers.together("web").group
    before = soon(lambda: host.connects("10.91.1.9", 80))

    containers.perform([containers.silence(group=group)])
    for device, name in (("lo", "old"), ("eth0", "lo")):
        docker.inside("web", "sh", "-c", f"ip link set {device} down; ip link set {device} name {name}; ip link set {name} up")

    assert (before, soon(lambda: host.connects("10.91.1.9", 80))) == (True, False)


def test_an_interface_that_docker_does_not_tell_of_is_seen(docker: Dockerd, containers: Containers) -> None:
    web(docker)
    plan = IsolateContainer(container="web", ttl=HOUR).plan(containers)
    apply(plan, containers)

    ip("link", "add", "veth-extra", "type", "veth", "peer", "name", "eth9", "netns", str(docker.process("web")))
    said = [answer.value.say for answer in containers.perform([one.verify for one in plan]) if answer.value is not True]
    ip("link", "delete", "veth-extra")

    assert said == [
        "veth-extra is not cut off",
        "docker says that web has left back, yet it still has eth9",
        "docker says that web has left shop, yet it still has eth9",
    ]
