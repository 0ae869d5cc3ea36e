"""What was seen before an act is kept as files: whole, redacted, hashed, never in the way of the act."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.action import Call
from agent.evidence.files import check, named
from agent.evidence.journal import read_only
from agent.evidence.redact import Redactor
from agent.evidence.store import MOST_RAW, Store, files_of
from agent.record import Record
from tests.evidence.journals import NOW, opened
from tests.needs import need_root

ASK = Call("forensics", "processes")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "evidence"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root, Redactor(b"k" * 32), keep_free=0)


def inside(root: Path, kept: Mapping[str, Any]) -> str:
    return gzip.decompress((root / kept["file"]).read_bytes()).decode()


def test_a_capture_becomes_a_file_that_its_hash_and_size_fit(store: Store, root: Path) -> None:
    kept = store.keep("M-41", ASK, {"processes": [{"pid": 1, "started": timedelta(seconds=2)}]})

    data = (root / "M-41/01-forensics-processes.json.gz").read_bytes()
    assert kept == {
        "call": "forensics.processes()",
        "file": "M-41/01-forensics-processes.json.gz",
        "sha256": sha256(data).hexdigest(),
        "bytes": len(data),
    }
    document = json.loads(inside(root, kept))
    assert document["call"] == "forensics.processes() for M-41"
    assert document["value"] == {"processes": [{"pid": 1, "started": 2.0}]}


def test_only_the_agent_may_read_it_and_nobody_may_write_it(store: Store, root: Path) -> None:
    kept = store.keep("M-1", ASK, "text")

    modes = [path.stat().st_mode & 0o777 for path in (root, root / "M-1", root / kept["file"])]
    assert modes == [0o700, 0o700, 0o400]


def test_captures_of_one_mitigation_are_numbered_also_by_the_next_agent(store: Store, root: Path) -> None:
    kept = [store.keep("M-1", Call("containers", verb), "x") for verb in ("inspect", "logs")]
    kept.append(Store(root, Redactor(b"k" * 32), keep_free=0).keep("M-1", ASK, b"\0"))

    assert [one["file"] for one in kept] == [
        "M-1/01-containers-inspect.txt.gz",
        "M-1/02-containers-logs.txt.gz",
        "M-1/03-forensics-processes.bin.gz",
    ]


@pytest.mark.parametrize("name", ["../../etc/passwd", "M-1/../../x", "", ".hidden", "a\0b", "\udcff", "x" * 500])
def test_no_name_leads_out_of_the_store(store: Store, root: Path, name: str) -> None:
    kept = store.keep(name, Call(name, name, {"container": name}), "x")

    assert (root / kept["file"]).resolve().parent.parent == root.resolve()
    assert not [path for path in root.parent.iterdir() if path != root]


# Secrets --------------------------------------------------------------------------------------------------------------


def test_no_secret_reaches_a_file_whatever_the_shape_of_the_answer(root: Path) -> None:
    redact = Redactor(b"k" * 32)
    redact.learn("correct-horse")
    store = Store(root, redact, keep_free=0)
    said = "login password=hunter2hunter2 with correct-horse at hvs.CAESIJabcdefgh"

    kept = [
        store.keep("M-1", Call("containers", "logs", {"line": said}), one)
        for one in (said, said.encode(), {"command": ["x", said], "token": "abcdefgh"}, [said], said.encode() + b"\xff")
    ]

    for one in kept:
        text = inside(root, one)
        assert "[redacted:" in text
        assert not [secret for secret in ("hunter2", "correct-horse", "hvs.", "abcdefgh") if secret in text]


def test_a_private_key_is_taken_out_wherever_a_long_text_is_cut_into_pieces(store: Store, root: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\n" * 20 + "-----END PRIVATE KEY-----\n"
    for before in range((64 << 10) - 800, (64 << 10) + 200, 100):
        kept = store.keep("M-1", ASK, "x" * 60 + "\n" + "y" * (before - 61) + "\n" + key + "the end\n")

        text = inside(root, kept)
        assert "MIIE" not in text
        assert text.endswith("the end\n")


def test_what_is_no_text_is_kept_byte_for_byte_and_said_to_be(store: Store, root: Path) -> None:
    data = b"\x7fELF\0password=hunter2hunter2"

    kept = store.keep("M-1", ASK, data)

    assert gzip.decompress((root / kept["file"]).read_bytes()) == data
    assert "no secret in it was looked for" in kept["as_it_is"]


# What cannot be kept as it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), object, {"at": object()}], ids=["nan", "a class", "an object inside"])
def test_an_answer_without_a_json_form_is_kept_as_its_text(store: Store, root: Path, value: object) -> None:
    kept = store.keep("M-1", ASK, value)

    assert repr(value) in inside(root, kept)


def test_bytes_that_are_no_utf_8_stay_legible(store: Store, root: Path) -> None:
    kept = [store.keep("M-1", ASK, one) for one in (b"caf\xe9", "caf\udce9", {"name": "caf\udce9"})]

    assert r"caf\xe9" in inside(root, kept[0])
    assert all(r"caf\udce9" in inside(root, one).replace("\\\\", "\\") for one in kept[1:])


@pytest.mark.parametrize(
    "value", ["line\n" * 4_000_000, b"line\n" * 4_000_000, [["line"] * 10] * 400_000], ids=["text", "bytes", "json"]
)
def test_what_is_too_long_is_cut_and_said_to_be(store: Store, root: Path, value: object) -> None:
    kept = store.keep("M-1", ASK, value)

    assert kept["truncated"].startswith("the first 16.0 MiB of ")
    assert MOST_RAW - 100 < len(inside(root, kept)) < MOST_RAW + 100


def test_what_is_nested_too_deeply_is_an_error_and_no_exception(store: Store) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    kept = store.keep("M-1", ASK, {"password": "hunter2hunter2", "deep": deep})

    assert kept["call"] == "forensics.processes()"
    assert kept["error"]


# No room --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, timeout=10)


def test_on_a_full_disk_there_is_an_error_and_nothing_half_written(small_disk: Path) -> None:
    store = Store(small_disk / "evidence", Redactor(b"k" * 32), keep_free=0)
    kept = [store.keep("M-1", ASK, os.urandom(300_000) + b"\0") for _ in range(4)]

    assert ["error" in one for one in kept[:2]] == [False, False]
    assert "No space left" in kept[3]["error"] or "are kept free" in kept[3]["error"]
    assert not list(small_disk.rglob("*.partial"))


def test_on_a_disk_that_lies_about_its_room_a_failed_write_leaves_nothing(small_disk: Path) -> None:
    store = Store(small_disk / "evidence", Redactor(b"k" * 32), keep_free=-(1 << 30))

    kept = store.keep("M-1", ASK, os.urandom(3_000_000) + b"\0")

    assert kept["error"] == f"cannot keep this under {small_disk}/evidence: No space left on device"
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_room_that_others_need_is_left_to_them(small_disk: Path) -> None:
    store = Store(small_disk / "evidence", Redactor(b"k" * 32), keep_free=1 << 20)

    kept = store.keep("M-1", ASK, "x")

    assert kept["error"].startswith(f"left out: the disk of {small_disk}/evidence has 1.0 MiB left")
    assert kept["error"].endswith("of which 1.0 MiB are kept free")


def test_a_full_store_leaves_out_what_comes_new_and_deletes_nothing(root: Path) -> None:
    store = Store(root, Redactor(b"k" * 32), most_bytes=2500, keep_free=0)

    kept = [store.keep("M-1", ASK, os.urandom(1000) + b"\0") for _ in range(3)]

    assert [(root / one["file"]).exists() for one in kept[:2]] == [True, True]
    assert kept[2]["error"] == "left out: the evidence store holds 2.0 KiB, its limit is 2.4 KiB"


def test_a_store_that_cannot_be_written_is_an_error_and_no_exception(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file is in its place")

    kept = Store(tmp_path / "evidence", Redactor(b"k" * 32), keep_free=0).keep("M-1", ASK, "x")

    assert kept["error"].startswith(f"cannot keep this under {tmp_path}/evidence: ")


def test_what_a_crash_left_half_written_is_cleared_away(store: Store, root: Path) -> None:
    (root / "M-1").mkdir(parents=True)
    (root / "M-1/01-forensics-sockets.json.gz.partial").write_bytes(b"half")

    store.keep("M-2", ASK, "x")

    assert [path.name for path in root.glob("*/*")] == ["01-forensics-processes.txt.gz"]


def test_many_threads_keep_at_once_and_each_gets_a_file_of_its_own(store: Store, root: Path) -> None:
    kept: list[Mapping[str, Any]] = []
    threads = [
        threading.Thread(target=lambda n=n: kept.extend(store.keep(f"M-{n % 2}", ASK, {"n": n, "at": at}) for at in range(10)))
        for n in range(8)
    ]

    for one in threads:
        one.start()
    for one in threads:
        one.join(30)

    assert len({one["file"] for one in kept}) == 80
    assert len({inside(root, one) for one in kept}) == 80


# Against the journal --------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal that names two files and one that could not be kept, among records that name none."""
    path = tmp_path / "journal.db"
    store = Store(files_of(path), Redactor(b"k" * 32), keep_free=0)
    files = [store.keep("M-1", Call("forensics", verb), {"seen": verb}) for verb in ("sockets", "processes")]
    files.append({"call": "forensics.routes()", "error": "left out"})
    writer = opened(path)
    writer.commit(
        NOW, [Record("finding", {"raw": '"kind":"captured"'}, "INC-1"), Record("captured", {"files": files}, "INC-1", "M-1")]
    )
    writer.close()
    return path


