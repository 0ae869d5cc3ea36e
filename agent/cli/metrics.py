"""`contain metrics`: the agent's numbers as Prometheus reads them, also where nothing listens for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb


@click.command(
    cls=Verb,
    examples=(
        "contain metrics",
        "contain metrics | grep in_force",
        "contain metrics --output containment.prom   # for node_exporter --collector.textfile.directory",
    ),
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write there, whole or not at all; where no agent answers, containment_up 0, and exit with 5.",
)
@click.pass_obj
def metrics(given: Given, output: Path | None) -> None:
    """Print the agent's metrics in Prometheus' text format. The systems are asked for this, as for `contain status`.

    Prometheus itself asks over HTTP: metrics: {listen: "127.0.0.1:9445"} in agent.yaml. With --output, a timer keeps a file for
    node_exporter instead, and nothing has to listen.
    """
    try:
        answer = given.ask("metrics")
    except Stop as why:
        if output and why.code == Exit.UNREACHABLE:
            from agent.metrics.showing import SILENT

            _write(output, SILENT)
        raise
    if given.json:
        given.show.document("metrics", [answer["families"]])
    elif output is None:
        click.echo(_text(answer), nl=False)
    if output:
        _write(output, answer)


def _text(answer: Mapping[str, Any]) -> bytes:
    from prometheus_client.exposition import generate_latest

    from agent.metrics.showing import registry

    return generate_latest(registry(answer))


def _write(path: Path, answer: Mapping[str, Any]) -> None:
    from prometheus_client.exposition import write_to_textfile

    from agent.metrics.showing import registry

    try:
        write_to_textfile(str(path), registry(answer))
    except OSError as error:
        raise Stop(
            Exit.FAILED, f"cannot write {path}: {error.strerror}\nIs its directory there, and may this user write it?"
        ) from error
