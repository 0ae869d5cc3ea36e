"""People's reports: an incident at once, open until a person ends it; and nothing is done by a report alone."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import attachment
from agent.attachment import unpacked
from agent.event import REPORT, REPORTED, Event
from agent.evidence.journal_read import read_only
from agent.messages import Seen
from agent.people.reporting import MANY, MOST_OPEN
from agent.policy import Clause, Count, Part, Policy, Step
from agent.schema import Ttl, address
from agent.senders.report import Report
from agent.streams.sender import BadDocumentError
from tests.running import Running
from tests.stories import Shut, Story, guard, shut

TEXT = "customers see other people's orders"


def listening(*then: Any, **more: Any) -> Policy:
    """A policy on reports."""
    return Policy("on-report", "P1", (Clause((Part("report"),), by=("src.ip",)),), then, digest="digest", **more)


def by_http(story: Story, text: str = TEXT, **fields: Any) -> None:
    event = Event(REPORT.name, story.now, {"text": text, "severity": "P1", **fields}, "in:helpdesk", story.now)
    story.tell(Seen([event]))


# An incident at once ------------------------------------------------------------------------------------------------------


def test_a_report_opens_an_incident_in_the_name_of_who_reports() -> None:
    story = Story()

    answer = story.ask("report", text=TEXT, severity="P1", service="shop", ip="203.0.113.7")

    one = story.agent.state.incidents[answer["incident"]]
    assert (one.policy, one.severity, one.target, one.phase) == (REPORTED, "P1", "shop 203.0.113.7", "open")
    assert one.because == f"alice (uid 1000) reports: {TEXT}"
    assert one.title == TEXT


def test_without_a_severity_it_is_P2_and_without_a_place_about_the_host() -> None:
    story = Story()

    answer = story.ask("report", text="it is slow")

    assert (answer["result"], answer["severity"], answer["target"]) == ("reported", "P2", "db1")


def test_a_sender_opens_one_by_the_same_way_and_says_whom_it_speaks_for() -> None:
    story = Story()

    by_http(story, reporter="bob", service="shop")

    (one,) = story.agent.state.incidents.values()
    assert (one.policy, one.severity, one.target) == (REPORTED, "P1", "shop")
    assert one.because.startswith("bob by in:helpdesk reports: ")


def test_no_sender_can_pose_as_the_control_socket() -> None:
    story = Story()

    by_http(story, reporter="root (uid 0)")

    (one,) = story.agent.state.incidents.values()
    assert "by in:helpdesk" in one.because


def test_an_address_that_is_none_is_refused_before_anything_is_written() -> None:
    story = Story()

    answer = story.ask("report", text=TEXT, ip="203.0.113.0/24")

    assert "name one address" in answer["problem"]
    assert not story.records


@pytest.mark.parametrize("text", ["", "  ", "\n\t\u00a0"])
def test_a_report_without_a_word_is_refused_before_anything_is_written(text: str) -> None:
    story = Story()

    answer = story.ask("report", text=text)

    assert "blank" in answer["problem"]
    assert not story.records


def test_the_same_report_again_opens_no_second_incident() -> None:
    story = Story()
    story.ask("report", text=TEXT)

    answer = story.ask("report", text=TEXT)
    other = story.ask("report", text="something else")

    assert (answer["result"], answer["incident"]) == ("known", "INC-1")
    assert other["incident"] == "INC-2"


def test_more_can_be_added_to_an_open_incident_and_to_no_other() -> None:
    story = Story()
    story.ask("report", text=TEXT)

    added = story.ask("report", text="in Paris as well", incident="INC-1")
    nowhere = story.ask("report", text="in Paris as well", incident="INC-9")

    assert added["result"] == "added"
    assert story.agent.state.incidents["INC-1"].told == ("alice (uid 1000): in Paris as well",)
    assert nowhere["result"] == "failed"


def test_beyond_so_many_open_reports_there_is_one_incident_for_all_others_of_a_severity() -> None:
    story = Story()
    for number in range(MOST_OPEN):
        story.ask("report", text=f"report {number}")

    first = story.ask("report", text="one more", severity="P0")
    second = story.ask("report", text="and one more", severity="P0")

    assert first["incident"] == second["incident"]
    assert story.agent.state.incidents[first["incident"]].target == MANY
    assert second["severity"] == "P0"
    assert len(story.agent.state.incidents) == MOST_OPEN + 1


def test_a_crash_right_after_the_answer_loses_nothing() -> None:
    story = Story()
    story.ask("report", text=TEXT, severity="P0")
    story.ask("report", text="more", incident="INC-1")
    before = story.agent.state.incidents["INC-1"]

    story.die_and_start_again()

    assert story.agent.state.incidents["INC-1"] == before


# Its end ------------------------------------------------------------------------------------------------------------------


def test_a_report_does_not_end_by_itself() -> None:
    story = Story()
    story.ask("report", text=TEXT)

    for _ in range(30):
        story.pass_by(3600)

    assert story.agent.state.incidents["INC-1"].phase == "open"


def test_a_person_ends_it_and_says_how() -> None:
    story = Story()
    story.ask("report", text=TEXT)

    answer = story.ask("resolve", what="INC-1", why="a cache was wrong")

    assert answer["result"] == "resolved"
    assert story.agent.state.incidents["INC-1"].phase == "resolved"
    assert story.said("phase")[-1].body["because"] == "alice (uid 1000): a cache was wrong"
    assert story.ask("resolve", what="INC-1", why="again")["result"] == "nothing"
    assert story.ask("resolve", what="INC-9", why="which")["result"] == "failed"


def test_what_still_holds_for_an_incident_keeps_it_from_being_resolved() -> None:
    story = Story()
    story.logins(3)

    answer = story.ask("resolve", what="INC-1", why="enough")

    assert answer["result"] == "refused"
    assert "contain undo INC-1" in answer["because"]
    story.ask("undo", what="INC-1", why="enough")
    assert story.agent.state.incidents["INC-1"].phase == "resolved"  # nothing holds for it any more


# Nothing by itself --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [shut(), guard(), guard(hard=True), guard(hard=True, unasked=True)])
def test_what_a_policy_would_do_for_a_report_waits_for_a_persons_yes_however_mild_it_is(step: Step) -> None:
    story = Story(listening(step))

    story.ask("report", text=TEXT, ip="203.0.113.7")
    by_http(story, **{"src.ip": "203.0.113.8"})

    assert not story.gate.shut
    assert "intent" not in story.kinds()
    assert len(story.agent.state.approvals.waiting) == 2


def test_with_a_yes_it_is_done() -> None:
    story = Story(listening(shut()))
    story.ask("report", text=TEXT, ip="203.0.113.7")
    (waiting,) = story.agent.state.approvals.waiting
    action = Shut(ip=address("203.0.113.7"), ttl=Ttl.read("1h"))

    story.ask("approve", what=waiting.id, why="I know", action=action)

    assert set(story.gate.shut) == {"203.0.113.7"}


def test_a_crash_between_the_report_and_the_plan_does_not_make_it_act_without_a_yes() -> None:
    story = Story(listening(shut()))
    story.dead = True
    story.ask("report", text=TEXT, ip="203.0.113.7")

    story.die_and_start_again()
    story.pass_by(2)

    assert not story.gate.shut
    assert len(story.agent.state.approvals.waiting) == 1


def test_several_reports_can_be_counted_by_a_policy() -> None:
    counting = Policy("many", "P1", (Clause((Part("report", (), Count(3, timedelta(hours=1))),), by=("service",)),), digest="d")
    story = Story(counting)

    for number in range(3):
        story.ask("report", text=f"shop is broken {number}", service="shop")

    assert story.agent.state.incident_for("many", "shop") is not None


def test_other_policies_act_as_before() -> None:
    story = Story()

    story.logins(3)

    assert story.gate.shut


# A sender's document ------------------------------------------------------------------------------------------------------


def test_a_document_is_read_with_all_that_it_may_say() -> None:
    (said,) = Report().read({"text": TEXT, "severity": "P0", "service": "shop", "ip": "2001:DB8::1", "reporter": "bob"})

    assert said.kind == "report"
    assert said.fields == {"text": TEXT, "severity": "P0", "service": "shop", "src.ip": "2001:db8::1", "reporter": "bob"}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"text": ""},
        {"text": "x" * 5000},
        {"text": TEXT, "severity": "P9"},
        {"text": TEXT, "severity": ["P0"]},
        {"text": TEXT, "ip": "10.0.0.0/8"},
        {"text": TEXT, "reporter": 7},
        {"text": TEXT, "do": "block_ip"},
    ],
)
def test_a_document_that_is_no_report_is_refused(document: Any) -> None:
    with pytest.raises(BadDocumentError):
        Report().read(document)


# What is attached ---------------------------------------------------------------------------------------------------------


def packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packed(b"\0" * (attachment.MOST + 1)), "larger than 1 MiB"),
        (packed(b"x" * 1000)[:-12], "cut off"),
        ("%%%", "not packed"),
        (base64.b64encode(b"plain").decode(), "not packed"),
    ],
    ids=["too much", "cut", "no base64", "no gzip"],
)
def test_what_unpacks_to_too_much_or_to_nothing_is_refused(data: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unpacked(data)


POLICY = """
policy: on-report
severity: P1
owner: sre
when: {event: report, by: src.ip, match: {src.ip: {exists: true}}}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path, "mode: enforce\n", POLICY) as made:
        yield made


