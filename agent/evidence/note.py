"""Signed notes: a few lines of text under an Ed25519 signature, and the checkpoint of a log as such a text.

The formats are c2sp.org/signed-note and c2sp.org/tlog-checkpoint, so that other people's tools, and plain openssl, can
check what we sign.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519: Final = b"\x01"


class BadNote(ValueError):  # noqa: N818 - reads as the sentence it is
    """A note or a public key that is not what it claims to be. Text: what is wrong."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that signs notes. As text it is a `vkey`: `name+hash+key`, as in golang.org/x/mod/sumdb/note."""

    name: str
    raw: bytes

    @classmethod
    def read(cls, vkey: str) -> PublicKey:
        """Read a vkey.

        Raises:
            BadNote: it is not one, or its hash does not fit.
        """
        name, _, rest = vkey.strip().partition("+")
        marked = _decoded(rest.partition("+")[2])
        key = cls(name, marked[1:])
        if marked[:1] != _ED25519 or len(key.raw) != 32 or str(key) != vkey.strip():
            raise BadNote("this is no vkey of an Ed25519 key: expected name+hash+key on one line")
        return key

    @property
    def key_id(self) -> bytes:
        """Four bytes that stand before each signature."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    def pem(self) -> str:
        """The same key as openssl reads it (RFC 8410 §4)."""
        spki = bytes.fromhex("302a300506032b6570032100") + self.raw
        return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(spki).decode()}\n-----END PUBLIC KEY-----\n"

    def check(self, signature: bytes, text: bytes) -> None:
        """Check a signature.

        Raises:
            BadNote: it is not this key's signature of this text.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text)
        except InvalidSignature:
            raise BadNote(f"the signature of {self.name} does not fit the text") from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself: with `size` records, its tree has this root."""

    origin: str
    size: int
    root: bytes

    def signed(self, key: PublicKey, sign: Callable[[bytes], bytes]) -> str:
        """The checkpoint as a signed note."""
        text = f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
        signature = base64.b64encode(key.key_id + sign(text.encode())).decode()
        return f"{text}\n— {key.name} {signature}\n"


def open_note(note: str, key: PublicKey) -> Checkpoint:
    """The checkpoint in a note that this key has signed; signatures of other keys (witnesses) are passed over.

    Raises:
        BadNote: it is not signed by the key, the signature does not fit, or the text is no checkpoint.
    """
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    ours = [raw for raw in map(_decoded, _signatures_of(key.name, signatures)) if raw[:4] == key.key_id]
    if not ours:
        raise BadNote(f"not signed by {key.name} with the key {key.key_id.hex()}")
    for raw in ours:
        key.check(raw[4:], text.encode(errors="replace"))  # a lone surrogate is no text that anyone has signed
    origin, size, root, *_ = [*text.split("\n"), "", ""]
    if not size.isdecimal() or len(_decoded(root)) != 32:
        raise BadNote("the text is no checkpoint: expected the lines origin, size, root")
    if origin != key.name:
        raise BadNote(f"the checkpoint is of another log, {origin}")
    return Checkpoint(origin, int(size), _decoded(root))


def is_signed(note: str, key: PublicKey) -> bool:
    """Whether a note is a checkpoint by this key. Anybody may write another one into a log, and other hosts do."""
    try:
        open_note(note, key)
    except BadNote:
        return False
    return True


def _signatures_of(name: str, lines: str) -> Iterator[str]:
    for line in lines.splitlines():
        if line.startswith(f"— {name} "):
            yield line.rpartition(" ")[2]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one, and so is a letter that is not ASCII
        return b""
