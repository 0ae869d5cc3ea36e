"""`contain alerts`: what other tools say holds, until they say that it no longer does."""

from __future__ import annotations

from typing import Final

import click

from agent.cli.given import Given, Verb
from agent.cli.show import At, Columns, word

COLUMNS: Final[Columns] = {
    "severity": lambda one: one["severity"] or "",
    "name": lambda one: one["name"] or one["fingerprint"],
    "about": lambda one: one["instance"] or one["service"] or "",
    "source": lambda one: one["source"],
    "since": lambda one: At(one["since"]),
    "told": lambda one: f"{one['times']} times" if one["times"] > 1 else "once",
    "state": lambda one: word("over" if one["ended"] else "firing"),
    "summary": lambda one: one["because"] or one["summary"] or "",
}


@click.command(cls=Verb, examples=("contain alerts", "contain alerts --all --json"))
@click.option("--all", "ended", is_flag=True, help="Also the latest that are over.")
@click.pass_obj
def alerts(given: Given, ended: bool) -> None:
    """What other tools say fires now, the latest first: Alertmanager, Grafana, CloudWatch, whoever may hand in alerts."""
    items = [one for one in given.ask("alerts")["items"] if ended or not one["ended"]]
    given.show.table("alerts", items, COLUMNS, "no other tool says that anything fires")
