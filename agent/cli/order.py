"""`contain reload`: an order about the agent itself; and how lengths of time are read."""

from __future__ import annotations

import click

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, Verb

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType[float]):
    """A length of time as in policies: 90s, 30m, 1h, 7d; at most `longest`, where that is said."""

    name = "time"

    def __init__(self, longest: str = "") -> None:
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; agent.schema reads the same spellings and is too heavy to import for this."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        number, unit = text[:-1], _UNITS.get(text[-1:])
        if unit is None or not number.replace(".", "", 1).isdecimal() or float(number) * unit <= 0:
            self.fail(f"`{text}` is not a time; use a number and s, m, h or d, as in 90s or 2h", param, ctx)
        if self._longest and float(number) * unit > float(self._longest[:-1]) * _UNITS[self._longest[-1]]:
            self.fail(f"`{text}` is too long; {self._longest} are the most, so that it ends though nobody remembers", param, ctx)
        return float(number) * unit


@click.command(cls=Verb, examples=("contain reload",))
@click.pass_obj
def reload(given: Given) -> None:
    """Have the running agent read its policies and agent.yaml again. With a single mistake in them, nothing changes.

    What it watches and asks (sensors, checks, systems) is taken over at a restart only; if that has changed, it says so.
    """
    answer = given.ask("reload")
    if given.json:
        given.show.document("reload", [answer])
    if answer["result"] == "failed":
        raise Stop(Exit.USAGE, f"cannot reload: the policies of before stay live\n{answer['error']}")
    if not given.json:
        given.show.line("The policies were read again and are live.")
        if changed := answer.get("restart"):
            given.show.line(f"Changed in agent.yaml, and taken over at the next start of the agent only: {', '.join(changed)}")
