"""What a running agent goes by: what of agent.yaml counted at its start, and what at its last reload."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent.evidence.redact import Redactor
from agent.grammar.config import Config
from agent.grammar.located import scan
from agent.support.settings import Setting, settings

AT_START: Final = frozenset(
    {"host", "state", "socket", "sensors", "feeds", "intake", "pages", "metrics", "checks", "systems", "ssh_ports", "evidence"}
    | {"canary", "hooks"}
)
"""The keys of agent.yaml that count from the next start, as agent/wiring.py has them by the names of their parts."""


class Taken(NamedTuple):
    """An agent.yaml that was taken over: its text, or none where the file was another one by the time it was looked at."""

    config: Config
    text: str | None


def text_of(path: Path, digest: str) -> str | None:
    """The text that was read, if the file still holds it; `digest` as Config has it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data.decode("utf-8", "surrogateescape") if sha256(data).hexdigest() == digest else None


def settings_of(text: str, path: Path, config: Config, redact: Redactor) -> list[Setting]:
    """Every setting of a text that could be read as `config`."""
    documents, _ = scan(text, str(path))
    return settings(documents[0], config, redact, socket.gethostname())


class Configured:
    """Belongs to the owner's thread. Settings are only made when somebody asks."""

    def __init__(self, path: Path, config: Config, redact: Redactor) -> None:
        """What the agent starts with."""
        self._path, self._redact = path, redact
        self._first = self._last = Taken(config, text_of(path, config.digest))

    def took(self, config: Config) -> None:
        """A reload was taken over."""
        self._last = Taken(config, text_of(self._path, config.digest))

    def shown(self) -> Mapping[str, Any]:
        """The file, its hash, and every setting by name as this agent goes by it; none where that cannot be said any more."""
        found: dict[str, str] = {}
        if self._first.text is not None and self._last.text is not None:
            first, last = self._made(self._first), self._made(self._last)
            found = {one.key: one.value for one in first if one.path[0] in AT_START}
            found |= {one.key: one.value for one in last if one.path[0] not in AT_START}
        return {"path": str(self._path.absolute()), "digest": self._last.config.digest, "settings": list(found.items())}

    def _made(self, taken: Taken) -> list[Setting]:
        return settings_of(taken.text or "", self._path, taken.config, self._redact)
