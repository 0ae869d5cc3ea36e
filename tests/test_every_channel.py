"""Every channel at once, through the real agent's outbox: answers that get lost, a kill -9, and nobody is told anything twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import certificate
from tests.notifiers import slack_server, test_pagerduty, test_statuspage
from tests.notifiers.mail_server import MailServer
from tests.notifiers.slack_server import SlackServer
from tests.notifiers.test_pagerduty import Events
from tests.notifiers.test_statuspage import Page
from tests.receiver import Receiver
from tests.running import Running, wait_for

pytestmark = [pytest.mark.usefixtures("network"), pytest.mark.timeout(180)]


class Vendors(NamedTuple):
    slack: SlackServer
    mail: MailServer
    events: Events
    page: Page
    hook: Receiver
    yaml: str


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Vendors]:
    shown = certificate(tmp_path, 30)
    secrets = {"slack": slack_server.KEY, "pager": test_pagerduty.KEY, "page": test_statuspage.KEY}
    for name, secret in secrets.items():
        (tmp_path / name).write_text(f"{secret}\n")
        (tmp_path / name).chmod(0o600)
    slack, mail, events, page, hook = SlackServer(), MailServer(None), Events(shown), Page(shown), Receiver()
    slack.epoch = int(time.time())
    pager, public = f"https://localhost:{events.port}", f"https://localhost:{page.port}/v1"
    yaml = f"""\
notify:
  channels:
    ops: {{slack: {{channel: {slack_server.CHANNEL}, token_file: {tmp_path}/slack, base_url: "{slack.base}", within: 1s}}}}
    mail: {{email: {{server: "127.0.0.1:{mail.port}", from: a@example.com, to: [alice@example.com], tls: none, within: 1s}}}}
    pager: {{pagerduty: {{routing_key_file: {tmp_path}/pager, base_url: "{pager}", ca_file: {shown}, within: 1s}}}}
    public:
      statuspage: {{page: {test_statuspage.PAGE}, key_file: {tmp_path}/page, base_url: "{public}", ca_file: {shown},
        component_ids: [{test_statuspage.WEB}], within: 1s}}
    hook: {{webhook: {{url: "{hook.url}", within: 1s}}}}
  routes: {{P1: [ops, mail, pager, public, hook]}}
"""
    yield Vendors(slack, mail, events, page, hook, yaml)
    for one in (slack, mail, events, page):
        one.stop()
    hook.close()
    assert slack.faults == []
    assert events.wrong == page.wrong == []


def _told(agent: Running) -> bool:
    return all(one["unsent"] == 0 for one in agent.ask("notify")["channels"])


def _settled(agent: Running) -> None:
    wait_for(lambda: _told(agent), seconds=60)


def test_every_channel_hears_the_whole_story_once(tmp_path: Path, vendors: Vendors) -> None:
    vendors.slack.http.mischiefs.append("lost")  # taken, and the answer never comes
    vendors.events.next("lost")
    vendors.page.next("lost")
    agent = Running(tmp_path, vendors.yaml, "")
    with agent:
        name = agent.ask("report", text="nobody can pay", severity="P1", service="shop")["incident"]
        agent.ask("publish", what=name, why="customers see it")
        wait_for(lambda: vendors.slack.roots and vendors.events.alerts and vendors.page.incidents, seconds=60)
        agent.kill()
        agent.start()
        _settled(agent)
        agent.ask("acknowledge", what=name)
        _settled(agent)
        agent.ask("resolve", what=name, why="the payment provider is back")
        _settled(agent)

    _one_slack_thread(vendors.slack)
    _one_mail_thread(vendors.mail)
    assert [one["state"] for one in vendors.events.alerts] == ["resolved"]
    assert [one["status"] for one in vendors.page.incidents] == ["resolved"]
    assert vendors.hook.whats[0] == "opened"
    assert vendors.hook.whats[-1] == "resolved"
    assert "nobody can pay" not in str(vendors.page.incidents)  # strangers read fixed words


def _one_slack_thread(slack: SlackServer) -> None:
    (root,) = slack.roots
    replies = [one.given["text"] for one in slack.replies(root)]
    assert len(replies) == len(set(replies)) >= 2
    assert "Over" in str(root.given)


def _one_mail_thread(mail: MailServer) -> None:
    letters: list[Any] = [one.read for one in mail.letters]
    names = [one["Message-ID"] for one in letters]
    assert len(names) == len(set(names)) >= 3
    assert all(names[0] in one["References"] for one in letters[1:])
