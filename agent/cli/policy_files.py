"""The policy and test files that a command line names, as their readers take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given


def catalogue(given: Given) -> Any:
    """What policies may name here: with the lists of agent.yaml, where there is one."""
    from agent import wiring

    return wiring.catalogue(given.read_config() if given.config or given.config_path.exists() else None)


def named(given: Given, paths: Sequence[Path]) -> list[Path]:
    """The YAML files at the paths, those in directories included; without paths, the policies of agent.yaml.

    Raises:
        Stop: there are none or too many, or a path is not there.
    """
    from agent.grammar.config import MOST_FILES, inside

    chosen = list(paths or given.read_config().policies)
    if gone := [str(one) for one in chosen if not one.exists()]:
        raise Stop(
            Exit.USAGE, f"cannot read {', '.join(gone)}: there is no such file or directory\nName policy files, or directories."
        )
    found = [file for one in chosen for file in inside(one)]
    if not found:
        raise Stop(Exit.USAGE, f"cannot find policies: no .yaml file in {', '.join(map(str, chosen))}")
    if len(found) > MOST_FILES:
        raise Stop(Exit.USAGE, f"cannot read policies: more than {MOST_FILES} files; is this the right directory?")
    return found


def texts(files: Iterable[Path]) -> dict[str, str]:
    """The files by their names; bytes that are no UTF-8 stay in, so that the reader can point at them.

    Raises:
        Stop: one of them cannot be read.
    """
    try:
        return {str(one): one.read_text(encoding="utf-8", errors="surrogateescape") for one in files}
    except OSError as error:
        raise Stop(Exit.USAGE, f"cannot read {error.filename}: {error.strerror}") from error


def policies(files: Mapping[str, str]) -> dict[str, str]:
    """Those of the files that hold policies, and no tests of them."""
    from agent.grammar.config import is_tests

    return {name: text for name, text in files.items() if not is_tests(text)}


def unheard(given: Given, policies: Sequence[Any]) -> str:
    """Which policies can never fire here, because no sensor of agent.yaml brings their events; nothing where all can."""
    from agent.heard import deaf

    if not given.config_path.exists():
        return ""
    silent = deaf(policies, given.read_config())
    named = ", ".join(f"{name} ({', '.join(kinds)})" for name, kinds in list(silent.items())[:5])
    more = f" and {len(silent) - 5} more" if len(silent) > 5 else ""
    count = f"{len(silent)} of {len(policies)} policies wait"
    return f"{count} for events that no sensor of {given.config_path} brings: {named}{more}" if silent else ""
