"""Slack's incoming webhook: one message for each piece of news, and its address stays secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from agent.notifiers.slack_webhook import SlackWebhook
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Refused
from tests.notifiers.contract import Mischief, NotifierContract, Vendor, secretless, send_all
from tests.notifiers.notices import hostile, notice
from tests.notifiers.slack_server import HOOK, SlackServer, shown
from tests.notifiers.stand_in import Answer


class _Hook:
    """An incoming webhook as the contract wants to see it."""

    secrets: tuple[str, ...] = (HOOK, HOOK.removeprefix("/services/"))
    mischiefs: frozenset[Mischief] = frozenset({"busy", "nonsense", "error", "lost", "hang", "refused", "gibberish"})
    asks = False
    what: What = "changed"

    def __init__(self, folder: Path) -> None:
        self.server = SlackServer()
        self.secret_file = folder / "hook.url"
        self.secret_file.write_text(f"{self.server.hook}\n")
        self.secret_file.chmod(0o600)
        self.channel = SlackWebhook(url_file=self.secret_file, within=timedelta(seconds=0.5))

    def next(self, mischief: Mischief) -> None:
        if mischief == "refused":
            self.secret_file.write_text(self.server.hook.replace("T00000000", "T99999999"))
        else:
            self.server.http.mischiefs.append(mischief)

    def seen(self) -> int:
        return len(self.server.messages)

    def stop(self) -> None:
        self.server.stop()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[_Hook]:
    made = _Hook(tmp_path)
    yield made
    made.stop()
    assert made.server.faults == []


class TestSlackWebhook(NotifierContract):
    @pytest.fixture
    def vendor(self, hook: _Hook) -> Vendor:
        return hook


def test_each_piece_of_news_is_a_message_that_says_it_all(hook: _Hook) -> None:
    for number in (1, 2):
        send_all(hook.channel, notice("changed", key=f"INC-7/{number}", news=f"News {number}."), {})

    texts = [shown(one).text for one in hook.server.messages]
    assert [f"News {number}." in text and "contain ack INC-7" in text for number, text in enumerate(texts, 1)] == [True, True]


@given(one=hostile())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_nothing_of_a_strangers_words_becomes_a_link_a_mention_or_markup(hook: _Hook, one: Notice) -> None:
    hook.server.messages.clear()

    send_all(hook.channel, one, {})

    (seen,) = map(shown, hook.server.messages)
    assert {address for _, address in seen.links} <= {address for _, address in one.links}
    assert (seen.mentions, seen.emphasis) == ([], [])


def test_words_alone_get_through_where_blocks_do_not(hook: _Hook) -> None:
    hook.server.says.append("invalid_blocks")

    send_all(hook.channel, notice(), {})

    (seen,) = map(shown, hook.server.messages)
    assert "contain ack INC-7" in seen.text


@pytest.mark.parametrize("status", [302, 308])
def test_a_redirect_tells_nobody_the_address(hook: _Hook, status: int) -> None:
    hook.server.http.mischiefs.append(Answer(status, b"", {"Location": f"http://evil.example{HOOK}"}))

    with pytest.raises(Refused) as caught:
        send_all(hook.channel, notice(), {})

    secretless(str(caught.value), hook.secrets)


@pytest.mark.parametrize(
    "written", ["ftp://hooks.slack.com/x", "not an address", "https://?", "http://hooks.slack.com/services/T0"]
)
def test_a_file_that_holds_no_address_is_said_without_it(hook: _Hook, written: str) -> None:
    hook.secret_file.write_text(written)

    with pytest.raises(Exception, match="cannot log in to Slack's webhook") as caught:
        send_all(hook.channel, notice(), {})

    assert written not in str(caught.value)
    assert hook.channel.hosts() == ("hooks.slack.com",)
