"""Counts have an end, whoever chooses what is counted, and histograms say what Prometheus expects of them."""

from __future__ import annotations

from agent.metrics.tally import BUCKETS, MOST, OTHER, Histogram, Tally, counted


def test_a_duration_lies_in_the_bucket_that_ends_with_it() -> None:
    made = Histogram()

    for seconds in (0.0005, 0.001, 0.0011, 60.0, 61.0):
        made.add(seconds)

    assert made.counts[:2] == [2, 1]
    assert made.counts[-2:] == [1, 1]
    assert sum(made.counts) == 5
    assert len(made.counts) == len(BUCKETS) + 1


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    made = Histogram()

    made.add(-3600.0, 10)

    assert made.counts[0] == 10
    assert made.total == 0.0


def test_labels_beyond_the_most_are_counted_as_other_and_none_is_lost() -> None:
    made = Tally()

    for number in range(10 * MOST):
        made.add((f"policy-{number}", "enforce"))
    made.add(("policy-0", "enforce"))

    assert len(made.counts) == MOST + 1
    assert made.counts["policy-0", "enforce"] == 2
    assert made.counts[OTHER, OTHER] == 9 * MOST
    assert len(made.rows((f"more-{number}", "off") for number in range(MOST))) == MOST + 1
    assert len(counted(((str(number),), 1) for number in range(10 * MOST))) == MOST + 1


def test_what_never_happened_is_told_as_nought_where_it_is_asked_for() -> None:
    made = Tally()
    made.add(("limit",), 2)

    rows = made.rows([("limit",), ("lifeline",)])

    assert rows == [[["limit"], 2], [["lifeline"], 0]]
