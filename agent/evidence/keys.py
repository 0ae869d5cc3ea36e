"""The key that signs checkpoints: made on the first start, kept beside the journal, its public half in a file to hand out.

A key on the host proves nothing against root of that host; the checkpoints that left the host in time do.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.evidence.journal_file import DISK
from agent.evidence.note import PublicKey
from agent.evidence.on_disk import sync_directory

_HEAD: Final = "PRIVATE+KEY+"
_ED25519: Final = b"\x01"


class CannotUseKey(Exception):  # noqa: N818 - reads as the sentence it is
    """The signing key is not there, not ours alone, or no key. Text: `cannot …: why`, then how to mend it."""


class OpenKey(CannotUseKey):
    """Others than the agent may read or write the key's file. It is still a key: `key`."""

    def __init__(self, text: str, key: Key) -> None:
        super().__init__(text)
        self.key = key


class DamagedKey(CannotUseKey):
    """The file holds no key."""


class NoKeyNow(CannotUseKey):
    """The disk does not let us read or make one at this moment."""


class Key:
    """An Ed25519 signing key with its name, which is also the origin of the checkpoints it signs."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(name, self._private.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The public key on one line, for whoever checks."""
        return str(self.public)

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature (RFC 8032)."""
        return self._private.sign(data)

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes for another purpose, the same at every start, from which this key cannot be found."""
        return hmac.digest(self._seed, b"containment-agent " + purpose.encode(), "sha256")

    def __repr__(self) -> str:
        return f"Key({self.vkey})"  # never the seed: this may end up in a traceback


def load_or_make(path: Path, *, host: str) -> Key:
    """The key in the file; where there is no file, a new one, durable before it is used.

    The file holds one line, `PRIVATE+KEY+name+hash+key` (golang.org/x/mod/sumdb/note), readable by its owner alone. The
    public key stands beside it with the ending .vkey.

    Raises:
        OpenKey: others may use the file. DamagedKey: it holds no key. NoKeyNow: the disk does not let us. CannotUseKey: this
            user may not read or write it.
    """
    try:
        if not path.exists():
            _write_new(path, _spelled(name_of(host), os.urandom(32)))
        key = load(path)
        public = path.with_suffix(".vkey")
        if not public.exists():
            _write_new(public, f"{key.vkey}\n", mode=0o644)
    except OSError as error:
        why = f"cannot use the signing key {path}: {error.strerror}"
        kind = NoKeyNow if error.errno in DISK else CannotUseKey
        raise kind(f"{why}\nGive the agent's user the file and its directory, or name another one.") from None
    return key


def publish(path: Path, key: Key) -> None:
    """Have the public half of the key in `path` stand beside it; what stood there and is another's is kept as `.vkey.old`.

    Raises:
        CannotUseKey: the disk does not let us.
    """
    public = path.with_suffix(".vkey")
    try:
        if public.exists() and public.read_text(errors="replace").strip() == key.vkey:
            return
        if public.exists():
            public.replace(public.with_name(f"{public.name}.old"))
        _write_new(public, f"{key.vkey}\n", mode=0o644)
    except OSError as error:
        raise CannotUseKey(f"cannot write {public}: {error.strerror}\nLook at the disk (dmesg, df, mount).") from None


def load(path: Path) -> Key:
    """The key in a file that is there.

    Raises:
        OpenKey, DamagedKey: as in load_or_make. OSError: it cannot be read.
    """
    mode = path.stat().st_mode & 0o777
    key = _read(path)
    if mode & 0o027:  # group read is how systemd's LoadCredential= shows its access list
        why = f"cannot use the signing key {path}: others may use it (mode {mode:o})\nMend: chmod 600 {path}"
        raise OpenKey(why, key)
    return key


def _read(path: Path) -> Key:
    text = path.read_text(errors="replace").strip()
    try:
        name, _, kept = text.removeprefix(_HEAD).split("+", 2)
        seed = base64.b64decode(kept)[1:]
        whole = _spelled(name, seed).strip() == text
    except ValueError:
        whole = False
    if not whole:
        mend = "Put it back from its copy. Without one, move it and the journal aside: a new key cannot continue the old journal."
        raise DamagedKey(f"cannot use the signing key {path}: it holds no key in the form PRIVATE+KEY+name+hash+key\n{mend}")
    return Key(name, seed)


def _spelled(name: str, seed: bytes) -> str:
    hashed = Key(name, seed).public.key_id.hex()
    return f"{_HEAD}{name}+{hashed}+{base64.b64encode(_ED25519 + seed).decode()}\n"


def name_of(host: str) -> str:
    """A name that c2sp.org/signed-note allows: no spaces and no plus."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', host) or 'localhost'}/containment-agent"


def _write_new(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all; where somebody else was quicker, theirs stays."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        Path(made).unlink()
    sync_directory(path.parent)
