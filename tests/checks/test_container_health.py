"""ContainerHealth: do containers pass their own health checks?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.checks.container_health import ContainerHealth
from agent.systems.containers import Containers
from tests.checks.asking import answers
from tests.docker_daemon import Dockerd


def asked(command: str) -> Mapping[str, Any]:
    return {"test": ["CMD-SHELL", command], "interval": 10**9 // 20, "retries": 2, "timeout": 10**9}


def test_each_container_with_a_health_check_has_its_answer(docker: Dockerd, containers: Containers) -> None:
    docker.run("plain")
    docker.run("well", healthcheck=asked("true"))
    docker.run("sick", healthcheck=asked("echo no database; false"))
    docker.until(lambda: "healthy" in docker.health("well") and docker.health("sick") == "unhealthy", "the health checks")

    well_and_sick = {one.target: one for one in answers(ContainerHealth(), containers=containers)}

    assert {name: one.state for name, one in well_and_sick.items()} == {"well": "good", "sick": "bad"}
    sick = well_and_sick["sick"]
    assert sick.value
    assert sick.value >= 2
    assert sick.say == f"sick is unhealthy, {sick.value:g} failures in a row: no database"


def test_a_container_that_is_named_must_run(docker: Dockerd, containers: Containers) -> None:
    docker.run("plain")
    docker.run("ended")
    docker.api.stop("ended", timeout=0)

    found = answers(ContainerHealth(names=("plain", "ended", "nowhere")), containers=containers)

    assert [(one.state, one.say) for one in found] == [
        ("good", "plain runs, and has no health check"),
        ("bad", "ended does not run: it is exited"),
        ("bad", "nowhere does not exist on this host"),
    ]


def test_without_health_checks_all_is_well(docker: Dockerd, containers: Containers) -> None:
    docker.run("plain")

    (answer,) = answers(ContainerHealth(), containers=containers)

    assert (answer.state, answer.say) == ("good", "no container that runs has a health check")


def test_without_docker_it_is_unknown() -> None:
    (answer,) = answers(ContainerHealth(), containers=Containers("/nowhere/docker.sock"))

    assert answer.state == "unknown"
