"""`contain incidents metrics`: how fast incidents were responded to, from the journal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.evidence_read import DB, reading
from agent.cli.given import Given, Verb
from agent.cli.order import Seconds

if TYPE_CHECKING:
    from agent.report.metrics import Metrics

_LONGEST = 30 * 86400.0
"""Seconds before `--since` in which an incident may have begun that is merged into, or gathers, one of those asked for."""
_WORDS = {
    "detect": "first event to finding",
    "acknowledge": "finding to the first who is on it",
    "contain": "finding to all of it contained",
    "resolve": "first event to its end",
    "downtime": "first bad answer to good",
}


@click.command(cls=Verb, examples=("contain incidents metrics", "contain incidents metrics --since 30d"))
@click.option("--since", type=Seconds(), default="90d", show_default=True, help="Incidents that were opened within this time.")
@DB
@click.pass_obj
def metrics(given: Given, since: float, db: Path | None) -> None:
    """Time to detect, acknowledge, contain and resolve, and downtime: median and 95th percentile by severity.

    It is made of the journal, and needs no running agent. Incidents that people see as one count as one; what a person has
    called a false positive counts for its policy alone.
    """
    from agent.report.metrics import AROUND, NEEDLES
    from agent.report.metrics import metrics as measure

    now = time.time()
    with reading(given, db) as (reader, _), reader.frozen():
        first = reader.first_since(now - since - _LONGEST)
        found = reader.having(*NEEDLES, *AROUND, after_seq=first - 1)
        made = measure(((one.ts, one.record) for one in found), now - since, now, whole=first == 0)
    if given.json:
        given.show.document("metrics", [_plain(made)])
    else:
        _tell(given, made)


def _plain(made: Metrics) -> dict[str, Any]:
    times = {severity: {name: one._asdict() for name, one in spreads.items()} for severity, spreads in made.times.items()}
    policies = [one._asdict() for one in made.policies]
    incidents = [one._asdict() for one in made.incidents]
    return {
        "since": made.since,
        "until": made.until,
        "times": times,
        "counts": dict(made.counts),
        "policies": policies,
        "incidents": incidents,
    }


def _tell(given: Given, made: Metrics) -> None:
    from agent.report.story import long

    show = given.show
    if not made.incidents:
        show.talk("no incident was opened in that time")
        return
    rows = []
    for severity, spreads in made.times.items():
        for name, about in _WORDS.items():
            one = spreads.get(name)
            told = [str(one.incidents), long(one.median), long(one.p95)] if one else ["0", "-", "-"]
            rows.append([severity, f"to {name}" if name != "downtime" else name, *told, about])
    show.rows(rows, head=("severity", "time", "incidents", "median", "p95", "from what to what"))
    if erring := [one for one in made.policies if one.false]:
        show.line()
        show.rows([[one.policy, str(one.incidents), str(one.false), f"{one.false / one.incidents:.0%}"] for one in erring],
                  head=("policy", "incidents", "false positives", "share"))  # fmt: skip
