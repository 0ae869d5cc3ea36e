"""`contain policy prove`: who could be reached by what, before any event has come; and the ground for `contain policy check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli import policy_files
from agent.cli.ends import Exit
from agent.cli.given import Given, Verb, plainly
from agent.cli.show import word

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.grammar.problem import Problem
    from agent.guard import Lifeline
    from agent.policy import Policy
    from agent.proving.prove import Proof
    from agent.proving.reach import Ground


@click.command(cls=Verb, examples=("contain policy prove", "contain policy prove policies/ --json"))
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.pass_obj
def prove(given: Given, paths: tuple[Path, ...]) -> Exit:
    """Who could be reached by what: each step of each policy, whatever events may come. Exits with 2 where one is refused.

    Says whom a step can act on and who chooses that, how often at most, for how long, who must say yes, and what is left
    alone: life-lines of agent.yaml and of this host now, lists, protected names. A set with a step that is refused never
    becomes live.
    """
    from agent.grammar.policy_reader import read_policies
    from agent.proving.prove import prove as proven
    from agent.wiring import parse

    stands_on, beside = ground(given)
    files = policy_files.policies(policy_files.texts(policy_files.named(given, paths)))
    with plainly():
        policies, _ = read_policies(files, policy_files.catalogue(given), parse)
    proof = proven(policies, stands_on)
    found = [*beside, *proof.problems]
    if given.json:
        given.show.document("proof", [_plain(proof, stands_on, found)])
    else:
        _tell(given, proof, stands_on, found)
    return Exit.USAGE if any(one.level == "error" for one in found) else Exit.DONE


def _tell(given: Given, proof: Proof, stands_on: Ground, found: Sequence[Problem]) -> None:
    show = given.show
    for one in proof.policies:
        show.line(" ".join(show.text(word(part)) for part in (one.name, one.severity, _mode(one, stands_on)) if part))
        said = [str(reach) for reach in proof.reaches if reach.policy == one.name]
        for sentence in said or ["tells of it, and acts on nothing"]:
            show.line(show.text(f"  {sentence}"))
    show.line("life-lines")
    for line in stands_on.lifelines.lines:
        show.line(show.text(f"  {_spoken(line)}: {line.why}"))
    for problem in found:
        show.line(str(problem))
    show.line(proof.summary())


def _mode(policy: Policy, stands_on: Ground) -> str:
    return policy.mode or stands_on.mode or ""


def _spoken(line: Lifeline) -> str:
    from agent.schema import spoken

    return spoken(line.network)


def _plain(proof: Proof, stands_on: Ground, found: Sequence[Problem]) -> Mapping[str, Any]:
    steps = [one._asdict() | {"sentence": str(one)} for one in proof.reaches]
    return {
        "summary": proof.summary(),
        "policies": [
            {
                "policy": one.name,
                "severity": one.severity,
                "mode": _mode(one, stands_on),
                "place": one.place,
                "steps": [step for step in steps if step["policy"] == one.name],
            }
            for one in proof.policies
        ],
        "life_lines": [{"network": _spoken(one), "why": one.why} for one in stands_on.lifelines.lines],
        "problems": [one.to_json() for one in found],
    }


# The ground ---------------------------------------------------------------------------------------------------------------


def ground(given: Given) -> tuple[Ground, list[Problem]]:
    """What policies are proven against here, and a warning where this host did not say what it is.

    Without an agent.yaml it is not asked: the files may be for another host.
    """
    from agent.proving import grounds

    config = given.read_config() if given.config or given.config_path.exists() else None
    learnt, problems = _learnt(given, config) if config else ((), [])
    return grounds.ground(config, policy_files.catalogue(given), learnt), problems


def _learnt(given: Given, config: Config) -> tuple[Sequence[Lifeline], list[Problem]]:
    from agent import wiring
    from agent.action import CannotReach
    from agent.grammar.problem import Place, Problem

    try:
        return wiring.lifelines(config, wiring.systems(config)).certain.given, []
    except CannotReach as error:
        hint = "only the life-lines of agent.yaml were looked at; the guard learns the others before anything is done"
        return (), [Problem(Place(str(given.config_path), 1, 1), str(error), hint, "warning")]


def against(stands_on: Ground) -> str:
    """One line on what was looked at."""
    if stands_on.let_in is None:
        return "there is no agent.yaml here: no life-lines are known but those that every host has"
    return f"{len(stands_on.lifelines.lines)} life-lines were looked at; `contain policy prove` names them"
