"""Falco, Wazuh, and any JSON by a mapping of agent.yaml."""

from __future__ import annotations

from typing import Any

import pytest

from agent.event import ALERT
from agent.senders import wazuh as wazuh_sender
from agent.streams.sender import MOST, BadDocumentError, events
from tests.senders.documents import falco, made, misfits, wazuh

# Falco ----------------------------------------------------------------------------------------------------------------------


def test_falco_says_over_http_what_it_writes_into_its_file() -> None:
    (said,) = made("falco", hosts=("web1",)).read(falco())

    assert said.kind == "falco.alert"
    assert (said.fields["rule"], said.fields["priority"], said.fields["hostname"]) == (
        "Terminal shell in container",
        "Notice",
        "web1",
    )
    assert (said.fields["container.id"], said.fields["src.ip"], said.fields["user"]) == ("16514a12c7ad", "203.0.113.7", "root")
    assert said.ts == pytest.approx(1795413601.180672)


def test_a_repeat_of_falcos_alert_has_its_fingerprint_and_another_program_has_not() -> None:
    sender, other = made("falco", hosts=("web1",)), falco()
    other["output_fields"] = {**other["output_fields"], "proc.name": "bash"}
    again = falco(time="2026-11-23T06:00:09Z", output="06:00:09: Notice A shell was spawned")

    first, repeat, another = (sender.read(one)[0].fields["fingerprint"] for one in (falco(), again, other))

    assert first == repeat
    assert another != first


def test_an_alert_of_falco_without_fields_of_its_own_is_one_too() -> None:
    (said,) = made("falco", hosts=("web1",)).read({"rule": "x", "priority": "Debug", "output": "y", "output_fields": None})

    assert said.fields["container.id"] == ""


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([falco()], "expected an object, found a list"),
        (falco(rule=7), "rule: expected text, found 7"),
        (falco(priority=None), "priority: expected text, found nothing"),
        (falco(output_fields=[]), "output_fields: expected an object, found a list"),
    ],
)
def test_what_is_not_falcos_is_refused_with_its_place(document: Any, says: str) -> None:
    with pytest.raises(BadDocumentError) as error:
        made("falco", hosts=("web1",)).read(document)

    assert str(error.value) == says


def test_an_alert_of_another_hosts_falco_names_nobody_here() -> None:
    with pytest.raises(BadDocumentError, match=r"hostname: Falco ran on web1, not on .*; hosts: \[web1\] takes it"):
        made("falco").read(falco())

    assert made("falco", hosts=("*",)).read(falco())


# Wazuh ----------------------------------------------------------------------------------------------------------------------


def test_an_alert_of_wazuh_says_rule_agent_and_source() -> None:
    (said,) = made("wazuh").read(wazuh())

    assert said.ts == pytest.approx(1795413601.123)
    assert misfits(wazuh_sender.ALERT, said.fields) == []
    assert said.fields == {
        "id": "1795413601.12345",
        "fingerprint": "5712/001/203.0.113.7",
        "rule.id": "5712",
        "rule.level": 10,
        "rule.description": "sshd: brute force trying to get access to the system.",
        "rule.groups": "syslog sshd authentication_failures",
        "rule.mitre": "T1110",
        "agent.id": "001",
        "agent.name": "web1",
        "agent.ip": "10.0.0.5",
        "src.ip": "203.0.113.7",
        "src.port": 4242,
        "src.user": "admin",
        "location": "/var/log/auth.log",
        "message": "Nov 23 06:00:01 web1 sshd[812]: Failed password for invalid user admin from 203.0.113.7 port 4242 ssh2",
    }


def test_what_wazuh_read_in_a_log_could_have_been_written_by_anybody() -> None:
    sender = made("wazuh")

    (event,) = events(sender.read(wazuh()), sender, "in:wazuh", 0.0)

    assert event.forgeable


