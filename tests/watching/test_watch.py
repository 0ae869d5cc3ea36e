"""Policies at work: what fires, for whom, with which words; what stays bounded; what survives a reload."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.event import Event, Value
from agent.policy import Clause, Count, Distinct, Held, Mode, Of, Part, Policy, Window
from agent.policy import Test as Line
from agent.schema import address
from agent.watching.watch import Hit, Watch

FAILURE, SUCCESS = "auth.ssh.failure", "auth.ssh.success"
ATTACKER = "203.0.113.7"


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def policy(*clauses: Clause, name: str = "p", mode: Mode | None = None, unless: tuple[Line, ...] = ()) -> Policy:
    return Policy(name, "P2", clauses, mode=mode, unless=unless)


def one(kind: str, window: Window | None = None, by: tuple[str, ...] = ("src.ip",), match: tuple[Line, ...] = ()) -> Clause:
    return Clause((Part(kind, match, window),), by)


def event(kind: str, raw: str = "", **fields: Value) -> Event:
    return Event(kind, 0.0, {name.replace("__", "."): value for name, value in fields.items()}, raw=raw)


def failure(ip: str = ATTACKER, user: str = "root", raw: str = "") -> Event:
    return event(FAILURE, raw, src__ip=ip, user=user)


def answer(ok: bool | None, name: str = "shop-http") -> Event:
    fields: dict[str, Value] = {"name": name, "state": "good" if ok else "unknown" if ok is None else "bad"}
    return Event("check", 0.0, fields if ok is None else {**fields, "ok": ok})


def play(watch: Watch, *rows: tuple[float, Event]) -> list[float]:
    """Feed; the times at which something fired."""
    return [at for at, one in rows if watch.feed(one, at)]


OK_FALSE = Line("ok", "is", False, "false")
THE_SHOP = Line("name", "is", "shop-http", "shop-http")
BRUTE = one(FAILURE, Count(8, seconds(120)))
GUESSED = Clause((Part(FAILURE, (), Count(3, seconds(300))), Part(SUCCESS)), ("src.ip",), seconds(600))


# Firing ----------------------------------------------------------------------------------------------------------------


def test_the_eighth_failure_fires_and_every_one_after_it_while_true() -> None:
    watch = Watch([policy(BRUTE)], {})

    fired = play(watch, *((at * 10.0, failure()) for at in range(10)))

    assert fired == [70.0, 80.0, 90.0]


def test_what_is_recalled_after_a_start_counts_like_what_was_fed() -> None:
    two = policy(BRUTE), policy(GUESSED, name="guessed")
    fed, recalled = Watch(two, {}), Watch(two, {})
    for at in range(7):
        fed.feed(failure(raw=f"line {at}"), at * 10.0)
        recalled.recall(failure(raw=f"line {at}"), at * 10.0)

    hits = [
        watch.feed(failure(raw="line 7"), 74.0) + watch.feed(event(SUCCESS, src__ip=ATTACKER), 80.0) for watch in (fed, recalled)
    ]

    assert [one.policy.name for one in hits[0]] == ["p", "guessed"]
    assert hits[1] == hits[0]


def test_a_hit_says_for_whom_why_and_shows_the_last_events() -> None:
    watch = Watch([policy(BRUTE)], {})
    for at in range(7):
        watch.feed(failure(raw=f"line {at}"), at * 10.0)

    (hit,) = watch.feed(failure(raw="line 7"), 74.0)

    assert hit.key == (ATTACKER,)
    assert hit.because == "8 × auth.ssh.failure from 203.0.113.7 in 1 min 14 s (>= 8 in 2m)"
    assert [one.raw for one in hit.evidence] == ["line 3", "line 4", "line 5", "line 6", "line 7"]
    assert hit.unless == ""


def test_windows_of_different_addresses_are_apart() -> None:
    watch = Watch([policy(BRUTE)], {})

    fired = play(watch, *((at * 1.0, failure(ip=f"203.0.113.{at % 2}")) for at in range(15)))

    assert fired == [14.0]


def test_an_event_without_the_field_of_by_is_ignored() -> None:
    watch = Watch([policy(one(FAILURE, by=("src.ip", "user")))], {})

    assert watch.feed(event(FAILURE, src__ip=ATTACKER), 0.0) == []
    assert watch.feed(event(FAILURE, src__ip=ATTACKER, user=""), 0.0)[0].key == (ATTACKER, "")


def test_without_by_and_window_a_single_event_fires_for_the_whole_host() -> None:
    (hit,) = Watch([policy(one("net.syn", by=()))], {}).feed(event("net.syn", cookies_rate=900), 0.0)

    assert (hit.key, hit.because, hit.evidence) == ((), "net.syn", (hit.event,))


def test_spraying_counts_different_names_not_tries() -> None:
    watch = Watch([policy(one(FAILURE, Distinct("user", 3, seconds(3600))))], {})

    fired = play(watch, *((at * 600.0, failure(user=user)) for at, user in enumerate(["a", "a", "b", "a", "b", "c"])))

    assert fired == [3000.0]


def test_two_clauses_that_hold_for_one_target_are_one_hit() -> None:
    both = policy(one(FAILURE, Count(2, seconds(60))), one(FAILURE, Distinct("user", 2, seconds(60))))
    watch = Watch([both], {})
    watch.feed(failure(user="a"), 0.0)

    hits = watch.feed(failure(user="b"), 1.0)

    assert [hit.clause for hit in hits] == [0]


def test_the_clause_that_fired_is_named() -> None:
    watch = Watch([policy(one(FAILURE, Count(9, seconds(60))), one(FAILURE, Distinct("user", 2, seconds(60))))], {})
    watch.feed(failure(user="a"), 0.0)

    (hit,) = watch.feed(failure(user="b"), 2.0)

    assert (hit.clause, hit.because) == (1, "2 different user in auth.ssh.failure from 203.0.113.7 in 2 s (user >= 2 in 1m)")


# Answers ----------------------------------------------------------------------------------------------------------------


def test_3_of_5_survives_a_good_answer_in_between_but_not_three() -> None:
    down = policy(one("check", Of(3, 5), by=(), match=(THE_SHOP, OK_FALSE)))
    rows = [(float(at), answer(ok)) for at, ok in enumerate([False, True, False, False, True, True, True, False, False, False])]

    assert play(Watch([down], {}), *rows) == [3.0, 9.0]


def test_3_of_5_asks_about_the_named_check_whatever_others_answer_in_between() -> None:
    watch = Watch([policy(one("check", Of(3, 5), by=(), match=(THE_SHOP, OK_FALSE)))], {})
    others = [answer(True, name=f"other-{number}") for number in range(20)]

    fired = [at for at in range(3) for row in (*others, answer(False)) if watch.feed(row, float(at))]

    assert fired == [2]


def test_a_state_that_is_asked_for_decides_and_the_name_beside_it_chooses() -> None:
    bad = Line("state", "is", "bad", "bad")
    watch = Watch([policy(one("check", Of(2, 3), by=(), match=(THE_SHOP, bad)))], {})
    others = [(at + part / 5, answer(True, name=f"other-{part}")) for at in range(5) for part in (1, 2, 3)]
    own = [(float(at), answer(ok)) for at, ok in enumerate([False, True, True, False, False])]

    assert play(watch, *sorted(own + others, key=lambda row: row[0])) == [4.0]


def test_where_only_text_is_asked_for_all_of_it_decides() -> None:
    firing = Line("alertname", "is", "ShopDown", "ShopDown")
    watch = Watch([policy(one("alert", Of(2, 2), by=(), match=(firing,)))], {})
    names = ["ShopDown", "Other", "ShopDown", "ShopDown"]

    assert play(watch, *((float(at), event("alert", alertname=name)) for at, name in enumerate(names))) == [3.0]


def test_only_answers_that_were_true_are_evidence() -> None:
    watch = Watch([policy(one("check", Of(3, 5), by=(), match=(THE_SHOP, OK_FALSE)))], {})
    hits = [hit for at, ok in enumerate([False, True, False, False]) for hit in watch.feed(answer(ok), float(at))]

    assert [one.get("ok") for one in hits[0].evidence] == [False, False, False]


def test_an_unknown_answer_never_makes_a_policy_fire() -> None:
    watch = Watch([policy(one("check", Of(1, 5), by=(), match=(THE_SHOP, OK_FALSE)))], {})

    assert play(watch, *((float(at), answer(None)) for at in range(10))) == []


def test_for_2m_fires_only_when_no_answer_in_between_was_good() -> None:
    watch = Watch([policy(one("check", Held(seconds(120)), by=("name",), match=(OK_FALSE,)))], {})
    rows = [(at * 30.0, answer(ok)) for at, ok in enumerate([False, False, True, False, False, False, False, False])]

    fired = play(watch, *rows)

    assert fired == [210.0]


# Sequences --------------------------------------------------------------------------------------------------------------


def guess(watch: Watch, success_at: float) -> list[Hit]:
    for at in range(3):
        watch.feed(failure(user="bob", raw=f"failed {at}"), at * 10.0)
    return watch.feed(event(SUCCESS, "accepted", src__ip=ATTACKER, method="password"), success_at)


def test_success_after_failures_fires_with_the_fields_and_lines_of_both() -> None:
    (hit,) = guess(Watch([policy(GUESSED)], {}), 60.0)

    assert hit.key == (ATTACKER,)
    assert hit.event.fields == {"src.ip": ATTACKER, "user": "bob", "method": "password"}
    assert hit.because == ("auth.ssh.failure (>= 3 in 5m), then auth.ssh.success from 203.0.113.7 in 40 s (within 10m)")
    assert [one.raw for one in hit.evidence] == ["failed 0", "failed 1", "failed 2", "accepted"]


def test_success_too_late_first_or_from_elsewhere_does_not_fire() -> None:
    late, first, elsewhere = (Watch([policy(GUESSED)], {}) for _ in range(3))

    first.feed(event(SUCCESS, src__ip=ATTACKER), 0.0)
    for at in range(3):
        first.feed(failure(), 1.0 + at)
        elsewhere.feed(failure(), 1.0 + at)

    assert guess(late, 620.1) == []
    assert first.feed(failure(), 5.0) == []
    assert elsewhere.feed(event(SUCCESS, src__ip="198.51.100.1"), 5.0) == []


def test_later_failures_keep_a_sequence_waiting() -> None:
    watch = Watch([policy(GUESSED)], {})
    for at in (0.0, 1.0, 2.0, 200.0, 201.0, 202.0):
        watch.feed(failure(), at)

    assert len(watch.feed(event(SUCCESS, src__ip=ATTACKER), 790.0)) == 1


def test_one_event_never_stands_for_two_parts() -> None:
    twice = policy(Clause((Part("a"), Part("a"), Part("b")), (), seconds(60)))
    watch = Watch([twice], {})

    short = play(watch, (0.0, event("a")), (1.0, event("b")))
    long = play(watch, (2.0, event("a")), (3.0, event("b")))

    assert (short, long) == ([], [3.0])


def test_a_sequence_of_a_forgeable_event_is_forgeable() -> None:
    watch = Watch([policy(Clause((Part("a"), Part("b")), (), seconds(60)))], {})
    watch.feed(event("a")._replace(forgeable=True), 0.0)

    (hit,) = watch.feed(event("b"), 1.0)

    assert hit.event.forgeable


# Left alone, off --------------------------------------------------------------------------------------------------------


def test_an_address_on_a_list_is_left_alone_with_the_reason() -> None:
    office = Line("src.ip", "list", ("office", "monitoring"), "[office, monitoring]")
    watch = Watch([policy(one(FAILURE), unless=(office,))], {"office": [address("198.51.100.0/24")], "monitoring": []})

    (own,) = watch.feed(failure(ip="198.51.100.4"), 0.0)
    (other,) = watch.feed(failure(), 0.0)

    assert own.unless == "`unless` holds: src.ip = 198.51.100.4, which is on the list office (198.51.100.0/24)"
    assert other.unless == ""


def test_a_policy_that_is_off_is_not_fed_and_nobody_wants_its_events() -> None:
    watch = Watch([policy(one("a"), mode="off"), policy(one("b"), name="q", mode="dry_run"), policy(GUESSED, name="r")], {})

    assert watch.wants() == {"b", FAILURE, SUCCESS}
    assert watch.feed(event("a", src__ip=ATTACKER), 0.0) == []


def test_stored_events_are_wanted_as_far_back_as_the_longest_window_reaches() -> None:
    watch = Watch([policy(BRUTE, one(FAILURE, Distinct("user", 5, seconds(3600)))), policy(GUESSED, name="q")], {})

    assert watch.longest() == 3600.0
    assert Watch([policy(GUESSED)], {}).longest() == 900.0
    assert Watch([], {}).longest() == 0.0


# Time -------------------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_by_an_hour_neither_fires_early_nor_stops_the_counting() -> None:
    watch = Watch([policy(BRUTE)], {})
    before = [(10_000.0 + at, failure()) for at in range(7)]
    after = [(6_400.0 + at, failure()) for at in range(130, 139)]

    fired = play(watch, *before, (6_400.0, event(FAILURE, src__ip="198.51.100.1")), *after)

    assert fired == [6_537.0, 6_538.0]


def test_batches_a_little_out_of_step_are_all_counted() -> None:
    watch = Watch([policy(BRUTE)], {})

    fired = play(watch, *((100.0 + at - (at % 2) * 1.5, failure()) for at in range(8)))

    assert fired == [105.5]


def test_a_clock_set_forward_lets_go_of_what_is_old() -> None:
    watch = Watch([policy(BRUTE)], {})

    fired = play(watch, *((float(at), failure()) for at in range(7)), *((1e9 + at, failure()) for at in range(8)))

    assert fired == [1e9 + 7]


# Bounds -----------------------------------------------------------------------------------------------------------------


def test_a_flood_of_addresses_and_long_names_is_bounded_and_counted() -> None:
    sequence = Clause((Part(FAILURE), Part(SUCCESS)), ("user",), seconds(600))
    watch = Watch([policy(BRUTE), policy(sequence, name="q")], {}, most=500)

    for number in range(5_000):
        watch.feed(failure(ip=f"10.0.{number >> 8}.{number & 255}", user=f"{number}" + "x" * 4096), number / 1000)

    assert sum(len(store) for live in watch.live for store in live.stores) <= 1000
    assert watch.evictions >= 8_000
    assert all(len(str(key)) <= 256 for key in watch.live[1].stores[-1].young)


def test_keys_far_from_a_finding_take_no_room_from_the_evidence_of_one_that_is_near() -> None:
    watch = Watch([policy(BRUTE)], {})
    for at in range(7):
        watch.feed(failure(raw=f"line {at}"), float(at))
    for number in range(3 * 5_000):
        watch.feed(failure(ip=f"10.0.{number % 5_000 >> 8}.{number & 255}"), 10.0)

    (hit,) = watch.feed(failure(raw="line 7"), 20.0)

    assert [one.raw for one in hit.evidence] == ["line 3", "line 4", "line 5", "line 6", "line 7"]


def test_what_the_log_chose_cannot_reach_a_terminal_in_a_reason() -> None:
    (hit,) = Watch([policy(one(FAILURE, by=("user",)))], {}).feed(failure(user="\x1b[2J\u202eroot\n"), 0.0)

    assert hit.because == "auth.ssh.failure for \\x1b[2J\\u202eroot\\n"


# Reload -----------------------------------------------------------------------------------------------------------------


def reloaded(old: Watch, *policies: Policy) -> Watch:
    new = Watch(policies, {})
    new.adopt(old)
    return new


def test_a_reload_keeps_the_windows_of_clauses_that_did_not_change() -> None:
    old = Watch([policy(BRUTE), policy(GUESSED, name="q")], {})
    for at in range(7):
        old.feed(failure(), float(at))

    new = reloaded(old, policy(GUESSED, name="q"), replace(policy(BRUTE), title="retitled", mode="dry_run"))

    assert [one.policy.name for one in new.feed(failure(), 8.0)] == ["p"]
    assert [one.policy.name for one in new.feed(event(SUCCESS, src__ip=ATTACKER), 9.0)] == ["q"]


def test_a_reload_after_the_clock_was_set_back_goes_on_counting() -> None:
    old = Watch([policy(BRUTE)], {})
    play(old, *((10_000.0 + at, failure()) for at in range(4)), *((6_400.0 + at, failure()) for at in range(3)))

    new = reloaded(old, policy(BRUTE))

    assert len(new.feed(failure(), 6_403.0)) == 1
    assert new.clock == 10_006.0


@pytest.mark.parametrize(
    "changed", [one(FAILURE, Count(8, seconds(119))), one(FAILURE, Count(8, seconds(120)), by=("user",)), one("x")]
)
def test_a_reload_empties_the_windows_of_clauses_that_changed(changed: Any) -> None:
    old = Watch([policy(BRUTE)], {})
    for at in range(7):
        old.feed(failure(), float(at))

    assert reloaded(old, policy(changed)).feed(failure(), 8.0) == []


def test_asking_what_if_counts_nothing() -> None:
    watch = Watch([policy(BRUTE)], {})
    for at in range(7):
        watch.feed(failure(), float(at))

    asked = [len(watch.beside(failure(), 8.0).feed(failure(), 8.0)) for _ in range(3)]
    stranger = watch.beside(failure(ip="198.51.100.1"), 8.0).feed(failure(), 8.0)

    assert asked == [1, 1, 1]
    assert stranger == []
    assert len(watch.feed(failure(), 9.0)) == 1
