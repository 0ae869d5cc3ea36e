"""agent.yaml and policies say of which version they are: older ones are read as they were meant, newer ones refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.grammar.config import Config, read_config
from agent.grammar.located import Node, Pair, Problem, Problems, read
from agent.grammar.policy_reader import read_policies
from agent.grammar.version import Lifted, lifted
from tests.catalogue import CATALOGUE

POLICY = """\
policy: nothing
title: Nothing
severity: P3
owner: test
when: {event: auth.ssh.failure, by: src.ip, count: ">= 100 in 1m"}
"""


def renamed(root: Node) -> Lifted:
    """A step as it may come one day: `paranoia` was what is called `mode` since."""
    pairs = dict(root.pairs)
    key, value = pairs.pop("paranoia")
    pairs["mode"] = Pair(replace(key, value="mode"), value)
    return Lifted(replace(root, value=pairs), ("write mode instead of paranoia",))


def test_without_the_key_it_is_of_the_first_version() -> None:
    assert read_config("host: db1\n", "agent.yaml", sensors={}, checks={}) == Config(host="db1")
    assert read_policies({"a.yaml": POLICY}, CATALOGUE)[0][0].name == "nothing"


def test_a_policy_says_its_version() -> None:
    (policy,), _ = read_policies({"a.yaml": f"version: 1\n{POLICY}"}, CATALOGUE)

    assert policy.name == "nothing"


def test_a_newer_one_is_one_located_problem_whatever_else_is_in_it() -> None:
    with pytest.raises(Problems) as config:
        read_config("host: db1\nversion: 7\nsorcery: [1]\n", "agent.yaml", sensors={}, checks={})
    with pytest.raises(Problems) as policies:
        read_policies({"a.yaml": f"{POLICY}version: 7\nsorcery: 1\n"}, CATALOGUE)

    said = "error: version 7 is newer than this agent, which reads up to version 1"
    hint = "hint: use the agent that it was written for, or write version: 1 and only what that knows"
    assert str(config.value).splitlines()[:2] == [f"agent.yaml:2:10: {said}", f"    {hint}"]
    assert str(policies.value).splitlines()[:2] == [f"a.yaml:6:10: {said}", f"    {hint}"]
    assert len(config.value.found) == len(policies.value.found) == 1


@pytest.mark.parametrize("version", ["0", "one", "1.0", "[1]", '""', "-1", "١"])
def test_what_is_no_version_is_told(version: str) -> None:
    with pytest.raises(Problems, match=r"agent\.yaml:1:10: error: .* no version\n    hint: write version: 1"):
        read_config(f"version: {version}\nhost: db1\n", "agent.yaml", sensors={}, checks={})


def test_an_older_one_is_read_as_it_was_meant_with_what_to_write() -> None:
    text = "version: 1\nparanoia: enforce\n"

    config = read_config(text, "agent.yaml", [renamed], sensors={}, checks={})

    assert config.mode == "enforce"
    assert [(str(one.place), one.text, one.hint, one.level) for one in config.notes] == [
        ("agent.yaml:1:10", "version 1 is read as if it were version 2", "write mode instead of paranoia", "warning"),
        ("agent.yaml:1:10", "version 1 is read as if it were version 2", "then write version: 2", "warning"),
    ]


def test_steps_follow_one_another_from_the_version_that_is_given() -> None:
    def counted(root: Node) -> Lifted:
        return Lifted(root)

    found: list[Problem] = []
    (root,) = read("version: 2\nparanoia: enforce\n", "agent.yaml")

    made = lifted(root, [renamed, counted, counted], found)

    assert made is root
    assert [one.text[-9:] for one in found] == ["version 3", "version 4"]
