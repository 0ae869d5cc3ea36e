"""The `nft` command, for whole rulesets: rules are its business, elements are netlink.py's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from agent.action import CannotReach

WITHIN: Final = 10.0
"""Seconds that nft may take; it reads every interval set of the host before it begins."""


def run(script: str) -> None:
    """Load a script as one transaction: all of it, or nothing.

    Raises:
        CannotReach: as in `ask`.
    """
    ask(("-f", "-"), script, "load the ruleset")


def ask(words: Sequence[str], script: str = "", what: str = "") -> str:
    """What nft prints when it is called with these words; `what` says for errors what it is for.

    Raises:
        CannotReach: there is no nft, it takes longer than 10 s, or it refuses; with its first line.
    """
    what = what or f"run nft {' '.join(words)}"
    command = find()
    if command is None:
        raise CannotReach(missing())
    try:
        done = subprocess.run([command, *words], input=script, text=True, capture_output=True, timeout=WITHIN, check=False)
    except subprocess.TimeoutExpired:
        raise CannotReach(f"cannot {what}: nft did not end within {WITHIN:g} s") from None
    except OSError as error:
        raise CannotReach(f"cannot {what}: {command}: {error.strerror}") from None
    if done.returncode:
        said = [line.partition("Error: ")[2] for line in done.stderr.splitlines() if "Error: " in line]
        raise CannotReach(f"cannot {what}: nft says: {(said or [done.stderr.strip()])[0]}")
    return done.stdout


def find() -> str | None:
    """Where nft is; people's PATH often lacks /usr/sbin."""
    return shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")


def missing() -> str:
    """The sentence for a host without nft."""
    return "cannot load the ruleset: the command nft is missing; install it: apt-get install nftables"
