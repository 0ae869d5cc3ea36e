"""Tells a channel of Slack through an incoming webhook: one message for each piece of news, which is all that it can do."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic_core import to_json

from agent.action import CannotReach
from agent.notifying.in_time import in_time
from agent.notifying.notice import Notice
from agent.notifying.notifier import Refused, Thread, Unsure, notifier
from agent.notifying.posting import Reply, host_of, not_taken, post
from agent.notifying.secret_file import secret
from agent.notifying.slack_message import in_words, standing
from agent.schema import About, Duration

_WORD: Final = re.compile(r"[a-z_]{2,60}", re.ASCII)
_SHAPE: Final = frozenset(
    {"invalid_payload", "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long"}
)


@notifier(gap=1.0)
class SlackWebhook:
    """Posts each piece of news as a message of its own: nothing is edited, nothing is a thread, and a lost answer means a double.

    `url_file` holds the webhook's address, which is its secret too. An app (`slack`) does better; this needs no scopes.
    """

    url_file: Annotated[
        Path, About("a file that only the agent can read, with the webhook's address", "/etc/containment-agent/slack-webhook")
    ]
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = timedelta(seconds=4)

    def parts(self, notice: Notice) -> tuple[str, ...]:  # noqa: ARG002
        """One message."""
        return ("message",)

    def replaces(self, part: str) -> bool:  # noqa: ARG002
        """Never: each message stays as it is."""
        return False

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:  # noqa: ARG002
        """Post it; nobody can tell whether it is there already."""
        url, host = self._address()

        def work() -> None:
            reply = self._post(url, standing(notice))
            if reply.status == 400 and _word(reply) in _SHAPE:  # not taken; rather words alone than nothing
                reply = self._post(url, {"text": in_words(notice)})
            self._judge(host, reply)

        in_time(work, host)
        return thread

    def _post(self, url: str, message: dict[str, object]) -> Reply:
        body = to_json({**message, "unfurl_links": False, "unfurl_media": False, "link_names": False, "parse": "none"})
        return post(url, body, {"Content-Type": "application/json; charset=utf-8"}, within=self.within.total_seconds())

    def _judge(self, host: str, reply: Reply) -> None:
        if reply.status == 200 and reply.body.strip() == b"ok":
            return
        if 200 <= reply.status < 300:
            raise Unsure(f"cannot tell whether {host} took it: it answers something else than ok")
        if 300 <= reply.status < 400:  # where it sends us may hold the secret
            raise Refused(
                f"cannot tell {host}: it sends us elsewhere; make a new webhook, and put its address into {self.url_file}"
            )
        mend = f"make a new webhook at api.slack.com/apps, and put its address into {self.url_file}"
        not_taken(host, reply, _word(reply), mend)

    def _address(self) -> tuple[str, str]:
        url = secret(self.url_file, "Slack's webhook")
        try:
            return url, host_of(url)
        except ValueError:
            why = "is to hold an address like https://hooks.slack.com/services/…"
            raise CannotReach(f"cannot log in to Slack's webhook: {self.url_file} {why}") from None

    def whom(self) -> str:
        """The file, as the address is secret and does not name the channel."""
        return f"Slack's webhook of {self.url_file.name}"

    def hosts(self) -> tuple[str, ...]:
        """Slack's server for webhooks; its usual name where the file cannot be read."""
        try:
            return (self._address()[1],)
        except CannotReach:
            return ("hooks.slack.com",)


def _word(reply: Reply) -> str:
    """Slack's own word for what is wrong, where it is one."""
    word = reply.body[:61].decode("ascii", "replace").strip()
    return word if _WORD.fullmatch(word) else ""
