"""Windows are exact, bounded, and forget the longest untouched first."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy import Count, Distinct, Held, Of
from agent.watching.keyed import Keyed
from agent.watching.window import CountWindow, DistinctWindow, HeldWindow, OfWindow, Window, window

KEYS = st.sampled_from(["a", "b", "c"])
GAPS = st.integers(0, 40)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@given(st.lists(st.tuples(KEYS, GAPS)), st.integers(1, 5), st.integers(1, 60))
def test_a_count_holds_exactly_when_so_many_events_lie_within_the_span(
    rows: list[tuple[str, int]], least: int, span: int
) -> None:
    counted, now, times = CountWindow(Count(least, seconds(span))), 0.0, defaultdict[str, list[float]](list)

    for key, gap in rows:
        now += gap
        times[key].append(now)
        expected = sum(1 for one in times[key] if one >= now - span) >= least

        assert counted.take(key, True, now) is expected


@given(st.lists(st.tuples(KEYS, st.integers(0, 6), GAPS)), st.integers(1, 5), st.integers(1, 60))
def test_distinct_holds_exactly_when_so_many_values_lie_within_the_span(
    rows: list[tuple[str, int, int]], least: int, span: int
) -> None:
    differing, now, seen = DistinctWindow(Distinct("user", least, seconds(span))), 0.0, list[tuple[str, int, float]]()

    for key, value, gap in rows:
        now += gap
        seen.append((key, value, now))
        expected = len({v for k, v, at in seen if k == key and at >= now - span}) >= least

        assert differing.take(key, value, now) is expected


@given(st.lists(st.tuples(KEYS, st.booleans())), st.integers(1, 5), st.integers(0, 4))
def test_3_of_5_holds_exactly_when_so_many_of_the_last_answers_were_true(
    rows: list[tuple[str, bool]], least: int, more: int
) -> None:
    last, seen = least + more, defaultdict[str, list[bool]](list)
    answers = OfWindow(Of(least, last))

    for number, (key, true) in enumerate(rows):
        seen[key].append(true)
        expected = true and sum(seen[key][-last:]) >= least

        assert answers.take(key, true, float(number)) is expected


def test_held_needs_the_whole_span_without_a_false_answer() -> None:
    held = HeldWindow(Held(seconds(120)))

    told = [
        held.take("db", true, at)
        for at, true in [(0.0, True), (60.0, True), (119.0, True), (120.0, True), (130.0, False), (140.0, True), (259.0, True)]
    ]

    assert told == [False, False, False, True, False, False, False]
    assert held.take("db", True, 260.0)


@pytest.mark.parametrize(("made", "other"), [(Count(2, seconds(120)), "a"), (Distinct("user", 2, seconds(120)), "b")])
def test_the_edge_of_the_span_still_counts_and_what_is_beyond_does_not(made: Count | Distinct, other: str) -> None:
    at_the_edge, beyond = window(made), window(made)
    at_the_edge.take("key", "a", 0.0)
    beyond.take("key", "a", 0.0)

    assert at_the_edge.take("key", other, 120.0)
    assert not beyond.take("key", other, 120.001)


@pytest.mark.parametrize("condition", [Count(8, seconds(120)), Distinct("user", 5, seconds(3600)), Of(3, 5), Held(seconds(60))])
def test_a_million_keys_take_no_more_room_than_the_cap_and_every_one_let_go_is_counted(
    condition: Count | Distinct | Of | Held,
) -> None:
    full = window(condition, most=1000)

    for number in range(20_000):
        full.take(number, True, number / 1000)

    assert len(full.kept) <= 1000
    assert full.kept.evictions == 20_000 - len(full.kept)


def test_what_is_touched_stays_while_strangers_pour_through() -> None:
    counted = CountWindow(Count(8, seconds(1000)), most=100)

    told = [
        [counted.take("attacker", True, turn + 0.0), *(counted.take((turn, other), True, turn + 0.5) for other in range(40))][0]
        for turn in range(8)
    ]

    assert told == [False] * 7 + [True]


def test_keys_that_no_longer_count_are_let_go_without_being_counted_as_lost() -> None:
    counted = CountWindow(Count(8, seconds(60)), most=100_000)

    for number in range(10_000):
        counted.take(number, True, number * 1.0)

    assert len(counted.kept) < 200
    assert counted.kept.evictions == 0


def test_a_long_count_follows_fewer_keys_so_that_memory_stays_the_same() -> None:
    short, long = CountWindow(Count(8, seconds(60))), CountWindow(Count(10_000, seconds(60)))

    for number in range(1_000):
        for counted in (short, long):
            counted.take(number, True, 0.0)

    assert len(short.kept) == 1_000
    assert len(long.kept) <= 100


def test_a_key_whose_answers_are_all_false_takes_no_room() -> None:
    answers = OfWindow(Of(3, 5))

    for true in (True, False, False, False, False, False):
        answers.take("shop", true, 0.0)

    assert len(answers.kept) == 0


def test_a_store_hands_over_and_copies_single_keys_without_sharing_them() -> None:
    first, second, copied = Keyed[list[int]](10), Keyed[list[int]](10), Keyed[list[int]](10)
    first.put("a", [1], 0.0)

    copied.copy_key(first, "a", 0.0)
    copied.young["a"].append(2)
    second.adopt(first)

    assert second.find("a", 0.0) == [1]
    assert copied.find("a", 0.0) == [1, 2]
    assert copied.find("b", 0.0) is None


@pytest.mark.parametrize(
    ("filled", "samples", "fill", "told"),
    [
        (CountWindow(Count(3, seconds(120))), [1, 1], "2 of 3 in 2m", "2 × k from a in 10 s (>= 3 in 2m)"),
        (
            DistinctWindow(Distinct("user", 3, seconds(3600))),
            ["x", "y"],
            "2 of 3 user in 1h",
            "2 different user in k from a in 10 s (user >= 3 in 1h)",
        ),
        (
            OfWindow(Of(3, 5)),
            [True, True],
            "true in 2 of the last 5, 3 of 5 wanted",
            "true in 2 of the last 5 × k from a (3 of 5)",
        ),
        (HeldWindow(Held(seconds(60))), [True, True], "true for 10 s, 1m wanted", "true in every k from a for 10 s (1m)"),
    ],
)
def test_a_window_says_how_full_it_is(filled: Window, samples: list[bool], fill: str, told: str) -> None:
    for number, sample in enumerate(samples):
        filled.take("a", sample, number * 10.0)

    assert filled.fill("a", 10.0) == fill
    assert filled.told("k", "a", 10.0).replace("{}", " from a") == told
    assert "0" in filled.fill("nobody", 10.0) or "not true" in filled.fill("nobody", 10.0)
