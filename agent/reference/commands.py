"""docs/reference/commands.md: every command with the help that it prints itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from agent.cli import commands as table_of
from agent.cli.ends import Exit
from agent.cli.given import Common
from agent.reference.keys import MADE
from agent.reference.words import anchor, code, fenced, table

WIDTH: Final = 110
ENDS: Final = {
    Exit.DONE: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "the command line, agent.yaml or a policy is wrong",
    Exit.REFUSED: "refused by a guard",
    Exit.WAITS: "a person must say yes, and nobody was there to be asked",
    Exit.UNREACHABLE: "no agent answers",
    Exit.PARTLY: "partly done",
    Exit.FOUND: "with --exit-code: something is wrong, or a plan is not empty",
    Exit.INTERRUPTED: "interrupted",
}


_HEAD: Final = """\
Each prints the same with `--help`. Output is for people on a terminal, tab-separated in a pipe, and one JSON document with
`--json`.
"""


def walk(
    group: click.Group | None = None, path: tuple[str, ...] = ("contain",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups before what is in them; what only systemd calls comes last."""
    group = group or table_of.contain
    context = _context(group, path)
    names = [*group.list_commands(context), *(table_of.UNLISTED if len(path) == 1 else ())]
    for name in names:
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


def _context(command: click.Command, path: tuple[str, ...]) -> click.Context:
    return click.Context(command, info_name=" ".join(path), terminal_width=WIDTH, max_content_width=WIDTH)


def shown(path: tuple[str, ...], command: click.Command) -> str:
    """Its help, without the options that every command has."""
    context = _context(command, path)
    own = command.params
    command.params = [one for one in own if not isinstance(one, Common)]
    try:
        return command.get_help(context)
    finally:
        command.params = own


def common() -> list[tuple[str, str]]:
    """The options that every command has."""
    command = table_of.contain.get_command(_context(table_of.contain, ("contain",)), "status")
    assert command is not None  # noqa: S101 - it is in the table
    context = _context(command, ("contain", "status"))
    records = (one.get_help_record(context) for one in command.params if isinstance(one, Common))
    return [one for one in records if one]


def commands() -> str:
    """The whole page."""
    found = list(walk())
    groups = "".join(f"- {' · '.join(_link(path) for path in group)}\n" for group in _grouped([path for path, _ in found]))
    parts = {
        "Options of every command": table(("option", "meaning"), ((code(words), about) for words, about in common())),
        "Exit codes": table(("code", "means"), ((str(int(one)), said) for one, said in ENDS.items())),
        "All commands": groups,
    }
    each = "\n".join(f"### {' '.join(path)}\n\n{fenced(shown(path, command), 'text')}" for path, command in found)
    said = "".join(f"## {title}\n\n{text}\n" for title, text in parts.items())
    return f"# Commands\n\n{MADE}\n{_HEAD}\n{said}{each}"


def _link(path: tuple[str, ...]) -> str:
    return f"[{' '.join(path)}](#{anchor(' '.join(path))})"


def _grouped(paths: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    groups: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        groups.setdefault(path[1], []).append(path)
    return list(groups.values())
