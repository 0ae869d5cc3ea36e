"""`contain confirm`: have stay what takes itself back unless a person says so."""

from __future__ import annotations

import click

from agent.cli.completion import Name
from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb


@click.command(cls=Verb, examples=('contain confirm M-1 --why "I can still log in"',))
@click.argument("what", metavar="ID|TARGET", type=Name("mitigations", "id", "target"))
@click.option("--why", default="confirmed by hand", show_default=True, help="The reason; it stands in the evidence.")
@click.pass_obj
def confirm(given: Given, what: str, why: str) -> Exit:
    """Confirm a mitigation that would take itself back, such as an isolated host, once you see that you can still get in.

    It then stays for the ttl that it was ordered with, counted from now.
    """
    answer = given.ask("confirm", what=what, why=why)
    if given.json:
        given.show.document("confirm", [answer])
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, f"cannot confirm {what}: {answer['error']}")
    if given.json:
        return Exit.DONE
    if answer["result"] == "nothing":
        given.show.line(f"Nothing to confirm: {given.show.text(answer['because'])}.")
        return Exit.DONE
    end = "until somebody lifts it" if answer["until"] is None else f"and ends {given.show.at(answer['until'])}"
    given.show.line(f"Confirmed {', '.join(answer['mitigations'])}: it stays, {end}")
    return Exit.DONE
