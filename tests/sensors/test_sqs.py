"""CloudWatch's alarms through SNS and SQS, at a real server: each once, whenever anything is killed, hangs or is forbidden."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import heard
from agent.event import Event
from agent.grammar.config import Config
from agent.sensors.sqs import KNOWN, TIMES, Sqs, _Known
from agent.streams.sensor import Batch
from tests.aws import REGION, Alarms, Aws
from tests.running import Running as Agent
from tests.running import wait_for
from tests.senders.documents import ARN, alarm
from tests.sensors.conftest import Running, Start

NUMBER = itertools.count()
RIGHTS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:DeleteMessageBatch")
"""AWS takes the second for the third too, and moto does not."""


@pytest.fixture(autouse=True)
def account(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only credentials are those of a profile."""
    file = tmp_path / "credentials"
    write(file, *aws.keys)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return file


def write(file: Path, identity: str, key: str) -> None:
    file.write_text(f"[agent]\naws_access_key_id = {identity}\naws_secret_access_key = {key}\n")


@pytest.fixture
def alarms(aws: Aws) -> Alarms:
    return Alarms(aws, f"alarms-{next(NUMBER)}")


def sensor(aws: Aws, alarms: Alarms, **more: Any) -> Sqs:
    given = {"region": REGION, "profile": "agent", "endpoint": aws.url, "severity": "critical", **more}
    return Sqs(alarms.url, **given)


def taken(running: Running) -> Batch:
    """The next batch that messages are in, or were; what the sensor says of itself is passed over."""
    while True:
        batch = running.batches.get(timeout=30)
        if batch.lines:
            return batch


def said(running: Running, *, ok: bool) -> str:
    """The next word of the sensor that it is well, or that it is not."""
    while True:
        event = running.next("sensor").events[0]
        if event.get("ok") is ok:
            return str(event.get("say"))


def keep(batch: Batch, durable: bool = True) -> Batch:
    assert batch.kept is not None
    batch.kept(durable)
    return batch


def statuses(batch: Batch) -> list[object]:
    return [one.fields["status"] for one in batch.events]


def at(second: int) -> str:
    return f"2026-11-23T06:00:{second:02}.000+0000"


# What comes -----------------------------------------------------------------------------------------------------------------


def test_an_alarm_and_its_end_come_and_are_deleted_when_they_are_committed(aws: Aws, alarms: Alarms, start: Start) -> None:
    running = start(sensor(aws, alarms))

    alarms.publish(alarm())
    first = taken(running)
    assert alarms.left() == 1
    keep(first)
    wait_for(lambda: alarms.left() == 0, 30)
    alarms.publish(alarm("OK", StateChangeTime=at(9)))
    second = keep(taken(running))

    (begun,) = first.events
    assert (begun.kind, begun.source, begun.forgeable) == ("alert", f"sqs:{alarms.url.partition('://')[2]}", False)
    assert (begun.fields["fingerprint"], begun.fields["severity"]) == (ARN, "critical")
    assert (statuses(first), statuses(second)) == (["firing"], ["resolved"])
    wait_for(lambda: alarms.left() == 0, 30)


def test_an_alarm_that_overtook_its_end_or_came_twice_says_nothing_new(aws: Aws, alarms: Alarms, start: Start) -> None:
    running = start(sensor(aws, alarms))
    for state, second in (("OK", 9), ("ALARM", 5), ("OK", 9), ("INSUFFICIENT_DATA", 12)):
        alarms.publish(alarm(state, StateChangeTime=at(second)))
        keep(batch := taken(running))
        if state == "OK" and second == 9 and batch.events:
            assert statuses(batch) == ["resolved"]

    alarms.publish(alarm(StateChangeTime=at(13)))

    assert statuses(batch) == ["unknown"]
    assert statuses(keep(taken(running))) == ["firing"]


