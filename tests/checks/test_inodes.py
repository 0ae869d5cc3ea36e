"""Inodes: are the file systems running out of them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.checks.inodes import Inodes
from agent.systems.host import Host
from tests.checks.asking import answers, the_answer

HOST = Host()


def test_room_for_files_is_good_and_none_is_bad(small: Path) -> None:
    before = the_answer(Inodes(path=str(small)), host=HOST)

    for number in range(95):
        (small / str(number)).touch()

    after = the_answer(Inodes(path=str(small)), host=HOST)
    assert (before.state, after.state) == ("good", "bad")
    assert [before.value, after.value] == pytest.approx([1, 96])
    assert after.say == f"{small} has used 96 % of its inodes, 4 files more fit on it"


def test_a_file_system_that_counts_none_gives_no_answer() -> None:
    assert answers(Inodes(path="/proc"), host=HOST) == []