def test_an_agent_of_any_address_and_an_alert_without_data_are_read() -> None:
    (said,) = made("wazuh").read(wazuh(agent={"id": "000", "name": "wazuh", "ip": "any"}, data=None))

    assert not {"agent.ip", "src.ip"} & set(said.fields)
    assert said.fields["fingerprint"] == "5712/000/"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (wazuh(rule={"id": "1", "level": "high"}), "rule.level: expected a number from 0 to 16, found `high`"),
        (wazuh(rule={"id": "1", "level": 17}), "rule.level: expected a number from 0 to 16, found 17"),
        (wazuh(rule={"level": 3}), "rule.id: expected the rule's number, found nothing"),
        (wazuh(rule=None), "rule.level: expected a number from 0 to 16, found nothing"),
        (wazuh(agent="web1"), "agent: expected an object, found `web1`"),
    ],
)
def test_what_is_not_wazuhs_is_refused_with_its_place(document: Any, says: str) -> None:
    with pytest.raises(BadDocumentError) as error:
        made("wazuh").read(document)

    assert str(error.value) == says


# Any JSON -------------------------------------------------------------------------------------------------------------------

ZABBIX = {
    "kind": "alert",
    "each": "problems",
    "fields": {"src.ip": ".client.addr", "name": ".rule", "status": ".state", "labels.team": '.tags[0]."team.name"'},
    "fixed": {"severity": "high"},
    "required": ("src.ip",),
    "resolved": ("ok", "closed"),
    "firing": ("problem",),
}


def problem(ip: Any = "203.0.113.7", state: Any = "problem", **more: Any) -> dict[str, Any]:
    return {"client": {"addr": ip}, "rule": "flood", "state": state, "tags": [{"team.name": "sre"}], **more}


def test_a_mapping_makes_alerts_of_any_json() -> None:
    begun, ended = made("generic", **ZABBIX).read({"problems": [problem("::ffff:203.0.113.7"), problem(state="closed")]})

    assert begun.fields == {
        "severity": "high",
        "src.ip": "203.0.113.7",
        "name": "flood",
        "status": "firing",
        "labels.team": "sre",
        "sender": "generic",
        "fingerprint": "labels.team=sre/name=flood/src.ip=203.0.113.7",
    }
    assert ended.fields["status"] == "resolved"
    assert ended.fields["fingerprint"] == begun.fields["fingerprint"]


def test_a_fingerprint_of_the_tools_own_is_taken_whole() -> None:
    sender = made("generic", kind="alert", fields={"fingerprint": ".id", "name": ".rule"})

    long, longer, number = (sender.read({"id": one, "rule": "x"})[0].fields["fingerprint"] for one in ("a" * 900, "a" * 901, 7))

    assert len({long, longer, number}) == 3
    assert number == "7"


def test_an_alert_without_a_name_is_named_by_its_fingerprint_since_policies_go_by_names() -> None:
    (said,) = made("generic", kind="alert", fields={"instance": ".host"}).read({"host": "web1"})

    assert (said.fields["name"], said.fields["status"]) == ("instance=web1", "firing")


def test_a_document_is_one_event_or_a_list_of_them() -> None:
    sender = made("generic", kind="auth.ssh.failure", fields={"src.ip": "ip", "user": "[0].name", "port": ".port"})

    one, two = sender.read([{"ip": "2001:DB8::1", "port": "22"}, {"ip": "203.0.113.7", "port": 70000}])
    (alone,) = sender.read({"ip": "203.0.113.7", "port": True})

    assert (one.kind, one.fields) == ("auth.ssh.failure", {"src.ip": "2001:db8::1", "port": 22})
    assert two.fields == alone.fields == {"src.ip": "203.0.113.7"}


def test_what_strangers_could_have_written_stays_forgeable_whoever_hands_it_in() -> None:
    sender = made("generic", kind="auth.ssh.failure", fields={"src.ip": "ip"})

    (event,) = events(sender.read({"ip": "203.0.113.7"}), sender, "in:x", 0.0)

    assert event.forgeable


