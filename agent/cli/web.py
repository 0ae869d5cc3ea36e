"""`contain web`: a one-time link to the web pages, in the name of whoever asks."""

from __future__ import annotations

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb
from agent.cli.show import span


@click.command(cls=Verb, examples=("contain web", "contain web --read-only", "contain web --logout"))
@click.option("--read-only", is_flag=True, help="A login that can look and order nothing: for a screen, or somebody beside you.")
@click.option("--logout", is_flag=True, help="End all your logins, links that nobody has used included.")
@click.pass_obj
def web(given: Given, read_only: bool, logout: bool) -> None:
    """Print a link that logs you in to the web pages: once, within two minutes. What you order there stands in your name.

    A login ends after half an hour without a click, after eight hours, and when the agent starts anew. On another machine,
    have ssh carry it: ssh -L 9444:127.0.0.1:9444 HOST
    """
    answer = given.ask("web", **({"logout": True} if logout else {"read_only": True} if read_only else {}))
    if answer["result"] == "refused":
        raise Stop(Exit.REFUSED, f"cannot give you a link: {answer['because']}")
    if answer["result"] == "failed":
        raise Stop(Exit.FAILED, f"cannot give you a link: {answer['error']}")
    if given.json:
        given.show.document("web", [answer])
    elif logout:
        given.show.line(f"Logged out: {answer['sessions']}")
    else:
        given.show.line(answer["address"])
        only = ", and can only look" if answer["read_only"] else ""
        given.show.talk(f"It logs you in once, within {span(answer['seconds'])}{only}. Keep it to yourself.")
