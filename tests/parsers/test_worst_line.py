"""The search behind `make bench` looks at every parser, within its bounds; how quick anything is stands in no test."""

from __future__ import annotations

from agent.streams.parser import discover_parsers
from tests.bench.worst_line import plain, text, worst_lines


def test_a_line_is_found_for_every_parser_within_its_bounds() -> None:
    found = worst_lines(tries=8)

    assert [one.parser for one in found] == sorted(discover_parsers())
    assert all(0 < len(one.line) <= discover_parsers()[one.parser].longest for one in found)
    assert all(one.milliseconds > 0 for one in found)
    assert len(text(found).splitlines()) == len(found) + 1
    assert [row["parser"] for row in plain(found)] == sorted(discover_parsers())
