"""`notify:`, `escalate:` and `incident:` of a policy: what they mean, also where no agent.yaml says which channels there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.grammar.policy_reader import read_policies
from agent.grammar.problem import Problems
from agent.notifying.routes import Escalation
from agent.policy import Gathering, Policy
from tests.catalogue import CATALOGUE

HEAD = "policy: told\nseverity: P1\nowner: sre\nwhen: {event: auth.ssh.failure, by: src.ip}\n"
ANYWHERE = replace(CATALOGUE, channels=None, checks=None)


def one(text: str, known: object = CATALOGUE) -> Policy:
    (policy,), _ = read_policies({"f": HEAD + text}, known)  # type: ignore[arg-type] # a catalogue
    return policy


def test_what_is_not_said_is_left_to_agent_yaml() -> None:
    policy = one("")

    assert (policy.notify, policy.escalate, policy.gathering) == (None, None, Gathering())


@pytest.mark.parametrize(("text", "meant"), [("off", ()), ("[sre]", ("sre",)), ("[phone, sre, phone]", ("phone", "sre"))])
def test_channels_are_named_or_nobody_is_told(text: str, meant: tuple[str, ...]) -> None:
    assert one(f"notify: {text}\n").notify == meant


def test_steps_are_read_in_order_of_their_time() -> None:
    policy = one("escalate:\n  - {after: 30m, while: open, to: [sre]}\n  - {after: 5m}\n")

    assert policy.escalate == (
        Escalation(timedelta(minutes=5)),
        Escalation(timedelta(minutes=30), "open", ("sre",)),
    )


def test_what_an_incident_is_about_is_read_whole() -> None:
    text = "{class: data, group: [user], window: 1h, impact: [shop-http], inhibits: [told], regimes: [gdpr, nis2, gdpr]}"

    gathering = one(f"incident: {text}\n").gathering

    assert gathering == Gathering("data", ("user",), False, timedelta(hours=1), ("shop-http",), ("told",), ("gdpr", "nis2"))
    assert one("incident: {group: alone}\n").gathering.alone


def test_without_an_agent_yaml_any_channel_and_check_may_be_named() -> None:
    policy = one("notify: [whatever]\nincident: {impact: [some-check]}\n", ANYWHERE)

    assert (policy.notify, policy.gathering.impact) == (("whatever",), ("some-check",))
    with pytest.raises(Problems, match="no channel is called `whatever`"):
        one("notify: [whatever]\n")
