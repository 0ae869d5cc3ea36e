"""The containers system on a real dockerd: what it hears, and what it says about itself."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from agent.action import Call
from agent.systems.container_group import Group, Who, place_of
from agent.systems.container_networks import Place
from agent.systems.containers import Containers
from tests.docker_daemon import Dockerd


def hold(containers: Containers, name: str) -> Group:
    """A container that is held, as far as one cut makes it."""
    group = containers.together(name).group
    containers.perform([containers.cut(group=group), containers.is_cut(group=group)])
    return group


def test_it_tells_at_once_what_is_done_to_a_container_that_is_held_and_nothing_of_others(
    docker: Dockerd, containers: Containers
) -> None:
    docker.network("shop", "10.91.1.0/24")
    docker.run("web")
    docker.run("other")
    hold(containers, "web")
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    containers.watch(heard.put)
    first = heard.get(timeout=5)

    docker.api.restart("other", timeout=0)
    docker.api.restart("web", timeout=0)
    docker.api.connect_container_to_network("web", "shop")
    docker.api.update_container("web", restart_policy={"Name": "always"})
    docker.api.pause("web")
    docker.api.unpause("web")

    assert first == "docker: answers again"
    said = [heard.get(timeout=5) for _ in range(5)]
    assert said[0].startswith("docker: connect ")  # docker connects it to the bridge, then starts it
    assert said[1:] == ["docker: start web", "docker: connect web", "docker: update web", "docker: unpause web"]


def test_it_hears_again_after_docker_was_restarted_and_of_whoever_took_a_place(docker: Dockerd, containers: Containers) -> None:
    docker.run("web")
    hold(containers, "web")
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    containers.watch(heard.put)
    heard.get(timeout=5)

    docker.stop()
    docker.start()
    back = heard.get(timeout=10)
    docker.api.remove_container("web", force=True)
    docker.run("web")

    assert back == "docker: answers again"
    assert heard.get(timeout=5) == "docker: start web"


def test_it_says_why_containers_cannot_be_isolated(docker: Dockerd, containers: Containers) -> None:
    assert containers.ready() == ""
    assert "docker does not listen at /nowhere/docker.sock" in Containers("/nowhere/docker.sock").ready()


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}, "compose shop/web/1"),
        ({"com.docker.swarm.service.name": "web", "com.docker.swarm.task.name": "web.3.x7k2m"}, "swarm web.3"),
        ({"com.docker.compose.project": "shop"}, ""),
        (
            {
                "com.docker.compose.project": "shop",
                "com.docker.compose.service": "web",
                "com.docker.compose.oneoff": "True",
            },
            "",
        ),
        ({}, ""),
    ],
)
def test_the_place_of_a_container_is_what_its_orchestrator_would_fill_again(labels: dict[str, str], place: str) -> None:
    assert place_of(labels) == place


def test_every_verb_has_its_words() -> None:
    containers, who = Containers("/nowhere"), Who("0" * 64, "web")
    given: dict[str, Any] = {"group": Group("0" * 12, (who,)), "paused_before": (), "who": who, "policy": "always"}
    given["place"] = Place("f" * 64, "shop", ipv4="10.91.1.9", aliases=("storefront",))
    verbs = [name for name in dir(containers) if hasattr(getattr(containers, name), "performed")]

    said = {verb: containers.native(Call("containers", verb, given)) for verb in verbs}

    assert len(verbs) == 21
    assert not [verb for verb, words in said.items() if words.startswith("containers.")]
    assert said["connect"] == "docker network connect --ip 10.91.1.9 --alias storefront shop web"
    assert said["unpause"] == "docker unpause web\nnft delete table netdev containment_000000000000_paused"
