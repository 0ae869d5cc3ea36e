"""The commands in the runbooks are commands: they are read like on a terminal, and their actions and parameters exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.action import from_text
from agent.cli.commands import contain
from agent.wiring import catalogue

SHELF = Path(__file__).parent.parent / "policies" / "runbooks"
PARTS = ["Detection", "Immediate actions", "Containment", "Recovery", "Notification duties", "Verification"]
BOOKS = sorted(path.name for path in SHELF.glob("*.md"))


def commands(text: str) -> Iterator[str]:
    """What stands in `code` or on an indented line of its own, and begins with contain."""
    for line in text.splitlines():
        if line.startswith("        "):
            yield from [line.strip()] if line.strip().startswith("contain") else []
        else:
            yield from (one for one in re.findall(r"`([^`]+)`", line) if re.match(r"contain\b", one))


def read(line: str) -> click.Context | click.Group:
    """The command as click reads it, without carrying it out."""
    command: click.Command = contain
    words, context = shlex.split(line)[1:], click.Context(contain)
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, context, name)
    return command if isinstance(command, click.Group) else command.make_context(context.info_name, words)


ALL = [(name, line) for name in BOOKS for line in commands((SHELF / name).read_text())]


@pytest.mark.parametrize(("name", "line"), ALL, ids=[f"{name}: {line}" for name, line in ALL])
def test_every_command_is_one(name: str, line: str) -> None:
    context = read(line)

    if isinstance(context, click.Context) and context.info_name == "do":
        action = catalogue(None).actions[context.params["action"]]
        given = dict(one.split("=", 1) for one in context.params["params"])
        assert from_text(action, given).name == context.params["action"]
        assert context.params["why"], f"{name}: `contain do` wants a reason"


@pytest.mark.parametrize("name", BOOKS)
def test_every_runbook_has_all_parts_in_order(name: str) -> None:
    text = (SHELF / name).read_text()

    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    assert re.match(r"# [^\n]+\n", text)


@pytest.mark.parametrize("name", BOOKS)
def test_it_names_the_policies_that_lead_to_it(name: str) -> None:
    text = (SHELF / name).read_text()
    policies = (path.read_text() for path in SHELF.parent.glob("*.yaml"))

    names = [re.search(r"^policy: (.*)$", one, re.MULTILINE) for one in policies if f"runbook: runbooks/{name}" in one]

    assert names
    assert [one[1] for one in names if one and f"`{one[1]}`" not in text] == []


def test_a_command_that_is_none_is_found() -> None:
    for wrong in ("contain blok 203.0.113.7", "contain ack", "contain undo M-1 --wy x"):
        with pytest.raises(click.UsageError):
            read(wrong)
