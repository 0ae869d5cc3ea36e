"""Slack's Web API and an incoming webhook, as far as the agent uses them: strict about what is sent, and shows what people see.

By Slack's pages on chat.postMessage, chat.update, conversations.history, conversations.replies, blocks, text objects, message
metadata, formatting and incoming webhooks.
"""

from __future__ import annotations

import html
import json
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

from tests.notifiers.stand_in import Answer, Asked, StandIn, answer_json

KEY: Final = "-".join(("xoxb", "1234567890", "AbCdEfGhIjKlMnOpQrSt"))
CHANNEL: Final = "C0INCIDENT"
NAME: Final = "incidents"
HOOK: Final = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
_EPOCH: Final = 1_795_475_527
_POST: Final = {
    "channel", "text", "blocks", "attachments", "thread_ts", "reply_broadcast", "unfurl_links", "unfurl_media", "link_names",
    "parse", "metadata", "mrkdwn",
}  # fmt: skip
_UPDATE: Final = {"channel", "ts", "text", "blocks", "attachments", "link_names", "parse", "metadata", "reply_broadcast"}
_HOOKED: Final = {"text", "blocks", "attachments", "unfurl_links", "unfurl_media", "link_names", "parse", "mrkdwn"}
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")
_LONGEST: Final = 13_000


@dataclass
class Message:
    """A message as Slack holds it."""

    ts: str
    given: dict[str, Any]
    edits: int = 0
    heeds_parse: bool = True

    @property
    def below(self) -> str:
        return str(self.given.get("thread_ts") or "")

    @property
    def everywhere(self) -> bool:
        return not self.below or bool(self.given.get("reply_broadcast"))


@dataclass
class Shown:
    """What a person sees of a message: its words, and what Slack makes links, mentions and emphasis of."""

    words: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)
    emphasis: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.words)


