"""Isolating a container in tests: servers to isolate, and apply, heal and undo as the daemon does them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from agent import execute
from agent.action import Change
from agent.messages import Outcome, Release
from agent.schema import Ttl
from agent.systems.containers import Containers
from tests.docker_daemon import Dockerd, tables
from tests.network import ip

HOUR = Ttl(timedelta(hours=1))
ECHO = ("nc", "-ll", "-p", "80", "-e", "cat")


def web(docker: Dockerd, **given: Any) -> str:
    """A server with a fixed address and another name on one network, an address of docker's on the next, a published port."""
    docker.network("shop", "10.91.1.0/24")
    docker.network("back", "10.91.2.0/24")
    host = {"restart_policy": {"Name": "on-failure", "MaximumRetryCount": 4}, "port_bindings": {80: 8080}}
    place = docker.place("shop", ipv4_address="10.91.1.9", aliases=["storefront"])
    made = docker.run("web", *ECHO, host=host, ports=[80], networking_config=place, **given)
    docker.api.connect_container_to_network("web", "back", aliases=["depot"])
    return made


def server(docker: Dockerd, **given: Any) -> str:
    """A server with a fixed address on one network."""
    docker.network("shop", "10.91.1.0/24")
    return docker.run("web", *ECHO, networking_config=docker.place("shop", ipv4_address="10.91.1.9"), **given)


def soon(question: Callable[[], bool]) -> bool:
    """Whether it comes true within five seconds. The kernel asks for a neighbour that did not answer once a second."""
    until, true = time.monotonic() + 5, False
    while not true and time.monotonic() < until:
        ip("neigh", "flush", "all")
        true = question()
    return true


def everything(docker: Dockerd, name: str) -> object:
    """All that docker and the kernel show of a container, but for what is another with each connection to a network."""
    attrs = docker.attrs(name)
    for one in attrs["NetworkSettings"]["Networks"].values():
        del one["EndpointID"]
    nat = subprocess.run(["iptables", "-t", "nat", "-S"], capture_output=True, text=True, check=True, timeout=10)
    inside = docker.inside(name, "nft", "list", "tables")
    links = docker.inside(name, "ip", "-br", "link").stdout.count("UP")
    return attrs, sorted(nat.stdout.splitlines()), tables(), inside.stdout, links


def apply(plan: Sequence[Change], containers: Containers) -> list[Outcome]:
    jobs = [(f"M-{at}", change) for at, change in enumerate(plan)]
    return list(execute.apply([jobs], {"containers": containers})[0])


def heal(plan: Sequence[Change], containers: Containers) -> list[str]:
    """As the daemon does: what does not hold whole is applied again, each for itself."""
    jobs = [[(f"M-{at}", change)] for at, change in enumerate(plan) if not containers.holds(change.verify)]
    return [one.result for (one,) in execute.apply(jobs, {"containers": containers})]


def undo(plan: Sequence[Change], containers: Containers) -> list[Release]:
    backwards = [(f"M-{at}", change) for at, change in reversed(list(enumerate(plan)))]
    return [one for job in backwards for one in execute.undo([job], {"containers": containers})]


def results(found: Sequence[Outcome | Release]) -> set[str]:
    return {one.result for one in found}
