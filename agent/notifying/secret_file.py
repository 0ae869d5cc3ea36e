"""The one secret that a channel shows to its vendor, from a file that only the agent can read; read anew for each call."""

from __future__ import annotations

from pathlib import Path

from agent.action import CannotReach
from agent.grammar.config import hidden


def secret(path: Path, whom: str) -> str:
    """The token, key or address in a file: one line that can stand in a header.

    Raises:
        CannotReach: it cannot be read, everybody can read it, or there is no such line in it.
    """
    found = hidden(path, whom)
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise CannotReach(f"cannot log in to {whom}: {path} is to hold one line without blanks, and nothing else")
    return found