def test_a_message_that_cannot_be_read_is_told_once_and_deleted_the_tenth_time(aws: Aws, alarms: Alarms, start: Start) -> None:
    alarms.visibility(0)
    running = start(sensor(aws, alarms))

    alarms.publish("hello")
    batches = [keep(taken(running)) for _ in range(TIMES)]

    told: list[Event] = [one for batch in batches for one in batch.events]
    assert [(one.kind, one.fields["sender"], one.forgeable) for one in told] == [("agent.bad_input", "cloudwatch", True)]
    assert str(told[0].fields["reason"]).startswith("Message: no JSON")
    assert '"Message": "hello"' in told[0].raw
    wait_for(lambda: alarms.left() == 0, 30)


# Killed, or without evidence ------------------------------------------------------------------------------------------------


def test_what_was_taken_and_not_committed_comes_again(aws: Aws, alarms: Alarms, start: Start) -> None:
    alarms.visibility(0)
    killed = start(sensor(aws, alarms))
    alarms.publish(alarm())
    assert statuses(taken(killed)) == ["firing"]
    killed.stop()

    again = start(sensor(aws, alarms))

    assert statuses(keep(taken(again))) == ["firing"]
    wait_for(lambda: alarms.left() == 0, 30)


def test_what_was_committed_and_not_deleted_says_nothing_the_second_time_and_is_deleted_then(
    aws: Aws, alarms: Alarms, start: Start
) -> None:
    alarms.visibility(0)
    killed = start(sensor(aws, alarms))
    alarms.publish(alarm(StateChangeTime=None))
    committed = taken(killed)
    killed.stop()

    again = start(sensor(aws, alarms), committed.position)
    batch = taken(again)

    assert (batch.events, batch.lines) == ((), 1)
    assert alarms.left() == 1
    keep(batch)
    wait_for(lambda: alarms.left() == 0, 30)


def test_while_evidence_cannot_be_written_nothing_is_deleted_and_nothing_is_told_twice(
    aws: Aws, alarms: Alarms, start: Start
) -> None:
    alarms.visibility(0)
    running = start(sensor(aws, alarms))
    alarms.publish(alarm())

    first = keep(taken(running), durable=False)
    second = keep(taken(running), durable=False)
    left = alarms.left()
    keep(taken(running))

    assert (statuses(first), statuses(second), left) == (["firing"], [], 1)
    wait_for(lambda: alarms.left() == 0, 30)


def test_what_is_remembered_has_an_end() -> None:
    known = _Known()

    for number in range(3 * KNOWN):
        known.take(f"m{number}")
        known.newer(Event("alert", 2e9, {"fingerprint": f"f{number}"}, ts=1e9))

    again = _Known.read(known.written())
    assert len(known.written()) < 100 * KNOWN
    assert (again.take(f"m{3 * KNOWN - 1}"), again.take("m0")) == (False, True)
    assert not again.newer(Event("alert", 2e9, {"fingerprint": f"f{3 * KNOWN - 1}"}, ts=1e9))


# Trouble --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stalled(aws: Aws) -> Iterator[Aws]:
    yield aws
    aws.resume()


def test_a_server_that_hangs_makes_it_blind_until_it_answers_again(stalled: Aws, alarms: Alarms, start: Start) -> None:
    running = start(sensor(stalled, alarms))
    assert said(running, ok=True) == f"reads {alarms.url}"

    stalled.stall()
    blind = said(running, ok=False)
    stalled.resume()

    assert blind.startswith(f"cannot ask {alarms.url}: Read timeout on endpoint URL")
    assert said(running, ok=True)
    alarms.publish(alarm())
    assert statuses(keep(taken(running))) == ["firing"]


