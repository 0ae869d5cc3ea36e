"""Reads files of policy tests: some policies, and tests with events and what must come of them. Pure.

    policies: [../policies/ssh_brute_force.yaml]
    tests:
      - name: 8 failures in 2 minutes block the address once
        events: [{at: 0s, repeat: 12 every 10s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: root}]
        expect: [{at: 70s, action: "block_ip(ip=203.0.113.7, ttl=1h x2 up to 7d)", times: 1}]

Events are written as in the `examples` of a policy. Unlike an example, a test may concern several policies, and looks only at
what it expects; `action: none` says that nothing at all may come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from agent.event import Catalogue
from agent.grammar.located import Node, Pair, Problem, Problems, scan
from agent.grammar.policy_examples import Parse, read_example
from agent.grammar.policy_reader import read_policies
from agent.grammar.typed import record
from agent.policy import Policy, Severity
from agent.schema import About, Duration
from agent.watching.policy_tests import FINDING, Case, Expectation

Load = Callable[[str], str]
"""The text of a policy file, by its name as the test file writes it.

Raises:
    OSError: it cannot be read.
"""


@dataclass(frozen=True)
class FileKeys:
    """A file of tests."""

    policies: Annotated[tuple[Node, ...], About("policy files, as seen from this file", "[../policies/ssh_brute_force.yaml]")]
    tests: Annotated[
        tuple[Node, ...],
        About(
            "the tests",
            "[{name: one is a person, events: [{at: 0s, event: auth.ssh.failure}], expect: [{action: none}]}]",
        ),
    ]


@dataclass(frozen=True)
class TestKeys:
    """One test."""

    name: Annotated[Node, About("what the test shows", "eight failures block once")]
    events: Annotated[Node, About("as in the examples of a policy", "[{at: 0s, event: auth.ssh.failure, src.ip: 203.0.113.7}]")]
    expect: Annotated[
        tuple[Node, ...], About("what must come of them", '[{at: 70s, action: "block_ip(ip=203.0.113.7, ttl=1h)"}]')
    ]


@dataclass(frozen=True)
class ExpectKeys:
    """One thing that must come."""

    action: Annotated[str | None, About("the action with its parameters, or none", "none")] = None
    finds: Annotated[Severity | None, About("a finding of this severity")] = None
    at: Annotated[Duration | None, About("the moment, from the start of the test")] = None
    times: Annotated[Annotated[int, Ge(0)] | None, About("exactly so often; otherwise at least once")] = None
    state: Annotated[str | None, About("how it went: do, or refused: …", "do")] = None


def read_tests(text: str, name: str, catalogue: Catalogue, load: Load, parse: Parse | None = None) -> list[Case]:
    """The tests of one file, with their policies.

    Raises:
        Problems: something is wrong in the file or in one of its policies; all of it.
    """
    documents, found = scan(text, name)
    cases = [case for document in documents for case in _file(document, catalogue, load, parse, found)]
    if any(one.level == "error" for one in found):
        raise Problems(found)
    return cases


def _file(document: Node, catalogue: Catalogue, load: Load, parse: Parse | None, found: list[Problem]) -> list[Case]:
    keys = record(document, FileKeys, found)
    if keys is None:
        return []
    policies = _policies(keys.policies, catalogue, load, parse, found)
    made = [_case(one, policies, catalogue, parse, found) for one in keys.tests]
    return [one for one in made if one is not None]


def _policies(
    nodes: Sequence[Node], catalogue: Catalogue, load: Load, parse: Parse | None, found: list[Problem]
) -> tuple[Policy, ...]:
    texts: dict[str, str] = {}
    for node in nodes:
        path = str(node.value)
        try:
            texts[path] = load(path)
        except OSError as error:
            found.append(Problem(node.place, f"cannot read {path}: {error.strerror}", "paths start at the folder of this file"))
    try:
        return read_policies(texts, catalogue, parse)[0]
    except Problems as problems:
        found += problems.found
        return ()


def _case(
    node: Node, policies: tuple[Policy, ...], catalogue: Catalogue, parse: Parse | None, found: list[Problem]
) -> Case | None:
    keys = record(node, TestKeys, found)
    if keys is None:
        return None
    pairs: Any = node.value
    nothing = Pair(node, Node([], node.place))
    example = Node({"title": pairs["name"], "events": pairs["events"], "expect": nothing}, node.place)
    read = read_example(example, catalogue, (), found, parse)
    expect = [_expected(one, found) for one in keys.expect]
    if read is None or None in expect:
        return None
    return Case(read.title, policies, read.events, tuple(one for one in expect if one is not None), place=read.place)


def _expected(node: Node, found: list[Problem]) -> Expectation | None:
    keys = record(node, ExpectKeys, found)
    if keys is None:
        return None
    at = keys.at.total_seconds() if keys.at is not None else None
    if (keys.action is None) == (keys.finds is None):
        found.append(Problem(node.place, "expect an `action` or what it `finds`, one of them", "as in {action: none}"))
        return None
    if keys.finds is not None:
        return Expectation(FINDING, at, keys.times, keys.finds)
    return Expectation(str(keys.action), at, keys.times, keys.state)
