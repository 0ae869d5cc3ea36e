"""`notify:` of agent.yaml: channels, routes, what happens meanwhile; mistakes in their place, and no secret in what is said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agent.draft_config import _NOTIFY
from agent.grammar.config import Config, read_config
from agent.grammar.config_notify import USUAL
from agent.grammar.problem import Problems
from agent.notifying.notifier import discover_notifiers
from agent.notifying.routes import Escalation

CHANNELS = """
  channels:
    ops: {slack: {channel: C0123456789, token_file: slack.token}}
    mail: {email: {server: "smtp.example.com:587", from: agent@example.com, to: [ops@example.com]}}
    oncall: {pagerduty: {routing_key_file: pagerduty.key}}
"""
PUBLIC = """    page: {statuspage: {page: abcdefghijkl, key_file: page.key}}
"""


def read(text: str) -> Config:
    """An agent.yaml with this behind `notify:`."""
    return read_config(f"version: 1\nnotify:{text}", "/etc/agent.yaml", sensors={}, checks={}, notifiers=discover_notifiers())


def problems(text: str) -> list[tuple[int, str, str]]:
    """The line, the text and the hint of each problem."""
    with pytest.raises(Problems) as caught:
        read(text)
    return [(one.place.line, one.text, one.hint) for one in caught.value.found]


def test_where_nothing_is_said_all_are_told_and_small_things_come_once_a_day() -> None:
    config = read(CHANNELS)

    routes = config.routes
    assert list(config.notifiers) == ["ops", "mail", "oncall"]
    assert config.notifiers["ops"].token_file == Path("/etc/slack.token")
    assert dict(routes.by) == dict.fromkeys(("P0", "P1", "P2"), ("ops", "mail", "oncall"))
    assert routes.escalation == USUAL
    assert (routes.fallback, routes.link) == ((), "")
    assert routes.channels["mail"].whom == "ops@example.com"


def test_everything_that_is_said_counts() -> None:
    config = read(
        CHANNELS
        + """
  routes: {P0: [ops, mail, oncall], P1: [oncall, ops], P2: [], P3: [mail]}
  fallback: [mail]
  link: "https://shop1.example.com:9444/"
  escalation: {P0: [{after: 5m, to: [oncall]}, {after: 30m, while: open}], P1: []}
