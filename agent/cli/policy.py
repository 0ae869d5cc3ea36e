"""`contain policy`: check, prove, test, explain and list policies, and switch their modes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from agent.cli import policy_backtest, policy_files, policy_import, policy_prove, policy_sigma
from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Noun, plainly
from agent.cli.policy_explain import explain
from agent.cli.show import Columns, word

POLICIES: Final[Columns] = {
    "policy": lambda one: one["policy"],
    "severity": lambda one: word(one["severity"]),
    "mode": lambda one: word(one["mode"]),
    "incidents": lambda one: one["incidents"],
    "in force": lambda one: one["active"],
    "title": lambda one: one["title"],
    "file": lambda one: one["place"],
}
_PATHS = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))


@click.group(cls=Noun, alone="list")
def policy() -> None:
    """What is watched for, and what is done about it. Without a command: list."""


policy.add_command(explain)
policy.add_command(policy_prove.prove)
policy.add_command(policy_import.import_fail2ban)
policy.add_command(policy_sigma.import_sigma)
policy.add_command(policy_backtest.backtest)


@policy.command("check", examples=("contain policy check", "contain policy check policies/ --json"))
@_PATHS
@click.pass_obj
def check(given: Given, paths: tuple[Path, ...]) -> Exit:
    """Find every mistake in policy files, or in those of agent.yaml. Exits with 2 where there is one.

    Warnings tell what is allowed and unwise; they change nothing about the exit code.
    """
    from agent.grammar.policy_reader import read_policies
    from agent.grammar.problem import Problems
    from agent.proving.prove import problems as unproven
    from agent.wiring import parse

    files = policy_files.policies(policy_files.texts(policy_files.named(given, paths)))
    stands_on, beside = policy_prove.ground(given)
    policies: Sequence[Any] = ()
    try:
        policies, found = read_policies(files, policy_files.catalogue(given), parse, partial(unproven, ground=stands_on))
    except Problems as problems:
        found = list(problems.found)
    found = [*beside, *found]
    wrong = sum(1 for one in found if one.level == "error")
    if given.json:
        given.show.document("problems", [one.to_json() for one in found])
    else:
        for one in found:
            given.show.line(str(one))
        said = (
            f"{_count(wrong, 'mistake')} in {_count(len(files), 'file')}"
            if wrong
            else f"{_count(len(policies), 'policy')}: no mistake"
        )
        given.show.talk(f"{said}, {_count(len(found) - wrong, 'warning')}")
        given.show.talk(policy_prove.against(stands_on))
        if said := policy_files.unheard(given, policies):
            given.show.talk(said)
    return Exit.USAGE if wrong else Exit.DONE


@policy.command("test", examples=("contain policy test", "contain policy test policies/"))
@_PATHS
@click.pass_obj
def test(given: Given, paths: tuple[Path, ...]) -> Exit:
    """Run the examples in policies, and files of tests, in virtual time. Exits with 1 where one fails."""
    from agent.grammar.config import is_tests
    from agent.grammar.policy_reader import read_policies
    from agent.watching import policy_tests
    from agent.watching.policy_test_files import read_tests
    from agent.wiring import parse

    known = policy_files.catalogue(given)
    files = policy_files.texts(policy_files.named(given, paths))
    tests = {name: text for name, text in files.items() if is_tests(text)}
    with plainly():
        policies, _ = read_policies({name: text for name, text in files.items() if name not in tests}, known, parse)
        cases = policy_tests.examples(policies)
        for name, text in tests.items():
            cases += read_tests(text, name, known, partial(_beside, Path(name)), parse)
    report = policy_tests.run(cases, known.lists)
    if given.json:
        rows = [{"test": one.title, "place": one.place, "ok": not one.because, "because": one.because} for one in report.rows]
        given.show.document("tests", rows)
    else:
        for row in report.rows:
            given.show.line(str(row))
        given.show.talk(f"{_count(len(report.rows), 'test')}, {report.failed} failed. {report.coverage}")
    return Exit.FAILED if report.failed else Exit.DONE


def _beside(file: Path, other: str) -> str:
    """A policy file as a test file names it: from where the test file is."""
    return (file.parent / other).read_text(encoding="utf-8", errors="surrogateescape")


@policy.command("schema", examples=("contain policy schema > policy.schema.json",))
@click.pass_obj
def schema(given: Given) -> None:
    """The JSON Schema of policies, for editors; it knows the kinds, actions and lists of this host."""
    from agent.grammar.policy_schema import schema as make

    click.echo(json.dumps(make(policy_files.catalogue(given)), indent=1))


@policy.command("list", examples=("contain policy", "contain policy list --json"))
@click.pass_obj
def list_policies(given: Given) -> None:
    """The live policies of the running agent, with the mode that counts now."""
    given.show.table("policies", given.ask("policies")["items"], POLICIES, "no policy is live")


@policy.command("mode", examples=("contain policy mode ssh-brute-force enforce",))
@click.argument("name", type=Name("policies", "policy"))
@click.argument("mode", type=click.Choice(["enforce", "dry_run", "off"]))
@click.pass_obj
def mode(given: Given, name: str, mode: str) -> None:
    """Switch a live policy to another mode; it stays so over restarts, whatever its file says."""
    answer = given.ask("mode", policy=name, mode=mode)
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, answer["error"])
    if given.json:
        given.show.document("mode", [answer])
    else:
        given.show.line(f"The policy {name} is now in mode {mode}.")


def _count(number: int, what: str) -> str:
    many = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {what if number == 1 else many}"
