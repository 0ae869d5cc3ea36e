"""The policy and test files that a command line names, as their readers take them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given

_TESTS: Final = re.compile(r"^tests:", re.MULTILINE)
MOST: Final = 2000


def catalogue(given: Given) -> Any:
    """What policies may name here: with the lists of agent.yaml, where there is one."""
    from agent import wiring

    return wiring.catalogue(given.read_config() if given.config or given.config_path.exists() else None)


def named(given: Given, paths: Sequence[Path]) -> list[Path]:
    """The YAML files at the paths, those in directories included; without paths, the policies of agent.yaml.

    Raises:
        Stop: there are none, or a path is not there.
    """
    chosen = list(paths or given.read_config().policies)
    if gone := [str(one) for one in chosen if not one.exists()]:
        raise Stop(
            Exit.USAGE, f"cannot read {', '.join(gone)}: there is no such file or directory\nName policy files, or directories."
        )
    found = [file for one in chosen for file in (_inside(one) if one.is_dir() else [one])]
    if not found:
        raise Stop(Exit.USAGE, f"cannot find policies: no .yaml file in {', '.join(map(str, chosen))}")
    return found[:MOST]


def _inside(directory: Path) -> Iterable[Path]:
    return sorted(one for one in directory.rglob("*") if one.suffix in (".yaml", ".yml") and one.is_file())


def texts(files: Iterable[Path]) -> dict[str, str]:
    """The files by their names; bytes that are no UTF-8 stay in, so that the reader can point at them.

    Raises:
        Stop: one of them cannot be read.
    """
    try:
        return {str(one): one.read_text(encoding="utf-8", errors="surrogateescape") for one in files}
    except OSError as error:
        raise Stop(Exit.USAGE, f"cannot read {error.filename}: {error.strerror}") from error


def is_tests(text: str) -> bool:
    """Whether a file holds tests of policies rather than policies."""
    return _TESTS.search(text) is not None
