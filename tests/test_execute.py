from __future__ import annotations

from datetime import timedelta

from agent import execute
from agent.action import Call, Change, System
from agent.schema import address
from tests.stories import Gate

GATE = Gate()


def change(ip: str) -> Change:
    network = address(ip)
    return Change(f"close {ip}", GATE.close(ip=network, ttl=timedelta(hours=1)), GATE.open(ip=network), GATE.holds(ip=network))


def systems(broken: str = "") -> tuple[Gate, dict[str, System]]:
    gate = Gate()
    gate.broken = broken
    return gate, {"gate": gate}


def test_a_change_that_fails_stops_those_after_it_in_its_batch_and_no_other_batch() -> None:
    gate, world = systems()
    nowhere = address("192.0.2.1")
    bad = Change("impossible", Call("gate", "explode", {}), GATE.open(ip=nowhere), GATE.holds(ip=nowhere))

    first, second = execute.apply([[("M-1", bad), ("M-2", change("192.0.2.2"))], [("M-3", change("192.0.2.3"))]], world)

    assert [one.result for one in first] == ["failed", "not_tried"]
    assert [one.result for one in second] == ["in_force"]
    assert set(gate.shut) == {"192.0.2.3"}


def test_what_the_system_says_decides_and_not_what_the_call_answered() -> None:
    _, liar = systems("lies")
    _, silent = systems("silent")

    ((lied,),) = execute.apply([[("M-1", change("192.0.2.1"))]], liar)
    ((unseen,),) = execute.apply([[("M-1", change("192.0.2.1"))]], silent)

    assert lied.result == "not_verified"
    assert unseen.result == "late"
    assert "cannot see whether it holds" in unseen.error


def test_undo_takes_back_what_stands_and_leaves_alone_what_is_gone() -> None:
    gate, world = systems()
    jobs = [("M-1", change("192.0.2.1")), ("M-2", change("192.0.2.2"))]
    execute.apply([[job] for job in jobs], world)
    del gate.shut["192.0.2.2"]

    releases = execute.undo(jobs, world)

    assert [one.result for one in releases] == ["lifted", "gone"]
    assert gate.shut == {}


def test_what_cannot_be_taken_back_says_so() -> None:
    gate, world = systems()
    final = Change("burn", GATE.close(ip=address("192.0.2.1"), ttl=None), None, GATE.holds(ip=address("192.0.2.1")))
    execute.apply([[("M-1", final)]], world)

    (release,) = execute.undo([("M-1", final)], world)

    assert release.result == "failed"
    assert "cannot be taken back" in release.say
    assert gate.shut


def test_the_dry_run_prints_the_very_calls_and_changes_nothing() -> None:
    gate, world = systems()

    lines = execute.dry_run([change("192.0.2.1")], world)

    assert lines[0] == "would close 192.0.2.1"
    assert "gate.close(ip=192.0.2.1/32" in lines[1]
    assert gate.shut == {}
    assert execute.dry_run([], world) == ["nothing to do: already in force"]
