"""Documents as the tools write them, made after their published formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agent.event import FieldType, Kind, Value
from agent.schema import canonical
from agent.streams.sender import Sender, discover_senders
from agent.visible import visible

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time, which Alertmanager and Grafana write while an alert fires."""


def made(name: str, **options: Any) -> Sender:
    """A sender with its options, as agent.yaml would make it."""
    return cast("Sender", discover_senders()[name](**options))


def prometheus_alert(status: str = "firing", fingerprint: str = "ac0f64d0a3c0b0a8", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "Flood", "instance": "web1:9100", "job": "nginx", "severity": "critical", **labels},
        "annotations": {"description": "200 requests/s", "summary": "web1 is flooded"},
        "startsAt": "2026-11-23T06:00:01.123Z",
        "endsAt": ZERO if status == "firing" else "2026-11-23T06:05:01.5Z",
        "generatorURL": "http://prom:9090/graph?g0.expr=rate%28x%5B1m%5D%29",
        "fingerprint": fingerprint,
    }


def alertmanager(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {
        "receiver": "containment",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "Flood"},
        "commonLabels": {"alertname": "Flood", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="Flood"}',
        "truncatedAlerts": 0,
        "notification_reason": "first notification",
        **more,
    }


def grafana_alert(**more: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "High load", "grafana_folder": "hosts", "severity": "warning"},
        "annotations": {"summary": "load is high"},
        "startsAt": "2026-11-23T06:00:00Z",
        "endsAt": ZERO,
        "generatorURL": "https://grafana/alerting/grafana/adi/view?orgId=1",
        "fingerprint": "9f1c2d3e4a5b6c7d",
        "silenceURL": "https://grafana/alerting/silence/new?alertmanager=grafana",
        "dashboardURL": "https://grafana/d/abc?orgId=1",
        "panelURL": "https://grafana/d/abc?orgId=1&viewPanel=2",
        "values": {"A": 12.5},
        "valueString": "[ var='A' labels={} value=12.5 ]",
        **more,
    }


def grafana(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {
        "receiver": "ops",
        "status": "firing",
        "orgId": 1,
        "alerts": list(alerts),
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "https://grafana/",
        "version": "1",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "title": "[FIRING:1] High load",
        "state": "alerting",
        "message": "**Firing**",
        **more,
    }


def falco(**more: Any) -> dict[str, Any]:
    return {
        "hostname": "web1",
        "output": "06:00:01.180672852: Notice A shell was spawned in a container | user=root command=sh -lc id",
        "priority": "Notice",
        "rule": "Terminal shell in container",
        "source": "syscall",
        "tags": ["T1059", "container", "shell"],
        "time": "2026-11-23T06:00:01.180672852Z",
        "output_fields": {
            "container.id": "16514a12c7ad",
            "container.name": "shop",
            "evt.time": 1795413601180672852,
            "fd.cip": "203.0.113.7",
            "k8s.ns.name": None,
            "proc.cmdline": "sh -lc id",
            "proc.name": "sh",
            "user.name": "root",
        },
        **more,
    }


def wazuh(**more: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-11-23T06:00:01.123+0000",
        "rule": {
            "level": 10,
            "description": "sshd: brute force trying to get access to the system.",
            "id": "5712",
            "mitre": {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]},
            "frequency": 8,
            "firedtimes": 1,
            "mail": False,
            "groups": ["syslog", "sshd", "authentication_failures"],
        },
        "agent": {"id": "001", "name": "web1", "ip": "10.0.0.5"},
        "manager": {"name": "wazuh"},
        "id": "1795413601.12345",
        "full_log": "Nov 23 06:00:01 web1 sshd[812]: Failed password for invalid user admin from 203.0.113.7 port 4242 ssh2",
        "predecoder": {"program_name": "sshd", "timestamp": "Nov 23 06:00:01", "hostname": "web1"},
        "decoder": {"parent": "sshd", "name": "sshd"},
        "data": {"srcip": "203.0.113.7", "srcport": "4242", "srcuser": "admin"},
        "location": "/var/log/auth.log",
        **more,
    }


ARN = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:shop-5xx"


def alarm(state: str = "ALARM", **more: Any) -> dict[str, Any]:
    return {
        "AlarmName": "shop-5xx",
        "AlarmDescription": "Checkout fails",
        "AWSAccountId": "123456789012",
        "AlarmConfigurationUpdatedTimestamp": "2026-11-01T10:00:00.000+0000",
        "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 1 datapoint [10.0] was greater than the threshold (1.0).",
        "StateChangeTime": "2026-11-23T06:00:01.236+0000",
        "Region": "EU (Frankfurt)",
        "AlarmArn": ARN,
        "OldStateValue": "OK",
        "OKActions": [],
        "AlarmActions": ["arn:aws:sns:eu-central-1:123456789012:alarms"],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "HTTPCode_Target_5XX_Count",
            "Namespace": "AWS/ApplicationELB",
            "StatisticType": "Statistic",
            "Statistic": "SUM",
            "Unit": None,
            "Dimensions": [{"value": "app/shop/1", "name": "LoadBalancer"}, {"value": "i-0abc", "name": "InstanceId"}],
            "Period": 60,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1.0,
            "TreatMissingData": "missing",
        },
        **more,
    }


# What every event promises ------------------------------------------------------------------------------------------------


def misfits(kind: Kind, fields: Mapping[str, Value]) -> list[str]:
    """Fields that the kind has not, or whose value is not of their type, too long, or not harmless to show."""
    return [f"{name}: {value!r}" for name, value in fields.items() if not _fits(kind.field(name), value)]


def _fits(kind: FieldType | None, value: Value) -> bool:
    match kind:
        case "text" | "unit":
            return isinstance(value, str) and len(value) <= 10 * 2000 and (value.isprintable() or value == visible(value))
        case "address":
            return isinstance(value, str) and canonical(value) == value
        case "integer" | "port":
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 63
        case "number":
            return (
                isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
            )
        case "flag":
            return isinstance(value, bool)
        case _:
            return False
