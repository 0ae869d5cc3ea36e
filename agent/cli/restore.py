"""`contain restore`: blocks, limits and isolation that a reboot took away are put back, before the network is there."""

from __future__ import annotations

import time

import click

from agent.cli.ends import Exit
from agent.cli.given import Given, Verb, plainly


@click.command(cls=Verb, examples=("contain restore",))
@click.pass_obj
def restore(given: Given) -> Exit:
    """Put back what the journal says is in force in the kernel, for the time that is left, without the agent.

    containment-restore.service runs this at boot, before any service opens its port. Life-lines are left out; a running agent
    does it itself. Exits with 1 where something could not be put back.
    """
    from agent.evidence.journal import CannotUseJournal
    from agent.outside import systems
    from agent.restore import restore as put_back

    config = given.read_config()
    with plainly(CannotUseJournal):
        restored = put_back(config, systems(config), time.time())
    if restored.behind > 1:
        given.show.line(f"the clock is at least {restored.behind:.0f} s behind: the journal's last record counts instead")
    given.show.line(f"{len(restored.names)} put back{': ' if restored.names else ''}{', '.join(restored.names[:20])}")
    for why in restored.failed:
        given.show.line(why)
    return Exit.FAILED if restored.failed else Exit.DONE
