"""One file through everything that happens to log files, turn by turn."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.streams.follow import Follower
from agent.streams.tail import LONGEST_LINE, TURN


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    made = Follower(log)
    yield made
    made.close()


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def everything(follower: Follower) -> str:
    """All that waits; a rotation takes a turn of its own to be seen."""
    found = b""
    for _ in range(4):
        while lines := follower.read():
            found += lines
    return found.decode()


def restarted(log: Path, position: str) -> Follower:
    made = Follower(log)
    made.start(position, from_start=False)
    return made


def test_the_first_start_begins_at_the_end(log: Path, follower: Follower) -> None:
    add(log, "old\n")
    follower.start(None, from_start=False)

    add(log, "new\n")

    assert everything(follower) == "new\n"


def test_a_line_that_is_being_written_at_the_first_start_is_left_out_whole(log: Path, follower: Follower) -> None:
    add(log, "half of ")
    follower.start(None, from_start=False)

    add(log, "a line\nnew\n")

    assert everything(follower) == "new\n"


def test_from_start_reads_what_is_there(log: Path, follower: Follower) -> None:
    add(log, "old\n")

    follower.start(None, from_start=True)

    assert everything(follower) == "old\n"


def test_a_file_that_appears_later_is_read_from_its_start(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=False)
    assert everything(follower) == ""
    assert follower.missing()

    add(log, "first\n")

    assert everything(follower) == "first\n"
    assert not follower.missing()


def test_a_file_that_appears_while_away_is_read_from_its_start(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=False)
    position = follower.position

    add(log, "first\n")

    assert everything(restarted(log, position)) == "first\n"


def test_a_line_is_handed_over_only_when_it_is_whole(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "whole\nha")

    first = everything(follower)
    add(log, "lf\n")

    assert (first, everything(follower)) == ("whole\n", "half\n")


def test_the_position_never_stands_inside_a_line(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "whole\nha")
    everything(follower)

    again = restarted(log, follower.position)
    add(log, "lf\n")

    assert everything(again) == "half\n"


def test_a_line_too_long_is_cut_flagged_and_the_next_one_is_whole(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "x" * (TURN * 2) + "\nnext\n")

    cut, following = everything(follower).splitlines()

    assert cut == "x" * LONGEST_LINE + " [cut]"
    assert following == "next"


def test_a_restart_inside_a_line_too_long_skips_its_rest(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "x" * (TURN * 2))
    everything(follower)

    again = restarted(log, follower.position)
    add(log, "rest of it\nnext\n")

    assert everything(again) == "next\n"


def test_after_a_rename_the_old_file_is_read_first_and_late_writers_too(log: Path, follower: Follower) -> None:
    add(log, "one\n")
    follower.start(None, from_start=True)
    rotated = log.rename(log.with_name("app.log.1"))
    add(rotated, "two\n")
    add(log, "three\n")

    first = everything(follower)
    add(rotated, "late\n")

    assert (first, everything(follower)) == ("one\ntwo\nthree\n", "late\n")


def test_after_copytruncate_the_unread_end_comes_from_the_copy(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)

    add(log, "two\n")
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    add(log, "three\n")

    assert everything(follower) == "two\nthree\n"


def test_a_file_that_regrew_beyond_the_old_offset_is_still_seen_as_new(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)

    os.truncate(log, 0)
    add(log, "quite another beginning, and longer\n")

    assert everything(follower) == "quite another beginning, and longer\n"


def test_two_copies_made_between_two_looks_are_both_read(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)

    add(log, "two\n")
    shutil.copyfile(log, log.with_name("app.log.2"))
    os.truncate(log, 0)
    add(log, "three\n")
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    add(log, "four\n")

    assert everything(follower) == "two\nthree\nfour\n"


def test_a_hole_left_by_a_writer_without_append_is_no_line(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    with log.open("wb") as writer:
        writer.write(b"x" * 300_000 + b"\n")
        writer.flush()
        everything(follower)
        os.truncate(log, 0)
        writer.write(b"after\n")

    assert everything(follower) == "after\n"


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20261123", "app-20261123.log", "app.1.log"])
def test_a_restart_after_rotation_finds_the_old_file_under_its_new_name(log: Path, follower: Follower, name: str) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)
    add(log, "two\n")

    log.rename(log.with_name(name))
    add(log, "three\n")

    assert everything(restarted(log, follower.position)) == "two\nthree\n"


def test_a_restart_reads_files_that_came_and_went_meanwhile(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)
    add(log, "two\n")

    log.rename(log.with_name("app.log.2"))
    add(log, "three\n")
    log.rename(log.with_name("app.log.1"))
    add(log, "four\n")

    assert everything(restarted(log, follower.position)) == "two\nthree\nfour\n"


def test_a_restart_after_copytruncate_reads_the_copys_end(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)

    add(log, "two\n")
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    add(log, "three\n")

    assert everything(restarted(log, follower.position)) == "two\nthree\n"


def test_after_a_reboot_with_new_device_numbers_the_place_is_found(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)
    device = f'"dev": {log.stat().st_dev}'
    assert device in follower.position

    log.rename(log.with_name("app.log.1"))
    add(log, "two\n")

    assert everything(restarted(log, follower.position.replace(device, '"dev": 4242'))) == "two\n"


def test_old_rotations_and_other_files_beside_the_log_are_never_read(log: Path, follower: Follower) -> None:
    for name in ("app.log.1", "app.log.old", "app.log.2.gz", "app.log-backup", "app.log.swp", "other.log.1"):
        add(log.with_name(name), "not ours\n")
    os.utime(log.with_name("app.log.1"), (1, 1))
    follower.start(None, from_start=True)
    add(log, "one\n")
    first = everything(follower)

    log.rename(log.with_name("app.log.0"))
    add(log, "two\n")

    assert (first, everything(follower), everything(restarted(log, follower.position))) == ("one\n", "two\n", "")


def test_a_start_whose_file_was_compressed_says_so_and_goes_on(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    everything(follower)
    position = follower.position
    log.unlink()
    add(log, "two\n")

    again = Follower(log)
    said = again.start(position, from_start=False)

    assert "compressed or removed" in said
    assert everything(again) == "two\n"


def test_no_text_of_the_log_stands_in_the_position(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "password=hunter2\n")

    everything(follower)

    assert "hunter2" not in follower.position


def test_a_link_that_leads_elsewhere_is_a_rotation(log: Path, tmp_path: Path, follower: Follower) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    add(first, "one\n")
    log.symlink_to(first)
    follower.start(None, from_start=True)
    before = everything(follower)

    add(second, "two\n")
    log.unlink()
    log.symlink_to(second)

    assert (before, everything(follower)) == ("one\n", "two\n")


def test_a_fifo_in_the_files_place_is_refused_and_does_not_hang(log: Path, follower: Follower) -> None:
    os.mkfifo(log)

    with pytest.raises(OSError, match="not a regular file"):
        follower.start(None, from_start=True)


def test_a_new_file_is_found_while_the_old_one_is_still_written_all_the_time(log: Path, follower: Follower) -> None:
    add(log, "one\n")
    follower.start(None, from_start=True)
    rotated = log.rename(log.with_name("app.log.1"))
    add(log, "new\n")
    found, end = b"", time.monotonic() + 10

    while b"new" not in found and time.monotonic() < end:
        add(rotated, "late\n")
        found += follower.read()

    assert b"new" in found


def test_a_restart_whose_file_was_compressed_still_reads_the_one_rotated_after_it(log: Path, follower: Follower) -> None:
    add(log, "one\n")
    follower.start(None, from_start=True)
    everything(follower)

    position = follower.position
    follower.close()
    log.unlink()  # logrotate made app.log.2.gz of it
    add(log.with_name("app.log.1"), "two\n")
    add(log, "three\n")

    assert everything(restarted(log, position)) == "two\nthree\n"


def test_content_that_came_and_went_in_a_file_last_seen_empty_is_read(log: Path, follower: Follower) -> None:
    add(log, "")
    follower.start(None, from_start=True)
    assert everything(follower) == ""

    add(log, "one\n")
    shutil.copyfile(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    add(log, "two\n")

    assert everything(follower) == "one\ntwo\n"


# Copies whose original is not truncated yet -------------------------------------------------------------------------------


def rotated_unseen(log: Path) -> None:
    """One is read and renamed, two and three are in a file that nobody has looked at."""
    log.rename(log.with_name("app.log.2"))
    add(log, "two\nthree\n")


@pytest.mark.parametrize("copied", ["", "tw", "two\n", "two\nthree\n"])
@pytest.mark.parametrize("live", [True, False])
def test_a_copy_that_is_being_made_of_a_file_nobody_knows_is_not_read_beside_it(
    log: Path, follower: Follower, live: bool, copied: str
) -> None:
    add(log, "one\n")
    follower.start(None, from_start=True)
    assert everything(follower) == "one\n"
    rotated_unseen(log)
    copy = log.with_name("app.log.1")
    add(copy, copied)

    reading = follower if live else restarted(log, follower.position)
    before = everything(reading)
    add(copy, "two\nthree\n"[len(copied) :])
    again = everything(reading)
    add(log, "four\n")
    add(copy, "four\n")
    os.truncate(log, 0)
    add(log, "five\n")

    assert (before, again, everything(reading)) == ("two\nthree\n", "", "four\nfive\n")


def test_a_second_copy_while_the_first_truncate_is_found_out_is_read_once(log: Path, follower: Follower) -> None:
    follower.start(None, from_start=True)
    add(log, "one\n")
    assert everything(follower) == "one\n"

    add(log, "two\n")
    shutil.copyfile(log, log.with_name("app.log.2"))
    os.truncate(log, 0)
    add(log, "three\n")
    shutil.copyfile(log, log.with_name("app.log.1"))
    before = everything(follower)
    os.truncate(log, 0)
    add(log, "four\n")

    assert (before, everything(follower)) == ("two\nthree\n", "four\n")


def test_an_original_that_is_truncated_right_after_a_look_loses_nothing(log: Path, follower: Follower) -> None:
    add(log, "one\n")
    follower.start(None, from_start=True)
    assert everything(follower) == "one\n"
    rotated_unseen(log)
    shutil.copyfile(log, log.with_name("app.log.1"))

    again = restarted(log, follower.position)
    os.truncate(log, 0)
    add(log, "four\n")

    assert everything(again) == "two\nthree\nfour\n"
