"""What a notice looks like in Slack: a message that shows how things stand, and a reply that says what is new. Pure.

A stranger's words stand in `plain_text` objects alone, where Slack makes nothing of them; `&`, `<` and `>` are written as Slack
wants them in every text object. Words of mrkdwn are ours: the links. `text`, which shows in notifications, is made bare besides:
an incoming webhook does not heed `parse: none`. Limits are those of Slack's pages on blocks (2026); a message stays below 13,000
characters in all, since longer ones are said to be refused (`msg_blocks_too_long`, which those pages do not explain).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from agent.notifying.bare import bare
from agent.notifying.notice import LONGEST_LINE, Notice
from agent.visible import visible

Message = dict[str, Any]

_COLOURS: Final = {"P0": "#8b0000", "P1": "#d9381e", "P2": "#e8a33d", "P3": "#5b7fa6"}
_OVER: Final = "#2e8b57"
_HEADER: Final = 150
_SECTION: Final = 2900
"""Characters of one section, escaped; Slack takes 3,000, and nobody says whether it counts before or after."""
_HEADLINE: Final = 500
_WORD: Final = 75
_MOST_LINKS: Final = 5
_MOST_TARGETS: Final = 5
_LONGEST_URL: Final = 400


def standing(notice: Notice) -> Message:
    """The message of an incident, as it stands."""
    foot = [_context(_facts(notice)), *_links(notice)]
    saw = (*notice.saw, *_targets(notice))
    parts = [
        *_section("What we saw", saw),
        *_section("What we did" if not notice.dry else "What we would do (dry run: nothing was done)", notice.did),
        *_section("What we need from you", notice.need),
        *_section("News", (notice.news,) if notice.news != notice.headline else ()),
        *foot,
    ]
    colour = _OVER if notice.what in ("resolved", "closed") else _COLOURS[notice.severity]
    text = _said(notice.headline, notice)
    return {
        "text": escaped(bare(text, _HEADLINE)),
        "blocks": [_title(text)],
        "attachments": [{"color": colour, "fallback": escaped(bare(text, _HEADLINE)), "blocks": parts}],
    }


def news(notice: Notice) -> Message:
    """The reply that says what is new; whole in itself where the whole channel sees it."""
    text = _said(notice.news, notice)
    also = [_context(notice.headline)] if broadcast(notice) and notice.headline.strip() else []
    blocks = [{"type": "section", "text": _plain(visible(text, _HEADLINE))}, *also, _context(_facts(notice))]
    return {"text": escaped(bare(text, _HEADLINE)), "blocks": blocks}


def broadcast(notice: Notice) -> bool:
    """Whether the reply is shown in the channel too."""
    return notice.urgent and notice.what in ("opened", "escalated", "reopened")


def in_words(notice: Notice) -> str:
    """All of it as one text, for a Slack that does not take the blocks."""
    lines = (notice.headline, notice.news, *notice.saw, *notice.did, *notice.need)
    return escaped("\n".join(bare(one, LONGEST_LINE) for one in lines if one.strip()))[:_SECTION]


def escaped(text: str) -> str:
    """The text with Slack's three control characters written as it wants them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _said(text: str, notice: Notice) -> str:
    return text if text.strip() else f"{notice.severity} {notice.incident}: {notice.what}"


def _plain(text: str) -> Message:
    return {"type": "plain_text", "text": escaped(text), "emoji": False}


def _title(text: str) -> Message:
    shown = visible(text, _HEADLINE)
    if len(escaped(shown)) <= _HEADER:
        return {"type": "header", "text": _plain(shown)}
    return {"type": "section", "text": _plain(shown)}


def _section(title: str, lines: Sequence[str]) -> list[Message]:
    """A title and its lines. The last line stays whatever goes: for what we need, it is the command."""
    shown = [visible(one, LONGEST_LINE) for one in lines if one.strip()]
    if not shown:
        return []
    left, last = _SECTION - len(title) - len(escaped(shown[-1])) - 40, shown.pop()
    kept: list[str] = []
    for one in shown:
        left -= len(escaped(one)) + 3
        if left < 0:
            kept.append(f"and {len(shown) - len(kept)} more lines")
            break
        kept.append(one)
    return [{"type": "section", "text": _plain("\n".join((title, *(f"• {one}" for one in (*kept, last)))))}]


def _targets(notice: Notice) -> tuple[str, ...]:
    if not notice.targets:
        return ()
    first = ", ".join(visible(one, 45) for one in notice.targets[:_MOST_TARGETS])
    more = max(notice.many, len(notice.targets)) - min(_MOST_TARGETS, len(notice.targets))
    return (f"about {first}{f' and {more:,} more' if more > 0 else ''}",)


def _facts(notice: Notice) -> str:
    at = datetime.fromtimestamp(notice.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    acked = f"acknowledged by {notice.acked_by}" if notice.acked_by.strip() else "not acknowledged"
    parts = (
        notice.incident,
        notice.severity,
        notice.phase,
        acked,
        notice.host,
        notice.policy,
        "dry run" if notice.dry else "",
        at,
    )
    return " · ".join(visible(one, 100) for one in parts if one.strip())


def _context(text: str) -> Message:
    shown = visible(text, _HEADLINE)
    return {"type": "context", "elements": [_plain(shown)]}


def _links(notice: Notice) -> list[Message]:
    """The links of a notice, which are never a stranger's; the one place where Slack is to read markup."""
    made = [f"<{address}|{escaped(bare(word, _WORD)) or 'link'}>" for word, given in notice.links if (address := _address(given))]
    if not made:
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": " · ".join(made[:_MOST_LINKS]), "verbatim": True}}]


def _address(given: str) -> str:
    """A web address that cannot end its own link; empty where it is none."""
    try:
        parts = urlsplit(given)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc or len(given) > _LONGEST_URL:
        return ""
    return escaped(quote(given, safe="%/:=&?~#+!$,;'@()*[]"))
