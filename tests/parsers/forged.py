"""The injection corpus: tests/corpus/NAME.injection for each parser, with lines that were forged and lines to forge.

    #: always FIELD VALUE     what the field is in every event that has it; an address that is not named here may not appear
    #: gives KIND             what the lines below are to be read as; `-` is nothing
    #: writes NAME            how the program puts a stranger's text into its log: one of the functions below
    #: forms                  the lines below are genuine ones, in which ‹› is a stranger's text (‹100›: its first 100 bytes)

A line with one `#` is a comment. Lines under `gives` alone are as somebody forged them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent.parent / "corpus"
_MARK: Final = re.compile("‹(\\d*)›".encode())


@dataclass(frozen=True)
class Form:
    """A genuine line with places for a stranger's text."""

    line: bytes
    kind: str
    writes: Callable[[bytes], bytes]

    @property
    def places(self) -> int:
        """How many texts `filled` takes."""
        return len(_MARK.findall(self.line))

    def filled(self, texts: Sequence[bytes]) -> bytes:
        """The line that the program would write, without its newline."""
        left = iter(texts)
        line = _MARK.sub(lambda mark: self.writes(next(left)[: int(mark[1] or 1 << 20)]), self.line)
        head, end, message = line.partition(b"]: ")
        return head + end + message[:500] if self.writes is as_sshd else line  # syslog(3) gets no more of sshd


@dataclass
class Corpus:
    """One parser's."""

    always: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[bytes, str]] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)


def corpus_of(parser: str) -> Corpus:
    """The corpus of a parser; empty where it has none."""
    made, kind, writes, forms = Corpus(), "", as_rsyslog, False
    file = CORPUS / f"{parser}.injection"
    for line in file.read_bytes().splitlines() if file.exists() else ():
        match line.decode("utf-8", "replace").split(" ", 3):
            case ["#:", "always", name, value]:
                made.always[name] = value
            case ["#:", "gives", kind]:
                forms = False
            case ["#:", "writes", name]:
                writes = _WRITERS[name]
            case ["#:", "forms"]:
                forms = True
            case ["#", *_]:
                pass
            case _ if forms:
                made.forms.append(Form(line, kind, writes))
            case _:
                made.lines.append((line, kind))
    return made


# How programs write a stranger's text -------------------------------------------------------------------------------------


def as_sshd(text: bytes) -> bytes:
    """vis(3) with octal numbers; a name ends at a NUL, and at a colon, behind which its style begins."""
    return b"".join(
        _VIS.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\%03o" % byte) for byte in text.partition(b"\0")[0]
    )


def as_rsyslog(text: bytes) -> bytes:
    """Control characters as #ooo; the rest as it came."""
    return b"".join(b"#%03o" % byte if byte < 32 or byte == 127 else bytes([byte]) for byte in text)


def as_nginx(text: bytes) -> bytes:
    """`escape=default`."""
    return b"".join(bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\x%02X" % byte for byte in text)


def as_json(text: bytes) -> bytes:
    """What JSON must escape, and nothing else: bytes that are no UTF-8 stay."""
    return b"".join(_JSON.get(byte) or (bytes([byte]) if byte >= 32 else b"\\u%04x" % byte) for byte in text)


def as_apache(text: bytes) -> bytes:
    """ap_escape_logitem: as in C, and hex."""
    return b"".join(_C.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in text)


def as_apache_error(text: bytes) -> bytes:
    """ap_escape_errorlog_item: the same, but quotes stay."""
    return as_apache(text).replace(b'\\"', b'"')


def as_printable(text: bytes) -> bytes:
    """Postfix's and Dovecot's way: a question mark for what cannot be printed."""
    return b"".join(bytes([byte]) if 32 <= byte < 127 else b"?" for byte in text)


def as_basic_name(text: bytes) -> bytes:
    """nginx's error log through rsyslog: a name ends at its colon."""
    return as_rsyslog(text.partition(b":")[0])


def as_csv(text: bytes) -> bytes:
    """Quotes are doubled and newlines stay; PostgreSQL's names end at a NUL."""
    return text.partition(b"\0")[0].replace(b'"', b'""')


def as_tabbed(text: bytes) -> bytes:
    """PostgreSQL's plain log: a tab in front of every further line."""
    return text.partition(b"\0")[0].replace(b"\n", b"\n\t")


_JSON: Final = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"}
_VIS: Final = {0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x07: b"\\a", 0x08: b"\\b", 0x0B: b"\\v", 0x0C: b"\\f"}
_C: Final = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x08: b"\\b", 0x0B: b"\\v"}
_OWN: Final = (as_sshd, as_rsyslog, as_nginx, as_json, as_apache, as_apache_error, as_printable, as_basic_name, as_csv, as_tabbed)
_WRITERS: Final = {one.__name__: one for one in _OWN}