class SlackServer:
    """One workspace with one channel, an app in it, and a webhook."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.key, self.scopes = KEY, {"chat:write", "channels:history"}
        self.messages: list[Message] = []
        self.faults: list[str] = []
        self.says: list[str] = []
        """Errors that the next writing calls are answered with, one after the other."""
        self.page = 1000
        self.epoch = _EPOCH
        self._numbers = count(1)
        self.http = StandIn(self._answer, lambda asked: not asked.path.startswith("/api/conversations."), tls)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.http.port}/api/"

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self.http.port}{HOOK}"

    def stop(self) -> None:
        self.http.stop()

    @property
    def roots(self) -> list[Message]:
        return [one for one in self.messages if not one.below]

    def replies(self, root: Message) -> list[Message]:
        return [one for one in self.messages if one.below == root.ts]

    def chatter(self, number: int) -> None:
        """Other people talk."""
        for one in range(number):
            self.messages.append(Message(self._ts(), {"text": f"chatter {one}"}))

    def _ts(self) -> str:
        return f"{self.epoch + next(self._numbers)}.000100"

    # Calls --------------------------------------------------------------------------------------------------------------------

    def _answer(self, asked: Asked) -> Answer:
        if asked.path == HOOK:
            return self._hooked(asked)
        if asked.path.startswith("/services/"):
            return Answer(404, b"no_service")
        method = asked.path.removeprefix("/api/")
        reads = method.startswith("conversations.")
        kind = "application/x-www-form-urlencoded" if reads else "application/json;charset=utf-8"
        self._is(asked.headers.get("content-type") == kind, f"{method}: content type {asked.headers.get('content-type')}")
        if asked.headers.get("authorization") != f"Bearer {self.key}":
            return answer_json({"ok": False, "error": "invalid_auth"})
        if reads:
            return self._read(method, {name: value[0] for name, value in parse_qs(asked.body.decode()).items()})
        if self.says:
            return answer_json({"ok": False, "error": self.says.pop(0)})
        return self._write(method, json.loads(asked.body))

    def _write(self, method: str, given: dict[str, Any]) -> Answer:
        self._is(given.keys() <= (_POST if method == "chat.postMessage" else _UPDATE), f"{method}: {sorted(given)}")
        if given.get("channel") not in (CHANNEL, NAME, f"#{NAME}") or (method == "chat.update" and given["channel"] != CHANNEL):
            return answer_json({"ok": False, "error": "channel_not_found"})
        why = _misshapen(given)
        if why:
            self.faults.append(f"{method}: {why}")
            return answer_json({"ok": False, "error": "invalid_blocks"})
        return self._post(given) if method == "chat.postMessage" else self._update(given)

    def _post(self, given: dict[str, Any]) -> Answer:
        below = given.get("thread_ts")
        self._is("reply_broadcast" not in given or bool(below), "reply_broadcast without thread_ts")
        if below and below not in [one.ts for one in self.roots]:
            return answer_json({"ok": False, "error": "thread_not_found"})
        made = Message(self._ts(), given)
        self.messages.append(made)
        return answer_json({"ok": True, "channel": CHANNEL, "ts": made.ts, "message": {"type": "message"}})

    def _update(self, given: dict[str, Any]) -> Answer:
        found = [one for one in self.messages if one.ts == given["ts"]]
        if not found:
            return answer_json({"ok": False, "error": "message_not_found"})
        found[0].given = {**found[0].given, **given}
        found[0].edits += 1
        return answer_json({"ok": True, "channel": CHANNEL, "ts": given["ts"], "text": given.get("text", "")})

    def _read(self, method: str, given: Mapping[str, str]) -> Answer:
        if "channels:history" not in self.scopes:
            return answer_json({"ok": False, "error": "missing_scope", "needed": "channels:history", "provided": "chat:write"})
        if given.get("channel") != CHANNEL:
            return answer_json({"ok": False, "error": "channel_not_found"})
        self._is(1 <= int(given.get("limit", "100")) <= 999, "limit is 1 to 999")
        if method == "conversations.replies":
            found = [one for one in self.messages if given["ts"] in (one.ts, one.below)]
            if not found:
                return answer_json({"ok": False, "error": "thread_not_found"})
        else:
            found = [one for one in self.messages if one.everywhere][::-1]
        found = [one for one in found if float(one.ts) > float(given.get("oldest", "0"))]
        start = int(given.get("cursor") or 0)
        end = start + min(int(given.get("limit", "100")), self.page)
        whole = given.get("include_all_metadata") in ("1", "true")
        seen = [{"type": "message", "ts": one.ts, "text": "", **_marked(one, whole=whole)} for one in found[start:end]]
        more = {"next_cursor": str(end)} if end < len(found) else {"next_cursor": ""}
        return answer_json({"ok": True, "messages": seen, "has_more": end < len(found), "response_metadata": more})

    def _hooked(self, asked: Asked) -> Answer:
        given = json.loads(asked.body)
        self._is(given.keys() <= _HOOKED, f"webhook: {sorted(given)}")
        if self.says:
            return Answer(400, self.says.pop(0).encode())
        why = _misshapen(given)
        if why:
            self.faults.append(f"webhook: {why}")
            return Answer(400, b"invalid_blocks")
        self.messages.append(Message(self._ts(), given, heeds_parse=False))
        return Answer(200, b"ok", {"Content-Type": "text/html"})

    def _is(self, holds: bool, else_: str) -> None:
        if not holds:
            self.faults.append(else_)


def _marked(message: Message, *, whole: bool) -> dict[str, Any]:
    return {"metadata": message.given["metadata"]} if whole and "metadata" in message.given else {}


# What may be sent -----------------------------------------------------------------------------------------------------------


def _misshapen(given: Mapping[str, Any]) -> str:
    """What is wrong with a message, by Slack's pages; empty where nothing is."""
    text, attachments = given.get("text", ""), given.get("attachments", [])
    if not isinstance(text, str) or not text.strip() or len(text) > 40_000:
        return f"text of {len(text)} characters"
    if len(attachments) > 20 or not isinstance(attachments, list):
        return "attachments"
    for one in attachments:
        if not one.keys() <= {"color", "fallback", "blocks"} or not _COLOUR.fullmatch(one["color"]) or not one["blocks"]:
            return f"attachment {one}"
    groups = [given.get("blocks", []), *(one["blocks"] for one in attachments)]
    wrong = next((why for group in groups for why in _wrong(group)), "")
    size = sum(len(json.dumps(group, ensure_ascii=False)) for group in groups)
    return wrong or (f"{size} characters in all" if size > _LONGEST else "") or _wrong_metadata(given.get("metadata"))


