"""Explanations: what each policy would make of an event, and nothing that a log line could do to a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.action import Change, action
from agent.event import Event, Value
from agent.policy import Clause, Count, Distinct, Limits, Of, Part, Policy, Rate, Step
from agent.policy import Test as Ask
from agent.schema import Address, Duration, Ttl
from agent.schema import address as network
from agent.visible import visible
from agent.watching.explain import Explained, Line, explain, spell_action, text
from agent.watching.watch import Watch

IP, RAW = "203.0.113.7", "Failed password for root from 203.0.113.7 port 5112 ssh2"
LISTS = {"office": [network("198.51.100.0/24")]}


@action(impact="mild")
class Slow:
    """Stand in for any action; nothing here plans it."""

    ip: Address
    ttl: Ttl
    wait: Duration | None = None
    ports: tuple[int, ...] = ()
    hard: bool = False

    def plan(self) -> list[Change]:
        return []


_named: Any = Slow
_named.name = "slow"

STEP = Step(Slow, {"ttl": Ttl.read("1h")}, {"ip": "src.ip"})
COUNT = Clause((Part("failure", (), Count(8, timedelta(minutes=2))),), ("src.ip",))
SPRAY = Clause((Part("failure", (), Distinct("user", 5, timedelta(hours=1))),), ("src.ip",))
GUESSED = Clause((Part("failure", (), Count(2, timedelta(minutes=5))), Part("success")), ("src.ip",), timedelta(minutes=10))
OFFICE = Ask("src.ip", "list", ("office",), "office")


def policy(*when: Clause, then: Sequence[Step] = (STEP,), **more: Any) -> Policy:
    return Policy("p", "P2", when, tuple(then), **more)


def failure(ip: str = IP, **fields: Value) -> Event:
    return Event("failure", 0.0, {"src.ip": ip, "user": "root", **fields}, "sshd", raw=RAW, forgeable=True)


def watched(one: Policy, failures: int = 0) -> Watch:
    watch = Watch([one], LISTS)
    for at in range(failures):
        watch.feed(failure(), float(at))
    return watch


def lines(told: Explained) -> list[tuple[str, str]]:
    return [(line.answer, line.say) for line in told.told[0].lines]


def test_the_tree_reads_from_the_log_line_down_to_the_step() -> None:
    guard = Limits(Rate(50, timedelta(minutes=10)), 2000, timedelta(minutes=5), ("office",))
    watch = watched(policy(COUNT, SPRAY, unless=(OFFICE,), guard=guard), failures=2)

    told = text(explain(watch, failure(), 74.0))

    assert told.splitlines() == [
        RAW,
        "└ sshd → failure   src.ip=203.0.113.7 user=root   (text can be forged)",
        "  └ p   P2   does not fire",
        "           clause 1 of 2",
        "      yes  event failure",
        "      no   count 3 of 8 in 2m from 203.0.113.7",
        "           clause 2 of 2",
        "      yes  event failure",
        "      no   distinct 1 of 5 user in 1h from 203.0.113.7",
        "      no   unless src.ip = 203.0.113.7   (wanted: list office)",
        "           guard: at most 50 per 10m",
        "           guard: at most 2000 in force",
        "           guard: not again within 5m",
        "           guard: never what is on office",
        "           then: slow(ip=203.0.113.7, ttl=1h)",
    ]


def test_explaining_counts_nothing() -> None:
    watch = watched(policy(COUNT), failures=6)

    told = [explain(watch, failure(), 10.0).told[0] for _ in range(5)]

    assert {(one.fires, one.lines[1].say) for one in told} == {(False, "count 7 of 8 in 2m from 203.0.113.7")}


def test_the_event_that_would_fire_says_so_and_why() -> None:
    told = explain(watched(policy(COUNT), failures=7), failure(), 10.0)

    assert told.told[0].fires
    assert lines(told)[1] == ("yes", "8 × failure from 203.0.113.7 in 10 s (>= 8 in 2m)")


def test_each_line_of_a_match_says_the_value_and_what_was_wanted() -> None:
    match = (
        Ask("ok", "is", False, "false"),
        Ask("value", "gt", 5.0, "5"),
        Ask("name", "in", frozenset({"a"}), "[a, b]"),
    )
    clause = Clause((Part("check", match, Of(3, 5)),))
    event = Event("check", 0.0, {"ok": False, "value": 4.0, "name": "a"})

    told = explain(watched(policy(clause, then=())), event, 0.0)

    assert told.told[0].lines == (
        Line("yes", "event check"),
        Line("yes", "ok = false", "false"),
        Line("no", "value = 4.0", "gt 5"),
        Line("yes", "name = a", "[a, b]"),
        Line("no", "for: true in 0 of the last 5, 3 of 5 wanted"),
        Line("", "then: an incident, no action"),
    )


def test_a_sequence_says_for_which_part_it_waits() -> None:
    watch = watched(policy(GUESSED))

    first = lines(explain(watch, failure(), 0.0))
    watch.feed(failure(), 0.0)
    waiting = lines(explain(watch, failure(), 30.0))
    watch.feed(failure(), 30.0)
    done = explain(watch, Event("success", 0.0, {"src.ip": IP}), 90.0)

    assert first[1] == ("no", "sequence from 203.0.113.7: part 1 of 2 (failure): 1 of 2 in 5m")
    assert waiting[1] == ("no", "sequence from 203.0.113.7: waiting for part 2 of 2 (success) for another 10 min")
    assert lines(done)[1] == ("yes", "failure (>= 2 in 5m), then success from 203.0.113.7 in 1 min (within 10m)")


def test_what_is_left_alone_does_not_fire_and_says_why() -> None:
    told = explain(watched(policy(Clause((Part("failure"),)), unless=(OFFICE,))), failure("198.51.100.4"), 0.0).told[0]

    assert not told.fires
    assert told.say == (
        "fires, but leaves it alone: `unless` holds: src.ip = 198.51.100.4, which is on the list office (198.51.100.0/24)"
    )


def test_an_absent_field_of_by_and_of_a_step_is_named() -> None:
    told = lines(explain(watched(policy(COUNT)), Event("failure", 0.0, {}), 0.0))

    assert told[1:] == [
        ("no", "src.ip is absent, and `by` needs it"),
        ("", "then: refuses slow: $src.ip is empty in this event"),
    ]


def test_a_policy_that_is_off_and_a_kind_nobody_listens_to_are_said() -> None:
    off = explain(watched(policy(COUNT, mode="off")), failure(), 0.0)
    nobody = explain(watched(policy(COUNT)), Event("other", 0.0, {}), 0.0)

    assert (off.told[0].fires, off.told[0].say) == (False, "off: it is not watched")
    assert (nobody.others, text(nobody)) == (1, "other\n└ no policy listens to other")


def test_a_later_and_an_optional_step_say_so() -> None:
    steps = (
        Step(Slow, STEP.literal, STEP.variable, after=timedelta(seconds=60)),
        Step(Slow, STEP.literal, {"ip": "none"}, optional=True),
    )

    told = lines(explain(watched(policy(COUNT, then=steps)), failure(), 0.0))

    assert [say for _, say in told[2:]] == [
        "then: slow(ip=203.0.113.7, ttl=1h), 1m later if it still fires",
        "then: skips slow: $none is empty in this event",
    ]


def test_an_action_is_spelled_as_ops_write_it_without_its_defaults() -> None:
    plain = Slow(network(IP), Ttl.read("1h x2 up to 7d"))
    full = Slow(network("10.0.0.0/8"), Ttl.read("forever"), timedelta(minutes=2), (80, 443), True)

    assert spell_action(plain) == "slow(ip=203.0.113.7, ttl=1h x2 up to 7d)"
    assert spell_action(full) == "slow(ip=10.0.0.0/8, ttl=forever, wait=2m, ports=[80, 443], hard=true)"


# What a log line can hold --------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_nothing_in_a_log_line_reaches_the_terminal_as_it_is(raw: str, user: str) -> None:
    by_user = Clause((Part("failure", (Ask("user", "not", frozenset({"x"}), "x"),)),), ("user",))
    event = failure(user=user)._replace(raw=raw, source=user)

    told = text(explain(watched(policy(by_user)), event, 0.0))

    assert all(line.isprintable() for line in told.split("\n"))
    assert len(told.split("\n")) <= 7


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("one\ntwo\r", "one\\ntwo\\r"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\udcff", "\\udcff"),
        ("\x9b31m", "\\x9b31m"),
        ("Grüße 日本", "Grüße 日本"),
    ],
)
def test_control_and_direction_characters_are_written_out_and_other_text_stays(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert visible("x" * 5000, 10) == "xxxxxxxxx…"
    assert visible("x" * 10, 10) == "x" * 10
