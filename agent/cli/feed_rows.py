"""Lists that others keep, as `contain status` and `contain list` show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.cli.show import At, Cell, Show

Answer = Mapping[str, Any]


def rows(feeds: Sequence[Answer]) -> Iterable[list[Cell]]:
    """Rows for pipes: name, networks, when its source was last seen to say so, and what is wrong."""
    return [["list", one["name"], one["entries"], At(one["refreshed"]), one["trouble"]] for one in feeds]


def lines(show: Show, feeds: Sequence[Answer]) -> Iterable[tuple[str, str]]:
    """Lines for the foot of a status: all that are well in one, each that is not in one of its own."""
    if well := [one for one in feeds if not one["trouble"]]:
        yield "lists", ", ".join(f"{one['name']} {one['entries']:,} networks, {_age(show, one)}" for one in well)
    for one in feeds:
        if one["trouble"]:
            mark = show.paint(show.text(one["name"]), "yellow")
            yield "lists", f"{mark} {one['entries']:,} networks, {_age(show, one)}; {show.text(one['trouble'])}"


def head(show: Show, one: Answer) -> Iterable[str]:
    """What is said of one list before its networks."""
    yield f"{one['name']}: {one['entries']:,} networks of {show.text(one['source'])}, refreshed {_age(show, one)}"
    for text in (one["left_out"], one["trouble"]):
        if text:
            yield show.text(text)


def _age(show: Show, one: Answer) -> str:
    return show.text(At(one["refreshed"], "never"))