def test_the_real_agent_keeps_report_file_and_event_though_it_is_killed_right_after_the_answer(agent: Running) -> None:
    log = agent.place / "shop.log"
    log.write_text("order 7 of alice shown to bob\n")

    said = agent.contain("report", TEXT, "--severity", "P1", "--service", "shop", "--attach", str(log), "--ip", "203.0.113.7")
    agent.kill()
    agent.start()

    assert said.returncode == 0, said.stderr
    shown = agent.contain("why", "INC-1").stdout
    assert TEXT in shown
    assert "contain incidents resolve INC-1" in shown
    assert TEXT in agent.contain("status").stdout + agent.contain("incidents").stdout
    assert [one["kind"] for one in agent.ask("events")["items"]] == ["report"]
    (row,) = agent.contain("evidence", "files", "--incident", "INC-1").stdout.splitlines()
    assert "order 7 of alice" in agent.contain("evidence", "show", row.split("\t")[4]).stdout
    assert agent.ask("approvals")["total"] == 1
    with read_only(agent.place / "state" / "journal.db") as reader:
        kinds = [one.record.kind for one in reader.records(limit=1000)]
    assert "intent" not in kinds


def test_a_person_adds_resolves_and_is_told_what_is_wrong(agent: Running) -> None:
    agent.contain("report", TEXT)

    added = agent.contain("report", "in Paris, too", "--incident", "INC-1")
    wrong = agent.contain("report", "x", "--incident", "INC-1", "--severity", "P0")
    fifo = agent.contain("report", "x", "--attach", "/dev/zero")
    blank = agent.contain("report", "  ")
    over = agent.contain("incidents", "resolve", "INC-1", "--why", "mended")

    assert "INC-1 has it now" in added.stdout
    assert (wrong.returncode, fifo.returncode, blank.returncode) == (2, 2, 2)
    assert "say what you see" in blank.stderr
    assert over.stdout == "INC-1 is resolved.\n"
    assert agent.ask("incidents")["total"] == 0
