"""How fast incidents were responded to: exact, by severity, out of records alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.evidence.journal_read import read_only
from agent.messages import ClockSet
from agent.policy import Gathering
from agent.record import Record
from agent.report.metrics import AROUND, NEEDLES, Erring, Metrics, Spread, metrics
from tests.report.journalled import attack, journal, says, watched
from tests.stories import T0, policy

ALONE = Gathering(alone=True)


def measured(story: object, place: Path, since: float = 0.0) -> Metrics:
    path = journal(story, place)  # type: ignore[arg-type]
    with read_only(path) as reader:
        return metrics(((one.ts, one.record) for one in reader.having(*NEEDLES, *AROUND)), since, story.now)  # type: ignore[attr-defined]


def test_the_golden_story_is_measured_as_it_is_told(tmp_path: Path) -> None:
    made = measured(attack(), tmp_path)

    (one,) = made.incidents
    assert (one.detect, one.acknowledge, one.contain, one.resolve, one.downtime) == (10.0, 81.0, 0.0, 3891.0, 31.0)
    assert made.counts == {"P0": 0, "P1": 0, "P2": 1, "P3": 0}


def test_median_and_95th_percentile_are_by_severity(tmp_path: Path) -> None:
    story = watched(policy(gathering=ALONE))
    for number in range(1, 21):
        story.logins(2, ip=f"203.0.113.{number}", every=1.0)
        story.now += number
        story.logins(1, ip=f"203.0.113.{number}")
    story.ask("severity", what="INC-20", severity="P0", why="worse")

    made = measured(story, tmp_path)

    waits = sorted(number + 2.0 for number in range(1, 20))
    assert made.times["P2"]["detect"] == Spread(19, waits[9], waits[18])
    assert made.times["P0"]["detect"] == Spread(1, 22.0, 22.0)
    assert "acknowledge" not in made.times["P2"]


def test_what_people_saw_as_one_counts_once(tmp_path: Path) -> None:
    story = watched()
    for number in range(1, 6):
        story.logins(3, ip=f"203.0.113.{number}")

    made = measured(story, tmp_path)

    assert [one.id for one in made.incidents] == ["INC-1"]


def test_a_false_positive_counts_for_its_policy_and_in_no_time(tmp_path: Path) -> None:
    story = watched(policy(gathering=ALONE))
    story.logins(3)
    story.logins(3, ip="203.0.113.8")
    story.pass_by(4000)
    story.ask("false_positive", what="INC-1", why="our own test")

    made = measured(story, tmp_path)

    assert made.policies == (Erring("guessing", 2, 1),)
    assert made.times["P2"]["detect"].incidents == 1


def test_only_incidents_of_the_time_asked_for_count(tmp_path: Path) -> None:
    made = measured(attack(), tmp_path, since=T0 + 3600)

    assert made.incidents == ()


def test_a_clock_that_was_set_changes_no_length(tmp_path: Path) -> None:
    story = watched()
    story.pass_by(1)
    says(story, "bad")
    story.logins(3)
    story.now += 86400
    story.tell(ClockSet(86400.0))
    story.pass_by(20)
    says(story, "good")
    story.ask("acknowledge", what="INC-1", why="")

    (one,) = measured(story, tmp_path).incidents

    assert one.downtime == pytest.approx(23.0)
    assert one.acknowledge == pytest.approx(21.0)


def test_a_journal_of_a_hundred_thousand_records_is_measured_in_seconds(tmp_path: Path) -> None:
    story = watched(policy(gathering=ALONE))
    story.logins(3)
    more = [Record("captured", {"files": [], "padding": "x" * 600}, "INC-1", "M-1") for _ in range(100_000)]
    path = journal(story, tmp_path)
    from contextlib import closing

    from tests.evidence.journals import opened

    with closing(opened(path)) as made:
        made.commit(story.now, more)
    begun = time.process_time()

    with read_only(path) as reader:
        found = metrics(((one.ts, one.record) for one in reader.having(*NEEDLES, *AROUND)), 0.0, story.now)

    assert len(found.incidents) == 1
    assert time.process_time() - begun < 5.0
