"""`contain baseline` with a real agent, and what explains a change: packages."""

from __future__ import annotations

import fcntl
import json
import os
from hashlib import md5
from pathlib import Path

import pytest

from agent.integrity import packages
from agent.integrity.facts import look
from agent.record import Record
from tests.running import Running, contain, wait_for

POLICY = """
policy: file-changed
severity: P2
owner: sre
when: {event: file.changed, by: path, match: {what: {not: restored}}}
unless: {package: {exists: true}}
"""


def records(agent: Running, kind: str) -> list[Record]:
    from agent.evidence.journal_read import read_only

    with read_only(agent.place / "state" / "journal.db") as reader:
        return [one.record for one in reader.records(limit=10_000) if one.record.kind == kind]


def test_a_change_is_found_shown_accepted_in_a_persons_name_and_survives_kills(tmp_path: Path) -> None:
    watched = tmp_path / "etc"
    watched.mkdir()
    (watched / "passwd").write_text("root\n")
    agent = Running(tmp_path / "agent", f"mode: dry_run\nsensors: {{watch: {{files: {{paths: [{watched}]}}}}}}\n", POLICY)
    with agent:
        wait_for(lambda: records(agent, "baseline"), 30)
        agent.kill()
        (watched / "passwd").write_text("root\nevil\n")
        dead = agent.contain("baseline", "diff", "--exit-code")
        refused = agent.contain("baseline", "update", "--yes", "--why", "nobody is there to write it down")
        agent.start()
        wait_for(lambda: agent.ask("incidents")["total"], 30)
        agent.kill()
        agent.start()
        unsaid = agent.contain("baseline", "update", "--why", "meant", "--no-input")
        update = agent.contain("baseline", "update", str(watched), "--yes", "--why", "meant", "--json")
        after = agent.contain("baseline", "diff", "--exit-code")
        shown = agent.contain("baseline", "show").stdout
        agent.kill()
        agent.start()

        assert (dead.returncode, refused.returncode, unsaid.returncode, after.returncode) == (10, 5, 4, 0)
        assert "changed" in dead.stdout
        assert json.loads(update.stdout)["items"][0]["count"] == 1
        assert str(watched / "passwd") in shown
        told = records(agent, "baseline")
        assert [one.body["what"] for one in told] == ["taken", "updated"]
        assert (told[1].body["actor"].split()[0], told[1].body["why"]) == ("root", "meant")
        assert told[0].body["after"] == told[1].body["before"]
        assert len(records(agent, "finding")) == 1


def test_without_watched_files_it_says_how_to_watch_some(tmp_path: Path) -> None:
    agent = Running(tmp_path, "mode: dry_run\n", POLICY)

    said = contain("baseline", "diff", "--config", str(agent.config))

    assert said.returncode == 2
    assert "sensors: {watch: {files: {paths:" in said.stderr


# Packages -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dpkg(tmp_path: Path) -> Path:
    """dpkg's lists for two files under this directory, in the forms of Debian 12."""
    place = tmp_path / "dpkg"
    (place / "info").mkdir(parents=True)
    sums = [(tmp_path / "usr", b"new"), (tmp_path / "other", b"x")]
    lines = [f"{md5(text, usedforsecurity=False).hexdigest()}  {str(path)[1:]}\n" for path, text in sums]
    (place / "info" / "tool:amd64.md5sums").write_text("".join(lines))
    conf = md5(b"conf", usedforsecurity=False).hexdigest()
    (place / "status").write_text(f"Package: daemon\nStatus: install ok installed\nConffiles:\n {tmp_path}/conf {conf}\n")
    return place


def explained(path: Path, dpkg: Path, was: int | None = None) -> str:
    raw = os.fsencode(path)
    facts = look(raw, raw)
    known = packages.shipped([raw], dpkg)
    assert facts
    before = facts._replace(mode=was, sha256="other") if was is not None else None
    return packages.explains(raw, raw, facts, before, known[raw]) if raw in known else ""


def test_what_a_package_ships_is_explained_by_it_and_nothing_else(tmp_path: Path, dpkg: Path) -> None:
    for name, text in (("usr", "new"), ("conf", "conf"), ("other", "not x"), ("mine", "new")):
        (tmp_path / name).write_text(text)

    found = {name: explained(tmp_path / name, dpkg) for name in ("usr", "conf", "other", "mine")}

    assert found == {"usr": "tool", "conf": "daemon", "other": "", "mine": ""}


def test_a_program_that_becomes_setuid_is_explained_by_no_package(tmp_path: Path, dpkg: Path) -> None:
    (tmp_path / "usr").write_text("new")
    (tmp_path / "usr").chmod(0o4755)

    assert explained(tmp_path / "usr", dpkg) == ""
    assert explained(tmp_path / "usr", dpkg, was=0o755) == ""
    assert explained(tmp_path / "usr", dpkg, was=0o4755) == "tool"


def test_the_hosts_own_packages_explain_its_programs() -> None:
    known = packages.shipped([b"/usr/bin/env", b"/nowhere"])

    assert known[b"/usr/bin/env"][0] == "coreutils"
    assert b"/nowhere" not in known


def test_a_dpkg_at_work_is_seen_by_its_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    before = packages.at_work(tmp_path)
    child = os.fork()
    if child == 0:
        fd = os.open(tmp_path / "lock", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        (tmp_path / "held").touch()
        import signal

        signal.pause()
    try:
        wait_for((tmp_path / "held").exists)
        during = packages.at_work(tmp_path)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)

    assert (before, during, packages.at_work(tmp_path)) == (False, True, False)
