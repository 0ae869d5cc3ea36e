"""What every action promises, tested once for all of them.

A test class inherits this, names the action, and says how to see the part of the world that it touches. Worlds are compared,
not plans: an undo that forgets something plans the same forgetful undo twice. The fixtures of the systems bear the names of
the parameters of `plan()`.

    class TestBlockAnAddress(ActionContract):
        action = BlockIp(ip=ip_network("203.0.113.9"), ttl=Ttl(timedelta(hours=1)))

        def world(self, systems: Mapping[str, System]) -> object:
            return everything_that_can_be_seen()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json

from agent import execute
from agent.action import Change, System, read_change
from agent.evidence.leaf import write_plain, write_record
from agent.expiry.capsule import Capsule, ends_elsewhere, spelled, understood
from agent.people.approvals import plan_hash
from agent.record import Record

Systems = Mapping[str, System]


class _Contract:
    """What every action promises, reversible or not."""

    action: Any

    def world(self, systems: Systems) -> object:
        """Everything that the action touches, and what is around it; two equal worlds compare equal."""
        raise NotImplementedError

    @pytest.fixture
    def systems(self, request: pytest.FixtureRequest) -> Systems:
        return {wanted.name: request.getfixturevalue(name) for name, wanted in self.action.needs.items()}

    @pytest.fixture
    def plan(self, systems: Systems) -> list[Change]:
        plan = self._plan(systems)
        assert plan, "the fixture's world must give the action something to do"
        return plan

    def _plan(self, systems: Systems) -> list[Change]:
        made: list[Change] = self.action.plan(**{name: systems[wanted.name] for name, wanted in self.action.needs.items()})
        return made

    def test_planning_and_a_dry_run_change_nothing(self, systems: Systems) -> None:
        before = self.world(systems)

        said = execute.dry_run(self._plan(systems), systems)

        assert self.world(systems) == before
        assert all(said)

    def test_a_plan_comes_back_from_the_journal_as_it_was(self, plan: list[Change], systems: Systems) -> None:
        read = [_through_the_journal(change, systems) for change in plan]

        assert read == plan

    def test_planned_again_in_the_same_world_it_is_the_same_plan_so_that_a_persons_yes_to_it_holds(
        self, plan: list[Change], systems: Systems
    ) -> None:
        assert plan_hash(self._plan(systems)) == plan_hash(plan)

    def test_its_end_is_the_kernels_or_outlives_the_agent_in_a_capsule(self, plan: list[Change], systems: Systems) -> None:
        kernels = {change.apply.system for change in plan if change.undo and ends_elsewhere(change)}
        kept = [change for change in plan if not ends_elsewhere(change)]

        assert kernels <= {"firewall", "perimeter"}
        assert [_through_a_capsule(change, systems) for change in kept] == kept


class ActionContract(_Contract):
    """For what can be taken back. Inherit, set `action`, and write `world`."""

    def test_once_applied_it_holds_and_there_is_nothing_left_to_do(self, plan: list[Change], systems: Systems) -> None:
        before = self.world(systems)

        outcomes = _apply(plan, systems)

        assert outcomes == ["in_force"] * len(plan)
        assert self.world(systems) != before
        assert self._plan(systems) == []

    def test_undo_restores_the_world_even_after_a_crash_between_any_two_changes(
        self, plan: list[Change], systems: Systems
    ) -> None:
        before = self.world(systems)
        for done in range(len(plan) + 1):
            _apply(plan[:done], systems)

            _undo(plan, systems)

            assert self.world(systems) == before

    def test_undoing_twice_is_harmless(self, plan: list[Change], systems: Systems) -> None:
        before = self.world(systems)
        _apply(plan, systems)

        results = [*_undo(plan, systems), *_undo(plan, systems)]

        assert results == ["lifted"] * len(plan) + ["gone"] * len(plan)
        assert self.world(systems) == before

    def test_what_the_journal_gives_back_undoes_it_without_the_action(self, plan: list[Change], systems: Systems) -> None:
        before = self.world(systems)
        read = [_through_the_journal(change, systems) for change in plan]
        _apply(read, systems)

        results = _undo(read, systems)

        assert read == plan
        assert results == ["lifted"] * len(plan)
        assert self.world(systems) == before


class OnceContract(_Contract):
    """For what is done once and cannot be taken back (undo=None). Inherit, set `action`, and write `world`."""

    def test_once_applied_it_is_verified_and_nothing_offers_an_undo(self, plan: list[Change], systems: Systems) -> None:
        before = self.world(systems)

        outcomes = _apply(plan, systems)

        assert outcomes == ["in_force"] * len(plan)
        assert self.world(systems) != before
        assert all(change.undo is None for change in plan)

    def test_doing_it_once_more_after_a_crash_is_harmless(self, plan: list[Change], systems: Systems) -> None:
        _apply(plan, systems)
        after = self.world(systems)

        outcomes = _apply(plan, systems)

        assert outcomes == ["in_force"] * len(plan)
        assert self.world(systems) == after


def _apply(plan: Sequence[Change], systems: Systems) -> list[str]:
    return [one.result for one in execute.apply([[(f"M-{at}", change) for at, change in enumerate(plan)]], systems)[0]]


def _undo(plan: Sequence[Change], systems: Systems) -> list[str]:
    backwards = [(f"M-{at}", change) for at, change in reversed(list(enumerate(plan)))]
    return [one.result for job in backwards for one in execute.undo([job], systems)]


def _through_the_journal(change: Change, systems: Systems) -> Change:
    plain = from_json(write_record(Record("intent", {"change": change})))["body"]["change"]
    return read_change(plain, {name: type(one) for name, one in systems.items()})


def _through_a_capsule(change: Change, systems: Systems) -> Change:
    whole = Capsule("box", "M-1", "", "", "", "", 0.0, Path("/agent.yaml"), Path("/agent.sock"), change)
    plain = from_json(write_plain(spelled(whole), what="a capsule"))
    return understood(plain, {name: type(one) for name, one in systems.items()}).change
