"""sudo: what was run as somebody else, and who was refused.

A line reads `user : [why ;] TTY=… ; PWD=… ; USER=… ; COMMAND=…` (sudo 1.9, sudoers(5) "LOG FORMAT"). The directory and the
command are the user's own text, but the user's name stands before them and is sudo's.
"""

from __future__ import annotations

import re
from typing import Final

from agent.event import Kind, Value
from agent.streams.parser import Said, parser

FAILURE: Final = Kind(
    "auth.sudo.failure",
    "sudo refused: wrong passwords, not in sudoers, or a command that is not allowed.",
    {"user": "text", "as": "text", "command": "text", "tty": "text", "reason": "text", "attempts": "integer"},
    forgeable=True,
)
COMMAND: Final = Kind(
    "auth.sudo.command",
    "A command was run through sudo.",
    {"user": "text", "as": "text", "command": "text", "tty": "text"},
    forgeable=True,
)

_WRONG: Final = re.compile(r"(\d{1,4}) incorrect password attempts?")
_NAMES: Final = {"TTY": "tty", "USER": "as"}


@parser(kinds=(FAILURE, COMMAND), programs=("sudo",), hint=rb"sudo(?:\[\d{1,10}\])?: [^\n(]{1,64} : ")
class Sudo:
    """Commands run through sudo, and refusals. PAM's lines beside them repeat the same and are left out."""

    def read(self, text: str) -> Said | None:
        """One message without its syslog head."""
        user, colon, rest = text.strip().partition(" : ")
        rest, command_given, command = rest.partition("COMMAND=")
        if not colon or not command_given or not user or rest.startswith("(command continued) "):  # a long one's further lines
            return None
        parts = [part for part in rest.split(" ; ") if part]
        fields: dict[str, Value] = {"user": user, "command": command}
        for part in reversed(parts):  # the first of a name wins, since what follows TTY can be a directory's name
            name, _, value = part.partition("=")
            if name in _NAMES:
                fields[_NAMES[name]] = value
        if not parts or parts[0].partition("=")[0].isupper():  # `TTY=…`; a reason, as `unknown user a=b`, may hold a sign, too
            return Said(COMMAND.name, fields)
        wrong = _WRONG.fullmatch(parts[0])
        return Said(FAILURE.name, {**fields, "reason": parts[0], "attempts": int(wrong[1]) if wrong else 1})
