"""The files sensor on real files: what is told, once, whatever happens in between."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.integrity import looking, watcher
from agent.integrity.baseline import Baseline
from agent.integrity.compare import compare
from agent.integrity.facts import Facts, differences, look
from agent.messages import Asked
from tests.integrity.sensing import Owner, Quick
from tests.needs import need_root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "ssh").mkdir(parents=True)
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0\n")
    (tmp_path / "etc" / "ssh" / "sshd_config").write_text("PermitRootLogin no\n")
    return tmp_path


@pytest.fixture
def owner(place: Path) -> Iterator[Owner]:
    made = Owner(place, place / "etc").start().ready()
    yield made
    made.stop()


def update(owner: Owner, *paths: Path, shown: str = "") -> dict[str, object]:
    """A person's update, with the digest of what is there now unless another was shown."""
    known = Baseline(Path(owner.sensor.baseline))
    found = compare(known, owner.sensor.cover, tuple(map(str, paths)))
    known.close()
    body = {"shown": shown or found.digest, "why": "meant", "paths": list(map(str, paths))}
    owner.sensor.inbox.put(Asked("baseline_update", body, "alice (uid 1000)", 7))
    return dict(owner.until(lambda one: one.kind == "file.baseline" and one.get("what") != "taken").fields)


# What is told -------------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_told_with_who_did_it(owner: Owner, place: Path) -> None:
    need_root()
    file = place / "etc" / "passwd"

    subprocess.run(["sh", "-c", f"echo evil:x:0:0 >> {file}; sleep 0.5"], check=True, timeout=10)
    told = owner.change(file)

    assert told.get("what") == "changed"
    assert str(told.get("old")).endswith("(11 bytes)")
    assert str(told.get("new")).endswith("(22 bytes)")
    assert "sh" in str(told.get("exe"))
    assert told.get("user") == "root"
    assert not told.forgeable
    assert told.get("package") is None


