"""`contain policy check`, `test` and `explain` on files, without an agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.ends import Exit
from tests.cli.command import Said, contain

CONFIG = "version: 1\nstate: state\npolicies: [policies]\nlists: {office: [192.0.2.0/24]}\n"
POLICY = """\
policy: guessing
title: Guessing
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
unless: {src.ip: {list: office}}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 5 per 10m}
examples:
  - title: fires
    events: [{at: 0s, repeat: 3 every 1s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: root}]
    expect: ["block_ip(ip=203.0.113.7, ttl=1h)"]
  - title: does not
    events: [{at: 0s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: root}]
    expect: []
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "guessing.yaml").write_text(POLICY)
    return tmp_path


def policy(place: Path, *args: object) -> Said:
    return contain("policy", *args, env={"CONTAIN_CONFIG": str(place / "agent.yaml")}, cwd=place)


def test_policies_without_a_mistake_pass(place: Path) -> None:
    said = policy(place, "check")

    assert (said.code, said.out) == (Exit.DONE, "")
    assert said.err.startswith("1 policy: no mistake, 0 warnings\n")


def test_every_mistake_is_told_with_its_place_and_counted(place: Path) -> None:
    (place / "bad.yaml").write_text(
        POLICY.replace("P2", "P9")
        .replace("$src.ip", "$src.ipp")
        .replace("office", "ofice")
        .replace("policy: guessing", "policy: other")
    )

    said = policy(place, "check", "bad.yaml", "policies")

    assert said.code == Exit.USAGE
    assert "bad.yaml:3:11: error: `P9`" in said.out
    assert "bad.yaml:6:25: error: no list is called `ofice`" in said.out
    assert "bad.yaml:8:20: error: `$src.ipp`" in said.out
    assert said.err.startswith("3 mistakes in 2 files, 0 warnings\n")


def test_mistakes_as_json_have_line_column_and_hint(place: Path) -> None:
    (place / "bad.yaml").write_text(POLICY.replace("P2", "P9"))

    said = policy(place, "check", "bad.yaml", "--json")

    (item,) = json.loads(said.out)["items"]
    assert said.code == Exit.USAGE
    assert (item["file"], item["line"], item["col"], item["level"]) == ("bad.yaml", 3, 11, "error")


def test_examples_and_test_files_run_in_virtual_time(place: Path) -> None:
    (place / "tests.yaml").write_text("""\
policies: [policies/guessing.yaml]
tests:
  - name: twice is not enough
    events: [{at: 0s, repeat: 2 every 1s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: root}]
    expect: [{action: none}]
""")

    said = policy(place, "test", "policies", "tests.yaml")

    assert said.code == Exit.DONE
    assert [line.partition(" ")[0] for line in said.out.splitlines()] == ["ok", "ok", "ok"]
    assert said.err.startswith("3 tests, 0 failed.")


def test_a_test_that_fails_says_what_came_instead(place: Path) -> None:
    (place / "policies" / "guessing.yaml").write_text(POLICY.replace("repeat: 3", "repeat: 2"))

    said = policy(place, "test")

    assert said.code == Exit.FAILED
    assert "FAIL" in said.out
    assert "expected block_ip(ip=203.0.113.7, ttl=1h), got nothing" in said.out


def test_a_line_is_explained_whole_or_as_its_message_alone(place: Path) -> None:
    message = "Failed password for root from 203.0.113.7 port 5112 ssh2"

    whole = policy(place, "explain", "--parser", "sshd", "--log", f"Nov 23 06:00:01 db1 sshd[812]: {message}")
    alone = policy(place, "explain", "--parser", "sshd", "--log", message)

    for said in (whole, alone):
        assert said.code == Exit.DONE
        assert "parser sshd → auth.ssh.failure   src.ip=203.0.113.7" in said.out
        assert "no   count 1 of 3 in 2m from 203.0.113.7" in said.out


def test_an_event_is_explained_as_json_too(place: Path) -> None:
    event = json.dumps({"event": "auth.ssh.failure", "src.ip": "192.0.2.9"})

    said = policy(place, "explain", "--event", event, "--json")

    (item,) = json.loads(said.out)["items"]
    assert item["event"]["kind"] == "auth.ssh.failure"
    assert [(one["policy"], one["fires"]) for one in item["told"]] == [("guessing", False)]


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ("nonsense", "it is no JSON object with the key `event`"),
        ("[1]", "it is no JSON object with the key `event`"),
        ('{"event": "auth.ssh.fialure"}', "Did you mean `auth.ssh.failure`?"),
        ('{"event": "auth.ssh.failure", "ip": "203.0.113.7"}', "auth.ssh.failure has no field ip"),
    ],
)
def test_an_event_that_cannot_be_is_a_mistake_with_its_mend(place: Path, event: str, wanted: str) -> None:
    said = policy(place, "explain", "--event", event)

    assert said.code == Exit.USAGE
    assert wanted in said.err


def test_an_incident_is_not_explained_without_a_journal(place: Path) -> None:
    said = policy(place, "explain", "INC-1")

    assert said.code == Exit.FAILED
    assert "cannot read the journal" in said.err
