"""`contain grants`: what the agent needs to be granted in other systems, as a script that their administrators read and run."""

from __future__ import annotations

from importlib import resources
from typing import Final

import click

from agent.cli.given import Given, Verb

_FILES: Final = {"postgres": "postgres.sql", "vault": "vault.hcl"}


@click.command(cls=Verb, examples=("contain grants postgres", "contain grants vault"))
@click.argument("system", type=click.Choice(list(_FILES)))
@click.pass_obj
def grants(given: Given, system: str) -> None:
    """Print what gives the agent its rights in PostgreSQL or Vault, and no more than it needs.

    PostgreSQL: `contain grants postgres | psql`, as a superuser, in each database. Vault: save it, adapt the paths to your
    mounts, then `vault policy write containment FILE`. `contain doctor` says what is missing.
    """
    text = (resources.files("agent.grants") / _FILES[system]).read_text(encoding="utf-8")
    if given.json:
        given.show.document("grants", [{"system": system, "text": text}])
    else:
        click.echo(text, nl=False)
