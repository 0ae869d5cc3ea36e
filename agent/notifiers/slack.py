"""Tells a channel of Slack as an app: one message per incident that shows how it stands, and a reply below it for all news."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, TypeVar

from agent.notifying.in_time import in_time
from agent.notifying.notice import Notice
from agent.notifying.notifier import Busy, Thread, Unsure, notifier
from agent.notifying.posting import host_of
from agent.notifying.secret_file import secret
from agent.notifying.slack_message import Message, broadcast, in_words, news, standing
from agent.notifying.slack_talk import Gone, Misshapen, NotTold, Place, Settings, Talk, marks
from agent.schema import About, Duration

T = TypeVar("T")

_ID: Final = re.compile(r"[CGD][A-Z0-9]{7,}", re.ASCII)


@dataclass
class _Known:
    """What was learnt from Slack since the start: the channel's id, and why doubles cannot be told."""

    channel: str = ""
    lacks: str = ""


@notifier(gap=1.0)
class Slack:
    """Posts as a Slack app: one message per incident, edited to the latest, and a reply in its thread for each piece of news.

    The app needs the scopes chat:write, and channels:history (groups:history in a private channel): with that it looks whether a
    message is there already, when an answer was lost. `channel` is best the channel's id (C…, at the end of its details), since a
    name can change. P0 and P1 that open, escalate or come back are shown in the channel too. `base_url` for
    GovSlack: https://slack-gov.com/api/
    """

    channel: Annotated[str, About("the channel, best by its id", "C0123456789")]
    token_file: Annotated[
        Path, About("a file that only the agent can read, with the bot's token", "/etc/containment-agent/slack")
    ]
    base_url: Annotated[str, About("where Slack answers", '"https://slack-gov.com/api/"')] = "https://slack.com/api/"
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = timedelta(seconds=4)

    def __post_init__(self) -> None:
        host_of(self.base_url)
        if not self.channel.strip("# "):
            raise ValueError('channel is to be an id (C0123456789) or a name in quotes: "#incidents"')

    @cached_property
    def _known(self) -> _Known:
        return _Known(self.channel if _ID.fullmatch(self.channel) else "")

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """The message, and a reply to it; the first time it is the message alone."""
        return ("root",) if notice.number == 1 else ("root", "reply")

    def replaces(self, part: str) -> bool:
        """The message shows how things stand, so the newest will do."""
        return part == "root"

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:
        """Post, edit or reply."""
        token = secret(self.token_file, "Slack")
        base = f"{self.base_url.rstrip('/')}/"
        settings = Settings(token, str(self.token_file), base, self.channel, self.within.total_seconds())

        def work() -> Thread:
            return _Telling(Talk(settings), notice, thread, self._known).tell(part, doubtful=doubtful)

        return in_time(work, host_of(self.base_url))

    def whom(self) -> str:
        """The channel, and what the app lacks."""
        shown = self.channel if _ID.fullmatch(self.channel) else f"#{self.channel.lstrip('#')}"
        lacks = self._known.lacks
        return f"{shown} in Slack{f' (a message may come twice: {lacks})' if lacks else ''}"

    def hosts(self) -> tuple[str, ...]:
        """Slack's API."""
        return (host_of(self.base_url),)


class _Telling:
    """One part of one notice."""

    def __init__(self, talk: Talk, notice: Notice, thread: Thread, known: _Known) -> None:
        self._talk, self._notice, self._thread, self._known = talk, notice, thread, known
        self._place = Place(thread["channel"], thread["ts"]) if {"channel", "ts"} <= thread.keys() else None

    def tell(self, part: str, *, doubtful: bool) -> Thread:
        """Send it; what to remember."""
        if part != "reply" or self._place is None:  # without a message to reply to, the message itself says it all
            return self._stand(doubtful=doubtful)
        if self._thread.get("first") == self._notice.key:
            return self._thread  # the message is new, and holds this news
        return self._reply(self._place, doubtful=doubtful)

    def _stand(self, *, doubtful: bool) -> Thread:
        """Edit the message; post it where there is none, or somebody has deleted it."""
        message, mark = standing(self._notice), marks(self._notice, "root")
        if self._place is not None and self._edited(self._place, message, mark):
            return self._thread
        there = self._there(message, mark, doubtful=doubtful)
        if there is not None:
            return self._at(there)
        made = self._shaped(message, lambda one: self._talk.post(one, mark))
        return {**self._at(made), "first": self._notice.key}

    def _there(self, message: Message, mark: dict[str, str], *, doubtful: bool) -> Place | None:
        """The message that an earlier call may have made: of this incident, whatever news it was about. It is edited."""
        if not doubtful and self._notice.number == 1:
            return None
        gone = self._place.ts if self._place else ""
        there = self._look({name: mark[name] for name in ("incident", "part", "host")}, self._notice.opened, but=gone)
        return there if there is not None and self._edited(there, message, mark) else None

    def _edited(self, place: Place, message: Message, mark: dict[str, str]) -> bool:
        try:
            self._shaped(message, lambda one: self._talk.edit(place, one, mark))
        except Gone:
            return False
        return True

    def _reply(self, place: Place, *, doubtful: bool) -> Thread:
        mark = marks(self._notice, "reply")
        if doubtful and self._look(mark, self._notice.at, below=place.ts) is not None:
            return self._thread
        everywhere = broadcast(self._notice)
        try:
            self._shaped(news(self._notice), lambda one: self._talk.post(one, mark, place, everywhere=everywhere))
        except Gone:
            return self._stand(doubtful=doubtful)
        return self._thread

    def _look(self, wanted: dict[str, str], since: float, below: str = "", but: str = "") -> Place | None:
        """Where it is, if it is there. An app that may not look sends it again: rather twice than never."""
        channel = self._place.channel if self._place else self._known.channel
        if not channel:
            self._known.lacks = "write the channel's id instead of its name"
            return None
        try:
            found = self._talk.find(wanted, since, channel, below, but)
        except NotTold as error:
            self._known.lacks = str(error)
            return None
        except Busy as error:  # an earlier call may still have got through
            raise Unsure(str(error), error.after) from None
        self._known.lacks = ""
        return found

    def _shaped(self, message: Message, call: Callable[[Message], T]) -> T:
        """In words alone, where Slack does not take the blocks: they change what they allow."""
        try:
            return call(message)
        except Misshapen:
            return call({"text": in_words(self._notice), "blocks": [], "attachments": []})

    def _at(self, place: Place) -> dict[str, str]:
        self._known.channel = place.channel
        return {"channel": place.channel, "ts": place.ts}
