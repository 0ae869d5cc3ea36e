"""The `nft` command, for whole rulesets: rules are its business, elements are netlink.py's."""

from __future__ import annotations

import shutil
import subprocess

from agent.action import CannotReach


def run(script: str) -> None:
    """Load a script as one transaction: all of it, or nothing.

    Raises:
        CannotReach: there is no nft, it takes longer than 10 s, or it refuses; with its first line.
    """
    command = find()
    if command is None:
        raise CannotReach(missing())
    try:
        done = subprocess.run([command, "-f", "-"], input=script, text=True, capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        raise CannotReach("cannot load the ruleset: nft did not end within 10 s") from None
    except OSError as error:
        raise CannotReach(f"cannot load the ruleset: {command}: {error.strerror}") from None
    if done.returncode:
        said = [line.partition("Error: ")[2] for line in done.stderr.splitlines() if "Error: " in line]
        raise CannotReach(f"cannot load the ruleset: nft says: {(said or [done.stderr.strip()])[0]}")


def find() -> str | None:
    """Where nft is; people's PATH often lacks /usr/sbin."""
    return shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")


def missing() -> str:
    """The sentence for a host without nft."""
    return "cannot load the ruleset: the command nft is missing; install it: apt-get install nftables"
