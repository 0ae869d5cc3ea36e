"""Stories: messages in, effects and records out, an hour in a millisecond."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent import snapshot, state
from agent.fold import fold
from agent.messages import Disturbed, Effect, Message, Plan, Seen, Verify
from agent.policy import Limits, Rate
from agent.schema import Ttl, address
from tests.stories import T0, Gate, Shut, Story, login, policy, shut


def test_the_third_failure_is_found_planned_applied_verified_and_lifted_after_its_ttl() -> None:
    story = Story()

    story.logins(3)

    assert story.gate.shut == {"203.0.113.7": 3600.0}
    assert story.kinds() == ["finding", "intent", "in_force"]
    assert story.said("in_force")[0].body["contains"] is True

    story.pass_by(3600)

    assert story.gate.shut == {}
    assert story.kinds()[3:] == ["lifting", "lifted", "phase"]
    assert story.agent.state.incidents["INC-1"].phase == "resolved"


def test_two_failures_are_not_enough() -> None:
    story = Story()

    story.logins(2)

    assert story.records == []


def test_the_intent_with_its_undo_is_noted_before_anything_is_begun() -> None:
    story = Story()
    story.dead = True
    for _ in range(2):
        story.tell(Seen([login()]))
    (plan,) = (one for one in story.tell(Seen([login()])) if isinstance(one, Plan))

    effects = story.tell(story.lane(plan))  # type: ignore[arg-type]

    assert [type(one).__name__ for one in effects] == ["Note", "Apply"]
    assert story.said("intent")[0].body["change"].undo is not None


def test_more_failures_while_it_is_contained_change_nothing() -> None:
    story = Story()
    story.logins(3)
    before = len(story.records)

    story.logins(50)

    assert len(story.records) == before


def test_a_finding_that_comes_again_after_the_end_blocks_again_and_for_longer() -> None:
    story = Story(policy(then=[shut("1h x2 up to 7d")]))
    story.logins(3)
    story.pass_by(3600)

    story.logins(3)

    assert story.gate.shut == {"203.0.113.7": 7200.0}
    assert [one.incident for one in story.said("finding")] == ["INC-1", "INC-1"]
    assert story.agent.state.incidents["INC-1"].phase == "contained"


@pytest.mark.parametrize(("repeats", "hours"), [(0, 1), (1, 2), (3, 8), (40, 168)])
def test_a_growing_ttl_stops_at_its_limit(repeats: int, hours: int) -> None:
    assert Ttl.read("1h x2 up to 7d").after(repeats) == timedelta(hours=hours)


def test_dry_run_writes_down_what_it_would_do_and_does_nothing() -> None:
    story = Story(mode="dry_run")

    story.logins(30)

    assert story.gate.shut == {}
    assert story.kinds() == ["finding", "would"]
    assert story.agent.state.incidents["INC-1"].phase == "open"


def test_a_policy_that_is_off_finds_nothing() -> None:
    story = Story(policy(mode="off"))

    story.logins(10)

    assert story.records == []


def test_a_mode_set_at_run_time_counts_before_the_file_and_survives_a_restart() -> None:
    story = Story(mode="enforce")
    story.ask("mode", policy="guessing", mode="dry_run")
    story.die_and_start_again()

    story.logins(3)

    assert story.gate.shut == {}
    assert "would" in story.kinds()


def test_a_life_line_is_never_touched_and_the_refusal_says_why() -> None:
    story = Story(never=["203.0.113.0/24"])

    story.logins(3)

    assert story.gate.shut == {}
    assert "lies in 203.0.113.0/24, never touched: an established ssh peer" in story.said("refused")[0].body["because"]


def test_a_refused_finding_still_opens_its_incident() -> None:
    story = Story(never=["203.0.113.7"])

    story.logins(3)

    assert story.agent.state.incidents["INC-1"].phase == "open"


def test_max_per_window_refuses_the_next_one_and_allows_it_after_the_window() -> None:
    story = Story(policy(guard=Limits(max=Rate(2, timedelta(minutes=10)))))
    for last in range(1, 4):
        story.logins(3, ip=f"203.0.113.{last}", every=0)

    assert set(story.gate.shut) == {"203.0.113.1", "203.0.113.2"}
    assert "this policy allows 2 per 10m" in story.said("finding")[-1].body["because"]

    story.pass_by(601)
    story.logins(3, ip="203.0.113.3", every=0)

    assert "203.0.113.3" in story.gate.shut


def test_max_active_of_agent_yaml_holds_for_all_policies_together() -> None:
    story = Story(policy("one"), policy("two"), limits=Limits(max_active=1))

    story.logins(3)
    story.logins(3, ip="203.0.113.8")

    assert set(story.gate.shut) == {"203.0.113.7"}
    assert "1 are the most agent.yaml, which keeps a fifth" in story.said("finding")[-1].body["because"]


def test_an_unless_is_written_down_once_and_not_for_every_line() -> None:
    from agent.policy import Test

    story = Story(policy(unless=(Test("user", "is", "root", "root"),)))

    story.logins(200)

    assert story.kinds() == ["left_alone"]
    assert story.gate.shut == {}


def test_what_does_not_hold_after_its_call_is_not_called_in_force() -> None:
    story = Story()
    story.gate.broken = "lies"

    story.logins(3)

    assert "not_verified" in story.kinds()
    assert "in_force" not in story.kinds()
    assert story.agent.state.incidents["INC-1"].phase == "open"


def test_a_refusing_system_ends_as_failed_with_its_reason_and_is_tried_again_at_the_next_finding() -> None:
    story = Story()
    story.gate.broken = "refuses"
    story.logins(3)

    story.gate.broken = ""
    story.logins(1)

    assert story.said("failed")[0].body["error"] == "the gate is stuck"
    assert story.gate.shut


def test_an_answer_that_cannot_be_had_leaves_a_doubt_that_verify_clears() -> None:
    story = Story()
    story.gate.broken = "silent"
    story.logins(3)
    assert story.kinds()[-1] == "late"

    story.gate.broken = ""
    story.pass_by(1)

    assert story.said("recovered")[0].body["holds"] is True
    assert story.agent.state.incidents["INC-1"].phase == "contained"


def test_a_step_with_after_is_done_only_if_the_finding_came_again() -> None:
    firing, quiet = (Story(policy(then=[shut(after=timedelta(minutes=1))])) for _ in range(2))
    firing.logins(4)
    quiet.logins(3)

    firing.pass_by(60)
    quiet.pass_by(60)

    assert firing.gate.shut
    assert not quiet.gate.shut
    assert quiet.kinds()[-1] == "skipped"


def test_an_optional_step_with_an_empty_field_is_passed_over_and_another_is_refused() -> None:
    from agent.policy import Step

    nameless = Step(Shut, {"ttl": Ttl.read("1h")}, {"ip": "nobody"})
    optional = Step(Shut, {"ttl": Ttl.read("1h")}, {"ip": "nobody"}, optional=True)

    stopped, gone_on = Story(policy(then=[nameless, shut()])), Story(policy(then=[optional, shut()]))
    stopped.logins(3)
    gone_on.logins(3)

    assert not stopped.gate.shut
    assert stopped.said("refused")[0].body["because"] == "$nobody is empty in this event"
    assert gone_on.gate.shut


def test_a_pause_stops_actions_not_findings_and_ends_by_itself() -> None:
    story = Story()
    story.ask("pause", seconds=600, why="deploy")
    story.logins(3)
    assert not story.gate.shut
    assert story.said("would")[0].body["pauses"] == ["P-1"]

    story.pass_by(601)
    story.logins(3)

    assert story.gate.shut


# People ---------------------------------------------------------------------------------------------------------------------


def test_a_person_blocks_by_hand_and_is_named_in_the_evidence() -> None:
    story = Story()

    answer = story.ask("do", action=Shut(address("198.51.100.9"), Ttl.read("30m")), why="scanner")

    assert answer["result"] == "in_force"
    assert story.gate.shut == {"198.51.100.9": 1800.0}
    assert story.said("intent")[0].body["actor"] == "alice (uid 1000)"


def test_a_person_is_held_to_the_life_lines_too() -> None:
    story = Story(never=["198.51.100.9"])

    answer = story.ask("do", action=Shut(address("198.51.100.9"), Ttl.read("30m")), why="oops")

    assert answer["result"] == "refused"
    assert not story.gate.shut


@pytest.mark.parametrize("what", ["M-1", "INC-1", "203.0.113.7", "all"])
def test_undo_finds_its_mitigations_by_any_of_their_names(what: str) -> None:
    story = Story()
    story.logins(3)

    answer = story.ask("undo", what=what, why="false alarm")

    assert answer == {"result": "lifted", "mitigations": ["M-1"], "failed": [], "said": []}
    assert not story.gate.shut


def test_undoing_what_somebody_else_lifted_is_harmless_and_says_so() -> None:
    story = Story()
    story.logins(3)
    story.gate.shut.clear()

    story.ask("undo", what="M-1", why="false alarm")

    assert story.said("lifted")[0].body["how"] == "the system had let go already"


def test_what_a_person_took_down_is_not_put_up_again_by_the_next_failure() -> None:
    story = Story()
    story.logins(3)
    story.ask("undo", what="203.0.113.7", why="our scanner")

    story.logins(20)
    assert not story.gate.shut

    story.pass_by(600)
    story.logins(3)
    assert story.gate.shut


# Drift, crash and restart ---------------------------------------------------------------------------------------------------


def test_what_somebody_else_removed_is_put_back_for_the_time_that_is_left() -> None:
    story = Story()
    story.logins(3, every=0)
    story.gate.shut.clear()
    story.now += 600

    story.tell(Disturbed("gate", "nft (pid 42)"))

    assert story.gate.shut == {"203.0.113.7": 3000.0}
    assert story.said("drifted")[0].body["who"] == "nft (pid 42)"
    assert story.kinds()[-1] == "healed"


def test_somebody_who_removes_it_again_and_again_is_not_fought_for_ever() -> None:
    story = Story()
    story.logins(3, every=0)

    for _ in range(20):
        story.gate.shut.clear()
        story.tell(Disturbed("gate", "ufw (pid 7)"))
        story.now += 1

    assert len(story.said("drifted")) == 5
    assert story.said("drifted")[-1].body["fight"] is True


def test_the_sweep_finds_what_no_event_told_of() -> None:
    story = Story()
    story.logins(3)
    story.gate.shut.clear()

    story.pass_by(61)

    assert story.gate.shut


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_crash_after_any_effect_leaves_no_open_intent_and_nothing_behind_after_its_end(dies_after: int) -> None:
    story = Story()
    left = dies_after

    def until_dead(effect: Effect) -> Message | None:
        nonlocal left
        left -= 1
        answer = Story.lane(story, effect)
        story.dead = left <= 0
        return None if story.dead else answer

    story.lane = until_dead  # type: ignore[method-assign]
    story.logins(3, every=0)
    del story.lane
    story.die_and_start_again()

    open_now = [one for one in story.agent.state.mitigations.values() if one.stage in ("applying", "lifting")]
    in_force = {one.target for one in story.agent.state.in_force()}

    assert open_now == []
    assert set(story.gate.shut) == in_force

    story.pass_by(3601)

    assert story.gate.shut == {}


def test_an_end_that_came_while_the_agent_was_dead_is_kept_at_the_next_start() -> None:
    story = Story()
    story.logins(3)
    story.now += 7200

    story.die_and_start_again()

    assert story.gate.shut == {}
    assert story.agent.state.in_force() == []


def test_what_vanished_while_the_agent_was_dead_is_put_back() -> None:
    story = Story()
    story.logins(3)
    story.gate.shut.clear()

    story.die_and_start_again()

    assert story.gate.shut


def test_live_state_and_state_from_records_and_state_from_a_snapshot_are_the_same() -> None:
    from pydantic_core import from_json, to_json

    story = Story(policy("one"), policy("two", then=[shut("2h")]), policy("dry", mode="dry_run"))
    story.logins(4)
    story.logins(4, ip="203.0.113.8")
    story.ask("undo", what="203.0.113.8", why="mine")
    story.ask("pause", seconds=9999, why="lunch")
    live = snapshot.snapshot(story.agent.state)

    replayed = state.State({"gate": Gate})
    for at, record in story.records:
        fold(replayed, record, at)
    restored = snapshot.restore(from_json(to_json(live, timedelta_mode="float")), {"gate": Gate})

    assert snapshot.snapshot(replayed) == live
    assert snapshot.snapshot(restored) == live
    assert restored.holder == story.agent.state.holder
    assert restored.incident_of == story.agent.state.incident_of


def test_an_incident_without_mitigations_resolves_when_it_has_been_quiet() -> None:
    story = Story()
    story.gate.broken = "refuses"
    story.logins(3)

    story.pass_by(1801)

    assert story.agent.state.incidents["INC-1"].phase == "resolved"


def test_a_look_at_what_is_in_force_asks_the_system() -> None:
    story = Story()
    story.logins(3)

    effects = story.tell(Disturbed("gate", ""))

    assert any(isinstance(one, Verify) for one in effects)
    assert story.agent.verified["M-1"] >= T0


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_a_finding_that_a_crash_left_without_an_answer_is_taken_up_at_the_next_start(dies_after: int) -> None:
    story = Story()
    left = dies_after

    def until_dead(effect: Effect) -> Message | None:
        nonlocal left
        left -= 1
        return None if left < 0 else Story.lane(story, effect)

    story.lane = until_dead  # type: ignore[method-assign]
    story.logins(3, every=0)
    del story.lane

    story.die_and_start_again()
    story.pass_by(1)

    assert set(story.gate.shut) == {"203.0.113.7"}
    assert story.agent.state.unanswered == {}
    assert story.agent.state.incidents["INC-1"].phase == "contained"


@pytest.mark.parametrize("comes_again", [True, False])
def test_a_step_that_was_put_off_is_done_after_a_crash_too_if_the_finding_came_again(comes_again: bool) -> None:
    put_off = policy(then=[shut(after=timedelta(minutes=1))], guard=Limits(cooldown=timedelta(minutes=5)))
    story = Story(put_off)
    story.logins(3, every=0)
    story.now += 30

    story.die_and_start_again()
    story.logins(3 if comes_again else 1, every=0)
    story.pass_by(31)

    assert bool(story.gate.shut) is comes_again
