"""PagerDuty: one alert for each incident, never acknowledged by anybody but a person, and nothing said of what is not open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agent.action import CannotReach
from agent.notifiers.pagerduty import Pagerduty
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Busy, Refused, Thread
from agent.notifying.thread_key import incident_of, key_in, key_of, title_of
from tests.certificates import certificate
from tests.notifiers.api import Api, Asked, Wrong
from tests.notifiers.contract import Mischief, NotifierContract, kept, send_all
from tests.notifiers.notices import hostile, notice

KEY = "0123456789abcdef0123456789ABCDEF"
_TOP = {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}
_PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


class Events(Api):
    """Events API v2 by its documentation. `alerts` are all that were ever opened: key, state, and the last trigger."""

    def __init__(self, shown: Path) -> None:
        self.alerts: list[dict[str, Any]] = []
        super().__init__(shown)

    def shows(self, one: Asked) -> bool:
        return one.method == "POST"

    def answers(self, one: Asked) -> tuple[int, Any]:
        if (one.method, one.path) != ("POST", "/v2/enqueue") or one.headers["content-type"] != "application/json":
            raise Wrong(404, f"{one.method} {one.path}")
        event = one.body
        if event["routing_key"] != KEY:
            return 400, self.complaint(f"Invalid routing key {event['routing_key']}")
        self._check(one)
        open_now = next((each for each in self.alerts if each["key"] == event["dedup_key"] and each["state"] != "resolved"), None)
        if event["event_action"] == "trigger":
            if open_now is None:
                open_now = {"key": event["dedup_key"], "state": "triggered"}
                self.alerts.append(open_now)
            open_now["event"] = event
        elif open_now is None:
            self.wrong.append(f"{event['event_action']} of an alert that is not open is dropped")
        else:
            open_now["state"] = {"acknowledge": "acknowledged", "resolve": "resolved"}[event["event_action"]]
        return 202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}

    def complaint(self, why: str) -> Any:
        return {"status": "invalid event", "message": "Event object is invalid", "errors": [why]}

    def _check(self, one: Asked) -> None:
        event = one.body
        _demand(one.size <= 512 * 1024, "at most 512 kB")
        _demand(set(event) <= _TOP, f"unknown: {set(event) - _TOP}")
        _demand(event["event_action"] in ("trigger", "acknowledge", "resolve"), "event_action")
        _demand(0 < len(event["dedup_key"]) <= 255, "dedup_key")
        for link in event.get("links", ()):
            _demand(set(link) <= {"href", "text"} and link["href"].startswith("http"), "links")
        if event["event_action"] != "trigger":
            return
        payload = event["payload"]
        _demand(set(payload) <= _PAYLOAD, f"unknown: {set(payload) - _PAYLOAD}")
        _demand(0 < len(payload["summary"]) <= 1024, "summary")
        _demand(bool(payload["source"]), "source")
        _demand(payload["severity"] in ("critical", "error", "warning", "info"), "severity")
        _demand(isinstance(payload.get("custom_details", {}), dict), "custom_details")


def _demand(so: bool, what: str) -> None:
    if not so:
        raise Wrong(400, what)


class Vendor:
    secrets = (KEY,)
    mischiefs: frozenset[Mischief] = frozenset({"busy", "nonsense", "error", "lost", "hang", "refused", "gibberish"})
    asks = True
    what: What = "opened"

    def __init__(self, events: Events, channel: Pagerduty) -> None:
        self.events, self.channel, self.secret_file = events, channel, channel.routing_key_file

    def next(self, mischief: Mischief) -> None:
        if mischief == "refused":
            self.secret_file.write_text("f" * 32)
        else:
            self.events.next(mischief)

    def seen(self) -> int:
        return len(self.events.alerts)

    def stop(self) -> None:
        self.events.stop()


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("pagerduty"), 30)


@pytest.fixture
def events(shown: Path) -> Iterator[Events]:
    made = Events(shown)
    yield made
    made.stop()
    assert [one for one in made.wrong if "Invalid routing key" not in one] == []


@pytest.fixture
def channel(events: Events, shown: Path, tmp_path: Path) -> Pagerduty:
    return _channel(tmp_path, f"https://localhost:{events.port}", str(shown))


def _channel(place: Path, url: str, ca_file: str = "") -> Pagerduty:
    file = place / "routing-key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    return Pagerduty(file, url, ca_file, timedelta(seconds=1.5))


class TestPagerduty(NotifierContract):
    @pytest.fixture
    def vendor(self, events: Events, channel: Pagerduty) -> Vendor:
        return Vendor(events, channel)

    @pytest.mark.parametrize("what", ["opened", "changed", "escalated", "reopened", "test"])
    def test_news_of_every_kind_can_be_sent(self, vendor: Any, what: What) -> None:
        super().test_news_of_every_kind_can_be_sent(vendor, what)


def _tell(channel: Any, thread: Thread, *notices: Notice) -> Thread:
    for one in notices:
        thread = send_all(channel, one, thread)
    return thread


def test_an_alert_says_what_the_incident_is(channel: Pagerduty, events: Events) -> None:
    _tell(channel, {}, notice(severity="P0", dry=True))

    (alert,) = events.alerts
    payload = alert["event"]["payload"]
    assert alert["key"] == "containment/web-1/INC-7"
    assert payload["summary"].startswith("[P0 INC-7 on web-1] P1 http-flood: 31 addresses flood shop")
    assert (payload["severity"], payload["source"], payload["class"], payload["group"]) == (
        "critical",
        "web-1",
        "http-flood",
        "availability",
    )
    assert payload["custom_details"]["need"] == ["Say that you are on it:", "contain ack INC-7"]
    assert payload["custom_details"]["targets"][-1] == "and 29 more"
    assert payload["custom_details"]["dry run"] == "nothing is really done about it"
    assert [link["href"] for link in alert["event"]["links"]] == [address for _, address in notice().links]


@pytest.mark.parametrize(("severity", "theirs"), [("P0", "critical"), ("P1", "error"), ("P2", "warning"), ("P3", "info")])
def test_severities_are_translated(channel: Pagerduty, events: Events, severity: Any, theirs: str) -> None:
    _tell(channel, {}, notice(severity=severity))

    assert events.alerts[0]["event"]["payload"]["severity"] == theirs


def test_only_a_persons_acknowledgement_acknowledges(channel: Pagerduty, events: Events) -> None:
    thread = _tell(channel, {}, notice(), notice("changed"), notice("escalated"), notice("noted"))
    assert events.alerts[0]["state"] == "triggered"

    _tell(channel, thread, notice("acknowledged", acked_by="alice"))

    assert events.alerts[0]["state"] == "acknowledged"


def test_nothing_is_sent_where_nothing_has_changed_for_pagerduty(channel: Pagerduty, events: Events) -> None:
    thread = _tell(channel, {}, notice())

    _tell(channel, thread, notice("changed"), notice("escalated"), notice("noted"))

    assert len(events.asked) == 1


def test_a_severity_that_changed_is_told_in_the_same_alert(channel: Pagerduty, events: Events) -> None:
    _tell(channel, {}, notice(), notice("changed", severity="P0"))

    (alert,) = events.alerts
    assert alert["event"]["payload"]["severity"] == "critical"
    assert len(events.asked) == 2


@pytest.mark.parametrize("what", ["acknowledged", "resolved", "closed"])
def test_nothing_is_said_of_an_alert_before_its_page_was_taken(channel: Pagerduty, events: Events, what: What) -> None:
    thread = _tell(channel, {}, notice(what))

    assert thread == {}
    assert events.asked == []


def test_what_is_resolved_is_resolved_once_and_opened_anew(channel: Pagerduty, events: Events) -> None:
    thread = _tell(channel, {}, notice(), notice("resolved"), notice("closed"))
    assert [one["state"] for one in events.alerts] == ["resolved"]
    assert len(events.asked) == 2

    _tell(channel, thread, notice("reopened"))

    assert [one["state"] for one in events.alerts] == ["resolved", "triggered"]


def test_whoever_is_told_later_than_others_gets_a_page_too(channel: Pagerduty, events: Events) -> None:
    _tell(channel, {}, notice("escalated"))

    assert [one["state"] for one in events.alerts] == ["triggered"]


def test_a_test_leaves_nothing_open(channel: Pagerduty, events: Events) -> None:
    _tell(channel, {}, notice("test"))

    assert [(one["state"], one["event"]["payload"]["severity"]) for one in events.alerts] == [("resolved", "info")]


def test_another_answer_than_202_is_not_taken_for_a_yes(channel: Pagerduty, events: Events) -> None:
    events.next("busy")

    with pytest.raises(Busy):
        _tell(channel, {}, notice())

    assert len(events.asked) == 1  # the vendor's client would try again by itself


def test_a_key_that_is_none_is_not_sent(channel: Pagerduty, events: Events) -> None:
    channel.routing_key_file.write_text("short")

    with pytest.raises(Refused, match="32 characters"):
        _tell(channel, {}, notice())

    assert events.asked == []


def test_the_key_does_not_come_back_in_what_pagerduty_says(channel: Pagerduty) -> None:
    other = "e" * 32
    channel.routing_key_file.write_text(other)

    with pytest.raises(Refused) as caught:
        _tell(channel, {}, notice())

    assert "Invalid routing key …" in str(caught.value)
    assert other not in str(caught.value)


def test_a_server_that_nobody_vouches_for_is_told_nothing(events: Events, tmp_path: Path) -> None:
    stranger = _channel(tmp_path, f"https://localhost:{events.port}")

    with pytest.raises((Busy, CannotReach), match="certificate"):
        _tell(stranger, {}, notice())

    assert events.asked == []


@pytest.mark.parametrize("url", ["http://localhost:1", "https://user:x@localhost", "events.pagerduty.com"])
def test_addresses_that_would_show_the_key_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Pagerduty(tmp_path / "key", url)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=hostile())
def test_whatever_strangers_wrote_fits_pagerdutys_schema(channel: Pagerduty, events: Events, one: Notice) -> None:
    thread: Thread = {}
    for part in channel.parts(one):
        thread = kept(channel.send(one, part, thread, doubtful=False))

    assert events.wrong == []
    for alert in events.alerts:
        links = json.dumps(alert["event"].get("links", ()))
        assert "evil" not in links


@pytest.mark.parametrize("host", ["web-1", "shop.example.com", "a b/c", "h" * 300, "]evil[", ""])
def test_a_key_leads_back_to_its_incident_and_no_other_host_s(host: str) -> None:
    key = key_of(host, "INC-7")

    assert len(key) <= 255
    assert incident_of(key, host) == "INC-7"
    assert incident_of(key, "other") == ""
    assert key_in(title_of(host, "INC-7", "P1", "x" * 5000)) == key
    assert key_in("[#123] " + title_of(host, "INC-7", "P1", "")) == key
    assert len(title_of(host, "INC-7", "P1", "x" * 5000)) == 1024