@pytest.mark.parametrize(
    ("when", "ts"),
    [
        ("2026-11-23T06:00:01Z", 1795413601.0),
        (1795413601.5, 1795413601.5),
        ("x", 0.0),
        (1e300, 0.0),
        (-5, 0.0),
        (True, 0.0),
        ([], 0.0),
    ],
)
def test_a_time_is_iso_or_unix_seconds_or_none(when: Any, ts: float) -> None:
    sender = made("generic", kind="auth.ssh.failure", fields={"src.ip": "ip"}, time=".at")

    (said,) = sender.read({"ip": "203.0.113.7", "at": when})

    assert said.ts == ts


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("x", "problems: expected a list, found nothing"),
        ({"problems": {}}, "problems: expected a list, found an object"),
        ({"problems": [problem(), 3]}, "problems[1]: expected an object, found 3"),
        ({"problems": [problem(ip="web1")]}, "problems[0].client.addr: expected src.ip, of the type address, found `web1`"),
        ({"problems": [{"state": "ok"}]}, "problems[0].client.addr: expected src.ip, of the type address, found nothing"),
        ({"problems": [problem(state="maybe")]}, "problems[0].state: expected one of firing, problem, resolved, ok, closed (see"),
        ({"problems": [problem(state=None)]}, "problems[0].state: expected one of firing"),
        ({"problems": [problem()] * (MOST + 1)}, f"problems: {MOST + 1} at once"),
    ],
)
def test_a_document_that_does_not_go_with_its_mapping_is_refused_whole(document: Any, says: str) -> None:
    with pytest.raises(BadDocumentError) as error:
        made("generic", **ZABBIX).read(document)

    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "alrt"}, "kind `alrt` is no kind of event here; `contain events kinds` lists them"),
        ({"kind": "sensor"}, "kind `sensor` is for the agent itself to say"),
        ({"kind": "check"}, "kind `check` is for the agent itself to say"),
        ({"kind": "agent.canary"}, "kind `agent.canary` is for the agent itself to say"),
        ({"fields": {}}, "fields says nothing"),
        ({"fields": {"src.ipp": ".x"}}, "fields has `src.ipp`, which alert has not; its fields: sender, name"),
        ({"fields": {"source": ".x"}}, "fields has `source`, which alert has not"),
        ({"fields": {"src.ip": ".a b"}}, "fields has `.a b` is no path; write names with dots"),
        ({"fields": {"src.ip": ""}}, "fields has `` is no path"),
        ({"fields": {"src.ip": "$.a"}}, None),
        ({"fields": {"src.ip": ".a[*]"}}, "fields has `.a[*]` is no path"),
        ({"fields": {"src.ip": ".a" * 21}}, "fields has `.a.a"),
        ({"each": "a..b"}, "each has `a..b` is no path"),
        ({"time": "a["}, "time has `a[` is no path"),
        ({"fixed": {"name": "x"}}, "fixed has `name`, and so has `fields`"),
        ({"fixed": {"dst.ip": "web1"}}, "fixed cannot be `dst.ip: web1`; dst.ip is of the type address"),
        ({"fixed": {"colour": "red"}}, "fixed has `colour`, which alert has not"),
        ({"required": ("user",)}, "required names `user`, and `fields` does not say where it stands"),
        ({"kind": "auth.ssh.failure", "fields": {"src.ip": "a"}, "fixed": {}, "firing": ()}, "resolved is for alerts"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_when_agent_yaml_is_read(change: dict[str, Any], says: str | None) -> None:
    options = {**ZABBIX, **change}

    if says is None:  # `$` is a name like any other, and no language
        assert made("generic", **options)
        return
    with pytest.raises(ValueError, match=r"^(kind|fields|fixed|each|time|required|resolved) ") as error:
        made("generic", **options)

    assert str(error.value).startswith(says)


def test_every_word_of_a_mapping_is_of_the_kind_it_names() -> None:
    said = made("generic", **ZABBIX).read({"problems": [problem(), problem("2001:db8::7", "ok")]})

    assert [misfits(ALERT, one.fields) for one in said] == [[], []]
