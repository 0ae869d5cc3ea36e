"""What can happen to an agent and its systems while something is in force. Each fault is over when its function returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.disk import SmallDisk
from tests.chaos.ground import Ground, stopped
from tests.chaos.host_clock import HostClock
from tests.chaos.life import Life
from tests.chaos.scene import ANSWERED, BrokenError, Scene
from tests.chaos.subjects import table
from tests.network import nft

KERNEL = ("block_ip", "block_egress", "rate_limit", "isolate_host")
POSTGRES = ("stop_writes soft", "stop_writes hard", "stop_writes fence", "lock_role")
VAULT = ("revoke entity",)
DOCKER = ("isolate_container",)
SYSTEMD = ("stop_service", "freeze_service", "isolate_service", "lock_user")
ALL = (*KERNEL, *POSTGRES, *VAULT, *DOCKER, *SYSTEMD)
TIMED = ("block_ip", "isolate_host", *POSTGRES, *VAULT)
ELSEWHERE = "203.0.113.77"


@dataclass
class Stage:
    """A scene with all that a fault may lay hands on."""

    scene: Scene
    ground: Ground
    clock: HostClock | None
    disk: SmallDisk | None

    @property
    def life(self) -> Life:
        return self.scene.life


@dataclass(frozen=True)
class Fault:
    """`of`: the subjects it can happen to. `ttl`: how long those are in force, so that it is over before they are."""

    name: str
    of: tuple[str, ...]
    strike: Callable[[Stage], None]
    ttl: float = 12.0
    clock: bool = False
    disk: bool = False

    def stage(self, ground: Ground, place: Path) -> tuple[HostClock | None, SmallDisk | None, AbstractContextManager[object]]:
        """What it needs beside the ground; the last is to be entered."""
        place.mkdir(parents=True, exist_ok=True)
        disk = SmallDisk(place / "state", "24m") if self.disk else None
        return HostClock(place) if self.clock else None, disk, disk or nullcontext()


def _others_go_on(stage: Stage) -> None:
    """While one system hangs, questions are answered, and what is asked of another is done."""
    stage.scene.answers()
    begun = time.monotonic()
    answer = stage.life.ask("do", action="block_ip", params={"ip": ELSEWHERE, "ttl": "2s"}, why="chaos")
    if answer["result"] not in ("in_force", "nothing"):
        raise BrokenError(f"beside a hung system, nothing else can be contained: {answer}")
    if (took := time.monotonic() - begun) > ANSWERED:
        raise BrokenError(f"beside a hung system, a block took {took:.1f} s")


def _hung(stage: Stage) -> AbstractContextManager[None]:
    """The system of the subject, stopped by signals."""
    ground, name = stage.ground, stage.scene.subject.name
    if name in DOCKER:
        assert ground.docker is not None
        return ground.docker.hung()
    if name in VAULT:
        assert ground.bao is not None
        return stopped(ground.bao.pid)
    assert ground.server is not None
    return stopped(ground.server.postmaster)


def hangs(stage: Stage) -> None:
    with _hung(stage):
        _others_go_on(stage)


def fills(stage: Stage) -> None:
    """The disk of the state is full: what a person orders is done, and nothing of the record is lost."""
    assert stage.disk is not None
    with stage.disk.full():
        answer = stage.life.ask("do", action="block_ip", params={"ip": ELSEWHERE, "ttl": "2s"}, why="chaos")
    if answer["result"] not in ("in_force", "nothing"):
        raise BrokenError(f"on a full disk a person's order was not carried out: {answer}")
    stage.scene.wait("evidence written again", lambda: not stage.life.ask("status")["evidence"]["failing"])


def _set(stage: Stage, by: int) -> None:
    assert stage.clock is not None
    stage.clock.set(by)
    stage.scene.wait("the clock's jump written down", lambda: any(one.kind == "clock_set" for one in stage.scene.records()))


def flushes(stage: Stage) -> None:
    """Somebody flushes the ruleset; where docker has rules in it, which nobody would put back, our tables alone."""
    if stage.ground.docker is None:
        nft("flush ruleset")
        return
    for one in ("containment", "containment_host"):
        if table(one):
            nft(f"delete table inet {one}")


def restarts_postgres(stage: Stage) -> None:
    assert stage.ground.server is not None
    stage.ground.server.stop("immediate")
    stage.ground.server.start()


def seals_vault(stage: Stage) -> None:
    assert stage.ground.bao is not None
    stage.ground.bao.seal()
    stage.scene.answers()
    stage.ground.bao.unseal()


def restarts_docker(stage: Stage) -> None:
    assert stage.ground.docker is not None
    stage.ground.docker.stop()
    stage.ground.docker.start()


def is_killed(stage: Stage) -> None:
    stage.life.kill()
    stage.life.start()


def reloads(stage: Stage) -> None:
    stage.life.hangup()
    stage.scene.wait("the reload", lambda: sum(one.kind == "policies" for one in stage.scene.records()) > 0)


FAULTS = (
    Fault("the agent is killed", ALL, is_killed),
    Fault("the agent reloads", (*KERNEL, *POSTGRES, *VAULT, *DOCKER), reloads, ttl=8),
    Fault("the system hangs", (*POSTGRES, *VAULT, *DOCKER), hangs, ttl=25),
    Fault("the disk is full", ("block_ip", "stop_writes soft", *VAULT), fills, ttl=15, disk=True),
    Fault("the clock is set an hour on", TIMED, lambda one: _set(one, 3600), ttl=8, clock=True),
    Fault("the clock is set an hour back", TIMED, lambda one: _set(one, -3600), ttl=8, clock=True),
    Fault("the ruleset is flushed", KERNEL, flushes, ttl=8),
    Fault("PostgreSQL crashes and starts again", POSTGRES, restarts_postgres, ttl=15),
    Fault("Vault is sealed and unsealed", VAULT, seals_vault),
    Fault("Docker is restarted", ("isolate_container, as kept",), restarts_docker, ttl=25),
)  # fmt: skip
