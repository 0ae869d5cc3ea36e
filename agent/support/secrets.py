"""What must not be shown: every secret that agent.yaml leads to is learnt, so that it is replaced wherever it turns up."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agent.evidence.redact import Redactor, telling
from agent.grammar.located import Node

HIDDEN: Final = "[a secret, not shown]"
_FILE: Final = re.compile(r"(?:_file|_key|key_file|\bfile)\Z")
_MOST: Final = 64 << 10
_MOST_FILES: Final = 200
_MOST_LINES: Final = 20
_PUBLIC: Final = re.compile(r"ca_file|cert_file|client_ca_file|^file\Z")
"""Certificates, and lists of addresses, are no secrets."""
_OPTION: Final = re.compile(r"-{1,2}[\w-]+\Z")


def redactor(root: Node | None = None, environment: Mapping[str, str] | None = None) -> Redactor:
    """One that knows the contents of every secret file that a document names and this user may read, and of the environment.

    Its marks are this run's own: equal secrets look equal within one answer, and nothing can be compared with another.
    """
    made = Redactor(os.urandom(32))
    for name, value in (environment or {}).items():
        if telling(name):
            made.learn(value)
    if root is not None:
        for path in list(dict.fromkeys(secret_files(root)))[:_MOST_FILES]:
            for secret in _contents(path):
                made.learn(secret)
        for secret in _written(root):
            made.learn(secret)
    return made


def secret_files(node: Node, name: str = "") -> Iterator[Path]:
    """The files with secrets that a document names; relative paths are below the directory of its file."""
    if isinstance(node.value, str):
        if _FILE.search(name) and not _PUBLIC.search(name) and node.value and "://" not in node.value:
            yield Path(node.place.file).parent / node.value
        return
    if isinstance(node.value, list):
        for one in node.value:
            yield from secret_files(one, name)
        return
    for key, pair in node.pairs.items():
        yield from secret_files(pair.value, key)


def _written(node: Node, name: str = "") -> Iterator[str]:
    """Secrets that stand in the document itself, against advice: under a telling name, or behind a telling option."""
    if isinstance(node.value, str):
        if telling(name) and node.value:
            yield node.value
    elif isinstance(node.value, list):
        yield from (node.value[number].value for number in hidden_items(node.value))  # type: ignore[misc]
        for one in node.value:
            yield from _written(one, name)
    else:
        for key, pair in node.pairs.items():
            yield from _written(pair.value, key)


def hidden_items(items: list[Node]) -> frozenset[int]:
    """Which items of a command line are secrets: those behind --password and its like."""
    texts = [one.value if isinstance(one.value, str) else "" for one in items]
    behind = (number for number, text in enumerate(texts[:-1], 1) if _OPTION.match(text) and telling(text))
    return frozenset(number for number in behind if texts[number])


def _contents(path: Path) -> Iterator[str]:
    """Each line, and the whole: some files hold two tokens while they are exchanged, some `user:password`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        text = file.read(_MOST).decode(errors="replace").strip()
    if "PRIVATE KEY-----" in text:
        yield text
    for line in text.splitlines()[:_MOST_LINES]:
        yield line.strip()
        yield line.partition(":")[2].strip()
