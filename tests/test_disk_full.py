"""No room for evidence: the agent stops acting rather than act without a record, and what is in force stays."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.evidence.journal_read import read_only
from tests.needs import need_root
from tests.network import Network, nft, ruleset
from tests.running import Running, sshd_lines, wait_for
from tests.test_end_to_end import POLICY


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need_root()
    place = tmp_path / "state"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, timeout=10)


def fill(place: Path) -> None:
    """Write until there is no room for another byte."""
    with contextlib.suppress(OSError), (place / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 9, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size):
                    pass


def test_without_room_for_evidence_nothing_new_is_done_and_what_holds_goes_on_holding(
    tmp_path: Path, small_disk: Path, network: Network
) -> None:
    auth = tmp_path / "auth.log"
    auth.touch()
    sensors = f"sensors:\n  auth: {{logfile: {{path: {auth}, parsers: [sshd], from_start: true}}}}\n"
    agent = Running(tmp_path, f"mode: enforce\nssh_ports: [22022]\n{sensors}", POLICY % "1h")
    with agent:
        auth.write_text("".join(sshd_lines("10.77.1.1", 8)))
        wait_for(agent.in_force)

        fill(small_disk)
        (small_disk / "journal.db.ballast").unlink(missing_ok=True)  # as if the reserve had been used up long ago
        fill(small_disk)
        with auth.open("a") as log:
            for last in range(200):  # the write-ahead log has some room left
                log.write("".join(sshd_lines(f"203.0.113.{last}", 8)))
        assert agent.process is not None
        status = agent.process.wait(timeout=20)

    assert status == 1
    assert "evidence" in agent.log.read_text()
    with read_only(small_disk / "journal.db") as reader:
        intents = {one.record.body["target"] for one in reader.records(limit=10_000) if one.record.kind == "intent"}
    in_kernel = set(re.findall(r"203\.0\.113\.\d+|10\.77\.1\.1", ruleset("inet", "containment")))
    assert in_kernel <= intents
    assert not network.attacker.connects("10.77.1.2", 22)
    nft("delete table inet containment")