def test_every_sort_of_change_is_told_by_its_name(owner: Owner, place: Path) -> None:
    need_root()
    etc = place / "etc"
    config = etc / "ssh" / "sshd_config"

    (etc / "new").write_text("x")
    (etc / "new").chmod(0o4711)
    config.chmod(0o4755)
    os.chown(etc / "passwd", 1, 1)
    assert str(owner.change(etc / "new", "created").get("new")).endswith("(1 bytes), mode 4711, owner 0:0")
    owner.change(config, "mode")
    owner.change(etc / "passwd", "owner")
    os.setxattr(config, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    owner.change(config, "caps")
    (etc / "new").unlink()
    owner.change(etc / "new", "deleted")
    config.unlink()
    config.symlink_to("/etc/passwd")
    told = owner.change(config, "type")

    assert told.get("new") == "link /etc/passwd"
    config.unlink()
    config.symlink_to("/etc/shadow")
    assert owner.change(config, "link").get("new") == "/etc/shadow"


def test_what_is_again_as_the_baseline_has_it_is_told_as_restored_and_a_new_change_again(owner: Owner, place: Path) -> None:
    file = place / "etc" / "passwd"
    before = file.read_text()

    for text, what in (("evil", "changed"), (before, "restored"), ("evil", "changed")):
        file.write_text(text)
        owner.change(file, what)

    assert [what for name, what in owner.changes() if name == "passwd"] == ["changed", "restored", "changed"]


def test_a_new_time_is_no_change_and_what_is_skipped_is_not_looked_at(place: Path) -> None:
    owner = Owner(place, place / "etc", skip=("*.swp", "*/cache")).start().ready()
    (place / "etc" / "cache").mkdir()
    (place / "etc" / "cache" / "x").write_text("x")
    (place / "etc" / ".passwd.swp").write_text("x")
    os.utime(place / "etc" / "passwd", (1, 1))
    (place / "etc" / "last").write_text("x")

    owner.change(place / "etc" / "last")
    owner.stop()

    assert owner.changes() == [("last", "created")]


HOLDER = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(file, b"evil and longer than it was")
print("held", flush=True)
sys.stdin.read()
"""


def test_whoever_holds_a_lease_on_a_file_cannot_hide_that_it_grew(owner: Owner, place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, place / "etc" / "passwd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"

        told = owner.change(place / "etc" / "passwd", "changed")

        assert str(told.get("new")).startswith("unread (27 bytes")
        holder.communicate(timeout=30)


def test_a_file_that_cannot_be_read_is_still_told_by_its_size() -> None:
    before, after = Facts("file", 0o644, 0, 0, 11, sha256="ab"), Facts("file", 0o644, 0, 0, 99, error="Permission denied")

    assert [one.what for one in differences(before, after)] == ["changed"]
    assert differences(before, after._replace(size=11)) == []


def test_many_writes_within_a_moment_are_one_change(owner: Owner, place: Path) -> None:
    for number in range(50):
        (place / "etc" / "passwd").write_text(f"{number}\n")

    owner.change(place / "etc" / "passwd")
    (place / "etc" / "last").write_text("x")
    owner.change(place / "etc" / "last")

    assert owner.changes().count(("passwd", "changed")) == 1


def test_a_directory_that_comes_or_is_moved_is_watched_with_all_in_it(owner: Owner, place: Path) -> None:
    (place / "etc" / "ssh").rename(place / "etc" / "moved")
    owner.change(place / "etc" / "ssh" / "sshd_config", "deleted")
    owner.change(place / "etc" / "moved" / "sshd_config", "created")
    (place / "etc" / "moved" / "sshd_config").write_text("PermitRootLogin yes\n")

    assert owner.change(place / "etc" / "moved" / "sshd_config").get("what") == "changed"


def test_a_watched_path_that_was_not_there_is_told_when_it_comes(place: Path) -> None:
    keys = place / "root" / ".ssh" / "authorized_keys"
    (place / "root").mkdir()
    owner = Owner(place, keys).start().ready()

    keys.parent.mkdir()
    keys.write_text("ssh-ed25519 AAAA evil\n")
    told = owner.change(keys)
    owner.stop()

    assert told.get("what") == "created"


# What must not happen -----------------------------------------------------------------------------------------------------


def test_links_are_not_followed_and_pipes_and_devices_not_opened(place: Path) -> None:
    outside = place / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    (place / "etc" / "link").symlink_to(outside)
    os.mkfifo(place / "etc" / "pipe")
    owner = Owner(place, place / "etc").start().ready()

    (outside / "secret").write_text("y")
    (place / "etc" / "last").write_text("x")
    owner.change(place / "etc" / "last")
    owner.stop()

    assert owner.changes() == [("last", "created")]


def test_a_directory_that_becomes_a_link_leads_nowhere(place: Path) -> None:
    outside = place / "outside"
    outside.mkdir()
    (outside / "sshd_config").write_text("PermitRootLogin no\n")
    root, ssh = os.fsencode(place / "etc"), place / "etc" / "ssh"
    ssh.rename(place / "away")
    ssh.symlink_to(outside)

    assert look(os.fsencode(ssh / "sshd_config"), root) is None


def test_names_of_all_sorts_are_one_harmless_line(owner: Owner, place: Path) -> None:
    names = (b"new\nline", b"\xff\xfe", b"\x1b[2Jgone", "\u202egnp.exe".encode(), b"quo\"te's")
    for name in names:
        (place / "etc" / os.fsdecode(name)).write_bytes(b"x")

    paths = {str(owner.until(lambda one: one.get("what") == "created").get("path")) for _ in names}

    assert len(paths) == len(names)
    assert all(one.isprintable() and one.isascii() for one in paths)


def test_a_file_that_vanishes_or_changes_while_it_is_looked_at_is_no_trouble(owner: Owner, place: Path) -> None:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        (place / "etc" / "flicker").write_text("x")
        (place / "etc" / "flicker").unlink()
    (place / "etc" / "last").write_text("x")

    owner.change(place / "etc" / "last")

    assert all(one.get("ok") for one in owner.told if one.kind == "sensor")


def test_a_large_file_is_hashed_at_its_ends_and_says_so(place: Path) -> None:
    big = place / "etc" / "big"
    with big.open("wb") as file:
        file.truncate(300 << 20)

    before = look(os.fsencode(big), os.fsencode(place))
    with big.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    after = look(os.fsencode(big), os.fsencode(place))

    assert before is not None
    assert after is not None
    assert before.part
    assert before.sha256 != after.sha256


# Exactly once -------------------------------------------------------------------------------------------------------------


def test_what_changed_while_the_agent_was_dead_is_told_at_the_next_start_and_not_at_the_one_after(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    owner.stop()
    (place / "etc" / "passwd").write_text("evil")

    owner.start().change(place / "etc" / "passwd", "changed")
    owner.stop()
    owner.start().ready()
    (place / "etc" / "last").write_text("x")
    owner.change(place / "etc" / "last")
    owner.stop()

    assert owner.changes() == [("passwd", "changed"), ("last", "created")]


def test_what_was_delivered_and_not_committed_when_the_agent_died_is_told_again_once(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    (place / "etc" / "passwd").write_text("evil")
    end = time.monotonic() + 30
    while not any(one.kind == "file.changed" for one in owner.batches.get(timeout=30).events):  # delivered, and lost
        assert time.monotonic() < end
    owner.die()

    owner.start().change(place / "etc" / "passwd", "changed")
    owner.stop()

    assert owner.changes() == [("passwd", "changed")]


def test_a_baseline_that_was_being_taken_when_the_agent_died_is_taken_again(place: Path) -> None:
    owner = Owner(place, place / "etc").start()
    while not any(one.get("what") == "taken" for one in owner.batches.get(timeout=30).events):
        pass
    owner.die()

    owner.start().ready()
    owner.stop()

    assert [one.get("what") for one in owner.told if one.kind == "file.baseline"] == ["taken"]
    assert owner.changes() == []


def test_an_overflow_means_a_look_at_everything_and_never_silence(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    names = [place / "etc" / f"many-{number:05}" for number in range(looking.MOST_PENDING + 500)]

    for one in names:
        one.touch()
    (place / "etc" / "passwd").write_text("evil")
    owner.change(place / "etc" / "passwd")
    told = {name for name, _ in owner.changes()}
    end = time.monotonic() + 60
    while len(told) < len(names) + 1 and time.monotonic() < end:
        owner.until(lambda one: one.kind == "file.changed")
        told = {name for name, _ in owner.changes()}
    owner.stop()

    assert told == {one.name for one in (*names, place / "etc" / "passwd")}
    assert len(owner.changes()) == len(told)


class Small(Quick):
    """A sensor with room for few files."""

    most = 40


def test_many_looks_at_one_directory_do_not_use_up_the_room_for_all(place: Path) -> None:
    owner = Owner(place, place / "etc", kind=Small).start().ready()
    for number in range(20):
        (place / "etc" / "ssh").chmod(0o700 + number % 2)
        (place / "etc" / f"{number}").touch()
        owner.change(place / "etc" / f"{number}")

    (place / "new").mkdir()
    (place / "new" / "evil").write_text("x")
    (place / "new").rename(place / "etc" / "new")

    owner.change(place / "etc" / "new" / "evil", "created")
    owner.stop()


def test_files_that_fill_the_room_do_not_hide_those_of_the_baseline(place: Path) -> None:
    (place / "a").mkdir()
    owner = Owner(place, place / "a", place / "etc", kind=Small).start().ready()
    owner.stop()
    for number in range(50):
        (place / "a" / f"many-{number}").touch()
    (place / "etc" / "passwd").write_text("evil")

    owner.start()
    owner.change(place / "etc" / "passwd", "changed")
    (place / "etc" / "ssh" / "sshd_config").write_text("PermitRootLogin yes\n")

    owner.change(place / "etc" / "ssh" / "sshd_config", "changed")
    owner.stop()


# A person's update --------------------------------------------------------------------------------------------------------


def test_a_person_says_that_a_change_is_right_and_it_is_told_no_more(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    file = place / "etc" / "passwd"
    file.write_text("meant")
    owner.change(file)

    said = update(owner)
    owner.stop()
    owner.start().ready()
    owner.stop()

    assert (said["what"], said["actor"], said["why"], said["count"]) == ("updated", "alice (uid 1000)", "meant", 1)
    assert said["before"] != said["after"]
    assert owner.changes() == [("passwd", "changed")]
    assert not [one for one in owner.told if one.get("what") == "tampered"]


def test_an_update_of_some_paths_leaves_the_others(owner: Owner, place: Path) -> None:
    (place / "etc" / "passwd").write_text("meant")
    (place / "etc" / "ssh" / "sshd_config").write_text("not meant")
    owner.change(place / "etc" / "passwd")

    said = update(owner, place / "etc" / "passwd")
    left = update(owner, place / "etc" / "ssh")

    assert said["count"] == 1
    assert left["count"] == 1


def test_what_changes_after_it_was_shown_is_not_accepted(owner: Owner, place: Path) -> None:
    (place / "etc" / "passwd").write_text("evil")

    said = update(owner, shown="0123456789abcdef")

    assert said["what"] == "refused"
    assert "not what was shown" in str(said["say"])
    assert owner.change(place / "etc" / "passwd").get("what") == "changed"


def test_an_update_lost_with_the_agent_is_as_if_it_had_never_been(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    (place / "etc" / "passwd").write_text("meant")
    owner.change(place / "etc" / "passwd")
    known = Baseline(Path(owner.sensor.baseline))
    before = known.digest()
    shown = compare(known, owner.sensor.cover).digest
    known.close()
    owner.sensor.inbox.put(Asked("baseline_update", {"shown": shown, "why": "x"}, "alice", 7))
    while not any(one.get("what") == "updated" for one in owner.batches.get(timeout=30).events):
        pass
    owner.die()

    owner.start().ready()
    owner.stop()

    known = Baseline(Path(owner.sensor.baseline))
    assert known.digest() == before
    known.close()
    assert not [one for one in owner.told if one.get("what") == "tampered"]


# Tampering ----------------------------------------------------------------------------------------------------------------


def tamper(owner: Owner) -> None:
    """Have the baseline say that a change is right, as root would."""
    with sqlite3.connect(owner.sensor.baseline) as db:
        db.execute("UPDATE known SET facts = replace(facts, '\"file\",420', '\"file\",511')")
    db.close()


def test_a_baseline_that_was_changed_while_no_agent_ran_is_found_at_the_next_start_and_told_once(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    owner.stop()
    tamper(owner)

    told = owner.start().until(lambda one: one.get("what") == "tampered")
    owner.stop()
    owner.start().ready()
    owner.stop()

    assert "while no agent ran" in str(told.get("say"))
    assert len([one for one in owner.told if one.get("what") == "tampered"]) == 1


@pytest.mark.parametrize("how", ["written", "removed"])
def test_a_baseline_that_is_touched_while_the_agent_runs_is_found(owner: Owner, how: str) -> None:
    if how == "written":
        tamper(owner)
    else:
        Path(owner.sensor.baseline).unlink()

    told = owner.until(lambda one: one.get("what") == "tampered")

    assert "while the agent ran" in str(told.get("say"))


def test_a_damaged_baseline_is_set_aside_and_told(place: Path) -> None:
    owner = Owner(place, place / "etc").start().ready()
    owner.stop()
    Path(owner.sensor.baseline).write_bytes(b"no database" * 1000)

    told = owner.start().until(lambda one: one.get("what") == "tampered")
    owner.until(lambda one: one.get("what") == "taken")
    owner.stop()

    assert "was moved to" in str(told.get("say"))
    assert list(place.glob("baseline.db.damaged-*"))


def test_the_baseline_is_nobody_elses_to_read(owner: Owner) -> None:
    assert stat.S_IMODE(Path(owner.sensor.baseline).stat().st_mode) == 0o600


# How it hears -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [watcher.Fanotify, watcher.Inotify])
def test_both_ways_to_hear_name_the_path(place: Path, kind: type[watcher.Watcher]) -> None:
    if kind is watcher.Fanotify:
        need_root()
    ears = kind()
    ears.add(os.fsencode(place / "etc"))

    (place / "etc" / "passwd").write_text("x")
    heard = ears.wait(10)
    (place / "etc" / "dir").mkdir()
    later = ears.wait(10)
    ears.close()

    assert os.fsencode(place / "etc" / "passwd") in {one.path for one in heard.touched}
    assert any(one.tree and one.path.endswith(b"/dir") for one in later.touched)
    assert any(one.pid == os.getpid() for one in heard.touched) == (kind is watcher.Fanotify)


def test_directories_that_come_and_go_do_not_fill_the_memory(place: Path) -> None:
    need_root()
    ears = watcher.Fanotify(most=100)

    for number in range(300):
        (place / "etc" / f"{number}").mkdir()
        ears.add(os.fsencode(place / "etc" / f"{number}"))
    known = len(ears._places)
    lost = ears.wait(0).lost
    ears.close()

    assert known <= 100
    assert lost


def test_with_no_ears_everything_is_looked_at_again_and_again() -> None:
    ears = watcher.Deaf("this test")

    with pytest.raises(OSError, match="not implemented"):
        ears.add(b"/etc")

    assert "again and again" in ears.how
