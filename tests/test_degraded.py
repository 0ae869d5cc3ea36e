"""Who acts while evidence cannot be written, and what becomes of the state where a journal was lost. Stories, no clock."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic_core import from_json

from agent.action import Adopted
from agent.evidence.leaf import write_plain
from agent.fold import fold
from agent.loss.degraded import Memory, refusal, withheld
from agent.messages import Adoptable, Apply, Asked, Effect, Lift, Note, Run
from agent.record import Record
from agent.schema import Ttl, address
from agent.snapshot import restore, snapshot
from agent.state import State
from tests.stories import Gate, Shut, Story, policy

FULL = "database or disk is full"


def story(severity: Any = "P2", **more: Any) -> Story:
    return Story(replace(policy(), severity=severity, **more))


@pytest.mark.parametrize(
    ("severity", "own", "general"), list(product(("P0", "P1", "P2", "P3"), (None, "act", "refuse"), (None, "act", "refuse")))
)
def test_a_policy_says_whether_it_acts_then_agent_yaml_then_its_severity(severity: Any, own: Any, general: Any) -> None:
    told = story(severity, on_evidence_failure=own)
    told.agent.settings = replace(told.agent.settings, on_evidence_failure=general)
    told.agent.evidence = FULL

    told.logins(3)

    acts = (own or general or ("act" if severity in ("P0", "P1") else "refuse")) == "act"
    assert bool(told.gate.shut) is acts
    refused = [one.body["because"] for _, one in told.records if one.kind == "refused"]
    assert acts or refused[0].startswith(f"evidence cannot be written: {FULL}")


def test_while_evidence_can_be_written_nobody_is_refused() -> None:
    told = story("P3", on_evidence_failure="refuse")

    told.logins(3)

    assert told.gate.shut


def test_a_persons_order_is_done_unless_not_even_a_copy_can_be_kept() -> None:
    told = story()
    told.agent.evidence = FULL
    first = Shut(address("203.0.113.1"), Ttl.read("1h"))
    second = Shut(address("203.0.113.2"), Ttl.read("1h"))

    told.tell(Asked("do", {"action": first, "why": "by hand"}, "alice", 1))
    told.agent.no_copy = "no copy of a record can be kept"
    told.tell(Asked("do", {"action": second, "why": "by hand"}, "alice", 2))

    assert list(told.gate.shut) == ["203.0.113.1"]
    assert [one.body["result"] for one in told.replies] == ["in_force", "refused"]
    assert told.replies[1].body["because"] == f"evidence cannot be written: {FULL}; no copy of a record can be kept"


def test_nothing_at_all_acts_without_a_copy_and_what_is_in_force_still_ends() -> None:
    told = story("P0", on_evidence_failure="act")
    told.logins(3)
    told.agent.evidence, told.agent.no_copy = FULL, "no copy"

    told.logins(3, "203.0.113.8")
    held = set(told.gate.shut)
    told.pass_by(3700)

    assert held == {"203.0.113.7"}
    assert told.gate.shut == {}


def test_what_was_decided_in_the_turn_that_could_not_be_written_is_withheld_and_its_intents_are_closed() -> None:
    told = story("P3")
    (change,) = Shut(address("203.0.113.7"), Ttl.read("1h")).plan(told.gate)
    run = Run(actor="policy guessing", because="", policy=told.policies[0])
    effects: list[Effect] = [Note(Record("intent")), Apply(run, (("M-1", change),)), Lift((("M-0", change),), "its time is over")]
    told.agent.evidence = FULL

    going, answers = withheld(told.agent, effects)

    assert [type(one).__name__ for one in going] == ["Note", "Lift"]
    assert [(one.mitigation, one.result) for one in answers[0].outcomes] == [("M-1", "not_tried")]
    assert FULL in answers[0].outcomes[0].error


def test_refusals_say_how_to_be_refused_no_more() -> None:
    told = story()
    told.agent.evidence = FULL

    assert refusal(told.agent, told.policies[0]).endswith("(`on_evidence_failure: act` would have this policy act all the same)")


# After a loss ---------------------------------------------------------------------------------------------------------

LOST = Record(
    "journal_lost",
    {"aside": "/x", "because": "malformed", "size": 7, "known": False, "incident": 41, "mitigation": 1207, "mend": "look"},
)


def adoptable(told: Story, *addresses: str, left: float | None = 600.0, sure: bool = True) -> Adoptable:
    found = []
    for one in addresses:
        (change,) = Shut(address(one), Ttl.read("1h")).plan(Gate())
        if sure:
            told.gate.shut[one] = left
        found.append(Adopted("shut", one, change, left, sure))
    return Adoptable("gate", tuple(found))


def test_what_a_system_holds_is_in_force_again_ends_in_time_and_can_be_undone() -> None:
    told = story()
    fold(told.agent.state, LOST, told.now)

    told.tell(adoptable(told, "203.0.113.1", "203.0.113.2"))
    held = {one.id: one.target for one in told.agent.state.in_force()}
    told.tell(Asked("undo", {"what": "203.0.113.1", "why": "known"}, "alice", 1))
    told.pass_by(601)

    assert held == {"M-1208": "203.0.113.1", "M-1209": "203.0.113.2"}
    assert told.gate.shut == {}
    assert {one.stage for one in told.agent.state.mitigations.values()} == {"lifted"}
    assert told.agent.state.active[""] == 0


def test_what_is_known_is_not_adopted_again_and_a_restart_asks_only_who_did_not_answer() -> None:
    told = story()
    fold(told.agent.state, LOST, told.now)

    told.tell(adoptable(told, "203.0.113.1"))
    told.tell(adoptable(told, "203.0.113.1"))

    assert len(told.agent.state.in_force()) == 1
    assert told.agent.state.mishaps.answered == {"gate"}
    assert [one.kind for _, one in told.records].count("system_asked") == 1


@pytest.mark.parametrize("holds", [True, False])
def test_what_a_capsule_says_is_believed_only_once_the_system_says_it(holds: bool) -> None:
    told = story()
    fold(told.agent.state, LOST, told.now)
    message = adoptable(told, "203.0.113.1", sure=False)
    if holds:
        told.gate.shut["203.0.113.1"] = None

    told.tell(message)

    (one,) = told.agent.state.mitigations.values()
    assert one.stage == ("in_force" if holds else "failed")
    assert told.gate.closings == 0


def test_adopting_takes_no_room_from_what_may_be_done() -> None:
    told = story()
    fold(told.agent.state, LOST, told.now)

    told.tell(adoptable(told, *(f"203.0.113.{last}" for last in range(1, 50))))

    assert told.agent.state.done.get("", []) == []
    assert told.agent.state.active[""] == 49


def test_a_mishap_stays_until_a_person_has_seen_to_it_and_lives_through_snapshots_and_the_journal() -> None:
    told = story()
    state = told.agent.state
    Memory(state).learn(LOST, told.now)
    told.tell(adoptable(told, "203.0.113.1"))
    told.pass_by(86_400)

    again = restore(from_json(write_plain(snapshot(state), what="a snapshot")), {"gate": Gate})
    replayed = State({"gate": Gate})
    for at, one in [(told.now, LOST), *told.records]:
        fold(replayed, one, at)
    before = [one.say for one in state.mishaps.all]
    told.tell(Asked("accept", {"why": "looked"}, "alice", 1))
    told.tell(Asked("accept", {"why": "looked"}, "alice", 2))

    assert before == ["the journal was lost and a new one begun: malformed; the old one is in /x"]
    assert [one.say for one in again.mishaps.all] == [one.say for one in replayed.mishaps.all] == before
    assert (again.mishaps.bereft, again.mishaps.answered) == (True, frozenset({"gate"}))
    assert state.mishaps.all == []
    assert [one.body["result"] for one in told.replies] == ["accepted", "nothing"]
