"""How a command ends: its exit codes, and the one exception that ends it early."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The command line, agent.yaml or a policy is wrong."""
    REFUSED = 3
    """A guard said no."""
    WAITS = 4
    """A person must say yes, and nobody was there to be asked."""
    UNREACHABLE = 5
    """No agent answers."""
    PARTLY = 6
    FOUND = 10
    """Only with --exit-code: open incidents, a bad check, or a plan that is not empty."""
    INTERRUPTED = 130


class Stop(Exception):  # noqa: N818 - it stops a command, and is no error of ours
    """End the command now. `text` is for stderr: `cannot <what>: <why>`, then how to mend it; empty where all is said."""

    def __init__(self, code: Exit, text: str = "") -> None:
        super().__init__(text)
        self.code, self.text = code, text
