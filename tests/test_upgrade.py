"""Real agents over journals of other versions: an upgrade goes on where it was, a downgrade damages nothing, loses no block."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.evidence.journal_file import VERSION, layout_of
from agent.evidence.migrate import STEPS, copies_of, migrate
from tests.evidence.versions.view import unpack
from tests.needs import need, need_root
from tests.running import NEVER, Running, wait_for


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    """One that does not run yet, and leaves nothing in the kernel."""
    need_root()
    need("nft", "nftables")
    made = Running(tmp_path, "mode: enforce\n", NEVER)
    yield made
    made.kill()
    _flush()


@pytest.fixture
def newer(agent: Running) -> Running:
    """A dead one with a block in force, whose journal a newer version has brought to its own layout."""
    with agent:
        assert agent.contain("block", "203.0.113.7", "--for", "1h", "--why", "test").returncode == 0
        agent.kill()
    journal = agent.place / "state" / "journal.db"
    migrate(journal, [*STEPS, ["create table more(one text) strict"]])
    for copy in copies_of(journal):
        copy.unlink()
    return agent


def test_an_agent_starts_with_the_oldest_journal_there_is(agent: Running) -> None:
    journal = unpack("28cdc87", agent.place / "state")

    with agent:
        status = agent.ask("status")

        assert status["evidence"]["failing"] == ""
        assert agent.contain("why", "INC-6").returncode == 0
        assert agent.contain("evidence", "verify").returncode == 0
        wait_for(lambda: not list(copies_of(journal)))
        assert agent.stop() == 0
    with closing(sqlite3.connect(journal)) as db:
        assert layout_of(db) == VERSION
    assert agent.contain("evidence", "verify").returncode == 0


def test_a_journal_of_a_newer_version_is_left_alone_and_the_block_with_it(newer: Running) -> None:
    journal = newer.place / "state" / "journal.db"
    before = journal.read_bytes()

    done = newer.contain("run")

    assert done.returncode == 1
    assert f"a newer agent wrote it: it has version {VERSION + 1}, this agent knows {VERSION}\n" in done.stderr
    assert journal.read_bytes() == before
    assert "203.0.113.7" in _listed()


def test_after_a_reboot_its_blocks_are_put_back_all_the_same(newer: Running) -> None:
    _flush()

    done = newer.contain("restore")

    assert (done.returncode, done.stdout) == (0, "1 put back: M-1\n")
    assert "203.0.113.7" in _listed()


def test_what_cannot_be_read_of_it_is_said(newer: Running) -> None:
    _flush()
    with closing(sqlite3.connect(newer.place / "state" / "journal.db")) as db:
        db.execute("alter table record rename column leaf to bytes")

    done = newer.contain("restore")

    assert done.returncode == 1
    assert "cannot read the journal" in done.stderr
    assert "a newer agent wrote it" in done.stderr


def test_the_way_back_that_is_told_begins_a_journal_that_knows_the_block(newer: Running) -> None:
    way = newer.contain("run").stderr.strip().splitlines()[-1]

    subprocess.run(["bash", "-ec", way], check=True, timeout=10)
    with newer:
        wait_for(newer.in_force)

        assert [one["target"] for one in newer.in_force()] == ["203.0.113.7"]
        assert (newer.place / "state" / "set-aside-newer" / "journal.db").exists()
        assert newer.contain("undo", "203.0.113.7", "--why", "test").returncode == 0
        assert "203.0.113.7" not in _listed()


def _listed() -> str:
    done = subprocess.run(
        ["nft", "list", "table", "inet", "containment"], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout


def _flush() -> None:
    subprocess.run(["nft", "delete", "table", "inet", "containment"], capture_output=True, timeout=10, check=False)
