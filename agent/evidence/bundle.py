"""Export evidence as a bundle that a third party checks with the public key, openssl and one small script."""

from __future__ import annotations

import errno
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from agent.evidence.files import File, named, opened
from agent.evidence.journal_read import Reader
from agent.evidence.note import PublicKey

_VERIFIER: Final = Path(__file__).with_name("bundle_verify.py")


class CannotExport(Exception):  # noqa: N818 - reads as the sentence it is
    """The bundle could not be written. Text: `cannot …: why`, then how to mend it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What went into a bundle: `covered` of the `records` stand under the last of the `checkpoints`.

    `files` of evidence went with them; `missing` says which could not, and why.
    """

    path: Path
    records: int
    covered: int
    checkpoints: int
    files: int
    missing: tuple[str, ...]


class Wanted(NamedTuple):
    """The files of evidence for a bundle: where they stand, and of which incident alone, if not of all."""

    root: Path
    incident: str = ""


def export(reader: Reader, target: Path, *, vkey: str, files: Wanted) -> Exported:
    """Write every record and checkpoint, and files of evidence, to a new directory, or one file where the name ends in .tar.gz.

    The records are always all of them, since their proof is one. Files are taken as they are: one that was changed shows in
    the bundle's own check. Only the owner may read it: records name people and addresses.

    Raises:
        CannotExport: the target exists already, or cannot be written.
        BadNote: the vkey is none.
    """
    key = PublicKey.read(vkey)
    try:
        if target.exists():
            raise CannotExport(f"cannot write the bundle {target}: it exists already\nChoose another name.")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:  # 0700
            name = target.name.removesuffix(".tar.gz")
            made = Path(place, name)
            made.mkdir(mode=0o700)
            written = _fill(made, reader, key, files)
            if target.name.endswith(".tar.gz"):
                packed = Path(place, "packed")
                with tarfile.open(packed, "w:gz") as tar:
                    tar.add(made, name, filter=_nobody)
                packed.chmod(0o600)
                packed.rename(target)
            else:
                made.rename(target)
    except OSError as error:
        mend = "Choose a place where you may write."
        raise CannotExport(f"cannot write the bundle {target}: {error.strerror}\n{mend}") from None
    return Exported(target, *written)


def _fill(place: Path, reader: Reader, key: PublicKey, files: Wanted) -> tuple[int, int, int, int, tuple[str, ...]]:
    """Write a bundle's files; returns what `Exported` says of it."""
    count = 0
    with reader.frozen():
        checkpoints = reader.checkpoints()
        with (place / "records.jsonl").open("wb") as lines:
            for leaf in reader.leaves():
                lines.write(leaf + b"\n")
                count += 1
        kept = [one for one in named(reader.leaves()) if one.file and files.incident in ("", one.incident)]
    covered = max((one.size for one in checkpoints), default=0)
    notes = list(dict.fromkeys(one.note for one in checkpoints))  # a log at rest signs the same again
    (place / "checkpoints").mkdir()
    for number, note in enumerate(notes):
        (place / "checkpoints" / f"{number:06}.note").write_text(note, encoding="utf-8")
    (place / "key.vkey").write_text(f"{key}\n", encoding="utf-8")
    (place / "key.pem").write_text(key.pem(), encoding="ascii")
    (place / "VERIFY.md").write_text(_READ_ME.format(vkey=key, records=count, covered=covered), encoding="utf-8")
    shutil.copyfile(_VERIFIER, place / "verify.py")
    missing = _copy(place, files, kept)
    return count, covered, len(notes), len(kept) - len(missing), missing


def _copy(place: Path, files: Wanted, kept: Sequence[File]) -> tuple[str, ...]:
    """Write the files of evidence, with a list of what they should be; returns why some are not there."""
    missing = []
    (place / "files").mkdir()
    for one in kept:
        copy = place / "files" / one.file
        try:
            with opened(files.root, one.file) as file:
                copy.parent.mkdir(exist_ok=True)
                with copy.open("wb") as to:
                    shutil.copyfileobj(file, to, 1 << 20)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            missing.append(f"{one.file}: {error.strerror or error}")
    sums = "".join(f"{one.sha256}  files/{one.file}\n" for one in kept)
    if kept:  # sha256sum takes an empty list for a broken one
        (place / "SHA256SUMS").write_text(sums, encoding="utf-8")
    if files.incident:
        (place / "incident.txt").write_text(f"{files.incident}\n", encoding="utf-8")
    return tuple(missing)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The archive need not tell the accounts of the host it was made on."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


_READ_ME: Final = """\
# How to check this evidence

{records} records of a containment-agent's journal, the first {covered} of them under its last signed checkpoint.

| file | what |
|---|---|
| `records.jsonl` | the records, one a line, the very bytes that are hashed |
| `checkpoints/*.note` | signed checkpoints: origin, number of records, root hash of the tree (c2sp.org/tlog-checkpoint) |
| `files/` | what was seen before each act, compressed (`zcat`); each one's hash stands in a record of kind `captured` |
| `SHA256SUMS` | these hashes, as the records have them; not there without files |
| `key.vkey`, `key.pem` | the public key, in two forms |
| `verify.py` | checks all of it, with Python 3 and openssl alone |

## Everything

    python3 verify.py

Checkpoints that you kept elsewhere (mail, a log server) are the strongest evidence. Save each to a file and name them:

    python3 verify.py kept-elsewhere.note

## The key

Whoever can write this bundle can write a key into it. Compare `key.vkey` with a copy you were given on another way:

    {vkey}

## A signature, with openssl (3.0 or newer) alone

    note=$(ls checkpoints/*.note | tail -n 1)
    sed '/^$/,$d' "$note" > text
    tail -n 1 "$note" | cut -d' ' -f3 | base64 -d | tail -c 64 > signature
    openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in text -sigfile signature

## The files, with sha256sum alone

    sha256sum --check --quiet SHA256SUMS
    for sum in $(cut -d' ' -f1 SHA256SUMS); do grep -q $sum records.jsonl || echo "$sum is in no record"; done

Both print nothing where all is well. A file is worth what the record with its hash is worth: see above.

## A record, by hand

The hash of line N is `printf '\\0' | cat - line | sha256sum`, the line without its newline; two hashes make one of
`\\1`, left, right (RFC 6962 section 2.1). The root over the first lines stands in the checkpoint, in base64.
"""
