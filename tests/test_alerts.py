"""Other tools' alerts as stories: one that is repeated counts once, stands until it is over, and is looked at again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic_core import from_json, to_json

from agent import policy as words
from agent import snapshot, view
from agent.action import Change, action
from agent.alerts import hearing, standing
from agent.event import ALERT, FIRING, Event
from agent.messages import Seen
from agent.say import sentence
from agent.schema import Address
from agent.state import State
from tests.stories import Gate, Story, shut

FIRES = words.Test("status", "is", FIRING, FIRING)
HOUR = 3600.0
AN_HOUR = timedelta(hours=1)


def on_alert(name: str = "flooded", *, window: Any = None, ttl: str = "1h", **more: Any) -> words.Policy:
    clause = words.Clause((words.Part(ALERT.name, (FIRES,), window),), by=("src.ip",))
    return words.Policy(
        name, "P1", (clause,), (shut(ttl),), title="Another tool sees a flood", digest=f"digest of {name}", **more
    )


def alert(story: Story, status: str = FIRING, fingerprint: str = "f1", ip: str = "203.0.113.7", **more: Any) -> Event:
    fields = {"name": "Flood", "status": status, "fingerprint": fingerprint, "src.ip": ip, "sender": "prom", **more}
    return Event(ALERT.name, story.now, fields, "in:prom", story.now)


def told(story: Story, *args: Any, **more: Any) -> None:
    story.tell(Seen([alert(story, *args, **more)]))


def test_an_alert_that_is_repeated_is_one_alert_and_one_incident() -> None:
    story = Story(on_alert())

    for _ in range(5):
        told(story)
        story.pass_by(30)

    assert story.kinds().count("alert_fires") == 1
    assert len(story.agent.state.incidents) == 1
    (one,) = view.alerts(story.agent)["items"]
    assert (one["name"], one["times"], one["ended"]) == ("Flood", 5, None)


def test_repeats_do_not_fill_a_window_and_other_alerts_do() -> None:
    story = Story(on_alert(window=words.Count(3, AN_HOUR)))
    for _ in range(10):
        told(story)
    assert not story.gate.shut

    told(story, fingerprint="f2")
    told(story, fingerprint="f3")

    assert list(story.gate.shut) == ["203.0.113.7"]


def test_one_that_is_over_and_fires_again_counts_again() -> None:
    story = Story(on_alert(window=words.Count(2, AN_HOUR)))
    told(story)
    told(story, "resolved")
    assert not view.alerts(story.agent)["total"]

    told(story)

    assert list(story.gate.shut) == ["203.0.113.7"]
    assert story.kinds().count("alert_fires") == 2


def test_a_resolve_alone_triggers_nothing_where_the_policy_does_not_name_it() -> None:
    story = Story(on_alert())

    told(story, "resolved")

    assert not story.agent.state.incidents


def test_what_still_fires_is_found_again_when_a_block_has_run_out() -> None:
    story = Story(on_alert(ttl="5m"))
    told(story)

    for _ in range(20):
        story.pass_by(60)

    assert list(story.gate.shut) == ["203.0.113.7"]
    assert story.gate.closings >= 3


def test_once_it_is_over_nothing_is_found_again() -> None:
    story = Story(on_alert(ttl="5m"))
    told(story)
    told(story, "resolved")

    for _ in range(20):
        story.pass_by(60)

    assert not story.gate.shut
    assert story.gate.closings == 1


def test_a_policy_that_comes_later_finds_what_fires_already() -> None:
    story = Story(on_alert("other", window=words.Count(100, AN_HOUR)))
    told(story)

    story.policies = (on_alert(),)
    story.agent = story.born(story.agent.state)
    story.pass_by(61)

    assert list(story.gate.shut) == ["203.0.113.7"]


def test_an_alert_stands_through_a_kill_and_counts_from_the_start_on() -> None:
    story = Story(on_alert())
    told(story)

    story.die_and_start_again()

    assert [one["name"] for one in view.alerts(story.agent)["items"]] == ["Flood"]
    told(story)
    assert story.kinds().count("alert_fires") == 1


def test_one_whose_sender_falls_silent_is_over_when_two_repeats_are_missing() -> None:
    story = Story(on_alert())
    told(story, repeats=4 * HOUR)

    story.pass_by(8 * HOUR)
    assert view.alerts(story.agent)["total"] == 1
    story.pass_by(HOUR)

    assert not view.alerts(story.agent)["total"]
    assert "not heard of for" in sentence(story.said("alert_over")[0])


def test_one_that_is_told_once_stands_for_a_week() -> None:
    story = Story(on_alert())
    told(story)

    story.pass_by(6 * 24 * HOUR)
    assert view.alerts(story.agent)["total"] == 1
    story.pass_by(25 * HOUR)

    assert not view.alerts(story.agent)["total"]


def test_two_senders_with_one_fingerprint_are_two_alerts() -> None:
    story = Story(on_alert())
    told(story)

    story.tell(Seen([alert(story)._replace(source="in:grafana")]))

    assert view.alerts(story.agent)["total"] == 2


def test_beyond_the_cap_an_alert_counts_and_is_not_held() -> None:
    story = Story(on_alert(window=words.Count(10**6, AN_HOUR)))
    story.tell(Seen([alert(story, fingerprint=str(number)) for number in range(standing.MOST)]))

    told(story, fingerprint="one more")

    assert len(story.agent.state.alerts.all) == standing.MOST
    assert story.agent.state.evictions == {"alerts": 1}


def test_a_snapshot_knows_what_fires_and_what_is_over() -> None:
    story = Story(on_alert())
    told(story, **{"labels.password": "not a secret's value", "labels.job": "node"})
    told(story, fingerprint="f2")
    told(story, "resolved", "f2")

    plain = from_json(to_json(snapshot.snapshot(story.agent.state), timedelta_mode="float"))

    other: State = snapshot.restore(plain, {"gate": Gate})
    assert other.alerts.all == story.agent.state.alerts.all
    assert other.alerts.over == story.agent.state.alerts.over


def test_only_the_first_telling_is_kept_as_an_event() -> None:
    story = Story(on_alert())
    first = alert(story)
    assert not hearing.repeated(story.agent, first)

    story.tell(Seen([first]))

    assert hearing.repeated(story.agent, alert(story))
    assert not hearing.repeated(story.agent, alert(story, "resolved"))
    assert not hearing.repeated(story.agent, alert(story, fingerprint="f2"))


# Steps that were put off ----------------------------------------------------------------------------------------------------


def later(seconds: float) -> words.Policy:
    return replace(on_alert(), then=(shut("1h", after=timedelta(seconds=seconds)),))


def test_a_step_that_was_put_off_is_not_done_about_an_alert_that_is_over() -> None:
    story = Story(later(60))
    told(story)
    for _ in range(4):
        story.pass_by(5)

    told(story, "resolved")
    for _ in range(10):
        story.pass_by(5)

    assert not story.gate.shut
    assert "did not come again" in story.said("skipped")[0].body["because"]


def test_a_step_that_was_put_off_for_less_than_a_minute_is_done_about_an_alert_that_still_fires() -> None:
    story = Story(later(30))
    told(story, fingerprint="f0", ip="203.0.113.8")
    story.pass_by(5)
    told(story, "resolved", "f0", ip="203.0.113.8")

    told(story)
    for _ in range(7):
        story.pass_by(5)

    assert list(story.gate.shut) == ["203.0.113.7"]


def test_a_step_that_was_put_off_over_a_restart_is_done_about_an_alert_that_still_fires() -> None:
    story = Story(later(60))
    told(story)
    story.pass_by(30)

    story.die_and_start_again()
    for _ in range(8):
        story.pass_by(5)

    assert list(story.gate.shut) == ["203.0.113.7"]


def test_after_a_start_what_was_left_to_do_is_taken_up_before_alerts_are_looked_at() -> None:
    story = Story(on_alert())
    told(story)

    story.die_and_start_again()

    assert story.agent.next_hearing > story.now + 0.5


# What it says may change ------------------------------------------------------------------------------------------------------


def test_an_alert_that_gets_worse_is_news() -> None:
    clause = words.Clause(
        (words.Part(ALERT.name, (FIRES, words.Test("severity", "is", "critical", "critical"))),), by=("src.ip",)
    )
    story = Story(replace(on_alert(), when=(clause,)))
    told(story, severity="warning", value=1.0)
    told(story, severity="warning", value=2.0)
    assert not story.gate.shut
    assert not hearing.repeated(story.agent, alert(story, severity="critical"))

    told(story, severity="critical", value=3.0)

    assert list(story.gate.shut) == ["203.0.113.7"]
    assert len(story.agent.state.alerts.all) == 1
    assert story.kinds().count("alert_fires") == 2


def test_a_label_by_the_name_of_a_secret_is_in_no_record() -> None:
    story = Story(on_alert())

    told(story, **{"labels.api_token": "hunter2-hunter2", "labels.job": "node"})

    assert b"hunter2" not in to_json(story.said("alert_fires")[0].body)
    assert b"node" in to_json(story.said("alert_fires")[0].body)


# What is done once ----------------------------------------------------------------------------------------------------------


@action(impact="mild")
class Ring:
    """Ring the bell once."""

    ip: Address

    def plan(self, gate: Gate) -> list[Change]:
        return [Change("ring the bell", gate.ring(ip=self.ip), None, gate.rang(ip=self.ip))]


Ring.name = "ring"  # type: ignore[attr-defined] # an action is named by its file


def ringing() -> words.Policy:
    return replace(on_alert(), then=(words.Step(Ring, {}, {"ip": "src.ip"}),))


def test_what_is_done_once_is_done_once_for_an_alert_that_goes_on_firing() -> None:
    story = Story(ringing())
    told(story)

    for _ in range(90):
        story.pass_by(60)

    assert len(story.gate.rung) == 1
    (incident,) = story.agent.state.incidents.values()
    assert incident.phase == "contained"


def test_what_is_done_once_is_done_again_when_the_alert_fires_again() -> None:
    story = Story(ringing())
    told(story)
    story.pass_by(60)
    told(story, "resolved")
    story.pass_by(60)

    told(story)
    story.pass_by(60)

    assert len(story.gate.rung) == 2


def test_what_is_done_once_and_failed_is_tried_until_it_is_done() -> None:
    story = Story(ringing())
    story.gate.broken = "no bell"
    told(story)
    story.pass_by(61)
    assert len(story.gate.rung) == 0

    story.gate.broken = ""
    for _ in range(10):
        story.pass_by(61)

    assert len(story.gate.rung) == 1
