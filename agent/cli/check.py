"""`contain check`: ask the health checks of agent.yaml now, or list them. Needs no running agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, plainly
from agent.cli.show import Columns, word

ANSWERS: Final[Columns] = {
    "state": lambda one: word(one["state"]),
    "check": lambda one: one["name"],
    "target": lambda one: one["target"] or None,
    "say": lambda one: one["say"],
}
CHECKS: Final[Columns] = {
    "name": lambda one: one["name"],
    "check": lambda one: one["check"],
    "every": lambda one: one["every"],
    "parameters": lambda one: " ".join(f"{name}={value}" for name, value in one["parameters"].items()),
}


@click.group(cls=Noun, alone="list")
def check() -> None:
    """Questions about services, asked again and again. Without a command: list."""


@check.command("run", examples=("contain check run", "contain check run --exit-code --json"))
@click.argument("name", required=False, type=Name("checks", "name"))
@click.option("--exit-code", is_flag=True, help="Exit with 10 where an answer is bad.")
@click.pass_obj
def run(given: Given, name: str | None, exit_code: bool) -> Exit:
    """Ask the checks of agent.yaml now, all of them or one, and print every answer."""
    from agent import wiring
    from agent.check import run as ask_now

    config = given.read_config()
    chosen = _chosen(config.checks, name)
    with plainly():
        systems = wiring.systems(config)
    answers = [_row(named, one) for named, entry in chosen.items() for one in ask_now(entry.question, systems)]
    given.show.table("answers", answers, ANSWERS, "agent.yaml has no checks")
    return Exit.FOUND if exit_code and any(one["state"] == "bad" for one in answers) else Exit.DONE


@check.command("list", examples=("contain check list",))
@click.pass_obj
def list_checks(given: Given) -> None:
    """The checks of agent.yaml, with how often each is asked."""
    from agent.schema import spell
    from agent.watching.explain import spell_value

    rows = []
    for name, entry in given.read_config().checks.items():
        values = {key: spell_value(value) for key, value in vars(entry.question).items() if value not in ("", None, ())}
        rows.append({"name": name, "check": entry.question.name, "every": spell(entry.every), "parameters": values})
    given.show.table("checks", rows, CHECKS, "agent.yaml has no checks")


def _chosen(checks: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    if name is None:
        return checks
    if name not in checks:
        raise Stop(Exit.USAGE, f"cannot run {name}: agent.yaml has no such check\nIt has: {', '.join(checks) or 'none'}")
    return {name: checks[name]}


def _row(name: str, answer: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": answer.state,
        "target": answer.target,
        "say": answer.say,
        "value": answer.value,
        "limit": answer.limit,
    }
