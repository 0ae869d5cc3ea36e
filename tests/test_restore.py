"""What the kernel forgot at a reboot is put back from the journal alone: for the time that was left, never a life-line, once."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.outside import systems
from agent.restore import restore
from agent.wiring import read_config_file
from tests.needs import need, need_root
from tests.running import NEVER, Running

HOUR = 3600


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Running]:
    """An agent that was killed while two addresses and a limit were in force, on a host that has been rebooted since."""
    need_root()
    need("nft", "nftables")
    _flush()
    with Running(tmp_path, "mode: enforce\n", NEVER) as agent:
        for address in ("203.0.113.7", "2001:db8::7"):
            assert agent.contain("block", address, "--for", "1h", "--why", "test").returncode == 0
        limited = agent.contain("do", "rate_limit", "ip=203.0.113.8", "ports=22", "rps=5", "ttl=1h", "--why", "test")
        assert limited.returncode == 0, limited.stderr
        agent.kill()
        _flush()
        yield agent
    _flush()


def test_all_of_it_is_back_for_the_rest_of_its_time(dead: Running) -> None:
    done = dead.contain("restore")

    assert (done.returncode, done.stdout) == (0, "3 put back: M-1, M-2, M-3\n")
    listed = _listed()
    assert "203.0.113.7" in listed
    assert "2001:db8::7" in listed
    assert "203.0.113.8" in listed
    assert all(3500 < left <= HOUR for left in _seconds_left(dead))


def test_twice_is_once(dead: Running) -> None:
    dead.contain("restore")
    before = [one.undo for one in systems(None)["firewall"].held()]  # type: ignore[attr-defined]

    dead.contain("restore")

    assert [one.undo for one in systems(None)["firewall"].held()] == before  # type: ignore[attr-defined]


def test_a_life_line_that_was_named_since_is_left_out(dead: Running) -> None:
    dead.config.write_text(dead.config.read_text() + "never_touch: [203.0.113.7]\n")

    done = dead.contain("restore")

    assert done.returncode == 1
    assert "M-1: refused at the door: 203.0.113.7 is a life-line" in done.stdout
    held = " ".join(str(one.undo) for one in systems(None)["firewall"].held())  # type: ignore[attr-defined]
    assert "203.0.113.7" not in held
    assert "2001:db8::7" in held


def test_with_a_clock_that_is_years_behind_nothing_lasts_longer_than_it_had_left(dead: Running) -> None:
    config = read_config_file(dead.config)

    restored = restore(config, systems(config), wall=1_000_000.0)

    assert len(restored.names) == 3
    assert restored.behind > 20 * 365 * 86400
    assert all(left <= HOUR for left in _seconds_left(dead))


def test_what_is_over_stays_away(dead: Running) -> None:
    config = read_config_file(dead.config)

    restored = restore(config, systems(config), wall=time.time() + 2 * HOUR)

    assert restored == ((), (), 0.0)
    assert "203.0.113.7" not in _listed()


def test_a_living_agent_is_left_to_do_it_itself(dead: Running) -> None:
    dead.start()

    done = dead.contain("restore")

    assert done.returncode == 1
    assert "an agent is running, and does that itself" in done.stderr


def test_a_journal_that_was_changed_puts_nothing_back(dead: Running) -> None:
    db = sqlite3.connect(dead.place / "state/journal.db")
    for name in _triggers(db):
        db.execute(f"drop trigger {name}")
    db.execute(
        "update record set leaf = cast(replace(leaf, '203.0.113.7', '203.0.113.6') as blob) where instr(leaf, '203.0.113.7')"
    )
    db.commit()
    db.close()

    done = dead.contain("restore")

    assert done.returncode == 1
    assert "203.0.113" not in _listed()


def test_where_no_agent_ever_ran_there_is_nothing_to_do(tmp_path: Path) -> None:
    agent = Running(tmp_path, "", NEVER)

    done = agent.contain("restore")

    assert (done.returncode, done.stdout) == (0, "0 put back\n")


def _triggers(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("select name from sqlite_master where type = 'trigger'")]


def _seconds_left(agent: Running) -> list[float]:
    config = read_config_file(agent.config)
    return [one.expires_in for one in systems(config)["firewall"].held()]  # type: ignore[attr-defined]


def _listed() -> str:
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout


def _flush() -> None:
    subprocess.run(["nft", "flush", "ruleset"], timeout=10, check=True)  # of this session's own network
