"""Files of evidence from the shell, without an agent: listed, shown, checked, taken away."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from agent.action import Call
from agent.cli.ends import Exit
from agent.evidence.journal_read import read_only
from agent.evidence.redact import Redactor
from agent.evidence.store import Store, files_of
from agent.record import Record
from tests.cli.command import Said, at_terminal, contain
from tests.evidence.journals import NOW, key_of, opened

SOCKETS = "M-1/01-forensics-sockets.json.gz"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Three files for one mitigation, one of them no text, and a fourth that could not be kept; nothing for the other."""
    path = tmp_path / "journal.db"
    writer, store = opened(path), Store(files_of(path), Redactor(b"k" * 32), keep_free=0)
    seen = {"sockets": {"sockets": [1]}, "logs": "GET /\x1b[2J\npassword=hunter2hunter2\n", "memory": b"\0\xff"}
    files = [store.keep("M-1", Call("forensics", verb), value) for verb, value in seen.items()]
    files.append({"call": "forensics.routes()", "error": "left out: no room"})
    writer.commit(NOW, [Record("captured", {"files": files}, "INC-1", "M-1"), Record("finding", {}, "INC-2", "M-2")])
    writer.checkpoint(NOW)
    writer.close()
    (tmp_path / "host1.vkey").write_text(key_of(path).vkey)
    return path


def evidence(journal: Path, *args: object) -> Said:
    return contain("evidence", *args, "--db", journal)


def test_the_files_are_listed_with_what_could_not_be_kept(journal: Path) -> None:
    said = evidence(journal, "files")

    rows = [line.split("\t") for line in said.out.splitlines()]
    assert said.code == Exit.DONE
    assert [row[4:] for row in rows] == [
        [SOCKETS, "forensics.sockets()"],
        ["M-1/02-forensics-logs.txt.gz", "forensics.logs()"],
        ["M-1/03-forensics-memory.bin.gz", "forensics.memory()"],
        ["-", "forensics.routes(): left out: no room"],
    ]
    assert str(files_of(journal)) in said.err


@pytest.mark.parametrize(("of", "count"), [(("--incident", "INC-1"), 4), (("--mitigation", "M-2"), 0), (("--limit", "2"), 2)])
def test_the_files_of_one_incident_or_mitigation_alone(journal: Path, of: tuple[str, str], count: int) -> None:
    assert len(json.loads(evidence(journal, "files", *of, "--json").out)["items"]) == count


def test_a_file_is_shown_as_it_was_kept(journal: Path) -> None:
    shown = [evidence(journal, "show", f"M-1/{name}") for name in ("01-forensics-sockets.json.gz", "02-forensics-logs.txt.gz")]
    raw = evidence(journal, "show", "M-1/02-forensics-logs.txt.gz")

    assert json.loads(shown[0].out)["value"] == {"sockets": [1]}
    assert shown[1].out.splitlines()[1] == "GET /\x1b[2J"
    assert "hunter2" not in raw.out
    assert {one.code for one in shown} == {Exit.DONE}


def test_nothing_in_a_file_plays_tricks_on_a_terminal_and_what_is_no_text_is_not_sent_there(journal: Path) -> None:
    text = at_terminal("evidence", "show", "M-1/02-forensics-logs.txt.gz", "--db", journal)
    binary = at_terminal("evidence", "show", "M-1/03-forensics-memory.bin.gz", "--db", journal)

    assert r"GET /\x1b[2J" in text.out
    assert "\x1b" not in text.out
    assert binary.code == Exit.USAGE
    assert "it is no text" in binary.out


def test_a_file_that_no_record_names_is_not_shown(journal: Path) -> None:
    said = evidence(journal, "show", "../journal.db")

    assert said.code == Exit.FAILED
    assert said.err.startswith("cannot show ../journal.db: no record of")


def test_evidence_with_its_files_holds(journal: Path) -> None:
    said, plain = evidence(journal, "verify"), evidence(journal, "verify", "--json")

    assert said.code == Exit.DONE
    assert said.out == "The evidence holds: 2 records, 2 of them under 1 signed checkpoints, and 3 files as they were kept.\n"
    assert json.loads(plain.out)["items"][0]["files"] == 3


def test_what_anybody_may_write_into_a_log_does_not_make_evidence_look_false(journal: Path, tmp_path: Path) -> None:
    with read_only(journal) as reader:
        (ours,) = (one.note for one in reader.checkpoints())
    log, forged = tmp_path / "saved.txt", ours.replace("\n2\n", "\n9\n", 1)
    log.write_text("".join(f"checkpoint {json.dumps(note)}\n" for note in (ours, forged, "hello")))

    said = evidence(journal, "verify", "--checkpoints", log)
    log.write_text(f"checkpoint {json.dumps(forged)}\n")
    alone = evidence(journal, "verify", "--checkpoints", log)

    assert said.code == Exit.DONE
    assert "2 checkpoints from elsewhere are not signed by this key, and say nothing." in said.err
    assert alone.code == Exit.USAGE
    assert "only 1 that host1/containment-agent has not signed with its key" in alone.err


def test_an_altered_file_is_found_and_still_shown_with_a_warning(journal: Path) -> None:
    file = files_of(journal) / SOCKETS
    file.chmod(0o600)
    file.write_bytes(gzip.compress(b'{"value": "forged"}'))

    verified, plain = evidence(journal, "verify"), evidence(journal, "verify", "--json")
    shown = evidence(journal, "show", SOCKETS)

    assert verified.code == plain.code == shown.code == Exit.FAILED
    assert verified.out.startswith(f"PROBLEM  record 0: the file {SOCKETS} was changed: its SHA-256 is ")
    assert "The evidence does not hold" in verified.out
    assert json.loads(plain.out)["items"][0]["holds"] is False
    assert f"PROBLEM  the file {SOCKETS} was changed" in shown.err


def test_a_file_that_is_missing_or_cannot_be_unpacked_is_a_sentence(journal: Path) -> None:
    gone, broken = files_of(journal) / SOCKETS, files_of(journal) / "M-1/02-forensics-logs.txt.gz"
    gone.unlink()
    broken.chmod(0o600)
    broken.write_bytes(broken.read_bytes()[:30])

    said = [evidence(journal, "show", SOCKETS), evidence(journal, "show", "M-1/02-forensics-logs.txt.gz")]

    assert [one.code for one in said] == [Exit.FAILED, Exit.FAILED]
    assert said[0].err == f"cannot show {SOCKETS}: is missing\n"
    assert "was changed" in said[1].err
    assert "Traceback" not in said[1].err
    assert f"the file {SOCKETS} is missing" in evidence(journal, "verify").out


def test_a_file_that_no_record_names_is_told_and_is_no_fault(journal: Path) -> None:
    (files_of(journal) / "M-1/09-left-by-a-crash.txt.gz").write_bytes(b"x")

    said = evidence(journal, "verify")

    assert said.code == Exit.DONE
    assert said.out.startswith("unnamed  no record names the file M-1/09-left-by-a-crash.txt.gz\n")


def test_an_export_takes_the_files_along(journal: Path, tmp_path: Path) -> None:
    said = evidence(journal, "export", tmp_path / "bundle")
    of_another = evidence(journal, "export", tmp_path / "other", "--incident", "INC-2", "--json")

    assert said.out.endswith(", 3 files of evidence\n")
    assert (tmp_path / "bundle/files" / SOCKETS).exists()
    assert json.loads(of_another.out)["items"][0]["files"] == 0
