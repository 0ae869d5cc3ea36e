"""What `contain status` says of the ways to people: what is not told yet, since when and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agent.cli.show import At, Cell, Show, span

MOST: Final = 6

Told = Mapping[str, Any]


def wrong(told: Told) -> bool:
    """Whether nobody could be told of something urgent."""
    return bool(told["untold"])


def rows(told: Told) -> Iterable[list[Cell]]:
    """For pipes."""
    for one in told["channels"]:
        yield ["notify", one["name"], one["type"], one["unsent"], At(one["since"]), At(one["last"]), one["error"]]
    for one in told["untold"]:
        yield ["untold", one["incident"], At(one["since"])]


def lines(show: Show, told: Told) -> Iterable[tuple[str, str]]:
    """For people; nothing where nobody is to be told."""
    if told["untold"]:
        names = ", ".join(one["incident"] for one in told["untold"][-MOST:])
        yield "untold", show.paint(f"nobody could be told of {show.text(names)}", "red") + ": contain notify"
    if told["channels"]:
        said = [_said(show, one) for one in told["channels"][:MOST]]
        more = [f"and {len(told['channels']) - MOST} more"] if len(told["channels"]) > MOST else []
        yield "notify", ", ".join([*said, *more])


def _said(show: Show, one: Told) -> str:
    name = show.text(one["name"])
    if not one["unsent"]:
        return f"{name}: {show.paint('last not told', 'red')} ({show.text(one['error'])})" if one["error"] else name
    since = f" for {span(show.now - one['since'])}" if one["since"] and show.now - one["since"] > 5 else ""
    why = f" ({show.text(one['error'])})" if one["error"] else ""
    count = f"{one['unsent']} unsent{since}"
    return f"{name}: {show.paint(count, 'red' if one['urgent'] and one['error'] else 'yellow')}{why}"
