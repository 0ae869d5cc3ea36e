"""Alertmanager, Grafana and CloudWatch: what they write becomes alerts that begin, are told again and end."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from agent.event import ALERT
from agent.streams.alert_sender import LABELS, ROOM
from agent.streams.sender import MOST, BadDocumentError, events
from tests.senders.documents import ARN, ZERO, alarm, alertmanager, grafana, grafana_alert, made, misfits, prometheus_alert


def only(sender: Any, document: Any) -> dict[str, Any]:
    (one,) = sender.read(document)
    assert one.kind == ALERT.name
    assert misfits(ALERT, one.fields) == []
    return dict(one.fields)


# Alertmanager ---------------------------------------------------------------------------------------------------------------


def test_an_alert_of_alertmanager_says_what_where_and_which() -> None:
    fields = only(made("alertmanager"), alertmanager(prometheus_alert()))

    assert fields == {
        "sender": "alertmanager",
        "name": "Flood",
        "status": "firing",
        "severity": "critical",
        "fingerprint": "ac0f64d0a3c0b0a8/containment",
        "summary": "web1 is flooded",
        "service": "nginx",
        "instance": "web1:9100",
        "link": "http://prom:9090/graph?g0.expr=rate%28x%5B1m%5D%29",
        "repeats": 14400.0,
        "labels.alertname": "Flood",
        "labels.instance": "web1:9100",
        "labels.job": "nginx",
        "labels.severity": "critical",
    }


def test_its_end_has_the_fingerprint_of_its_beginning_and_its_own_time() -> None:
    begun, ended = made("alertmanager").read(alertmanager(prometheus_alert(), prometheus_alert("resolved")))

    assert (begun.fields["status"], ended.fields["status"]) == ("firing", "resolved")
    assert begun.fields["fingerprint"] == ended.fields["fingerprint"]
    assert [begun.ts, ended.ts] == pytest.approx([1795413601.123, 1795413901.5])


def test_the_same_alert_by_another_receiver_is_another_one() -> None:
    sender, alert = made("alertmanager"), prometheus_alert()

    assert only(sender, alertmanager(alert))["fingerprint"] != only(sender, alertmanager(alert, receiver="b"))["fingerprint"]


@pytest.mark.parametrize("when", [ZERO, "0001-01-01T00:00:00", "soon", "", None, 5, {}])
def test_a_time_that_is_none_or_of_the_year_one_is_no_time(when: Any) -> None:
    (said,) = made("alertmanager").read(alertmanager(prometheus_alert() | {"startsAt": when}))

    assert said.ts == 0.0


def test_alerts_that_were_cut_off_are_noted_on_those_that_were_not() -> None:
    fields = only(made("alertmanager"), alertmanager(prometheus_alert(), truncatedAlerts=12))

    assert fields["truncated"] == 12


def test_a_message_without_alerts_says_nothing() -> None:
    assert made("alertmanager").read(alertmanager()) == []


def test_a_repeat_interval_goes_with_each_alert() -> None:
    sender = made("alertmanager", repeats=timedelta(minutes=30))

    assert only(sender, alertmanager(prometheus_alert()))["repeats"] == 1800.0


def test_an_alert_without_severity_has_that_of_agent_yaml_and_its_own_counts_first() -> None:
    sender, bare = made("alertmanager", severity="high"), prometheus_alert()
    del bare["labels"]["severity"]

    assert only(sender, alertmanager(bare))["severity"] == "high"
    assert only(sender, alertmanager(prometheus_alert()))["severity"] == "critical"


def test_an_alert_without_a_name_is_named_by_its_fingerprint_since_policies_go_by_names() -> None:
    alert = prometheus_alert()
    del alert["labels"]["alertname"]

    assert only(made("alertmanager"), alertmanager(alert))["name"] == "ac0f64d0a3c0b0a8/containment"


def test_labels_become_typed_fields_and_what_does_not_fit_is_left_out() -> None:
    fields = {"src.ip": "labels.client_ip", "unit": "labels.unit", "value": "annotations.value", "user": "labels.user"}
    sender = made("alertmanager", fields=fields)
    alert = prometheus_alert(client_ip="::ffff:203.0.113.7", unit="../../etc", user="alice")
    alert["annotations"]["value"] = "12.5"

    said = only(sender, alertmanager(alert))

    assert (said["src.ip"], said["value"], said["user"]) == ("203.0.113.7", 12.5, "alice")
    assert "unit" not in said


@pytest.mark.parametrize(
    "ip", ["203.0.113.7:4242", "203.0.113.0/24", "203.0.113.7 ", "web1", "0x7f.1", "fe80::1%eth0", "", "1" * 99]
)
def test_an_address_that_is_none_costs_the_field_and_not_the_alert(ip: str) -> None:
    said = only(made("alertmanager", fields={"src.ip": "labels.client_ip"}), alertmanager(prometheus_alert(client_ip=ip)))

    assert "src.ip" not in said


def test_labels_have_a_number_and_a_room_that_they_do_not_exceed() -> None:
    many = prometheus_alert(**{f"l{one:04}": "x" for one in range(5000)})
    long = prometheus_alert(**{f"l{one:04}": "x" * 4000 for one in range(60)})

    (crowd,), (room,) = (made("alertmanager").read(alertmanager(one)) for one in (many, long))

    assert sum(name.startswith("labels.") for name in crowd.fields) == LABELS
    assert sum(len(name) + len(str(value)) for name, value in room.fields.items() if name.startswith("labels.")) <= ROOM


def test_nothing_that_a_label_holds_moves_the_cursor_or_hides() -> None:
    alert = prometheus_alert(**{"evil\x1b[2J": "a\u202eb\x00\n", "": "nameless"})
    alert["annotations"]["summary"] = "\x1b]0;owned\x07 \ud800"

    fields = only(made("alertmanager"), alertmanager(alert))

    assert fields["labels.evil\\x1b[2J"] == "a\\u202eb\\x00\\n"
    assert fields["summary"] == "\\x1b]0;owned\\x07 \\ud800"
    assert "labels." not in fields


def test_a_fingerprint_that_is_long_or_strange_still_tells_alerts_apart() -> None:
    sender = made("alertmanager")
    keys = ["x" * 5000, "x" * 5001, "a\nb", "a\\nb", "\ud800"]

    found = [only(sender, alertmanager(prometheus_alert(fingerprint=one)))["fingerprint"] for one in keys]
    found += [only(sender, alertmanager(prometheus_alert(fingerprint="a/b"), receiver="c"))["fingerprint"]]
    found += [only(sender, alertmanager(prometheus_alert(fingerprint="a"), receiver="b/c"))["fingerprint"]]

    assert len(set(found)) == len(found)
    assert all(len(one) <= 200 for one in found)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "expected an object, found a list"),
        (
            alertmanager(version="1"),
            'version: expected "4", as Alertmanager writes (Grafana writes "1": use the sender grafana), found `1`',
        ),
        ({}, "version: expected"),
        (alertmanager(receiver=""), "receiver: expected text, found an empty text"),
        (alertmanager(alerts={}), "alerts: expected a list, found an object"),
        (alertmanager(7), "alerts[0]: expected an object, found 7"),
        (alertmanager(prometheus_alert(), prometheus_alert("x")), "alerts[1].status: expected firing or resolved, found `x`"),
        (alertmanager({"status": 3}), "alerts[0].status: expected firing or resolved, found 3"),
        (alertmanager({"status": []}), "alerts[0].status: expected firing or resolved, found a list"),
        (alertmanager(prometheus_alert(fingerprint="")), "alerts[0].fingerprint: expected text, found an empty text"),
        (alertmanager(prometheus_alert() | {"labels": "x"}), "alerts[0].labels: expected an object, found `x`"),
        (alertmanager(truncatedAlerts="many"), "truncatedAlerts: expected a number, found `many`"),
        (alertmanager(truncatedAlerts=-1), "truncatedAlerts: expected a number, found -1"),
        (alertmanager(alerts=[prometheus_alert()] * (MOST + 1)), f"alerts: {MOST + 1} at once, and at most {MOST} are taken"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(document: Any, says: str) -> None:
    with pytest.raises(BadDocumentError) as error:
        made("alertmanager").read(document)

    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"src.port": "labels.p"}, "fields has `src.port`, which is none that an alert can be given; there are name, severity"),
        ({"status": "labels.state"}, "fields has `status`, which is none"),
        ({"src.ip": "client_ip"}, "fields takes `src.ip` from `client_ip`; write labels.NAME or annotations.NAME"),
        ({"value": "values.A"}, "fields takes `value` from `values.A`"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_when_agent_yaml_is_read(fields: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match="fields") as error:
        made("alertmanager", fields=fields)

    assert str(error.value).startswith(says)


def test_the_events_of_a_document_keep_its_beginning() -> None:
    document = alertmanager(prometheus_alert(), prometheus_alert("resolved"))
    sender = made("alertmanager")

    found = events(sender.read(document), sender, "in:prom", 1795413700.0, json.dumps(document))

    assert {(one.kind, one.source, one.seen, one.forgeable) for one in found} == {("alert", "in:prom", 1795413700.0, False)}
    assert all(one.raw.startswith('{"receiver": "containment"') and len(one.raw) <= 4096 for one in found)


def test_whom_an_alert_is_about_by_a_label_may_be_a_strangers_word() -> None:
    sender = made("alertmanager", fields={"src.ip": "labels.client_ip"})
    document = alertmanager(prometheus_alert(client_ip="203.0.113.7"), prometheus_alert())

    about, of_nobody = events(sender.read(document), sender, "in:prom", 1795413700.0)

    assert (about.fields["src.ip"], about.forgeable) == ("203.0.113.7", True)
    assert not of_nobody.forgeable


# Grafana --------------------------------------------------------------------------------------------------------------------


def test_an_alert_of_grafana_has_its_value_its_panel_and_its_organisation() -> None:
    fields = only(made("grafana"), grafana(grafana_alert()))

    assert (fields["sender"], fields["name"], fields["severity"]) == ("grafana", "High load", "warning")
    assert fields["fingerprint"] == "9f1c2d3e4a5b6c7d/ops/1"
    assert (fields["value"], fields["link"]) == (12.5, "https://grafana/d/abc?orgId=1&viewPanel=2")
    assert fields["labels.grafana_folder"] == "hosts"


def test_two_organisations_have_alerts_of_their_own() -> None:
    sender, alert = made("grafana"), grafana_alert()

    assert only(sender, grafana(alert))["fingerprint"] != only(sender, grafana(alert, orgId=2))["fingerprint"]


@pytest.mark.parametrize(
    ("values", "value"), [({"A": 1, "B": 2}, None), ({}, None), (None, None), ({"B": None}, None), ({"B": 3}, 3)]
)
def test_of_several_values_none_is_taken_unless_agent_yaml_names_it(values: Any, value: Any) -> None:
    document = grafana(grafana_alert(values=values))

    assert only(made("grafana"), document).get("value") == value
    assert only(made("grafana", fields={"value": "values.B"}), document).get("value") == (values or {}).get("B", value)


def test_a_message_of_alertmanager_is_not_grafanas() -> None:
    with pytest.raises(BadDocumentError, match=r'^version: expected "1", as Grafana writes .* found `4`$'):
        made("grafana").read(alertmanager(prometheus_alert()))


# CloudWatch -----------------------------------------------------------------------------------------------------------------


def envelope(message: Any, kind: str = "Notification") -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps(message)
    return {"Type": kind, "MessageId": "m1", "TopicArn": "arn:aws:sns:eu-central-1:1:alarms", "Subject": "ALARM", "Message": text}


def test_an_alarm_is_known_by_its_arn_and_says_why() -> None:
    sender = made("cloudwatch", severity="critical", fields={"service": "labels.LoadBalancer"})

    fields = only(sender, alarm())

    assert fields == {
        "sender": "cloudwatch",
        "name": "shop-5xx",
        "status": "firing",
        "severity": "critical",
        "fingerprint": ARN,
        "summary": "Checkout fails: Threshold Crossed: 1 datapoint [10.0] was greater than the threshold (1.0).",
        "service": "app/shop/1",
        "instance": "i-0abc",
        "labels.Namespace": "AWS/ApplicationELB",
        "labels.MetricName": "HTTPCode_Target_5XX_Count",
        "labels.AWSAccountId": "123456789012",
        "labels.Region": "EU (Frankfurt)",
        "labels.LoadBalancer": "app/shop/1",
        "labels.InstanceId": "i-0abc",
    }


@pytest.mark.parametrize(("state", "status"), [("ALARM", "firing"), ("OK", "resolved"), ("INSUFFICIENT_DATA", "unknown")])
def test_a_state_becomes_a_status_and_missing_data_is_neither(state: str, status: str) -> None:
    (said,) = made("cloudwatch").read(envelope(alarm(state)))

    assert (said.fields["status"], said.fields["fingerprint"]) == (status, ARN)
    assert said.ts == pytest.approx(1795413601.236)


def test_a_composite_alarm_has_no_metric() -> None:
    composite = {name: one for name, one in alarm().items() if name not in ("Trigger", "AlarmDescription")}

    fields = only(made("cloudwatch"), composite | {"AlarmRule": "ALARM(a) OR ALARM(b)"})

    assert fields["summary"].startswith("Threshold Crossed")
    assert "labels.MetricName" not in fields


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (envelope("hello"), "Message: no JSON"),
        (envelope("[]"), "Message: expected an alarm, found a list"),
        (envelope("[" * 100_000), "Message: "),
        (envelope("\ud800"), "Message: no JSON"),
        (envelope({"AlarmName": "x"}), "AlarmArn: expected text, found nothing"),
        (envelope(alarm("BAD")), "NewStateValue: expected ALARM, OK or INSUFFICIENT_DATA, found `BAD`"),
        (alarm(NewStateValue=["OK"]), "NewStateValue: expected ALARM, OK or INSUFFICIENT_DATA, found a list"),
        (alarm(Trigger=[]), "Trigger: expected an object, found a list"),
        (envelope("", "SubscriptionConfirmation"), "Type: a subscription that waits to be confirmed"),
        (envelope("", "UnsubscribeConfirmation"), "Type: expected Notification, found `UnsubscribeConfirmation`"),
        ({"Type": "Notification", "Message": {}}, "Message: expected text, found an object"),
        ({}, "AlarmName: expected text, found nothing"),
    ],
)
def test_what_is_no_alarm_is_refused_with_its_place(document: Any, says: str) -> None:
    with pytest.raises(BadDocumentError) as error:
        made("cloudwatch").read(document)

    assert str(error.value).startswith(says)
