"""Cutting overlapping networks into pieces, against looking at every single address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.systems.intervals import Piece, covered, disjoint


@st.composite
def networks(draw: st.DrawFn) -> list[Piece]:
    """Networks of a world with 64 addresses."""
    found: dict[tuple[int, int], Piece] = {}
    for length, place, ends in draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 63), st.integers(1, 5)), max_size=12)):
        size = 64 >> length
        start = place // size * size
        found[start, size] = Piece(start, start + size - 1, float(ends))
    return list(found.values())


@given(networks())
def test_each_address_is_in_one_piece_that_ends_with_the_last_network_over_it(asked: list[Piece]) -> None:
    pieces = disjoint(asked)

    for address in range(64):
        over = [one.ends for one in asked if one.start <= address <= one.last]
        held = [one.ends for one in pieces if one.start <= address <= one.last]
        assert held == ([max(over)] if over else [])
    assert pieces == sorted(pieces)


@given(networks(), st.integers(0, 63), st.integers(0, 63))
def test_a_range_is_covered_until_its_first_address_comes_free(asked: list[Piece], one: int, other: int) -> None:
    start, last = min(one, other), max(one, other)
    pieces = disjoint(asked)

    until = covered(pieces, start, last)

    ends = [max((n.ends for n in asked if n.start <= address <= n.last), default=0.0) for address in range(start, last + 1)]
    assert until == min(ends)
