"""Examples and tests of policies: they pass where they should, and say what came where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from agent.action import Change, action
from agent.event import Event
from agent.policy import Clause, Count, Example, Limits, Of, Part, Policy, Step
from agent.policy import Test as Line
from agent.schema import Address, Ttl
from agent.schema import address as network
from agent.watching.policy_tests import Case, Done, Expectation, Report, examples, run
from agent.watching.watch import Hit

IP = "203.0.113.7"
OFFICE = Line("src.ip", "list", ("office",), "office")


@action(impact="mild")
class Deny:
    """Stand in for any action; nothing here plans it."""

    ip: Address
    ttl: Ttl
    ports: tuple[int, ...] = ()

    def plan(self) -> list[Change]:
        return []


_named: Any = Deny
_named.name = "deny"


def deny(ttl: str = "1h x2 up to 7d", **options: Any) -> Step:
    return Step(Deny, {"ttl": Ttl.read(ttl), **options.pop("literal", {})}, {"ip": "src.ip"}, **options)


def guessing(*steps: Step, name: str = "guessing", **more: Any) -> Policy:
    clause = Clause((Part("login", (), Count(3, timedelta(minutes=2))),), ("src.ip",))
    return Policy(name, "P2", (clause,), steps or (deny(),), **more)


def logins(number: int, every: float = 10.0, start: float = 0.0, ip: str | None = IP) -> tuple[tuple[float, Event], ...]:
    fields = {} if ip is None else {"src.ip": ip}
    return tuple((start + every * one, Event("login", 0.0, fields)) for one in range(number))


def played(policy: Policy, events: tuple[tuple[float, Event], ...], *expect: Expectation | str, exact: bool = True) -> str:
    """Run one case; why it failed, or ''."""
    wanted = tuple(Expectation(one) if isinstance(one, str) else one for one in expect)
    return run([Case("a case", (policy,), events, wanted, exact)], {"office": [network("198.51.100.0/24")]}).rows[0].because


def test_an_action_that_comes_is_ok_with_its_parameters_in_any_order() -> None:
    assert played(guessing(), logins(3), "deny(ip=203.0.113.7, ttl=1h x2 up to 7d)") == ""
    assert played(guessing(), logins(3), "deny(ttl=1h x2 up to 7d,ip=203.0.113.7)") == ""
    assert (
        played(guessing(deny(literal={"ports": (80, 443)}, ttl="1h")), logins(3), f"deny(ip={IP}, ttl=1h, ports=[80,443])") == ""
    )


def test_a_failure_says_what_was_expected_and_what_came() -> None:
    wrong = played(guessing(), logins(3), "deny(ip=203.0.113.8, ttl=1h x2 up to 7d)", exact=False)
    nothing = played(guessing(), logins(2), "deny(ip=203.0.113.7, ttl=1h)")

    assert wrong == (
        "expected deny(ip=203.0.113.8, ttl=1h x2 up to 7d), "
        "got finding at 20s (P2), deny(ip=203.0.113.7, ttl=1h x2 up to 7d) at 20s"
    )
    assert nothing == "expected deny(ip=203.0.113.7, ttl=1h), got nothing"


def test_nothing_expected_and_nothing_come_is_ok_and_a_finding_is_something() -> None:
    assert played(guessing(), logins(2)) == ""
    assert played(guessing(), logins(2), "none") == ""
    assert played(guessing(), logins(3)).startswith("expected nothing, got finding at 20s")


def test_an_example_allows_no_action_beside_the_expected_ones() -> None:
    two = guessing(deny("1h"), deny("2h"))

    assert played(two, logins(3), f"deny(ip={IP}, ttl=1h)") == f"did not expect deny(ip={IP}, ttl=2h) at 20s"
    assert played(two, logins(3), f"deny(ip={IP}, ttl=1h)", exact=False) == ""


def test_a_policy_without_steps_is_tested_by_its_finding() -> None:
    notes = Policy("notes", "P1", guessing().when)

    assert played(notes, logins(3), "finding") == ""
    assert played(notes, logins(3), Expectation("finding", at=20.0, state="P1")) == ""
    assert played(notes, logins(3), Expectation("finding", state="P0")) == "expected finding (P0), got finding at 20s (P1)"
    assert played(notes, logins(2), "finding") == "expected finding, got nothing"


def test_times_and_the_moment_are_held_against_what_came() -> None:
    act = f"deny(ip={IP}, ttl=1h x2 up to 7d)"

    assert played(guessing(), logins(9), Expectation(act, at=20.0, times=1)) == ""
    assert played(guessing(), logins(9), Expectation(act, times=2)) == ""
    assert "at 30s, got" in played(guessing(), logins(9), Expectation(act, at=30.0))
    assert "1 times, got" in played(guessing(), logins(9), Expectation(act, times=1))


def test_what_unless_leaves_alone_does_nothing() -> None:
    assert played(guessing(unless=(OFFICE,)), logins(9, ip="198.51.100.4")) == ""
    assert played(guessing(unless=(OFFICE,)), logins(9)) != ""


def test_a_later_step_comes_only_where_the_condition_holds_again() -> None:
    later = guessing(deny("1h"), deny("2h", after=timedelta(seconds=60)))
    first, second = f"deny(ip={IP}, ttl=1h)", f"deny(ip={IP}, ttl=2h)"

    assert played(later, logins(3), first) == ""
    assert played(later, logins(4), first, Expectation(second, at=80.0)) == ""


def test_a_step_without_its_field_is_refused_or_skipped_where_it_is_optional() -> None:
    clause = Clause((Part("login"),))
    plain, optional = (Policy("p", "P2", (clause,), (deny(optional=one),)) for one in (False, True))

    refused = played(plain, logins(1, ip=None), Expectation("deny", state="refused: $src.ip is empty in this event"))

    assert refused == ""
    assert played(optional, logins(1, ip=None), "finding") == ""


def test_a_policy_that_is_off_or_in_dry_run_is_tested_all_the_same() -> None:
    assert played(guessing(mode="off"), logins(3), f"deny(ip={IP}, ttl=1h x2 up to 7d)") == ""
    assert played(guessing(mode="dry_run"), logins(3), f"deny(ip={IP}, ttl=1h x2 up to 7d)") == ""


def report(*policies: Policy) -> Report:
    return run(examples(policies), {})


def test_examples_run_each_for_its_own_policy_and_a_row_says_where_it_stands() -> None:
    good = Example("three logins", logins(3), (f"deny(ip={IP}, ttl=1h x2 up to 7d)",), "a.yaml:9")
    bad = Example("two logins", logins(2), ("finding",), "b.yaml:7")

    told = report(guessing(examples=(good,)), guessing(name="other", examples=(bad,)))

    assert [str(row) for row in told.rows] == [
        "ok    a.yaml:9: three logins",
        "FAIL  b.yaml:7: two logins\n      expected finding, got nothing",
    ]
    assert told.failed == 1


def test_coverage_names_the_policies_and_clauses_that_never_fired() -> None:
    down = Clause((Part("check", (Line("ok", "is", False, "false"),), Of(3, 5)),))
    both = Policy("both", "P2", (*guessing().when, down), examples=(Example("x", logins(3), ("finding",)),))
    idle = Policy("idle", "P2", (down,), examples=(Example("y", (), ()),), guard=Limits())

    assert report(both, idle).coverage == "1 of 2 policies fired in some test; idle, both clause 2 never"
    assert report(guessing(examples=(Example("x", logins(3), ("finding",)),))).coverage == "1 of 1 policies fired in some test"


class Careful:
    """A decider that refuses everything, as flow.py's guard may."""

    def found(self, hit: Hit, now: float) -> Iterator[Done]:
        yield Done(now, hit.policy.name, "deny", "refused: guard.max 1 per 10m")

    def passed(self, now: float) -> Iterator[Done]:
        yield from ()


def test_another_decider_takes_the_place_of_the_rehearsal() -> None:
    case = Case("guard", (guessing(),), logins(3), (Expectation("deny", at=20.0, state="refused: guard.max 1 per 10m"),))

    assert run([case], {}, Careful).failed == 0
