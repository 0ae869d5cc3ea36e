"""One conversation with Slack's Web API by the vendor's client: post, edit, and look whether a message is there already."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from agent.notifying.in_time import WITHIN
from agent.notifying.notice import Notice
from agent.notifying.notifier import Refused, Unsure
from agent.notifying.posting import BROKEN, Reply, broken, host_of, not_taken
from agent.notifying.slack_message import Message
from agent.visible import visible

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError

EVENT: Final = "containment_notice"
_AS_THEY_ARE: Final = {"parse": "none", "link_names": False}
_UNFOLDED: Final = {"unfurl_links": False, "unfurl_media": False}
_EARLIER: Final = 300.0
"""Seconds that Slack's clock and ours may be apart."""
_PAGE: Final = 200
_MOST_PAGES: Final = 3

_WORD: Final = re.compile(r"[a-z0-9_]{2,60}", re.ASCII)
_GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "cannot_reply_to_message"}
)
_SHAPE: Final = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "too_many_attachments",
    }
    | {"attachment_payload_limit_exceeded", "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large"}
    | {"metadata_must_be_sent_from_app"}
)
_LATER: Final = frozenset({"ratelimited", "rate_limited", "service_unavailable", "message_limit_exceeded"})
_PERHAPS: Final = frozenset({"internal_error", "fatal_error", "request_timeout", "team_added_to_org"})
"""Errors of Slack's own: "some aspect of the operation may have succeeded" (its page on errors)."""
_NEW_KEY: Final = "put the bot's token (xoxb-…, from its app's page at Slack) into {file}"
_MEND: Final = {
    **dict.fromkeys(("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"), _NEW_KEY),
    "not_allowed_token_type": _NEW_KEY,
    "channel_not_found": "write the channel's id (C…); into a private one, invite the bot",
    "not_in_channel": "invite the bot into the channel: /invite @its-name",
    "is_archived": "take the channel out of the archive, or write another one",
    "missing_scope": "give its app the scope {needed}, and install it again",
    "no_permission": "give its app the scope chat:write, and install it again",
}


class Settings(NamedTuple):
    """Where to, and with what; `within` are the seconds of one call."""

    token: str
    file: str
    base: str
    channel: str
    within: float


class Gone(Exception):  # noqa: N818 - a word, like Busy
    """The message is not there any more, or cannot be changed."""


class NotTold(Exception):  # noqa: N818
    """Slack does not let this app look. The text is what it lacks."""


class Place(NamedTuple):
    """A message: its channel's id, and its time stamp there, which is its name."""

    channel: str
    ts: str