def test_revoked_rights_make_it_blind_with_the_mend_and_granted_ones_are_noticed(
    aws: Aws, alarms: Alarms, start: Start, account: Path
) -> None:
    aws.user(name := f"agent-{next(NUMBER)}")
    aws.allow(name, *RIGHTS)
    write(account, *aws.key(name))
    aws.enforce(True)
    try:
        running = start(sensor(aws, alarms))
        said(running, ok=True)

        aws.allow(name)
        blind = said(running, ok=False)
        aws.allow(name, "sqs:ReceiveMessage")
        said(running, ok=True)
        alarms.publish(alarm())
        batch = keep(taken(running))
        half = said(running, ok=False)
        aws.allow(name, *RIGHTS)
        said(running, ok=True)
    finally:
        aws.enforce(False)

    assert "AccessDenied" in blind
    assert blind.endswith("; allow it sqs:ReceiveMessage and sqs:DeleteMessage on the queue")
    assert statuses(batch) == ["firing"]
    assert half.endswith("; until then its messages come again and again")
    wait_for(lambda: alarms.left() == 0, 30)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"profile": "other"}, "The config profile (other) could not be found"),
        ({"profile": ""}, "Unable to locate credentials; give this host a role, or name a profile in agent.yaml"),
        ({"region": ""}, "You must specify a region.; write region: eu-central-1 in agent.yaml"),
        ({"endpoint": "http://127.0.0.1:9"}, 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"'),
    ],
)
def test_what_is_wrong_with_its_settings_is_said(aws: Aws, alarms: Alarms, start: Start, more: dict[str, str], says: str) -> None:
    running = start(sensor(aws, alarms, **more))

    assert said(running, ok=False) == f"cannot ask {alarms.url}: {says}"


def test_a_queue_that_is_not_there_is_said(aws: Aws, alarms: Alarms, start: Start) -> None:
    alarms.sqs.delete_queue(QueueUrl=alarms.url)

    running = start(sensor(aws, alarms))

    assert said(running, ok=False).endswith("; see queue_url and region in agent.yaml")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"queue_url": "alarms"}, "queue_url is no queue's address"),
        ({"queue_url": "https://user:pass@sqs.eu-central-1.amazonaws.com/1/a"}, "queue_url is no queue's address"),
        ({"endpoint": "localhost"}, "endpoint is no server's address"),
        ({"fields": {"src.ip": "x"}}, "fields takes `src.ip` from `x`"),
    ],
)
def test_settings_that_cannot_be_are_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"is no|takes") as error:
        Sqs(**{"queue_url": "https://sqs.eu-central-1.amazonaws.com/1/a", **more})

    assert str(error.value).startswith(says)


def test_a_policy_on_alerts_is_not_deaf_where_a_queue_is_read() -> None:
    config = Config(sensors={"aws": Sqs("https://sqs.eu-central-1.amazonaws.com/1/a")})

    assert {"alert", "agent.bad_input"} <= heard.kinds(config)


# The real agent -------------------------------------------------------------------------------------------------------------

POLICY = """
policy: alert-firing
title: Another tool says that something critical is wrong
severity: P1
owner: sre
when:
  event: alert
  match: {severity: critical}
  by: fingerprint
guard: {max: 1000 per 10m}
"""


def test_an_alarm_opens_one_incident_however_often_the_agent_is_killed(
    aws: Aws, alarms: Alarms, tmp_path: Path, account: Path
) -> None:
    alarms.visibility(1)
    given = f"queue_url: {alarms.url}, region: {REGION}, profile: agent, endpoint: '{aws.url}', severity: critical"
    yaml = f"sensors:\n  aws: {{sqs: {{{given}}}}}\n"
    agent = Agent(tmp_path / "agent", yaml, POLICY)
    names = [f"alarm-{number}" for number in range(8)]

    with agent:
        for number, name in enumerate(names):
            alarms.publish(alarm(AlarmName=name, AlarmArn=f"{ARN}-{name}", StateChangeTime=at(number)))
            if number % 4 == 3:
                time.sleep(0.1 * (number // 4))  # another moment each time
                agent.kill()
                agent.start()
        wait_for(lambda: len(agent.ask("alerts")["items"]) == len(names), 60)
        wait_for(lambda: alarms.left() == 0, 60)
        incidents = agent.ask("incidents")["items"]
        alarms.publish(alarm("OK", AlarmName=names[0], AlarmArn=f"{ARN}-{names[0]}", StateChangeTime=at(59)))
        wait_for(lambda: [one for one in agent.ask("alerts")["items"] if one["ended"]], 60)

        records = json.loads(agent.contain("evidence", "show", "--limit", "1000", "--json").stdout)["items"]

    assert len(incidents) == len(names)
    assert [one["kind"] for one in records].count("alert_fires") == len(names)
