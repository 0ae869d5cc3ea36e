"""A third party checks a bundle with its own script, and with openssl alone; a touched bundle does not hold."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.evidence.bundle import CannotExport, Exported, export
from agent.evidence.journal import read_only
from agent.evidence.merkle import leaf_hash
from tests.evidence.journals import NOW, event, key_of, opened, records
from tests.needs import need


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """25 records, the first 20 of them under the last of two checkpoints."""
    need("openssl", "openssl")
    return _export(tmp_path, "bundle")


def _export(place: Path, name: str) -> Exported:
    path = place / "journal.db"
    journal = opened(path)
    for count in (10, 10):
        journal.commit(NOW, records(count, journal.size), events=[event(NOW)])
        journal.checkpoint(NOW)
    journal.checkpoint(NOW + 3600)  # at rest: the same checkpoint again
    journal.commit(NOW, records(5, 20))
    with read_only(path) as reader:
        made = export(reader, place / name, vkey=key_of(path).vkey)
    journal.close()
    return made


def _check(place: Path, *notes: Path) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own script as a stranger would: without this project on the path."""
    command = [sys.executable, "-I", "verify.py", *map(str, notes)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=30, check=False)


def test_a_bundle_holds_by_its_own_script(exported: Exported) -> None:
    done = _check(exported.path)

    assert (exported.records, exported.covered, exported.checkpoints) == (25, 20, 2)
    assert done.stdout.startswith("25 records, 20 of them under a checkpoint that fits, 5 after it\n")
    assert done.stdout.endswith("The bundle holds.\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_in_its_instructions_check_a_signature_with_openssl_alone(exported: Exported) -> None:
    instructions = (exported.path / "VERIFY.md").read_text()
    section = instructions.split("## A signature, with openssl")[1].split("##")[0]
    commands = "\n".join(re.findall(r"^    (.*)$", section, re.MULTILINE))

    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=exported.path, capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.stdout, done.returncode) == ("Signature Verified Successfully\n", 0)


def test_the_hash_of_a_record_by_hand_is_that_of_the_tree(exported: Exported) -> None:
    lines = (exported.path / "records.jsonl").read_bytes().splitlines()
    (exported.path / "line").write_bytes(lines[3])
    command = re.search(r"`(printf .*)`, the line", (exported.path / "VERIFY.md").read_text())
    assert command

    done = subprocess.run(["sh", "-c", command[1]], cwd=exported.path, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.split()[0] == leaf_hash(lines[3]).hex()


def test_its_lines_are_the_very_bytes_of_the_journal_and_only_its_owner_may_read_them(exported: Exported, tmp_path: Path) -> None:
    with read_only(tmp_path / "journal.db") as reader:
        leaves = list(reader.leaves())

    assert (exported.path / "records.jsonl").read_bytes() == b"".join(leaf + b"\n" for leaf in leaves)
    assert exported.path.stat().st_mode & 0o777 == 0o700


def _lines(change: Callable[[list[bytes]], None]) -> Callable[[Path], None]:
    def touch(place: Path) -> None:
        file = place / "records.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        change(lines)
        file.write_bytes(b"".join(lines))

    return touch


def _edit(lines: list[bytes]) -> None:
    lines[4] = lines[4].replace(b'"number":4', b'"number":5')


def _swap(lines: list[bytes]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _delete(lines: list[bytes]) -> None:
    del lines[4]


def _cut(lines: list[bytes]) -> None:
    del lines[15:]


def _garble(lines: list[bytes]) -> None:
    lines[4] = b"{\n"


def _note(place: Path) -> None:
    note = place / "checkpoints" / "000001.note"
    note.write_text(note.read_text().replace("\n20\n", "\n21\n"))


def _mangled_note(place: Path) -> None:
    (place / "checkpoints" / "000001.note").write_text("a\n\n— host1/containment-agent !\n")


def _other_pem(place: Path) -> None:
    pem = place / "key.pem"
    pem.write_text(pem.read_text().replace("MCow", "MCox"))


@pytest.mark.parametrize(
    ("touch", "problem"),
    [
        (_lines(_edit), "the first 10 records are not what was signed"),
        (_lines(_swap), "record 4 says it is number 5"),
        (_lines(_delete), "record 4 says it is number 5"),
        (_lines(_cut), "cut: a checkpoint was signed for 20 records, and only 15 are here"),
        (_lines(_garble), "record 4 is not readable"),
        (_note, "000001.note: not a checkpoint signed by"),
        (_mangled_note, "000001.note: not a checkpoint signed by"),
        (_other_pem, "two different keys"),
    ],
    ids=["edit", "swap", "delete", "cut", "garble", "note", "mangled note", "pem"],
)
def test_a_touched_bundle_does_not_hold(exported: Exported, touch: Callable[[Path], None], problem: str) -> None:
    touch(exported.path)

    done = _check(exported.path)

    assert problem in done.stdout
    assert done.stdout.endswith("The bundle does not hold.\n")
    assert done.returncode == 1


def test_a_bundle_rewritten_whole_does_not_hold_against_a_note_kept_elsewhere(exported: Exported, tmp_path: Path) -> None:
    kept = tmp_path / "kept.note"
    kept.write_text((exported.path / "checkpoints" / "000001.note").read_text())
    _lines(_edit)(exported.path)
    for note in (exported.path / "checkpoints").iterdir():
        note.unlink()

    assert _check(exported.path).returncode == 0
    assert _check(exported.path, kept).returncode == 1


def test_a_bundle_with_a_file_missing_cannot_be_checked(exported: Exported) -> None:
    (exported.path / "records.jsonl").unlink()

    done = _check(exported.path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cannot check the bundle: ")


def test_a_packed_bundle_holds_and_tells_no_account_names(tmp_path: Path) -> None:
    need("openssl", "openssl")

    made = _export(tmp_path, "case-7.tar.gz")

    with tarfile.open(made.path) as tar:
        assert {(one.uid, one.uname) for one in tar} == {(0, "")}
        tar.extractall(tmp_path / "elsewhere", filter="data")
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert _check(tmp_path / "elsewhere" / "case-7").returncode == 0
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".case-7")]


def test_nothing_is_overwritten(exported: Exported, tmp_path: Path) -> None:
    with (
        read_only(tmp_path / "journal.db") as reader,
        pytest.raises(CannotExport, match="it exists already\nChoose another name"),
    ):
        export(reader, exported.path, vkey=key_of(tmp_path / "journal.db").vkey)


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    opened(tmp_path / "journal.db").close()

    with read_only(tmp_path / "journal.db") as reader, pytest.raises(CannotExport, match="No such file or directory"):
        export(reader, tmp_path / "none" / "bundle", vkey=key_of(tmp_path / "journal.db").vkey)
