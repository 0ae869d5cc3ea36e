"""PagerDuty's webhooks: known by their signature, taken once, and heeded only where a person did something with our page."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.evidence.journal_read import read_only
from agent.senders.pagerduty import Pagerduty
from agent.streams.sender import BadDocumentError
from tests.intake.sending import OLDER, SECRET, Answer, Intake
from tests.needs import need_root
from tests.running import wait_for

OURS = "containment/db1/INC-1"
ALICE = {"id": "PLH1HKV", "summary": "Alice", "type": "user_reference", "html_url": "https://acme.pagerduty.com/users/PLH1HKV"}
PROGRAM = {"id": "PI61ZSX", "summary": "containment", "type": "events_api_v2_inbound_integration_reference"}


def webhook(kind: str = "incident.acknowledged", key: str | None = OURS, **given: Any) -> dict[str, Any]:
    """A webhook, as the documentation shows it; each with an id of its own."""
    data = {
        "id": "PGR0VU2",
        "type": "incident",
        "number": 2,
        "status": "acknowledged",
        "incident_key": key,
        "title": "A little bump in the road",
        "assignees": [{"id": "PTUXL6G", "summary": "Bob", "type": "user_reference"}],
        "priority": None,
        "resolve_reason": None,
    }
    event = {
        "id": str(time.monotonic_ns()),
        "event_type": kind,
        "resource_type": "incident",
        "occurred_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent": ALICE,
        "client": {"name": "PagerDuty"},
        "data": data,
    }
    return {"event": {**event, **given}}


def note(title: str, text: str = "Looking at it") -> dict[str, Any]:
    incident = {"id": "PGR0VU2", "summary": title, "type": "incident_reference"}
    return {"id": "P2LA89X", "type": "incident_note", "incident": incident, "content": text, "trimmed": False}


# What it says -------------------------------------------------------------------------------------------------------------


def read(document: Any) -> dict[str, Any]:
    said = Pagerduty().read(document)
    return dict(said[0].fields) if said else {}


def test_an_acknowledgement_says_who_and_when() -> None:
    (said,) = Pagerduty().read(webhook(occurred_at="2026-11-23T06:00:01.500Z"))

    assert said.fields == {
        "incident": "INC-1",
        "incident.host": "db1",
        "tool": "PagerDuty",
        "what": "acknowledged",
        "who": "Alice",
    }
    assert said.ts == 1795413601.5


def test_whom_it_was_handed_to_is_said() -> None:
    assert read(webhook("incident.reassigned"))["to"] == "Bob"


def test_where_pagerduty_gives_no_key_the_title_tells() -> None:
    title = "[P1 INC-1 on db1] http-flood: 31 addresses"

    grouped = read(webhook(data={"incident_key": None, "title": title}))
    annotated = read(webhook("incident.annotated", data=note(f"[#12] {title}")))

    assert (grouped["incident"], grouped["incident.host"]) == ("INC-1", "db1")
    assert (annotated["incident"], annotated["what"], annotated["text"]) == ("INC-1", "noted", "Looking at it")


@pytest.mark.parametrize(
    "document",
    [
        webhook(key="d3640fbd41094207a1c11e58e46b1662"),
        webhook(key=None),
        webhook(key="containment/db1/INC-1/x"),
        webhook(data={"incident_key": "other", "title": "[P1 INC-1 on db1] a title that somebody made up"}),
        webhook(data={"title": "see [P1 INC-1 on db1] x"}),
        webhook(agent=PROGRAM),
        webhook(agent=None),
        webhook("incident.priority_updated"),
        webhook("incident.triggered"),
        {"event": {"id": "1", "event_type": "service.updated", "occurred_at": "x", "agent": None, "data": {"type": "service"}}},
        {"event": {"id": "1", "event_type": "pagey.ping", "agent": None, "data": {"message": "Hello", "type": "ping"}}},
    ],
)
def test_what_is_no_persons_answer_about_an_incident_of_ours_says_nothing(document: Any) -> None:
    assert read(document) == {}


@pytest.mark.parametrize("document", [[], {}, {"event": 3}, {"event": {}}, {"event": {"event_type": "x", "data": 7}}])
def test_what_is_no_webhook_is_refused(document: Any) -> None:
    with pytest.raises(BadDocumentError):
        read(document)


# Real HTTP ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    need_root()
    place = tmp_path_factory.mktemp("pagerduty")
    auth = f"{{hmac_file: {place}/secret, style: pagerduty}}"
    senders = f"    pagerduty: {{pagerduty: {{}}, auth: {auth}}}\n"
    senders += "    desk: {report: {}, auth: {users: [root]}}\n"
    with Intake(place, senders=senders) as made:
        made.post("/in/desk", {"text": "customers see other people's orders", "severity": "P1"}, authorization="")
        wait_for(lambda: _records(made, "finding"))
        yield made


def sign(body: bytes, secret: str = SECRET) -> str:
    return f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def post(intake: Intake, document: Any, signature: str | None = None) -> Answer:
    body = json.dumps(document).encode()
    return intake.post(
        "/in/pagerduty", body, authorization="", x_pagerduty_signature=sign(body) if signature is None else signature
    )


def _records(intake: Intake, kind: str) -> list[dict[str, Any]]:
    with read_only(intake.agent.place / "state" / "journal.db") as reader:
        return [dict(one.record.body) for one in reader.records() if one.record.kind == kind]


def test_a_persons_acknowledgement_there_counts_here(intake: Intake) -> None:
    assert post(intake, webhook()).body == {"accepted": 1}

    (record,) = wait_for(lambda: _records(intake, "acknowledged"))
    assert record["actor"] == "Alice at PagerDuty"
    assert post(intake, webhook(agent={**ALICE, "summary": "Carol"})).status == 202
    assert len(_records(intake, "acknowledged")) == 1  # the first to say so stays the one


def test_resolved_there_is_a_note_here(intake: Intake) -> None:
    assert post(intake, webhook("incident.resolved")).status == 202

    (record,) = wait_for(lambda: [one for one in _records(intake, "noted") if "resolved it there" in one["text"]])
    assert record["actor"] == "Alice at PagerDuty"
    assert "resolved" not in [one["phase"] for one in _records(intake, "phase")]


def test_the_same_webhook_again_is_taken_and_nothing_comes_of_it(intake: Intake) -> None:
    document = webhook("incident.reassigned")

    answers = [post(intake, document) for _ in range(3)]

    assert [(one.status, one.body) for one in answers] == [(202, {"accepted": 1}), (202, {"accepted": 0}), (202, {"accepted": 0})]
    wait_for(lambda: [one for one in _records(intake, "noted") if one["text"] == "handed it on to Bob"])
    assert len([one for one in _records(intake, "noted") if one["text"] == "handed it on to Bob"]) == 1


@pytest.mark.parametrize("secret", [SECRET, OLDER])
def test_any_of_several_signatures_lets_in(intake: Intake, secret: str) -> None:
    document = webhook(agent=PROGRAM)
    body = json.dumps(document).encode()

    assert post(intake, document, f"v1={'0' * 64},{sign(body, secret)}").status == 202


@pytest.mark.parametrize("signature", ["", "v1=", f"v1={'0' * 64}", f"v2={'0' * 64}", "v1=" + "g" * 64, "x" * 5000, "t=1,v1=2"])
def test_a_wrong_signature_lets_nobody_in(intake: Intake, signature: str) -> None:
    before = len(intake.events("agent.answered"))

    answer = post(intake, webhook(), signature)

    assert (answer.status, answer.body) == (401, {"error": "refused"})
    assert len(intake.events("agent.answered")) == before


def test_a_signature_of_another_body_lets_nobody_in(intake: Intake) -> None:
    assert post(intake, webhook(), sign(json.dumps(webhook()).encode())).status == 401


def test_our_own_signature_is_none_of_pagerdutys(intake: Intake) -> None:
    body = json.dumps(webhook()).encode()
    stamp = int(time.time())
    made = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()

    assert intake.post("/in/pagerduty", body, authorization="", x_containment_signature=f"t={stamp},v1={made}").status == 401


@pytest.mark.parametrize("key", ["containment/web9/INC-1", "containment/db1/INC-999"])
def test_another_hosts_incident_and_one_that_is_not_known_change_nothing(intake: Intake, key: str) -> None:
    before = len(_records(intake, "noted"))

    assert post(intake, webhook("incident.resolved", key)).status == 202
    assert post(intake, webhook("incident.reopened")).status == 202  # ours, behind it

    wait_for(lambda: len(_records(intake, "noted")) > before)
    assert len(_records(intake, "noted")) == before + 1


def test_it_is_answered_in_time(intake: Intake) -> None:
    started = time.monotonic()

    post(intake, webhook(agent=PROGRAM))

    assert time.monotonic() - started < 5
