"""Bring policies up to date without a question: `policies.py SHIPPED LIVE KNOWN`, by setup, as root.

A file that nobody has edited since it was put there follows the package, also when the package no longer has it. What people have
edited or removed stays so, and is told. KNOWN holds what was shipped last, as sha256sum(1) writes it. It imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path


def main(shipped: Path, live: Path, known: Path) -> None:
    """Do it, and say what was left alone."""
    first = not known.exists()
    old, new = _known(known), _sums(shipped)
    for name in sorted(old.keys() | new.keys()):
        said = _one(live / name, shipped / name, old.get(name), new.get(name))
        if said and not (first and said.endswith(" is new")):
            sys.stdout.write(f"containment-agent: {said}\n")
    _put(known, "".join(f"{digest}  {name}\n" for name, digest in sorted(new.items())).encode())


def _one(live: Path, shipped: Path, old: str | None, new: str | None) -> str:
    """Bring one file up to date; a sentence where there is something to say. `old` and `new` are digests of what is shipped."""
    have = "a link" if live.is_symlink() else _sum(live)
    if have == new:
        return ""
    if have is None and old is not None:
        return "" if new == old else f"{live} was removed by you, and stays so; what is new: {shipped}"
    if new is None:
        if have != old:
            return f"{live} is yours, and stays; it is no longer shipped"
        live.unlink()
        return f"{live} was removed: it is no longer shipped"
    if have not in (None, old):
        return "" if new == old else f"{live} is yours, and stays; what is new: diff {live} {shipped}"
    _put(live, shipped.read_bytes())
    return f"{live} is new" if have is None else ""


def _known(file: Path) -> Mapping[str, str]:
    """What was shipped last, by name; nothing at the first time."""
    if not file.exists():
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in file.read_text(encoding="utf-8").splitlines())}


def _sums(place: Path) -> Mapping[str, str]:
    files = (one for one in place.rglob("*") if one.is_file())
    return {str(one.relative_to(place)): _sum(one) or "" for one in files}


def _sum(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _put(target: Path, content: bytes) -> None:
    """Whole or not at all, for root to write and the agent to read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f".{target.name}.new")
    made.write_bytes(content)
    made.chmod(0o644)
    made.replace(target)


if __name__ == "__main__":
    os.umask(0o022)
    main(*(Path(one) for one in sys.argv[1:4]))
