"""ContainerRestarts: do containers keep running, or does docker start them again and again?"""

from __future__ import annotations

import time

from agent.checks.container_restarts import ContainerRestarts
from agent.systems.containers import Containers
from tests.checks.asking import answers, the_answer
from tests.docker_daemon import Dockerd


def test_one_that_crashes_and_comes_back_is_bad_also_while_it_runs(docker: Dockerd, containers: Containers) -> None:
    docker.run("crashing", "sh", "-c", "exit 3", host={"restart_policy": {"Name": "always"}})
    question = ContainerRestarts(names=("crashing",), restarts_limit=2)
    until, seen = time.monotonic() + 15, ""

    while "keeps crashing" not in seen:
        assert time.monotonic() < until
        answer = the_answer(question, containers=containers)
        seen = answer.say

    assert answer.state == "bad"
    assert answer.value
    assert answer.value >= 2
    assert seen.endswith("restarts in 10 min")


def test_every_container_is_asked_about_where_none_is_named(docker: Dockerd, containers: Containers) -> None:
    docker.run("steady")

    every = answers(ContainerRestarts(), containers=containers)
    named = answers(ContainerRestarts(names=("steady", "nowhere")), containers=containers)

    assert [(one.state, one.say) for one in every] == [("good", "steady is running")]
    assert [(one.state, one.say) for one in named] == [
        ("good", "steady is running"),
        ("bad", "nowhere does not exist on this host"),
    ]


def test_without_docker_it_is_unknown() -> None:
    assert the_answer(ContainerRestarts(), containers=Containers("/nowhere/docker.sock")).state == "unknown"
