"""What `contain status` says of the intake: where it listens, when each sender was last heard, who was turned away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agent.cli.show import At, Cell, Show, span

MOST: Final = 6
"""Senders on the screen; a pipe has them all."""

Told = Mapping[str, Any] | None


def rows(told: Told) -> Iterable[list[Cell]]:
    """For pipes."""
    if told is None:
        return
    for address, why in told["listens"].items():
        yield ["intake", address, why or "listens"]
    for one in told["senders"]:
        last = At(one["last"]) if one["last"] else ""
        yield ["sender", one["name"], one["type"], last, one["documents"], one["bad"], one["say"]]
    for reason, count in sorted(told["refused"].items()):
        yield ["turned_away", reason, count]


def lines(show: Show, told: Told) -> Iterable[tuple[str, str]]:
    """For people."""
    if told is None:
        return
    where = [show.text(address) + _red(show, f" ({why})" if why else "") for address, why in told["listens"].items()]
    heard = [_heard(show, one) for one in told["senders"][:MOST]]
    more = [f"and {len(told['senders']) - MOST} more"] if len(told["senders"]) > MOST else []
    yield "intake", f"{', '.join(where) or 'not listening yet'}; {', '.join([*heard, *more])}"
    if told["refused"]:
        most = sorted(told["refused"].items(), key=lambda one: -one[1])[:3]
        yield "refused", ", ".join(f"{show.text(reason)} {count:,}×" for reason, count in most)


def _heard(show: Show, one: Mapping[str, Any]) -> str:
    ago = f"{span(show.now - one['last'])} ago" if one["last"] else "not heard yet"
    bad = f", {one['bad']:,} that could not be read" if one["bad"] else ""
    return f"{show.text(one['name'])} {ago}{bad}" + _red(show, f": {one['say']}" if one["say"] else "")


def _red(show: Show, text: str) -> str:
    return show.paint(show.text(text), "red") if text else ""
