"""Events are shown to the clauses that can take them, and to no other; and what fires is what would fire if all were asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event, Value
from agent.policy import Clause, Count, Distinct, Part, Policy
from agent.policy import Test as Line
from agent.watching.listening import MOST_VALUES, listening
from agent.watching.watch import Watch

MINUTE = timedelta(minutes=1)


def policy(name: str, *parts: Part, by: tuple[str, ...] = ("src.ip",)) -> Policy:
    return Policy(name, "P2", (Clause(parts, by, MINUTE if len(parts) > 1 else None),))


def named(value: Value) -> Line:
    return Line("name", "is", value, str(value))


def among(*values: Value) -> Line:
    return Line("name", "in", frozenset(values), "…")


def event(kind: str, **fields: Value) -> Event:
    return Event(kind, 0.0, {name.replace("__", "."): value for name, value in fields.items()})


def asked(watch: Watch, one: Event) -> list[str]:
    """The policies that are asked about an event."""
    found = listening(watch.live)[one.kind]
    return [live.policy.name for _, group in found.by_value.get(one.fields.get(found.field), found.others) for live in group]


def test_of_a_hundred_policies_about_a_hundred_checks_an_answer_is_shown_to_one() -> None:
    policies = [policy(f"p{at}", Part("check", (named(f"c{at}"),)), by=("name",)) for at in range(100)]
    watch = Watch([*policies, policy("every", Part("check"), by=("name",))], {})

    assert asked(watch, event("check", name="c42")) == ["p42", "every"]
    assert asked(watch, event("check", name="another")) == ["every"]
    assert asked(watch, event("check")) == ["every"]


def test_a_sequence_is_shown_what_any_of_its_parts_can_take() -> None:
    first, then = Part("check", (named("db"),)), Part("check", (among("shop", "api"),))
    watch = Watch([policy("sequence", first, then, by=("name",)), policy("other", Part("check", (named("x"),)))], {})

    shown = [asked(watch, event("check", name=name)) for name in ("db", "shop", "api", "x", "y")]

    assert shown == [["sequence"], ["sequence"], ["sequence"], ["other"], []]


def test_a_clause_that_names_thousands_of_values_is_asked_instead_of_indexed() -> None:
    many = among(*(f"user{at}" for at in range(MOST_VALUES + 1)))
    watch = Watch([policy("many", Part("auth", (many,))), policy("one", Part("auth", (named("root"),)))], {})

    assert set(listening(watch.live)["auth"].by_value) == {"root"}
    assert asked(watch, event("auth", name="user7")) == ["many"]


def test_true_and_one_are_the_same_to_an_index_as_they_are_to_a_match() -> None:
    watch = Watch([policy("flag", Part("check", (Line("ok", "is", True, "true"),)), by=())], {})

    assert [bool(watch.feed(event("check", ok=value), 0.0)) for value in (True, 1, 1.0, False, None)] == [True] * 3 + [False] * 2


VALUES = st.sampled_from(["a", "b", "c", True, 1, 0, None])
LINES = st.one_of(
    VALUES.filter(lambda one: one is not None).map(named),
    st.frozensets(VALUES.filter(lambda one: one is not None), min_size=1).map(lambda values: among(*values)),
    st.just(Line("name", "exists", True, "true")),
    st.sampled_from(["a", "b"]).map(lambda value: Line("user", "is", value, value)),
)
WINDOWS = st.sampled_from([None, Count(2, MINUTE), Distinct("user", 2, MINUTE)])
PARTS = st.builds(Part, st.sampled_from(["x", "y"]), st.lists(LINES, max_size=2).map(tuple), WINDOWS)
BY: Sequence[tuple[str, ...]] = [("src.ip",), ("user",), ()]
RULES = st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=2), st.sampled_from(BY)), min_size=1, max_size=6)
EVENTS = st.lists(
    st.builds(
        lambda kind, name, user, ip: event(kind, **{key: v for key, v in (("name", name), ("user", user), ("src__ip", ip)) if v}),
        st.sampled_from(["x", "y"]),
        VALUES,
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["192.0.2.1", "192.0.2.2", None]),
    ),
    max_size=12,
)


@given(RULES, EVENTS)
def test_what_fires_is_what_would_fire_if_every_policy_were_alone_in_the_order_of_the_policies(
    rules: list[tuple[list[Part], tuple[str, ...]]], events: list[Event]
) -> None:
    policies = [policy(f"p{at}", *parts, by=by) for at, (parts, by) in enumerate(rules)]
    together, alone = Watch(policies, {}), [Watch([one], {}) for one in policies]

    for at, one in enumerate(events):
        hits = [(hit.policy.name, hit.key, hit.because) for hit in together.feed(one, float(at))]
        apart = [(hit.policy.name, hit.key, hit.because) for each in alone for hit in each.feed(one, float(at))]

        assert hits == apart
