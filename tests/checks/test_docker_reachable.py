"""DockerReachable: does docker answer?"""

from __future__ import annotations

from datetime import timedelta

from agent.checks.docker_reachable import DockerReachable
from agent.systems.containers import Containers
from tests.checks.asking import the_answer
from tests.docker_daemon import Dockerd


def test_a_docker_that_answers_is_good(containers: Containers) -> None:
    answer = the_answer(DockerReachable(), containers=containers)

    assert (answer.state, answer.target) == ("good", "docker")
    assert answer.value is not None
    assert 0 < answer.value < 2


def test_one_that_hangs_is_bad_within_the_time_limit(docker: Dockerd, containers: Containers) -> None:
    with docker.hung():
        answer = the_answer(DockerReachable(within=timedelta(milliseconds=500)), containers=containers)

    assert answer.state == "bad"
    assert "docker gave no answer within 0.5 s" in answer.say


def test_one_that_is_not_there_is_bad() -> None:
    answer = the_answer(DockerReachable(), containers=Containers("/nowhere/docker.sock"))

    assert answer.state == "bad"
    assert "docker does not listen at /nowhere/docker.sock (No such file or directory)" in answer.say
