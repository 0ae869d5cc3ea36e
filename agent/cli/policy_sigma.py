"""`contain policy import-sigma`: rules of Sigma's as policies of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli import policy_files
from agent.cli.ends import Exit
from agent.cli.given import Given, Verb
from agent.cli.write_anew import write_anew

if TYPE_CHECKING:
    from agent.sigma.carry import Made, Refused


@click.command(
    "import-sigma",
    cls=Verb,
    examples=("contain policy import-sigma rule.yml", "contain policy import-sigma rule.yml --out imported"),
)
@click.argument("rules", metavar="RULE.yml...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write each policy to a file there.")
@click.pass_obj
def import_sigma(given: Given, rules: tuple[Path, ...], out: Path | None) -> Exit:
    """Write a policy for each Sigma rule that means exactly the same here; all others are refused, each with every reason.

    The policies have no action and are in dry run: look at them, then add `then:`. Rules that a correlation counts must be
    named beside it, and become no policies of their own. Exits with 6 where some rules were refused, with 2 where all were.
    Nothing is overwritten.
    """
    from agent.sigma.carry import Made, policies
    from agent.visible import visible

    found = policies(policy_files.texts(rules), policy_files.catalogue(given))
    made = [one for one in found if isinstance(one, Made)]
    refused = [one for one in found if not isinstance(one, Made)]
    if out is not None and made:
        write_anew(out, {f"{one.policy}.yaml": one.text for one in made})
    if given.json:
        given.show.document("policies", [_row(one) for one in found])
    elif out is None:
        click.echo("---\n".join(one.text for one in made), nl=False)
    for one in refused:
        click.echo(f"{one.place}: `{given.show.text(one.rule)}` cannot be carried over:", err=True)
        for problem in one.problems:
            click.echo("\n".join(visible(line) for line in str(problem).splitlines()), err=True)
    where = f" written to {out}" if out is not None and made else ""
    given.show.talk(f"{len(made)} of {len(found)} rules carried over{where}")
    return _end(made, refused)


def _end(made: Sequence[Made], refused: Sequence[Refused]) -> Exit:
    if not refused and made:
        return Exit.DONE
    return Exit.PARTLY if made else Exit.USAGE


def _row(one: Made | Refused) -> dict[str, object]:
    row: dict[str, object] = {"rule": one.rule, "place": str(one.place)}
    if hasattr(one, "problems"):
        return {**row, "file": None, "text": None, "problems": [problem.to_json() for problem in one.problems]}
    return {**row, "file": f"{one.policy}.yaml", "text": one.text, "problems": []}
