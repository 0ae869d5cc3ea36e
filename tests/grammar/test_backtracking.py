"""The bound on what a text can cost an expression: never below what grows in truth, and not above it for what is harmless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.grammar.backtracking import cost, power

LINEAR = [
    "",
    "nikto|sqlmap",
    "^/wp-[a-z]+",
    r'^[^"]*"[^"]*" [^ ]+ x',
    r'"name": "([^"\n]*)"',
    r"(\d{1,3}\.){3}\d+",
    r"\w{1,64}@evil",
    "^.*evil",
    "(?i)^(?:GET|POST) /x",
    "(?m)^[^\n]* x$",
    r"^(?:[a-c]{3};){2,9}x",
]
SQUARE = ["a+b", "union.*select", "^.*a.*b", r"\d+\.\d+", ".*evil", r"(?m)^\s*x", "(?>a+)b", "x*+y"]
CUBIC = ["^.*.*.*x", "^(?i:a)*A*A*x", r"^(?s:.)*[\n]*.*x", ".*a.*b", "^ё*ё*ё*x", r"(?i)^\u0401*ё*ё*x", "^[а-я]*[й-ё]*[ё-ѓ]*x"]


@pytest.mark.parametrize("text", LINEAR)
def test_what_is_linear_is_found_to_be(text: str) -> None:
    assert power(re.compile(text)) < 1.1


@pytest.mark.parametrize(("text", "least"), [*((text, 1.9) for text in SQUARE), *((text, 2.8) for text in CUBIC)])
def test_what_grows_faster_is_found_to_do_so(text: str, least: float) -> None:
    assert power(re.compile(text)) > least


@pytest.mark.parametrize("text", ["(a+)+$", "(a*)*", "(a|aa)+$", r"(?:[\w-]+\.)+com", r"(\w)\1", r"(a)?(?(1)b|c)"])
def test_what_may_be_beyond_all_bounds_has_none(text: str) -> None:
    with pytest.raises(ValueError, match="slow"):
        cost(re.compile(text), 100, search=True)


@pytest.mark.parametrize("text", ["(a?){30}$", "(.{0,20}){0,20}$", "(a|ab|abc){40}$"])
def test_many_choices_one_after_another_multiply(text: str) -> None:
    assert cost(re.compile(text), 4096, search=True) > 1e9


def test_an_end_that_must_be_met_costs_what_a_free_one_does_not() -> None:
    free, whole = (cost(re.compile("a.*b.*c"), 1000, search=False, whole=whole) for whole in (False, True))

    assert free < whole


PIECES = ["a", ".", "[ab]", "[^a]", "a*", "b+", ".*", ".*?", "[ab]{2,9}", "(?:ab)?", "(?:a|b)", "^", "$", r"\b", "(?=a)", "a{3}"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.booleans(), st.booleans())
def test_every_expression_has_a_bound_that_grows_with_the_text(text: str, search: bool, whole: bool) -> None:
    pattern = re.compile(text)

    bounds = [cost(pattern, longest, search=search, whole=whole) for longest in (1, 10, 100, 1000)]

    assert bounds == sorted(bounds)
    assert bounds[0] > 0