def test_the_journal_names_every_file_and_what_could_not_be_kept(journal: Path) -> None:
    with read_only(journal) as reader:
        found = list(named(reader.leaves()))

    assert [(one.seq, one.incident, one.mitigation, one.call, one.file) for one in found] == [
        (1, "INC-1", "M-1", "forensics.sockets()", "M-1/01-forensics-sockets.json.gz"),
        (1, "INC-1", "M-1", "forensics.processes()", "M-1/02-forensics-processes.json.gz"),
        (1, "INC-1", "M-1", "forensics.routes()", ""),
    ]
    assert found[2].error == "left out"
    assert check(files_of(journal), found) == (2, (), ())


def test_a_file_that_is_missing_changed_a_link_or_named_by_no_record_is_told(journal: Path) -> None:
    root = files_of(journal)
    one, two = sorted((root / "M-1").iterdir())
    with read_only(journal) as reader:
        found = list(named(reader.leaves()))
    one.chmod(0o600)
    one.write_bytes(one.read_bytes()[:-1] + b"x")
    two.rename(root / "M-1" / "elsewhere.gz")
    two.symlink_to(root / "M-1" / "elsewhere.gz")

    fit, problems, unnamed = check(root, found)

    assert fit == 0
    assert problems[0].startswith("record 1: the file M-1/01-forensics-sockets.json.gz was changed: its SHA-256 is ")
    assert (
        problems[1] == "record 1: the file M-1/02-forensics-processes.json.gz cannot be read: Too many levels of symbolic links"
    )
    assert unnamed == ("M-1/elsewhere.gz",)


@pytest.mark.parametrize("name", ["/etc/passwd", "../journal.db", "M-1/../../journal.db", "M-1/.x", "M-1"])
def test_a_forged_record_leads_nowhere_outside_the_store(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.db"
    writer = opened(path)
    writer.commit(NOW, [Record("captured", {"files": [{"call": "x", "file": name, "sha256": "0", "bytes": 1}]})])
    writer.close()

    with read_only(path) as reader:
        found = check(files_of(path), named(reader.leaves()))

    assert found.problems == (f"record 0: the file {name} cannot be read: `{name}` is no name of a file of evidence",)
