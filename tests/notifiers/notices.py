"""Notices to send: an ordinary one, and those in which every text is a stranger's."""

from __future__ import annotations

from typing import Any, Final, get_args

from hypothesis import strategies as st

from agent.notifying.notice import Notice, What
from agent.policy import Class, Severity

WHATS: Final[tuple[What, ...]] = get_args(What)
HOSTILE: Final = (
    "<!channel>",
    "<!here|here>",
    "@everyone @here @channel",
    "<@U012AB3CD>",
    "<#C012AB3CD|general>",
    "<!subteam^S012AB3CD>",
    "<!date^1392734382^{date}^https://evil.example/|x>",
    "<https://evil.example/|contain ack INC-7>",
    "https://evil.example/login?next=//x",
    "www.evil.example",
    "evil.example/path",
    "mailto:ceo@evil.example",
    "ceo@evil.example",
    "javascript:alert(1)",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](https://evil.example/)",
    "![x](https://evil.example/pixel.gif)",
    "*bold* _italic_ ~gone~ `code` ```block```",
    "> quoted\n# heading\n- item",
    ":rotating_light: :tada:",
    "&lt;!channel&gt; &amp;lt; &#60;!channel&#62;",
    "#incidents #general",
    "+1 555 0100",
    "{{7*7}} ${7*7} %(x)s {0}",
    "a\r\nBcc: all@evil.example\r\n\r\nbody",
    "' OR 1=1; -- \\",
    "x" * 5000,
    "&" * 3000,
    "<" * 3000,
    "\U0001f525" * 400,
    "\u05d0\u0628\u4e2d",
    " ",
    "",
)
"""What strangers write into logs in the hope that a channel makes something of it."""


def notice(what: What = "opened", severity: Severity = "P1", **given: Any) -> Notice:
    """An ordinary notice about INC-7."""
    number = 1 if what in ("opened", "test") else 2
    made = Notice(
        key=f"INC-7/{number}",
        incident="INC-7",
        what=what,
        severity=severity,
        phase={"resolved": "resolved", "closed": "closed"}.get(what, "contained"),
        headline="P1 http-flood: 31 addresses flood shop (1,840 r/s). Contained in 37 s. Not acknowledged.",
        news="Contained: all 31 addresses are blocked.",
        at=1_795_475_527.5,
        opened=1_795_475_490.25,
        host="web-1",
        policy="http-flood",
        title="HTTP flood",
        about="availability",
        saw=("1,840 requests a second from 31 addresses", "the check shop-http is bad since 09:11:30"),
        did=("dropped every packet from 31 addresses, until 10:12",),
        need=("Say that you are on it:", "contain ack INC-7"),
        links=(("runbook", "https://wiki.example.com/http-flood"), ("incident", "https://web-1.example.com:8443/incident/INC-7")),
        targets=("203.0.113.9", "203.0.113.10"),
        many=31,
    )
    return made._replace(**given)


_TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map(" ".join),
    st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs")), max_size=400),
)
_LINES = st.lists(_TEXTS, max_size=14).map(tuple)


@st.composite
def hostile(draw: st.DrawFn) -> Notice:
    """A notice in which every text that can be a stranger's is one; its links are ours, as always."""
    texts = {name: draw(_TEXTS) for name in ("headline", "news", "host", "policy", "title", "acked_by", "assigned", "phase")}
    lines = {name: draw(_LINES) for name in ("saw", "did", "need", "targets")}
    what = draw(st.sampled_from(WHATS))
    return notice(what, draw(st.sampled_from(get_args(Severity))), about=draw(st.sampled_from(get_args(Class))), **texts, **lines)
