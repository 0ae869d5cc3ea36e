"""Files that a command writes into a directory: all of them or none, and never over another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.cli.ends import Exit, Stop


def write_anew(out: Path, texts: Mapping[str, str]) -> None:
    """Write each text to the file of its name; the directory is made where there is none."""
    there = [name for name in texts if (out / name).exists()]
    if there:
        raise Stop(Exit.USAGE, f"cannot write {', '.join(there[:5])}: already in {out}; remove them, or name another directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (out / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise Stop(Exit.FAILED, f"cannot write {error.filename}: {error.strerror}") from error