class Talk:
    """Some calls about one notice, all of them before `WITHIN` is over. For one thread."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is sent yet."""
        from slack_sdk import WebClient

        self._settings, self._until = settings, time.monotonic() + WITHIN
        self._host = host_of(settings.base)
        self._client = WebClient(settings.token, base_url=settings.base, retry_handlers=[], logger=_silent())

    def post(self, message: Message, mark: Mapping[str, str], below: Place | None = None, *, everywhere: bool = False) -> Place:
        """Post a message, or a reply; its place.

        Raises:
            Gone: what it is to stand below is not there. Busy, Unsure, Refused: as they say.
        """
        given: dict[str, Any] = {"channel": below.channel if below else self._settings.channel, "metadata": _marked(mark)}
        if below:
            given |= {"thread_ts": below.ts, "reply_broadcast": everywhere}
        said = self._call("chat.postMessage", {**_AS_THEY_ARE, **_UNFOLDED, **given, **message})
        return self._placed(said)

    def edit(self, place: Place, message: Message, mark: Mapping[str, str]) -> None:
        """Let a message show something else.

        Raises:
            Gone: it is not there, or cannot be edited. Busy, Unsure, Refused: as they say.
        """
        given = {"channel": place.channel, "ts": place.ts, "metadata": _marked(mark)}
        self._call("chat.update", {**_AS_THEY_ARE, **given, **message})

    def find(self, wanted: Mapping[str, str], since: float, channel: str, below: str = "", but: str = "") -> Place | None:
        """The newest message with these marks in a channel, or among the replies `below` one; `but` is not meant.

        Raises:
            NotTold: this app may not look. Busy, Unsure: it cannot be told now.
        """
        method = "conversations.replies" if below else "conversations.history"
        asked: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{since - _EARLIER:.6f}",
            "limit": _PAGE,
            "include_all_metadata": True,
        }
        for _ in range(_MOST_PAGES):
            try:
                said = self._call(method, asked | ({"ts": below} if below else {}), reads=True)
            except Gone:
                return None
            except Refused as error:
                raise NotTold(str(error)) from error
            for one in said.get("messages") or ():
                if _has(one, wanted) and one.get("ts") != but:
                    return Place(channel, str(one["ts"]))
            cursor = (said.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            asked["cursor"] = cursor
        return None

    def _call(self, method: str, given: Mapping[str, Any], *, reads: bool = False) -> Mapping[str, Any]:
        from slack_sdk.errors import SlackApiError, SlackClientError

        left = self._until - time.monotonic()
        if left <= 0:  # whoever waited for us has given up, and may be at it again
            raise Unsure(f"cannot tell {self._host} in time: the calls before took too long")
        self._client.timeout = min(self._settings.within, left)  # type: ignore[assignment]  # it is handed to urlopen as it is
        try:
            answer = (
                self._client.api_call(method, params=dict(given)) if reads else self._client.api_call(method, json=dict(given))
            )
        except SlackApiError as error:
            self._no(error)
        except SlackClientError as error:
            raise Unsure(f"cannot tell whether {self._host} took it: {type(error).__name__}") from None
        except BROKEN as error:
            raise broken(self._host, error) from None
        if not isinstance(answer.data, dict):
            raise Unsure(f"cannot tell whether {self._host} took it: its answer is none of Slack's")
        return answer.data

    def _no(self, error: SlackApiError) -> NoReturn:
        """Say what an answer means that is not `ok`."""
        answer = error.response
        data = answer.data if not isinstance(answer, dict) and isinstance(answer.data, dict) else {}
        status = int(getattr(answer, "status_code", 0) or 0)
        said = str(data.get("error") or "")
        word = said if _WORD.fullmatch(said) else ""  # of an answer that is no JSON, the client makes a sentence with all of it
        headers = {str(name).lower(): str(value) for name, value in (getattr(answer, "headers", None) or {}).items()}
        reply = Reply(429 if word in _LATER else status, headers, b"")
        if word in _GONE:
            raise Gone(word) from None
        if word in _LATER or (status >= 400 and not word):
            not_taken(self._host, reply, word, _NEW_KEY.format(file=self._settings.file))
        if not word or word in _PERHAPS or status >= 500:
            raise Unsure(f"cannot tell whether {self._host} took it: it answers {word or status}") from None
        if word in _SHAPE:
            raise Misshapen(word) from None
        mend = _MEND.get(word, "look it up on Slack's page about chat.postMessage")
        mend = mend.format(file=self._settings.file, needed=visible(data.get("needed") or "chat:write", 60))
        raise Refused(f"cannot post to {self._settings.channel} in Slack: it says {word}; {mend}") from None

    def _placed(self, said: Mapping[str, Any]) -> Place:
        channel, ts = said.get("channel"), said.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            raise Unsure(f"cannot tell whether {self._host} took it: it names no message")
        return Place(channel, ts)


class Misshapen(Refused):
    """Slack does not like the form of what was sent, and has surely not taken it."""


def _marked(mark: Mapping[str, str]) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": dict(mark)}


def _has(message: Any, wanted: Mapping[str, str]) -> bool:
    found = message.get("metadata") if isinstance(message, dict) else None
    if not isinstance(found, dict) or found.get("event_type") != EVENT or not isinstance(found.get("event_payload"), dict):
        return False
    return all(found["event_payload"].get(name) == value for name, value in wanted.items())


def marks(notice: Notice, part: str) -> dict[str, str]:
    """What a message carries unseen, so that it can be found again."""
    return {"notice": notice.key, "incident": notice.incident, "part": part, "host": notice.host}


def _silent() -> logging.Logger:
    """A logger that says nothing: the client writes answers and addresses into it."""
    made = logging.Logger("slack", logging.CRITICAL + 1)
    made.addHandler(logging.NullHandler())
    return made
