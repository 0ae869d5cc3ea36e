"""Slack as an app: what people see there, and that it stays one message per incident."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agent.notifiers.slack import Slack
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Busy, Refused, Thread, Unsure
from agent.notifying.slack_message import in_words
from tests.notifiers.contract import Mischief, NotifierContract, Vendor, send_all
from tests.notifiers.notices import hostile, notice
from tests.notifiers.slack_server import CHANNEL, KEY, NAME, Message, SlackServer, shown
from tests.notifiers.stand_in import Answer


@pytest.fixture
def server() -> Iterator[SlackServer]:
    made = SlackServer()
    yield made
    made.stop()
    assert made.faults == []


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    made = tmp_path / "slack.key"
    made.write_text(f"{KEY}\n")
    made.chmod(0o600)
    return made


@pytest.fixture
def slack(server: SlackServer, key_file: Path) -> Slack:
    return Slack(channel=CHANNEL, token_file=key_file, base_url=server.base, within=timedelta(seconds=2))


class _Workspace:
    """Slack as the contract wants to see it."""

    secrets: tuple[str, ...] = (KEY,)
    mischiefs: frozenset[Mischief] = frozenset({"busy", "nonsense", "error", "lost", "hang", "refused", "gibberish"})
    asks = True
    what: What = "opened"

    def __init__(self, server: SlackServer, key_file: Path) -> None:
        self.server, self.secret_file = server, key_file
        self.channel = Slack(channel=CHANNEL, token_file=key_file, base_url=server.base, within=timedelta(seconds=0.5))

    def next(self, mischief: Mischief) -> None:
        if mischief == "refused":
            self.server.says.append("invalid_auth")
        else:
            self.server.http.mischiefs.append(mischief)

    def seen(self) -> int:
        return len(self.server.messages)

    def stop(self) -> None:
        self.server.stop()


class TestSlack(NotifierContract):
    @pytest.fixture
    def vendor(self, server: SlackServer, key_file: Path) -> Vendor:
        return _Workspace(server, key_file)


def _news(number: int, what: What = "changed", **given: Any) -> Notice:
    return notice(what, **{"key": f"INC-7/{number}", **given})


def _only(messages: list[Message]) -> Message:
    assert len(messages) == 1
    return messages[0]


# What people see ------------------------------------------------------------------------------------------------------------


def test_an_incident_is_one_message_that_shows_how_it_stands_and_a_thread_of_its_news(slack: Slack, server: SlackServer) -> None:
    thread = send_all(slack, notice("opened", headline="P1 http-flood: open."), {})
    thread = send_all(slack, _news(2, headline="P1 http-flood: contained in 37 s.", news="All are blocked."), thread)
    send_all(slack, _news(3, "resolved", headline="P1 http-flood: over.", news="Quiet for 30 m."), thread)

    root = _only(server.roots)
    assert shown(root).words[0] == "P1 http-flood: over."
    assert root.edits == 2
    assert [shown(one).words[0] for one in server.replies(root)] == ["All are blocked.", "Quiet for 30 m."]
    assert thread.keys() <= {"channel", "ts", "first"}


def test_the_message_says_all_that_people_need(slack: Slack, server: SlackServer) -> None:
    one = notice("opened", acked_by="alice", dry=True)

    send_all(slack, one, {})

    seen = shown(_only(server.roots))
    assert seen.words[0] == one.headline
    for line in (*one.saw, *one.did, *one.need, one.news, "INC-7", "web-1", "acknowledged by alice", "dry run", "203.0.113.9"):
        assert line in seen.text
    assert "and 29 more" in seen.text
    assert seen.links == [(word, address) for word, address in one.links]


def test_the_bar_is_red_while_it_lasts_and_green_when_it_is_over(slack: Slack, server: SlackServer) -> None:
    thread = send_all(slack, notice("opened"), {})
    before = _only(server.roots).given["attachments"][0]["color"]

    send_all(slack, _news(2, "resolved"), thread)

    assert (before, _only(server.roots).given["attachments"][0]["color"]) == ("#d9381e", "#2e8b57")


@pytest.mark.parametrize(
    ("what", "severity", "everywhere"),
    [
        ("escalated", "P1", True),
        ("reopened", "P0", True),
        ("escalated", "P2", False),
        ("changed", "P0", False),
        ("noted", "P1", False),
    ],
)
def test_only_urgent_news_shows_in_the_channel_too(
    slack: Slack, server: SlackServer, what: What, severity: str, everywhere: bool
) -> None:
    thread = send_all(slack, notice("opened"), {})

    send_all(slack, _news(2, what, severity=severity), thread)

    reply = _only(server.replies(server.roots[0]))
    assert reply.everywhere is everywhere
    assert (notice().headline in shown(reply).text) is everywhere


def test_a_channel_that_hears_of_it_late_gets_one_message_with_its_news(slack: Slack, server: SlackServer) -> None:
    thread = send_all(slack, _news(5, news="Now it is P1."), {})
    send_all(slack, _news(6, news="Still P1."), thread)

    root = _only(server.roots)
    assert "Still P1." in shown(root).text
    assert [shown(one).words[0] for one in server.replies(root)] == ["Still P1."]


def test_the_command_is_there_however_long_the_rest_is(slack: Slack, server: SlackServer) -> None:
    send_all(slack, notice(need=(*("&" * 5000 for _ in range(30)), "contain ack INC-7")), {})

    assert "contain ack INC-7" in shown(_only(server.roots)).text


@given(one=hostile())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_nothing_of_a_strangers_words_becomes_a_link_a_mention_or_markup(slack: Slack, server: SlackServer, one: Notice) -> None:
    server.messages.clear()

    thread = send_all(slack, one._replace(key="INC-7/1"), {})
    send_all(slack, one._replace(key="INC-7/2"), thread)

    ours = {address for _, address in one.links}
    assert server.messages
    for message in server.messages:
        message.heeds_parse = False
        seen = shown(message)
        assert {address for _, address in seen.links} <= ours
        assert seen.mentions == []
        assert seen.emphasis == []
    assert server.faults == []


def test_a_link_that_is_no_web_address_is_none(slack: Slack, server: SlackServer) -> None:
    links = (
        ("a", "!channel"),
        ("b", "javascript:alert(1)"),
        ("c", "https://[bad"),
        ("<!here>", "https://ok.example.com/a|b>c<!d>"),
    )

    send_all(slack, notice(links=links), {})

    seen = shown(_only(server.roots))
    assert seen.mentions == []
    assert [address for _, address in seen.links] == ["https://ok.example.com/a%7Cb%3Ec%3C!d%3E"]


# When it goes wrong ---------------------------------------------------------------------------------------------------------


def test_a_message_that_was_deleted_comes_anew(slack: Slack, server: SlackServer) -> None:
    thread = send_all(slack, notice("opened"), {})
    server.messages.clear()

    thread = send_all(slack, _news(2, news="There again."), thread)

    root = _only(server.roots)
    assert thread["ts"] == root.ts
    assert "There again." in shown(root).text


@pytest.mark.parametrize("error", ["cant_update_message", "edit_window_closed", "message_not_found"])
def test_a_message_that_cannot_be_edited_any_more_is_followed_by_a_new_one(
    slack: Slack, server: SlackServer, key_file: Path, error: str
) -> None:
    thread = send_all(slack, notice("opened"), {})
    server.says.append(error)
    server.scopes.discard("channels:history")

    after = slack.send(_news(2), "root", thread, doubtful=False)

    assert [one.ts for one in server.roots] == [thread["ts"], after["ts"]]


def test_a_thread_that_is_gone_makes_news_a_message_of_its_own(slack: Slack, server: SlackServer) -> None:
    thread: Thread = {"channel": CHANNEL, "ts": "1.000000"}

    after = slack.send(_news(2, news="Heard all the same."), "reply", thread, doubtful=False)

    assert "Heard all the same." in shown(_only(server.roots)).text
    assert after["ts"] == server.roots[0].ts


def test_a_reply_that_was_taken_without_an_answer_does_not_come_twice(slack: Slack, server: SlackServer) -> None:
    thread = send_all(slack, notice("opened"), {})
    server.http.mischiefs.append("lost")
    with pytest.raises(Unsure):
        slack.send(_news(2), "reply", thread, doubtful=False)

    slack.send(_news(2), "reply", thread, doubtful=True)

    _only(server.replies(_only(server.roots)))


def test_a_message_that_was_taken_without_an_answer_is_found_by_the_next_news_too(slack: Slack, server: SlackServer) -> None:
    server.http.mischiefs.append("lost")
    with pytest.raises(Unsure):
        slack.send(notice("opened"), "root", {}, doubtful=False)
    server.chatter(25)
    server.page = 10

    thread = send_all(slack, _news(2, headline="The latest."), {})

    ours = _only([one for one in server.roots if "metadata" in one.given])
    assert thread["ts"] == ours.ts
    assert shown(ours).words[0] == "The latest."


def test_a_message_of_another_host_or_incident_is_not_taken_for_ours(slack: Slack, server: SlackServer) -> None:
    send_all(slack, notice("opened", host="web-2"), {})
    send_all(slack, notice("opened", incident="INC-8"), {})

    send_all(slack, notice("opened"), {}, doubtful=True)

    assert len(server.roots) == 3


def test_an_app_that_may_not_look_sends_again_and_says_what_it_lacks(slack: Slack, server: SlackServer) -> None:
    server.scopes.discard("channels:history")
    server.http.mischiefs.append("lost")
    with pytest.raises(Unsure):
        slack.send(notice("opened"), "root", {}, doubtful=False)

    slack.send(notice("opened"), "root", {}, doubtful=True)

    assert len(server.roots) == 2
    assert "channels:history" in slack.whom()


def test_a_name_is_not_enough_to_look_until_slack_has_told_the_id(server: SlackServer, key_file: Path) -> None:
    slack = Slack(channel=NAME, token_file=key_file, base_url=server.base)

    slack.send(notice("opened"), "root", {}, doubtful=True)
    lacks = slack.whom()
    slack.send(notice("opened"), "root", {}, doubtful=True)

    assert lacks == "#incidents in Slack (a message may come twice: write the channel's id instead of its name)"
    assert slack.whom() == "#incidents in Slack"
    _only(server.roots)


def test_a_look_that_is_too_much_leaves_it_in_doubt(slack: Slack, server: SlackServer) -> None:
    server.http._acts = lambda _: True
    server.http.mischiefs.append("busy")

    with pytest.raises(Unsure) as caught:
        slack.send(notice("opened"), "root", {}, doubtful=True)

    assert caught.value.after == 7
    assert server.messages == []


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "metadata_too_large"])
def test_words_alone_get_through_where_blocks_do_not(slack: Slack, server: SlackServer, error: str) -> None:
    one = notice(saw=("<!channel> see http://evil.example",))
    server.says.append(error)

    send_all(slack, one, {})

    seen = shown(_only(server.roots))
    assert "contain ack INC-7" in seen.text
    assert (seen.links, seen.mentions) == ([], [])
    assert len(in_words(one)) < 3000


@pytest.mark.parametrize(
    "error", ["channel_not_found", "not_in_channel", "is_archived", "token_revoked", "missing_scope", "new_error"]
)
def test_what_slack_will_never_take_says_how_to_mend_it(slack: Slack, server: SlackServer, error: str) -> None:
    server.says.append(error)

    with pytest.raises(Refused, match=f"it says {error}; .{{20,}}"):
        send_all(slack, notice(), {})


@pytest.mark.parametrize(("error", "kind"), [("ratelimited", Busy), ("internal_error", Unsure), ("fatal_error", Unsure)])
def test_errors_of_slack_itself_are_tried_again(slack: Slack, server: SlackServer, error: str, kind: type[Busy]) -> None:
    server.says.append(error)

    with pytest.raises(Busy) as caught:
        send_all(slack, notice(), {})

    assert type(caught.value) is kind


def test_an_answer_in_a_charset_that_does_not_exist_may_mean_anything(server: SlackServer, key_file: Path) -> None:
    server.http.mischiefs.append(Answer(200, b'["no", "object"]', {"Content-Type": "application/json; charset=martian"}))
    slack = Slack(channel=CHANNEL, token_file=key_file, base_url=server.base)

    with pytest.raises(Unsure, match=r"cannot tell whether 127\.0\.0\.1 took it"):
        send_all(slack, notice(), {})


@pytest.mark.parametrize(
    "base_url", ["http://slack.com/api/", "ftp://slack.com", "https://bob:pw@slack.com/", "slack.com", "https://a b/"]
)
def test_the_key_goes_nowhere_in_the_clear(key_file: Path, base_url: str) -> None:
    with pytest.raises(ValueError, match="it is to be https"):
        Slack(channel=CHANNEL, token_file=key_file, base_url=base_url)


def test_a_key_with_a_line_too_many_is_not_sent(slack: Slack, key_file: Path, server: SlackServer) -> None:
    key_file.write_text(f"{KEY}\r\nX-Evil: yes\n")

    with pytest.raises(Exception, match="to hold one line") as caught:
        send_all(slack, notice(), {})

    assert KEY not in str(caught.value)
    assert server.http.asked == []
