"""The host's clock is set, forwards or back: what is in force ends when it was to end, by a clock that nobody sets."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic_core import from_json, to_json

from agent import clock, snapshot
from agent.clock import Clock
from agent.messages import ClockSet
from agent.policy import Limits
from agent.state import BOOKS, State
from agent.turn import Agent
from tests.chaos.host_clock import HostClock
from tests.network import Network, nft, ruleset
from tests.running import Running, wait_for
from tests.stories import Gate, Story, guard, policy

HOUR = 3600.0
TIMELESS = {
    "settings", "state", "watch", "policies", "feeds", "lifelines", "learnt", "added", "owed", "running", "moving", "busy",
    "doubtful", "disturbed", "tries", "gathering", "under_way", "evidence", "no_copy", "alone", "reading", "disturber",
    "sending", "trials", "stopping",
}  # fmt: skip
"""Fields of the agent that hold no time."""
TIMELESS_STATE = {
    "leads", "gathered",
    "systems", "incident_of", "holder", "aimed", "ended", "modes", "active", "last_incident", "last_mitigation", "evictions",
}  # fmt: skip


def set_clock(story: Story, by: float) -> None:
    story.now += by
    story.tell(ClockSet(by))


@pytest.mark.parametrize("by", [HOUR, -HOUR, 40 * 365 * 86400.0])
def test_a_mitigation_lasts_as_long_as_it_was_to(by: float) -> None:
    story = Story()
    story.logins(3)
    story.pass_by(1800)

    set_clock(story, by)
    story.pass_by(1700)
    held = len(story.agent.state.in_force())
    story.pass_by(110)

    assert held == 1
    assert story.agent.state.in_force() == []


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_after_a_crash_the_journal_says_the_same(by: float) -> None:
    story = Story()
    story.logins(3)
    set_clock(story, by)
    before = snapshot.snapshot(story.agent.state)

    story.die_and_start_again()

    assert snapshot.snapshot(story.agent.state) == before


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_windows_neither_forgive_nor_double(by: float) -> None:
    story = Story(policy(least=4))
    story.logins(3)

    set_clock(story, by)
    story.logins(1)

    assert story.gate.shut


def test_what_waits_for_a_person_still_ends_in_time() -> None:
    story = Story(policy(then=[guard(hard=True)]))
    story.logins(3)

    set_clock(story, -HOUR)
    story.pass_by(1801)

    assert story.agent.state.approvals.waiting == []


def test_the_cool_off_after_an_undo_is_as_long_as_before() -> None:
    story = Story(limits=Limits())
    story.logins(3)
    story.ask("undo", what="all", why="ours")

    set_clock(story, HOUR)
    story.logins(20)

    assert not story.gate.shut


def test_a_snapshot_after_the_clock_was_set_is_what_the_records_say() -> None:
    story = Story()
    story.logins(3)
    set_clock(story, HOUR)

    plain = from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float"))

    assert snapshot.snapshot(snapshot.restore(plain, {"gate": Gate})) == snapshot.snapshot(story.agent.state)


def test_every_field_that_holds_a_time_moves() -> None:
    assert set(clock.AGENT) | TIMELESS == {one.name for one in fields(Agent)}
    assert set(clock.STATE) | TIMELESS_STATE | set(BOOKS) == {one.name for one in fields(State)}


def test_a_clock_that_a_time_server_corrects_was_not_set() -> None:
    one = Clock(1000.0, 10.0)

    drifts = [one.jumped(1000.0 + 1.0005 * passed, 10.0 + passed) for passed in range(10_000)]
    jump = one.jumped(1000.0 + 1.0005 * 9_999 - HOUR, 10.0 + 9_999)

    assert not any(drifts)
    assert jump == pytest.approx(-HOUR)


# The real agent, by a clock of the day that a test can set --------------------------------------------------------------------


@pytest.mark.parametrize("by", [3600, -3600])
@pytest.mark.parametrize("while_it_runs", [True, False])
def test_the_real_agent_ends_a_block_when_the_kernel_does(tmp_path: Path, network: Network, by: int, while_it_runs: bool) -> None:
    today = HostClock(tmp_path)
    agent = Running(tmp_path, "mode: enforce\nssh_ports: [22022]\n", "")
    try:
        agent.start(**today.environment)
        ordered = agent.contain("block", "203.0.113.7", "--for", "10m", "--why", "a drill")
        if not while_it_runs:
            agent.kill()
        today.set(by)
        if not while_it_runs:
            agent.start(**today.environment)
        wait_for(lambda: "clock_set" in agent.log.read_text())
        (held,) = wait_for(agent.in_force)
        listed = ruleset("inet", "containment")
    finally:
        agent.kill()
        nft("delete table inet containment")

    assert ordered.returncode == 0, ordered.stderr
    assert "203.0.113.7" in listed
    assert 540 < held["left"] < 600