"""
    )

    routes = config.routes
    assert dict(routes.by) == {"P0": ("ops", "mail", "oncall"), "P1": ("oncall", "ops"), "P2": (), "P3": ("mail",)}
    assert (routes.fallback, routes.link) == (("mail",), "https://shop1.example.com:9444")
    assert routes.escalation["P0"] == (
        Escalation(timedelta(minutes=5), to=("oncall",)),
        Escalation(timedelta(minutes=30), "open"),
    )
    assert routes.escalation["P1"] == ()
    assert routes.escalation["P2"] == USUAL["P2"]


def test_strangers_are_told_only_where_a_route_says_so() -> None:
    usual = read(CHANNELS + PUBLIC)
    named = read(CHANNELS + PUBLIC + "  routes: {P0: [page]}\n")

    assert all("page" not in to for to in usual.routes.by.values())
    assert named.routes.by["P0"] == ("page",)
    assert named.routes.channels["page"].public


def test_without_notify_nobody_is_told() -> None:
    config = read_config("version: 1\n", "agent.yaml", sensors={}, checks={}, notifiers=discover_notifiers())

    assert (config.notifiers, config.routes.channels, config.routes.by) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        (CHANNELS + "  routes: {P0: [opps]}\n", 7, "no channel is called `opps`", "did you mean `ops`?"),
        (CHANNELS + "  routes: {P5: [ops]}\n", 7, "unknown key `P5`", "P0"),
        (CHANNELS + "  fallback: [post]\n", 7, "no channel is called `post`", "one of mail, oncall, ops"),
        (CHANNELS + PUBLIC + "  fallback: [page]\n", 8, "`page` is public, and no fallback goes there", "strangers read it"),
        (CHANNELS + PUBLIC + "  escalation: {P0: [{after: 5m, to: [page]}]}\n", 8, "`page` is public", "strangers read it"),
        (CHANNELS + "  escalation: {P0: [{after: 5s}]}\n", 7, "5 s is no time to wait for a person", "write 1m to 7d"),
        (CHANNELS + "  escalation: {P0: [{to: [ops]}]}\n", 7, "`after` is missing", "from its beginning on"),
        (CHANNELS + '  link: "shop1:9444"\n', 7, "is no address of pages", "https://shop1"),
        ("\n  channels: {P0: {slack: {channel: C0, token_file: t}}}\n", 3, "`P0` is no name for a channel", "severities"),
        ('\n  channels: {"a b": {slack: {channel: C0, token_file: t}}}\n', 3, "`a b` is no name", "write letters"),
        ("\n  channels: {slack: {channel: C0, token_file: t}}\n", 3, "`slack` is a channel type", "my-slack"),
        (
            "\n  channels: {ops: {slak: {channel: C0, token_file: t}}}\n",
            3,
            "no channel type is called `slak`",
            "did you mean `slack`?",
        ),
        ("\n  channels: {ops: {slack: {channel: C0}}}\n", 3, "`slack` needs `token_file`", ""),
        ("\n  slack: {channel: C0}\n", 3, "unknown key `slack`", "give the channel a name"),
        (
            "\n  channels: {m: {email: {server: mail, from: a@b.example, to: [c@d.example]}}}\n",
            3,
            "is no mail server",
            "smtp.example.com",
        ),
        (
            '\n  channels: {m: {email: {server: "mx.example:25", tls: none, from: a@b.example, to: [c@d.example]}}}\n',
            3,
            "in the clear",
            "leave it out",
        ),
        ('\n  channels: {h: {webhook: {url: "http://hooks.example.com/x"}}}\n', 3, "it is to be https://", ""),
    ],
)
def test_a_mistake_is_said_in_its_place_with_its_mend(text: str, line: int, said: str, hint: str) -> None:
    found = problems(text)

    assert [one for one in found if one[0] == line and said in one[1] and hint in one[2]], found


@pytest.mark.parametrize(
    ("channel", "meant"),
    [
        ("slack: {channel: C0123456789, token: xoxb-very-hush-hush}", "token_file"),
        ("pagerduty: {routing_key: very-hush-hush}", "routing_key_file"),
        (
            'email: {server: "smtp.example.com:587", from: a@b.example, to: [c@d.example], user: u, password: "very-hush-hush"}',
            "password_file",
        ),
        ('webhook: {url: "https://h.example/in", hmac: very-hush-hush}', "hmac_file"),
    ],
)
def test_a_secret_does_not_stand_in_agent_yaml_and_is_not_quoted(channel: str, meant: str) -> None:
    with pytest.raises(Problems) as caught:
        read(f"\n  channels: {{ops: {{{channel}}}}}\n")

    (first,) = [one for one in caught.value.found if "a secret does not stand in agent.yaml" in one.text]
    assert f"name that: {meant}: …" in first.hint
    assert "hush" not in str(caught.value)
    assert len(caught.value.found) == 1


def test_an_address_that_is_a_secret_is_not_quoted() -> None:
    with pytest.raises(Problems) as caught:
        read('\n  channels: {ops: {webhook: {url: "http://hooks.example.com/very/hush-hush"}}}\n')

    assert "hush" not in str(caught.value)


def test_the_example_that_init_writes_is_right() -> None:
    example = "\n".join(line.removeprefix("# ") for line in _NOTIFY.splitlines()[2:])

    config = read_config(f"version: 1\n{example}\n", "agent.yaml", sensors={}, checks={}, notifiers=discover_notifiers())

    assert list(config.notifiers) == ["ops", "mail", "oncall"]
    assert config.routes.fallback == ("mail",)
