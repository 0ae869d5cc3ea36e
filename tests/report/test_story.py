"""From records to the story of an incident: its numbers are exact, whatever happened in between."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.evidence.journal_read import read_only
from agent.messages import ClockSet
from agent.policy import Gathering
from agent.record import Record
from agent.report import write
from agent.report.downtime import Answered, Down, Downs, downs
from agent.report.read import gather
from agent.report.story import Numbers, long
from agent.report.tell import story as tell
from tests.report.journalled import IMPACT, attack, journal, raw, restarts, says, told, watched, whole_notes
from tests.stories import T0, Story, policy


def test_the_golden_story_has_exactly_these_numbers(tmp_path: Path) -> None:
    made = told(attack(), tmp_path)

    assert made.numbers == Numbers(
        detect=10.0, acknowledge=81.0, contain=0.0, slowest=0.0, resolve=3891.0, downtime=31.0, unsure=0.0,
        targets=1, findings=1, applied=1, undone=1,
        told=made.numbers.told, untold=0,
    )  # fmt: skip
    assert made.first == (
        "P2 Somebody guesses: 203.0.113.7. Found 10 s after it began, contained under 0.1 s later, "
        "over 1 h 4 min after it began; 31 s of downtime."
    )
    assert [(one.id, one.state, one.ended) for one in made.deeds] == [("M-1", "lifted", T0 + 3892)]
    assert made.downs == (Down(T0 + 1, T0 + 32, ("shop",)),)
    assert made.impact == ("shop",)


def test_every_change_names_its_records_by_number_and_by_their_hash_in_the_tree(tmp_path: Path) -> None:
    story = attack()
    made = told(story, tmp_path)

    with read_only(tmp_path / "journal.db") as reader:
        kinds = [reader.record(one.seq).record.kind for one in made.deeds[0].proofs]  # type: ignore[union-attr]

    assert kinds == [one.kind for one in made.deeds[0].proofs] == ["intent", "in_force", "lifted"]
    assert all(len(one.sha256) == 64 for one in made.deeds[0].proofs)


def test_after_a_kill_the_same_is_told(tmp_path: Path) -> None:
    calm, killed = attack(), watched()
    killed.pass_by(1)
    says(killed, "bad")
    killed.logins(2)
    killed.now += 8
    killed.logins(1)
    killed.die_and_start_again()
    killed.answered = {}  # type: ignore[attr-defined]
    killed.pass_by(20)
    says(killed, "good", "200 in 12 ms")
    killed.pass_by(60)
    killed.ask("acknowledge", what="INC-1", why="looking")
    killed.pass_by(3800)

    first, second = (told(one, tmp_path / name) for one, name in ((calm, "a"), (killed, "b")))

    times = ("detect", "acknowledge", "contain", "downtime", "applied", "undone")
    assert [getattr(first.numbers, one) for one in times] == [getattr(second.numbers, one) for one in times]


def test_a_recurrence_counts_both_times_that_it_was_down_and_not_the_time_between(tmp_path: Path) -> None:
    story = attack()
    says(story, "bad")
    story.logins(3)
    story.pass_by(60)
    says(story, "good")
    story.pass_by(7300)

    made = told(story, tmp_path)

    assert len(made.downs) == 2
    assert made.numbers.downtime == 31.0 + 63.0
    assert made.numbers.findings == 2
    assert made.numbers.applied == 2
    assert made.phase == "resolved"


def test_an_incident_that_goes_on_is_told_as_of_now(tmp_path: Path) -> None:
    story = watched()
    story.pass_by(1)
    says(story, "bad")
    story.logins(3)
    story.pass_by(100)

    made = told(story, tmp_path)

    assert made.phase == "contained"
    assert made.numbers.resolve is None
    assert made.numbers.downtime == 103.0
    assert made.downs[0].until is None
    assert "contained as of this report" in made.first


def test_those_that_were_merged_are_one_report_under_either_name(tmp_path: Path) -> None:
    one, other = policy(gathering=Gathering(alone=True)), policy("else", least=5, gathering=Gathering(alone=True))
    story = watched(one, other)
    story.logins(3)
    story.logins(5, ip="198.51.100.9")
    story.ask("merge", what="INC-2", into="INC-1", why="the same one")
    story.pass_by(60)

    here, there = told(story, tmp_path / "a", "INC-1"), told(story, tmp_path / "b", "INC-2")

    assert here.id == there.id == "INC-1"
    assert {target.target for target in here.targets} == {"203.0.113.7", "198.51.100.9"}
    assert here.targets == there.targets


def test_what_gathers_into_one_is_one_report_with_all_its_targets(tmp_path: Path) -> None:
    story = watched()
    for number in range(1, 6):
        story.logins(3, ip=f"203.0.113.{number}")

    made = told(story, tmp_path, "INC-4")

    assert (made.id, made.numbers.targets, made.numbers.applied) == ("INC-1", 5, 5)
    assert "203.0.113.1 and 4 more" in made.first


def test_of_an_unknown_incident_there_is_no_story(tmp_path: Path) -> None:
    path = journal(attack(), tmp_path)

    with read_only(path) as reader:
        found = gather(reader, "INC-9")

    assert found is None


def test_a_clock_that_was_set_makes_no_downtime(tmp_path: Path) -> None:
    story = watched()
    story.pass_by(1)
    says(story, "bad")
    story.logins(3)
    story.now += 3600
    story.tell(ClockSet(3600.0))
    story.pass_by(20)
    says(story, "good")
    story.pass_by(3700)

    made = told(story, tmp_path)

    assert made.numbers.downtime == pytest.approx(23.0)
    assert made.numbers.detect == pytest.approx(2.0)
    assert made.numbers.resolve == pytest.approx(3723.0)


def test_while_nobody_asks_it_is_down_and_told_as_unsure(tmp_path: Path) -> None:
    story = watched()
    says(story, "bad")
    story.logins(3)
    story.pass_by(10)
    restarts(story)
    story.pass_by(50)
    says(story, "bad")
    story.pass_by(7)
    says(story, "good")

    made = told(story, tmp_path)

    assert made.numbers.downtime == 70.0
    assert made.numbers.unsure == 50.0


def test_the_text_of_the_policy_stands_in_it_without_its_secrets(tmp_path: Path) -> None:
    made = told(attack(), tmp_path)

    (text,) = made.texts
    assert text.text.startswith("policy: guessing\n")
    assert "hunter22" not in text.text
    assert "[redacted:" in text.text
    assert made.untexted == ()


def test_what_was_done_by_hand_about_its_target_belongs_to_it(tmp_path: Path) -> None:
    story = watched(policy(then=(), least=3))
    story.logins(3)
    change = next(one.body["change"] for one in story.said("intent"))
    body = {"policy": "", "action": "shut", "target": "203.0.113.7", "actor": "bob (uid 7)", "because": "by hand"}
    more = [("intent", {**body, "change": change, "until": None, "part": 0}), ("in_force", {"until": None, "contains": False})]
    story.records += [(story.now, Record(kind, given, "", "M-77")) for kind, given in more]
    story.pass_by(5)

    made = told(story, tmp_path)

    assert [(one.id, one.actor, one.state) for one in made.deeds][-1] == ("M-77", "bob (uid 7)", "in force")


def test_a_false_positive_says_so(tmp_path: Path) -> None:
    story = attack()
    story.ask("false_positive", what="INC-1", why="our own test")

    made = told(story, tmp_path)

    assert made.false
    assert made.phase == "closed"
    assert made.closed_by == "alice (uid 1000)"
    assert "a person says that it was none" in made.first


def test_a_dry_run_is_told_as_one(tmp_path: Path) -> None:
    story = watched(mode="dry_run")
    story.logins(3)

    made = told(story, tmp_path)

    assert (made.numbers.would, made.numbers.applied, made.numbers.contain) == (1, 0, None)
    assert made.deeds[0].state == "would"
    assert "nothing was done, in dry run" in made.first


def test_people_s_parts_are_their_latest_version(tmp_path: Path) -> None:
    story = attack()
    story.ask("report_notes", what="INC-1", text=whole_notes("old"), after=0)
    story.ask("report_notes", what="INC-1", text=whole_notes("new"), after=1)

    made = told(story, tmp_path)

    assert made.notes["root_cause"] == "new"
    assert (made.version, made.written_by, made.missing) == (2, "alice (uid 1000)", ())


def test_ten_thousand_records_are_told_within_a_second(tmp_path: Path) -> None:
    story = Story(policy(gathering=IMPACT))
    story.logins(3)
    story.records += [
        (story.now + n * 0.1, Record("noted", {"actor": "bob", "text": f"line {n}"}, "INC-1")) for n in range(10_000)
    ]
    found = raw(story, tmp_path)
    begun = time.process_time()
    with read_only(tmp_path / "journal.db") as reader:
        gather(reader, "INC-1")
    made = tell(found, story.now)
    page = write.html(made, lambda at: datetime.fromtimestamp(at, UTC))

    assert time.process_time() - begun < 2.0  # a busy machine may take twice as long as promised
    assert "more moments stand in the evidence" in page


# Downtime alone -----------------------------------------------------------------------------------------------------------


def answers(text: str) -> list[Answered]:
    """`1 shop bad, 5 db bad, 9 - -`: a time, a check, its state; a dash is where the agent stopped."""
    rows = (one.split() for one in text.split(", "))
    return [Answered(float(at), "" if name == "-" else name, "", state) for at, name, state in rows]


@pytest.mark.parametrize(
    ("said", "spans", "seconds", "unsure"),
    [
        ("1 shop bad, 4 shop good", [(1, 4)], 3, 0),
        ("1 shop bad, 2 db bad, 4 shop good, 9 db good", [(1, 9)], 8, 0),
        ("1 shop bad, 4 shop good, 6 shop bad, 7 shop good", [(1, 4), (6, 7)], 4, 0),
        ("1 shop bad, 3 shop unknown, 6 shop good", [(1, 6)], 5, 3),
        ("1 shop bad, 3 shop unknown, 6 shop bad, 8 shop good", [(1, 8)], 7, 3),
        ("1 shop bad, 2 db bad, 3 shop unknown, 6 shop good, 8 db good", [(1, 8)], 7, 0),
        ("1 shop bad, 3 - -, 7 shop good", [(1, 7)], 6, 4),
        ("1 shop unknown, 3 shop good", [], 0, 0),
        ("1 shop bad, 4 shop gone", [(1, 4)], 3, 0),
        ("1 other bad, 4 other good", [], 0, 0),
        ("1 shop bad", [(1, None)], 19, 0),
        ("1 shop bad, 5 - -", [(1, None)], 19, 15),
    ],
)
def test_downtime_is_the_union_of_what_was_bad(
    said: str, spans: list[tuple[float, float]], seconds: float, unsure: float
) -> None:
    found = downs(answers(said), ("shop", "db"))

    assert [(one.since, one.until) for one in found.all] == spans
    assert (found.seconds(20.0), found.unsure(20.0)) == (seconds, unsure)


def test_a_downtime_of_last_week_is_not_this_incident_s() -> None:
    found = Downs((Down(1, 5, ("shop",)), Down(90, 110, ("shop",)), Down(500, 600, ("shop",))), ())

    assert [one.since for one in found.about(100, 200).all] == [90]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "not yet"),
        (0.0, "under 0.1 s"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.7, "1 min"),
        (150, "2 min 30 s"),
        (3900, "1 h 5 min"),
        (266_400, "3 d 2 h"),
    ],
)
def test_lengths_of_time_are_said_in_their_two_largest_units(seconds: float | None, said: str) -> None:
    assert long(seconds) == said
