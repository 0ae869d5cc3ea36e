#!/usr/bin/env python3
"""Check an evidence bundle: python3 verify.py [NOTE…]

It needs this directory, Python 3 and openssl (3.0 or newer), and nothing of the agent that wrote the bundle. NOTEs are
files with checkpoints that you kept elsewhere: only those show what was rewritten together with the checkpoints in here.

Exit status: 0 everything fits, 1 something does not, 2 it could not be checked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


def sha256(data: bytes) -> bytes:
    """One hash."""
    return hashlib.sha256(data).digest()


def root(peaks: list[bytes]) -> bytes:
    """RFC 6962 §2.1: the tree's hash, from the roots of its largest complete subtrees, left to right."""
    if not peaks:
        return sha256(b"")
    top = peaks[-1]
    for left in reversed(peaks[:-1]):
        top = sha256(b"\1" + left + top)
    return top


def roots(records: Path, sizes: set[int]) -> tuple[int, dict[int, bytes], list[str]]:
    """How many records there are, the tree's hash at each size, and what is wrong with their numbers."""
    found: dict[int, bytes] = {0: sha256(b"")}
    problems: list[str] = []
    peaks: list[bytes] = []
    size = shift = 0
    with records.open("rb") as lines:
        for line in lines:
            number = numbered(line)
            if number is None:
                problems.append(f"record {size} is not readable")
            elif number - size != shift:
                problems.append(f"record {size} says it is number {number}: records are missing, added or out of order")
                shift = number - size
            size += 1
            top, subtrees = sha256(b"\0" + line.rstrip(b"\n")), size
            while not subtrees & 1:
                top, subtrees = sha256(b"\1" + peaks.pop() + top), subtrees >> 1
            peaks.append(top)
            if size in sizes:
                found[size] = root(peaks)
    return size, found, problems


def numbered(line: bytes) -> int | None:
    """The number that a record says it has."""
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def signed(note: str, name: str, key_id: bytes, pem: Path) -> tuple[int, bytes] | None:
    """The size and root that a note signs with this key (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), or None."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    ours = [line.rpartition(" ")[2] for line in signatures.splitlines() if line.startswith(f"— {name} ")]
    for raw in map(decoded, ours):
        if raw[:4] != key_id:
            continue
        with tempfile.TemporaryDirectory() as place:
            Path(place, "text").write_text(text, encoding="utf-8")
            Path(place, "sig").write_bytes(raw[4:])
            command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(pem), "-rawin"]
            files = ["-in", f"{place}/text", "-sigfile", f"{place}/sig"]
            good = subprocess.run([*command, *files], capture_output=True, timeout=30, check=False).returncode == 0
        lines = text.split("\n")
        if good and lines[0] == name:
            return int(lines[1]), decoded(lines[2])
    return None


def decoded(text: str) -> bytes:
    """What base64 stands for; nothing where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def files() -> list[str]:
    """What does not fit among the files of evidence; prints what does."""
    scope = HERE / "incident.txt"
    incident = scope.read_text(encoding="utf-8").strip() if scope.exists() else ""
    problems: list[str] = []
    listed: set[str] = set()
    elsewhere = 0
    for where, one in captured(HERE / "records.jsonl"):
        name, kept = str(one["file"]), str(one.get("sha256", ""))
        if not re.fullmatch(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+(\.[a-z0-9]+)+", name):
            problems.append(f"a record names a file `{name}`, and no such name is ever given to one")
            continue
        path = HERE / "files" / name
        listed.add(name)
        if incident and where != incident and not path.exists():
            elsewhere += 1
        elif not path.is_file():
            problems.append(f"files/{name} is missing")
        elif hashed(path) != kept:
            problems.append(f"files/{name} was changed: it is not what the record with its name says")
    there = {str(path.relative_to(HERE / "files")) for path in (HERE / "files").rglob("*") if not path.is_dir()}
    problems += [f"files/{name} was added: no record names it" for name in sorted(there - listed)]
    sys.stdout.write(f"{len(there)} files of evidence are here\n")
    if elsewhere:
        sys.stdout.write(f"{elsewhere} files of other incidents than {incident} are not here, as was asked for\n")
    return problems


def captured(records: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The incident and entry of every file that the records name."""
    with records.open("rb") as lines:
        for line in lines:
            try:
                plain = json.loads(line) if b'"kind":"captured"' in line else {}
                found = plain["body"]["files"] if plain.get("kind") == "captured" else []
                yield from [(str(plain["incident"]), one) for one in found if one.get("file")]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a record that is not readable is told by `roots`


def hashed(path: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            found.update(data)
    return found.hexdigest()


def check(notes: list[Path]) -> list[str]:
    """Everything that does not fit; prints what does."""
    vkey = (HERE / "key.vkey").read_text(encoding="utf-8").strip()
    name, digits, key = vkey.split("+", 2)
    spki = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(key)[1:]
    if "".join((HERE / "key.pem").read_text(encoding="ascii").split("\n")[1:-2]) != base64.b64encode(spki).decode():
        return ["key.pem and key.vkey are two different keys"]
    problems: list[str] = []
    sealed: dict[int, bytes] = {}
    for note in notes:
        found = signed(note.read_text(encoding="utf-8"), name, bytes.fromhex(digits), HERE / "key.pem")
        if found is None:
            problems.append(f"{note.name}: not a checkpoint signed by {vkey}")
        elif sealed.setdefault(found[0], found[1]) != found[1]:
            problems.append(f"{note.name}: split view: two different logs were signed for {found[0]} records")
    size, there, wrong = roots(HERE / "records.jsonl", set(sealed))
    for covered in sorted(sealed):
        if covered > size:
            problems.append(f"cut: a checkpoint was signed for {covered} records, and only {size} are here")
        elif there[covered] != sealed[covered]:
            problems.append(f"the first {covered} records are not what was signed")
    covered = max((one for one in sealed if there.get(one) == sealed[one]), default=0)
    sys.stdout.write(f"{size} records, {covered} of them under a checkpoint that fits, {size - covered} after it\n")
    sys.stdout.write(f"signed with {vkey}\nCompare this key with the copy you were given on another way.\n")
    return wrong + problems + files()


def main() -> int:
    """Check, say what was found, and return the exit status."""
    notes = sorted((HERE / "checkpoints").glob("*.note")) + [Path(one) for one in sys.argv[1:]]
    try:
        problems = check(notes)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"cannot check the bundle: {error}\n")
        return 2
    for problem in problems:
        sys.stdout.write(f"PROBLEM: {problem}\n")
    sys.stdout.write("The bundle does not hold.\n" if problems else "The bundle holds.\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
