"""`contain policy prove`: who could be reached by what; and what of it `check`, `reload` and a start refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.ends import Exit
from tests.cli.command import Said, contain
from tests.cli.conftest import Agent

CONFIG = """\
version: 1
mode: enforce
state: state
policies: [policies]
never_touch: [198.51.100.0/28]
lists: {office: [192.0.2.0/24]}
"""
GUESSING = """\
policy: guessing
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
guard: {max: 5 per 10m}
"""
TELLING = "policy: telling\nseverity: P3\nowner: sre\nwhen: {event: check, match: {ok: false}}\nthen: []\n"
HARM = GUESSING.replace("guessing", "harm").replace("$src.ip", "198.51.100.3")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text(GUESSING)
    (tmp_path / "policies" / "b.yaml").write_text(TELLING)
    return tmp_path


def policy(place: Path, *args: object) -> Said:
    return contain("policy", *args, env={"CONTAIN_CONFIG": str(place / "agent.yaml")}, cwd=place)


def test_each_step_is_a_sentence_with_the_life_lines_and_a_summary_behind(place: Path) -> None:
    said = policy(place, "prove")

    assert said.code == Exit.DONE
    lines = said.out.splitlines()
    assert lines[0] == "guessing P2 enforce"
    assert lines[1].startswith(
        "  block_ip $src.ip: any address of auth.ssh.failure events (a stranger can bring only its own); mild;"
    )
    assert lines[3] == "  tells of it, and acts on nothing"
    assert "  198.51.100.0/28: never_touch in agent.yaml" in lines
    assert "  127.0.0.1: an address of this host, on lo" in lines
    assert lines[-1].startswith("2 policies: none can reach a life-line, and every step has an end; 1 can act on an address")


def test_what_is_refused_is_told_where_it_stands_and_ends_with_2(place: Path) -> None:
    (place / "policies" / "c.yaml").write_text(HARM)

    said = policy(place, "prove")

    assert said.code == Exit.USAGE
    assert "  block_ip 198.51.100.3: refused: 198.51.100.3 lies in 198.51.100.0/28, never touched" in said.out
    assert "policies/c.yaml:6:20: error: `block_ip` may never do this" in said.out
    assert said.out.splitlines()[-1].startswith("3 policies: 1 refused;")


def test_for_programs_it_is_one_document(place: Path) -> None:
    (place / "policies" / "c.yaml").write_text(HARM)

    said = policy(place, "prove", "--json")

    (item,) = json.loads(said.out)["items"]
    assert [(one["policy"], len(one["steps"])) for one in item["policies"]] == [("guessing", 1), ("telling", 0), ("harm", 1)]
    assert item["policies"][0]["steps"][0]["chosen"] == "own"
    assert item["policies"][2]["steps"][0]["because"].startswith("198.51.100.3 lies in")
    assert [(one["line"], one["col"], one["level"]) for one in item["problems"]] == [(6, 20, "error")]
    assert {"network": "198.51.100.0/28", "why": "never_touch in agent.yaml"} in item["life_lines"]


def test_a_mistake_of_another_kind_comes_first(place: Path) -> None:
    (place / "policies" / "c.yaml").write_text(HARM.replace("P2", "P9"))

    said = policy(place, "prove")

    assert said.code == Exit.USAGE
    assert "`P9` is not one of" in said.err


def test_check_refuses_the_same_and_says_how_many_life_lines_it_looked_at(place: Path) -> None:
    (place / "policies" / "c.yaml").write_text(HARM.replace("198.51.100.3", "127.0.0.1"))

    said = policy(place, "check")

    assert said.code == Exit.USAGE
    assert "policies/c.yaml:6:20: error: `block_ip` may never do this: 127.0.0.1" in said.out
    assert "life-lines were looked at; `contain policy prove` names them" in said.err


def test_without_an_agent_yaml_what_harms_any_host_is_still_found(place: Path) -> None:
    (place / "policies" / "c.yaml").write_text(
        HARM + HARM.replace("198.51.100.3", "127.0.0.1").join(["---\n", ""]).replace("harm", "h2")
    )

    said = contain("policy", "check", "policies", cwd=place)

    assert said.code == Exit.USAGE
    assert said.out.count("may never do this") == 1
    assert "there is no agent.yaml here" in said.err


def test_a_reload_with_such_a_policy_leaves_the_policies_of_before_live(agent: Agent) -> None:
    shelf = (agent.home / "policies").readlink()
    (agent.home / "policies").unlink()
    (agent.home / "policies").mkdir()
    try:
        (agent.home / "policies" / "harm.yaml").write_text(HARM.replace("198.51.100.3", "198.18.0.77"))
        said = agent("reload")
    finally:
        (agent.home / "policies" / "harm.yaml").unlink()
        (agent.home / "policies").rmdir()
        (agent.home / "policies").symlink_to(shelf)

    assert said.code == Exit.USAGE
    assert "198.18.0.77 is a life-line" in said.err + said.out
    assert "ssh-brute-force" in agent("policy", "list").out
    assert agent("reload").code == Exit.DONE
