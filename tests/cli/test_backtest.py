"""`contain policy backtest`: stored events through other policies, beside a running agent and without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.cli.ends import Exit
from agent.event import Event
from agent.record import Record
from tests.cli.command import Said, at_terminal, contain
from tests.cli.conftest import Agent, running
from tests.evidence.journals import opened

CONFIG = """\
version: 1
host: db1
state: state
policies: [policies]
mode: enforce
never_touch: [198.51.100.9]
lists: {office: [192.0.2.0/24]}
"""
POLICY = """\
policy: guessing
severity: P2
when: {event: auth.ssh.failure, by: src.ip, count: ">= 5 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 50 per 10m}
"""
BEGIN = time.time() - 7200.0


def guesses(address: str, times: int, at: float) -> list[Event]:
    fields = {"src.ip": address, "user": "root"}
    return [Event("auth.ssh.failure", at + n, fields, "file:auth.log", at + n, forgeable=True) for n in range(times)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A host whose agent has run with one policy, seen two guessers and a colleague who mistypes, and is stopped."""
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "guessing.yaml").write_text(POLICY)
    seen = guesses("203.0.113.7", 6, BEGIN) + guesses("198.51.100.9", 3, BEGIN + 60) + guesses("203.0.113.8", 3, BEGIN + 90)
    stored(tmp_path, seen)
    return tmp_path


def stored(place: Path, events: Sequence[Event], *records: tuple[float, Record]) -> None:
    journal = opened(place / "state" / "journal.db")
    for ts, record in records:
        journal.commit(ts, [record])
    for event in events:
        journal.commit(event.seen, [], events=[event])
    journal.close()


def candidate(place: Path, text: str) -> Path:
    made = place / "candidate"
    made.mkdir(exist_ok=True)
    (made / "one.yaml").write_text(text)
    return made


def backtest(place: Path, *args: object) -> Said:
    env = {"CONTAIN_CONFIG": str(place / "agent.yaml")}
    return contain("policy", "backtest", *args, env=env, cwd=place)


def document(place: Path, *args: object) -> Any:
    said = backtest(place, *args, "--json")
    assert said.code == Exit.DONE, said.err
    (one,) = json.loads(said.out)["items"]
    return one


def test_the_running_set_differs_in_nothing_from_itself(place: Path) -> None:
    said = backtest(place, "policies", "--exit-code")

    assert said.code == Exit.DONE, said.err
    assert "guessing\tP2\t1\t1\t1 × block_ip\t-" in said.out
    assert "no difference" in said.out
    assert "12 stored events" in said.err


def test_a_colleague_whom_a_stricter_policy_would_block_shows_as_refused_with_the_reason(place: Path) -> None:
    stricter = candidate(place, POLICY.replace(">= 5", ">= 3"))

    said = backtest(place, stricter, "--exit-code")

    assert said.code == Exit.FOUND
    assert "guessing\t198.51.100.9\tblock_ip\t1\t198.51.100.9 is a life-line, never touched: never_touch" in said.out
    assert "new\tguessing\t203.0.113.8\t-\tP2; block_ip 203.0.113.8 for 1h" in said.out
    assert "new\tguessing\t198.51.100.9\t-\tP2; block_ip refused" in said.out


def test_what_is_lost_and_what_is_done_otherwise_is_told(place: Path) -> None:
    longer = candidate(place, POLICY.replace("1h", "2h x2 up to 7d").replace("P2", "P1"))
    laxer = place / "laxer.yaml"
    laxer.write_text(POLICY.replace(">= 5", ">= 50"))

    (changed,) = document(place, longer)["differences"]
    (lost,) = document(place, laxer)["differences"]

    assert (changed["what"], changed["before"]) == ("changed", "P2; block_ip 203.0.113.7 for 1h")
    assert changed["after"] == "P1; block_ip 203.0.113.7 for 2h"
    assert (lost["what"], lost["target"], lost["after"]) == ("lost", "203.0.113.7", "")


def test_it_is_held_against_what_the_agent_really_did_too(place: Path) -> None:
    body = {"policy": "guessing", "target": "203.0.113.250", "severity": "P2", "because": "seen", "event": {}, "source": "x"}
    found = Record("finding", body | {"steps": 0, "later": 0, "title": "", "mode": "enforce"}, "INC-1")
    stored(place, [], (BEGIN + 10, found))

    made = document(place, "policies")

    assert {(one["what"], one["target"]) for one in made["differences_to_reality"]} == {
        ("lost", "203.0.113.250"),
        ("new", "203.0.113.7"),
    }
    assert made["differences"] == []


