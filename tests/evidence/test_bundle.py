"""A third party checks a bundle with its own script, and with openssl alone; a touched bundle does not hold."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.action import Call
from agent.evidence.bundle import CannotExport, Exported, Wanted, export
from agent.evidence.journal import read_only
from agent.evidence.merkle import leaf_hash
from agent.evidence.redact import Redactor
from agent.evidence.store import Store, files_of
from agent.record import Record
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
        made = export(reader, place / name, vkey=key_of(path).vkey, files=Wanted(files_of(path)))
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
        export(reader, exported.path, vkey=key_of(tmp_path / "journal.db").vkey, files=Wanted(tmp_path))


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    opened(tmp_path / "journal.db").close()

    with read_only(tmp_path / "journal.db") as reader, pytest.raises(CannotExport, match="No such file or directory"):
        export(reader, tmp_path / "none" / "bundle", vkey=key_of(tmp_path / "journal.db").vkey, files=Wanted(tmp_path))


# Files of evidence ----------------------------------------------------------------------------------------------------


def _captured(place: Path) -> Path:
    """A journal whose two incidents each have two files of evidence, all under a checkpoint."""
    path = place / "journal.db"
    store, journal = Store(files_of(path), Redactor(b"k" * 32), keep_free=0), opened(path)
    for number in (1, 2):
        mitigation = f"M-{number}"
        files = [store.keep(mitigation, Call("forensics", verb), {"seen": verb}) for verb in ("sockets", "processes")]
        files.append({"call": "forensics.routes()", "error": "left out"})
        journal.commit(NOW, [*records(3, journal.size), Record("captured", {"files": files}, f"INC-{number}", mitigation)])
    journal.checkpoint(NOW)
    journal.close()
    return path


def _with_files(place: Path, incident: str = "") -> Exported:
    need("openssl", "openssl")
    path = _captured(place)
    with read_only(path) as reader:
        return export(reader, place / "bundle", vkey=key_of(path).vkey, files=Wanted(files_of(path), incident))


def test_a_bundle_takes_the_files_along_and_its_own_script_checks_them(tmp_path: Path) -> None:
    made = _with_files(tmp_path)

    done = _check(made.path)

    assert (made.files, made.missing) == (4, ())
    assert "\n4 files of evidence are here\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert (made.path / "files/M-2/01-forensics-sockets.json.gz").read_bytes() == (
        tmp_path / "evidence/M-2/01-forensics-sockets.json.gz"
    ).read_bytes()


def _one_byte(place: Path) -> None:
    file = place / "files/M-1/02-forensics-processes.json.gz"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _and_its_sum(place: Path) -> None:
    """Also the list of hashes, but not the record."""
    _one_byte(place)
    _sums(place)


def _sums(place: Path) -> None:
    listed = subprocess.run(["sha256sum", *place.glob("files/*/*")], capture_output=True, text=True, timeout=10, check=True)
    (place / "SHA256SUMS").write_text(listed.stdout.replace(f"{place}/", ""))


@pytest.mark.parametrize(
    ("touch", "problem"),
    [
        (_one_byte, "files/M-1/02-forensics-processes.json.gz was changed"),
        (_and_its_sum, "files/M-1/02-forensics-processes.json.gz was changed"),
        (lambda place: (place / "files/M-1/02-forensics-processes.json.gz").unlink(), "processes.json.gz is missing"),
        (lambda place: (place / "files/M-1/03-more.txt.gz").write_bytes(b"x"), "files/M-1/03-more.txt.gz was added"),
        (_lines(lambda lines: lines.__setitem__(3, lines[3].replace(b'M-1/01', b'../..'))), "no such name is ever given"),
    ],
    ids=["byte", "byte and sum", "missing", "added", "forged name"],
)  # fmt: skip
def test_a_bundle_whose_files_were_touched_does_not_hold(tmp_path: Path, touch: Callable[[Path], None], problem: str) -> None:
    made = _with_files(tmp_path)
    touch(made.path)

    done = _check(made.path)

    assert problem in done.stdout
    assert done.returncode == 1


def test_its_instructions_check_the_files_with_sha256sum_alone(tmp_path: Path) -> None:
    made = _with_files(tmp_path)
    section = (made.path / "VERIFY.md").read_text().split("## The files, with sha256sum alone")[1].split("##")[0]
    commands = "\n".join(re.findall(r"^    (.*)$", section, re.MULTILINE))

    said = []
    for touch in (lambda _: None, _one_byte, _sums):
        touch(made.path)
        command = ["sh", "-c", commands]
        said.append(subprocess.run(command, cwd=made.path, capture_output=True, text=True, timeout=30, check=False))

    whole, touched, forged = said
    assert (whole.stdout, whole.stderr) == ("", "")
    assert "processes.json.gz: FAILED" in touched.stdout
    assert forged.stdout.endswith("is in no record\n")


def test_the_files_of_one_incident_alone_make_a_bundle_that_holds_and_says_so(tmp_path: Path) -> None:
    made = _with_files(tmp_path, "INC-2")

    done = _check(made.path)

    assert sorted(path.name for path in (made.path / "files").iterdir()) == ["M-2"]
    assert "2 files of evidence are here\n2 files of other incidents than INC-2 are not here, as was asked for\n" in done.stdout
    assert done.returncode == 0
    (made.path / "files/M-2/01-forensics-sockets.json.gz").unlink()
    assert _check(made.path).returncode == 1


def test_what_was_missing_or_changed_before_the_export_stops_no_export_and_shows_in_the_bundle(tmp_path: Path) -> None:
    need("openssl", "openssl")
    path = _captured(tmp_path)
    (files_of(path) / "M-1/01-forensics-sockets.json.gz").unlink()
    (files_of(path) / "M-2/01-forensics-sockets.json.gz").chmod(0o600)
    (files_of(path) / "M-2/01-forensics-sockets.json.gz").write_bytes(b"x")

    with read_only(path) as reader:
        made = export(reader, tmp_path / "bundle", vkey=key_of(path).vkey, files=Wanted(files_of(path)))

    assert (made.files, made.missing) == (3, ("M-1/01-forensics-sockets.json.gz: No such file or directory",))
    done = _check(made.path)
    assert "PROBLEM: files/M-1/01-forensics-sockets.json.gz is missing" in done.stdout
    assert "PROBLEM: files/M-2/01-forensics-sockets.json.gz was changed" in done.stdout


def test_a_packed_bundle_with_files_holds(tmp_path: Path) -> None:
    need("openssl", "openssl")
    path = _captured(tmp_path)
    with read_only(path) as reader:
        export(reader, tmp_path / "case-7.tar.gz", vkey=key_of(path).vkey, files=Wanted(files_of(path)))

    with tarfile.open(tmp_path / "case-7.tar.gz") as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")

    assert _check(tmp_path / "elsewhere" / "case-7").returncode == 0
