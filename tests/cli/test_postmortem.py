"""The report of an incident at the command line: out of the journal, people's parts through the agent."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import contain
from tests.cli.conftest import Agent
from tests.needs import need, need_root
from tests.report.journalled import attack, journal, whole_notes

POLICY = """\
policy: guessing
severity: P2
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
incident: {impact: [nobody]}
"""


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """An agent with one policy, whose impact is a check that nobody answers."""
    need_root()
    need("nft", "nftables")
    home = Path(tempfile.mkdtemp(prefix="contain-"))  # a socket's path must be short
    made = Agent(home)
    (home / "policies").unlink()
    (home / "policies").mkdir()
    (home / "policies" / "guessing.yaml").write_text(POLICY)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def incident(agent: Agent) -> Iterator[str]:
    """An incident of P1 that a person reports; resolved afterwards."""
    said = agent("report", "the shop does not take orders", "--severity", "P1", "--json")
    name = json.loads(said.out)["items"][0]["incident"]
    yield name
    agent("incidents", "resolve", name, "--why", "the test is over")


@contextmanager
def editor(place: Path, *lines: str) -> Iterator[dict[str, str]]:
    """$EDITOR as a script of its own; `$1` is the file."""
    script = place / "editor"
    script.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    script.chmod(0o700)
    yield {"EDITOR": str(script)}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return journal(attack(), tmp_path)


@pytest.mark.parametrize(("words", "begins"), [((), "# INC-1: Somebody guesses"), (("--html",), "<!doctype html>")])
def test_it_is_printed_from_a_journal_alone(db: Path, words: tuple[str, ...], begins: str) -> None:
    said = contain("postmortem", "INC-1", *words, "--db", db)

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(begins)


def test_as_json_it_is_one_document(db: Path) -> None:
    said = contain("postmortem", "INC-1", "--json", "--db", db)

    made = json.loads(said.out)
    assert made["kind"] == "postmortem"
    assert made["items"][0]["numbers"]["downtime"] == 31.0


def test_the_file_s_name_says_what_is_written_and_markdown_has_its_picture_beside_it(db: Path, tmp_path: Path) -> None:
    first = contain("postmortem", "INC-1", "-o", tmp_path / "a.html", "--db", db)
    second = contain("postmortem", "INC-1", "-o", tmp_path / "a.md", "--db", db)

    assert (first.code, second.code) == (0, 0)
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert "![Timeline of INC\\-1](a.svg)" in (tmp_path / "a.md").read_text() or "](a.svg)" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")
    assert {one.stat().st_mode & 0o077 for one in tmp_path.glob("a.*")} == {0}


def test_where_nothing_can_be_written_nothing_is_left_and_it_says_so(db: Path, tmp_path: Path) -> None:
    said = contain("postmortem", "INC-1", "-o", tmp_path / "nowhere" / "a.html", "--db", db)

    assert said.code == 1
    assert said.err.startswith("cannot write ")


@pytest.mark.parametrize(("name", "path"), [("INC-9", None), ("INC-1", "nothing.db"), ("'; drop table record", None)])
def test_what_is_not_there_is_said_in_a_sentence(db: Path, name: str, path: str | None) -> None:
    said = contain("postmortem", name, "--db", db.with_name(path) if path else db)

    assert said.code == 1
    assert said.err.startswith("cannot ")
    assert "Traceback" not in said.err


def test_metrics_are_measured_from_a_journal_alone(db: Path) -> None:
    people = contain("incidents", "metrics", "--since", "90d", "--db", db)
    made = json.loads(contain("incidents", "metrics", "--json", "--db", db).out)["items"][0]

    assert people.code == 0
    assert "P2\tto detect\t1\t10 s\t10 s" in people.out
    assert made["times"]["P2"]["resolve"]["median"] == 3891.0


def test_an_agent_writes_down_all_that_a_report_is_made_of(agent: Agent) -> None:
    agent.guess_passwords("203.0.113.50", times=3)
    agent.wait_for("kind=would")
    name = next(one["id"] for one in json.loads(agent("incidents", "--json").out)["items"] if one["target"] == "203.0.113.50")

    made = json.loads(agent("postmortem", name, "--json").out)["items"][0]

    assert made["impact"] == ["nobody"]
    assert made["numbers"]["downtime"] > 0
    assert made["texts"][0]["text"] == POLICY.strip()
    assert made["deeds"][0]["state"] == "would"


def test_people_s_parts_are_edited_kept_and_reported(agent: Agent, incident: str, tmp_path: Path) -> None:
    with editor(tmp_path, f"cat > \"$1\" <<'E'\n{whole_notes('The pool was exhausted.')}\nE") as env:
        said = contain("postmortem", incident, "--edit", env=agent.env | env, cwd=agent.home)

    report = agent("postmortem", incident)
    assert (said.code, said.err) == (0, "")
    assert f"{incident} has version 1 of people's parts; nothing is missing." in said.out
    assert "The pool was exhausted." in report.out


def test_an_editor_that_fails_or_changes_nothing_changes_nothing(agent: Agent, incident: str, tmp_path: Path) -> None:
    with editor(tmp_path, "exit 3") as env:
        failed = contain("postmortem", incident, "--edit", env=agent.env | env, cwd=agent.home)
    with editor(tmp_path, "exit 0") as env:
        idle = contain("postmortem", incident, "--edit", env=agent.env | env, cwd=agent.home)
    missing = contain("postmortem", incident, "--edit", env=agent.env | {"EDITOR": "/nowhere/vi"}, cwd=agent.home)

    assert (failed.code, idle.code, missing.code) == (1, 0, 2)
    assert "nothing was changed" in failed.err
    assert "cannot start the editor" in missing.err


def test_an_editor_s_name_is_no_shell(agent: Agent, incident: str, tmp_path: Path) -> None:
    env = agent.env | {"EDITOR": f"true; touch {tmp_path}/pwned"}

    contain("postmortem", incident, "--edit", env=env, cwd=agent.home)

    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_cannot_be_taken_is_refused(agent: Agent, incident: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.md").write_bytes(content)

    said = agent("postmortem", incident, "--notes", tmp_path / "notes.md")

    assert said.code == 2
    assert said.err.startswith("cannot take ")


def test_a_p1_is_closed_only_once_its_report_is_written(agent: Agent) -> None:
    opened = agent("report", "the till is on fire", "--severity", "P1", "--json")
    name = json.loads(opened.out)["items"][0]["incident"]
    agent("incidents", "resolve", name, "--why", "it is out")

    early = agent("incidents", "close", name, "--why", "done")
    written = agent("postmortem", name, "--notes", "-", stdin=whole_notes("It burnt."))
    late = agent("incidents", "close", name, "--why", "done")

    assert early.code == 3
    assert f"contain postmortem {name} --edit" in early.err
    assert (written.code, late.code) == (0, 0)
