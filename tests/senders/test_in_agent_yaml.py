"""Senders and the queue as agent.yaml names them: mistakes are found when it is read, where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import heard
from agent.grammar.problem import Problems
from agent.wiring import read_config_file

GOOD = """version: 1
intake:
  senders:
    prom: {alertmanager: {fields: {src.ip: labels.client_ip}, repeats: 1h}, auth: {users: [root]}}
    zabbix:
      generic: {kind: auth.ssh.failure, each: problems, fields: {src.ip: .client.addr}, required: [src.ip]}
      auth: {users: [root]}
    wazuh: {wazuh: {}, auth: {users: [root]}}
sensors:
  aws: {sqs: {queue_url: "https://sqs.eu-central-1.amazonaws.com/1/a", fields: {container: labels.ContainerName}}}
"""


def test_what_every_sender_can_bring_is_known(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(GOOD)

    config = read_config_file(tmp_path / "agent.yaml")

    assert {"alert", "auth.ssh.failure", "wazuh.alert", "agent.bad_input"} <= heard.kinds(config)


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("kind: auth.ssh.failure", "kind: auth.ssh.failur", "kind `auth.ssh.failur` is no kind of event here"),
        ("src.ip: .client.addr", "src.ipp: .client.addr", "fields has `src.ipp`, which auth.ssh.failure has not"),
        (".client.addr", '".a b"', "fields has `.a b` is no path"),
        ("src.ip: labels.client_ip", "src.ip: client_ip", "fields takes `src.ip` from `client_ip`"),
        ("container: labels", "colour: labels", "fields has `colour`, which is none that an alert can be given"),
        ("https://sqs", "sqs", "queue_url is no queue's address"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, right: str, wrong: str, says: str) -> None:
    text = GOOD.replace(right, wrong)
    (tmp_path / "agent.yaml").write_text(text)

    with pytest.raises(Problems) as error:
        read_config_file(tmp_path / "agent.yaml")

    line = next(number for number, one in enumerate(text.splitlines(), 1) if wrong in one)
    assert f"agent.yaml:{line}:" in str(error.value)
    assert f"error: {says}" in str(error.value)
