"""`contain run`: the agent itself, in the foreground."""

from __future__ import annotations

import faulthandler

import click

from agent.cli import live
from agent.cli.given import Given, Verb, plainly


@click.command(cls=Verb, examples=("contain run --config var/agent.yaml --dry-run",))
@click.option("--dry-run", is_flag=True, help="Nothing is put into force, whatever the policies and people say.")
@click.pass_obj
def run(given: Given, dry_run: bool) -> None:
    """Watch, decide and contain until stopped with Ctrl-C or SIGTERM; what is in force then stays in force.

    SIGHUP reads the policies again. On a terminal it shows what it sees and does, elsewhere it writes log lines.
    """
    from agent.evidence.journal import CannotUseJournal, EvidenceLost
    from agent.evidence.keys import CannotUseKey
    from agent.wiring import build

    faulthandler.enable()  # systemd's watchdog ends a hung agent with SIGABRT: where it hung is in the journal then
    config = given.read_config()
    if given.show.terminal:
        given.show.talk("Ctrl-C stops it. In another terminal: contain status")
    with plainly(CannotUseJournal, CannotUseKey, EvidenceLost), live.view(given.show) as view:
        build(config, config_path=given.config_path, forced_dry_run=dry_run, told=view.told, saw=view.saw).run()
