"""Disk: are the file systems filling up?"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.checks.disk import Disk
from agent.systems.host import Host
from tests.checks.asking import answers, the_answer

HOST = Host()


def test_a_file_system_with_room_is_good(small: Path) -> None:
    answer = the_answer(Disk(path=str(small)), host=HOST)

    assert (answer.state, answer.value, answer.limit, answer.target) == ("good", 0, 90, str(small))
    assert answer.say == f"{small} is 0 % full, 10 MiB are free"


def test_a_full_one_is_bad(small: Path) -> None:
    (small / "ballast").write_bytes(bytes(19 * 512 * 1024))

    answer = the_answer(Disk(path=str(small)), host=HOST)

    assert answer.state == "bad"
    assert answer.value == pytest.approx(95)
    assert answer.say == f"{small} is 95 % full, 0 MiB are free"


def test_little_room_is_bad_whatever_the_percentage(small: Path) -> None:
    answer = the_answer(Disk(path=str(small), free_floor_mib=11), host=HOST)

    assert answer.state == "bad"


def test_without_a_path_every_local_file_system_answers() -> None:
    found = answers(Disk(), host=HOST)

    assert "/" in [one.target for one in found]


def test_a_path_that_is_not_there_is_unknown() -> None:
    answer = the_answer(Disk(path="/nowhere"), host=HOST)

    assert answer.state == "unknown"