def _wrong(blocks: list[dict[str, Any]]) -> Iterable[str]:
    if len(blocks) > 50:
        yield f"{len(blocks)} blocks"
    for block in blocks:
        match block:
            case {"type": "header", "text": {"type": "plain_text"} as text} if len(block) == 2:
                yield from _wrong_text(text, 150)
            case {"type": "section", "text": text} if len(block) == 2:
                yield from _wrong_text(text, 3000)
            case {"type": "context", "elements": list(texts)} if len(block) == 2 and 1 <= len(texts) <= 10:
                for text in texts:
                    yield from _wrong_text(text, 3000)
            case _:
                yield f"block {block}"


def _wrong_text(text: dict[str, Any], most: int) -> Iterable[str]:
    known = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}.get(text.get("type", ""), set())
    if not text.keys() <= known or not isinstance(text.get("text"), str):
        yield f"text object {text}"
    elif not text["text"].strip() or len(text["text"]) > most:
        yield f"text of {len(text['text'])} characters"


def _wrong_metadata(given: Any) -> str:
    if given is None:
        return ""
    payload = given.get("event_payload")
    fine = (
        given.keys() == {"event_type", "event_payload"}
        and re.fullmatch(r"\w+", given["event_type"])
        and isinstance(payload, dict)
    )
    return "" if fine and all(isinstance(value, str) for value in payload.values()) else f"metadata {given}"


# What people see ------------------------------------------------------------------------------------------------------------

_CONTROL: Final = re.compile(r"<([^<>]*)>")
_ALONE: Final = re.compile(
    r"https?://\S+|mailto:\S+|\b[\w.+-]+@[\w-]+\.[\w.-]*[a-z]|\b(?:[\w-]+\.)+[a-z]{2,}\b"
    r"|(?<!\w)#\w+|@(?:here|channel|everyone|U\w+)\b",
    re.IGNORECASE,
)
_EMPHASIS: Final = re.compile(r"\*\S[^*\n]*\*|(?<!\w)_\S[^_\n]*_(?!\w)|~\S[^~\n]*~|`[^`\n]+`|^(?:>|&gt;)", re.MULTILINE)


def shown(message: Message) -> Shown:
    """What Slack makes of a message: in the channel, and of its `text` in a notification."""
    made = Shown()
    given = message.given
    alone = not message.heeds_parse or given.get("parse") != "none"
    _markup(given.get("text", ""), made, alone=alone)
    if given.get("blocks") or given.get("attachments"):
        made.words.clear()
    for group in (given.get("blocks", []), *(one["blocks"] for one in given.get("attachments", []))):
        for block in group:
            for text in (block.get("elements") or []) + ([block["text"]] if "text" in block else []):
                if text["type"] == "plain_text":
                    made.words.append(html.unescape(text["text"]))
                else:
                    _markup(text["text"], made, alone=not text.get("verbatim"))
    return made


def _markup(text: str, made: Shown, *, alone: bool) -> None:
    for inside in _CONTROL.findall(text):
        address, _, word = inside.partition("|")
        if address.startswith(("@", "#", "!")):
            made.mentions.append(address)
        else:
            made.links.append((html.unescape(word), html.unescape(address)))
    rest = _CONTROL.sub(" ", text)
    if alone:
        made.links += [(one, one) for one in _ALONE.findall(html.unescape(rest)) if not one.startswith(("@", "#"))]
        made.mentions += [one for one in _ALONE.findall(html.unescape(rest)) if one.startswith(("@", "#"))]
    made.emphasis += _EMPHASIS.findall(rest)
    made.words.append(html.unescape(rest))
