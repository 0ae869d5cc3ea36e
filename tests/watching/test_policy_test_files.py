"""Files of policy tests: what they may say, and where their mistakes are."""

from __future__ import annotations

import pytest

from agent.grammar.located import Problems
from agent.watching.policy_test_files import read_tests
from agent.watching.policy_tests import Report, run
from tests.catalogue import CATALOGUE, LISTS

POLICY = """
policy: guessing
severity: P2
when: {event: auth.ssh.failure, by: src.ip, count: ">= 8 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h x2 up to 7d}
"""
FIRES = "{at: 0s, repeat: 12 every 10s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: root}"
ACTION = '"block_ip(ip=203.0.113.7, ttl=1h x2 up to 7d)"'


def load(path: str) -> str:
    if path != "../policies/guessing.yaml":
        raise FileNotFoundError(2, "No such file or directory", path)
    return POLICY


def file(expect: str, events: str = FIRES, policies: str = "../policies/guessing.yaml") -> str:
    return f"policies: [{policies}]\ntests:\n  - name: a test\n    events: [{events}]\n    expect: [{expect}]\n"


def report(text: str) -> Report:
    return run(read_tests(text, "guessing.test.yaml", CATALOGUE, load), LISTS)


@pytest.mark.parametrize(
    "expect",
    [
        f"{{at: 70s, action: {ACTION}, times: 1}}",
        f"{{action: {ACTION}, state: do}}",
        "{finds: P2, at: 70s}",
        f"{{action: {ACTION}, at: 10s, times: 0}}",
    ],
)
def test_what_comes_as_expected_is_ok(expect: str) -> None:
    told = report(file(expect))

    assert [str(row) for row in told.rows] == ["ok    guessing.test.yaml:3: a test"]


@pytest.mark.parametrize(
    ("expect", "because"),
    [
        ("{action: none}", "expected nothing, got finding at 70s (P2), block_ip"),
        ("{finds: P1}", "expected finding (P1), got finding at 70s (P2)"),
        (f"{{action: {ACTION}, times: 3}}", "3 times, got"),
        ('{action: "block_ip(ip=203.0.113.7, ttl=1h)"}', "expected block_ip(ip=203.0.113.7, ttl=1h), got"),
    ],
)
def test_what_comes_otherwise_fails_with_what_came(expect: str, because: str) -> None:
    (row,) = report(file(expect)).rows

    assert because in row.because


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (file("{acton: none}"), "guessing.test.yaml:5:", "did you mean `action`?"),
        (file("{at: 10s}"), "guessing.test.yaml:5:", "expect an `action` or what it `finds`, one of them"),
        (file("{action: none}", events="{event: auth.ssh.failur}"), "guessing.test.yaml:4:", "did you mean `auth.ssh.failure`?"),
        (file("{action: none}", policies="missing.yaml"), "guessing.test.yaml:1:", "cannot read missing.yaml: No such file"),
        ("tests: []\n", "guessing.test.yaml:1:", "policies"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_hint(text: str, place: str, said: str) -> None:
    with pytest.raises(Problems) as caught:
        read_tests(text, "guessing.test.yaml", CATALOGUE, load)

    assert str(caught.value).startswith(place)
    assert said in str(caught.value)


def test_the_mistakes_of_a_policy_are_told_at_their_place_in_the_policy() -> None:
    with pytest.raises(Problems, match=r"^\.\./policies/guessing\.yaml:3:"):
        read_tests(file("{action: none}"), "x.test.yaml", CATALOGUE, lambda _: POLICY.replace("P2", "P7"))
