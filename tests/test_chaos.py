"""The fault matrix in short: a few deaths and faults out of tests/chaos, on the session's own systems. `make chaos` plays all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import subjects
from tests.chaos.deaths import die, moments
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.flat import flat
from tests.chaos.ground import Ground
from tests.chaos.host_clock import HostClock
from tests.chaos.life import Figures
from tests.chaos.matrix import Cell
from tests.chaos.scene import POLICY, BrokenError, Scene
from tests.docker_daemon import Dockerd
from tests.needs import need_root
from tests.network import nft, ruleset
from tests.openbao import Bao
from tests.postgres import Server, programs
from tests.services import ServiceBox

TTL = 3.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of our own: it crashes, and its writes are stopped."""
    with closing(Server(programs(), max_connections=40)) as made:
        made.start()
        subjects.furnish(made)
        yield made


@pytest.fixture
def ground(server: Server, bao: Bao) -> Iterator[Ground]:
    """The kernel of this session's network, that server and the session's Vault."""
    need_root()
    found = [*subjects.kernel(), *subjects.postgres(server), *subjects.vault(bao)]
    yield Ground(server, bao, subjects=found)
    for one in ("containment", "containment_host"):
        if f"table inet {one} {{" in ruleset():
            nft(f"delete table inet {one}")


def scene_of(ground: Ground, name: str, place: Path, **given: bool) -> Scene:
    one = ground.subject(name)
    return Scene(ground.life(place / "chaos", one, POLICY % f"{TTL:g}s"), one, TTL, **given)


def fault(name: str) -> Fault:
    return next(one for one in FAULTS if one.name == name)


# kill -9 between two records ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("block_ip", "before record in_force#1"),
        ("stop_writes hard", "after call postgres.stop_writes#1"),
        ("revoke entity", "after record lifting#1"),
    ],
)
def test_dead_at_this_moment_nothing_is_lost_and_nothing_is_left(ground: Ground, name: str, moment: str, tmp_path: Path) -> None:
    die(scene_of(ground, name, tmp_path), moment)


def test_dead_between_a_policys_intent_and_its_act_it_is_done_after_the_next_start(ground: Ground, tmp_path: Path) -> None:
    die(scene_of(ground, "block_ip", tmp_path, by_policy=True), "after record intent#1")


def test_dead_while_a_container_is_cut_off_it_is_whole_in_the_end(docker: Dockerd, tmp_path: Path) -> None:
    ground = Ground(docker=docker, subjects=subjects.docker(docker))

    die(scene_of(ground, "isolate_container", tmp_path), "before call containers.pause#1")


def test_dead_while_a_service_is_let_up_systemd_or_the_next_start_ends_it(services: ServiceBox, tmp_path: Path) -> None:
    ground = Ground(box=services, subjects=subjects.services(services))

    die(scene_of(ground, "stop_service", tmp_path), "before call units.let_up#1")


# Faults -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what", "ttl"),
    [
        ("rate_limit", "the ruleset is flushed", 4.0),
        ("revoke entity", "the clock is set an hour back", 4.0),
        ("block_ip", "the disk is full", 5.0),
    ],
)
def test_through_this_fault_status_is_what_the_system_says(
    ground: Ground, name: str, what: str, ttl: float, tmp_path: Path
) -> None:
    Cell(replace(fault(what), ttl=ttl), ground.subject(name)).play(ground, tmp_path / "a")


# The means themselves -----------------------------------------------------------------------------------------------------


def test_a_life_has_a_moment_before_and_after_each_record_and_each_call(ground: Ground, tmp_path: Path) -> None:
    told = moments(scene_of(ground, "end_sessions", tmp_path))

    assert told[:2] == ["before record intent#1", "after record intent#1"]
    assert told[-4:] == [
        "before call postgres.end_sessions#1",
        "after call postgres.end_sessions#1",
        "before record captured+done#1",
        "after record captured+done#1",
    ]


def test_what_the_agent_does_not_know_of_is_found(ground: Ground, tmp_path: Path) -> None:
    scene = scene_of(ground, "block_ip", tmp_path)
    with ExitStack() as open_:
        open_.callback(scene.life.kill)
        scene.begin()
        nft("add element inet containment hosts4 { 203.0.113.200 timeout 9s }")

        with pytest.raises(BrokenError, match="status equal to the system"):
            scene.must_be_equal(2)


def test_only_the_clock_of_the_day_is_set(tmp_path: Path) -> None:
    clock = HostClock(tmp_path)
    clock.set(-3600)
    said = subprocess.run(
        [sys.executable, "-c", "import time; a = time.monotonic(); time.sleep(0.05); print(time.time(), time.monotonic() - a)"],
        env=clock.environment, capture_output=True, text=True, check=True, timeout=10,
    ).stdout.split()  # fmt: skip

    assert abs(float(said[0]) - (time.time() - 3600)) < 5
    assert 0.05 <= float(said[1]) < 5


def test_growth_is_not_flat() -> None:
    steady = [Figures(80_000 + 10 * (at % 3), 17, 20, 0) for at in range(20)]
    growing = [Figures(80_000 + 2_000 * at, 17, 20, 0) for at in range(20)]
    leaking = [Figures(80_000, 17 + at, 20, 0) for at in range(20)]

    assert flat(steady).startswith("flat")
    for one in (growing, leaking):
        with pytest.raises(BrokenError, match="not flat"):
            flat(one)