def test_events_of_before_fill_the_windows_and_are_not_told(place: Path) -> None:
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(BEGIN + 4.5, UTC).isoformat()

    made = document(place, "policies", "--since", since, "--until", "1h")

    assert made["events"] == 7
    assert [one["target"] for one in made["candidate"]["targets"]] == ["203.0.113.7"]


def test_what_people_have_listed_is_left_alone(place: Path) -> None:
    listed = {"list": "never_touch", "address": "203.0.113.7", "until": time.time() + 9999, "actor": "alice", "why": "scanner"}
    stored(place, [], (time.time() - 60, Record("listed", listed | {"policies": []})))

    (one,) = document(place, "policies")["candidate"]["targets"]

    assert one["actions"] == []
    assert "alice: scanner" in one["refused"][0]["because"]


def test_what_cannot_be_known_is_said(place: Path) -> None:
    text = """\
policy: down
severity: P1
when: {event: check, match: {ok: false}, by: name, for: 3 of 5}
---
policy: sudo
severity: P2
when: {event: auth.sudo.failure, by: user, count: ">= 3 in 10m"}
"""
    stored(place, [], (BEGIN + 5, Record("clock_set", {"by": 60.0})), (BEGIN + 6, Record("policies", {"because": "reloaded"})))

    notes = document(place, candidate(place, text))["not_known"]

    assert any(one.startswith("check: never stored") and one.endswith("down") for one in notes)
    assert any(one.startswith("auth.sudo.failure: not stored, because no live policy names it") for one in notes)
    assert any("clock was set once" in one for one in notes)
    assert any("read again once" in one for one in notes)
    assert any("the oldest stored event is of" in one for one in notes)


def test_a_set_with_a_mistake_is_not_looked_at(place: Path) -> None:
    said = backtest(place, candidate(place, POLICY.replace("$src.ip", "$src.ipp")))

    assert said.code == Exit.USAGE
    assert "one.yaml:5" in said.err


def test_two_directories_are_compared_without_an_agent_yaml(place: Path) -> None:
    stricter = candidate(place, POLICY.replace(">= 5", ">= 3"))
    args = ("policy", "backtest", stricter, "--against", place / "policies", "--db", place / "state" / "journal.db")

    said = contain(*args, "--exit-code", env={"CONTAIN_CONFIG": "/nowhere/agent.yaml"}, cwd=place)

    assert said.code == Exit.FOUND, said.err
    assert "new\tguessing\t198.51.100.9\t-\tP2; block_ip 198.51.100.9 for 1h" in said.out


def test_without_a_journal_or_with_a_time_that_is_none_it_says_so(place: Path) -> None:
    nowhere = backtest(place, "policies", "--db", "nowhere.db")
    never = backtest(place, "policies", "--since", "1h", "--until", "2h")

    assert (nowhere.code, never.code) == (Exit.FAILED, Exit.USAGE)
    assert "cannot read the journal" in nowhere.err
    assert "ends before it begins" in never.err


def test_on_a_terminal_it_is_a_table(place: Path) -> None:
    args = ("policy", "backtest", place / "policies", "--config", place / "agent.yaml", "--db", place / "state" / "journal.db")

    said = at_terminal(*args)

    assert "SEVERITY  FINDINGS  TARGETS  WOULD DO" in said.out


# Beside the real agent ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running() as made:
        yield made


def test_beside_a_running_agent_its_own_set_decides_what_it_decided(agent: Agent) -> None:
    for address in ("203.0.113.31", "203.0.113.32", "198.18.0.77"):
        agent.guess_passwords(address)
    wanted = {"203.0.113.31", "203.0.113.32", "198.18.0.77"}
    until = time.monotonic() + 20
    while wanted and time.monotonic() < until:
        wanted -= {one["target"] for one in json.loads(agent("incidents", "--json").out)["items"]}

    said = agent("policy", "backtest", "policies", "--since", "1h", "--as-set", "--json")

    (made,) = json.loads(said.out)["items"]
    assert made["differences"] == []
    assert made["differences_to_reality"] == []
    assert {one["target"] for one in made["candidate"]["targets"]} == {"203.0.113.31", "203.0.113.32", "198.18.0.77"}
