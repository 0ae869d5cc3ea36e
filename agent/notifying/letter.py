"""A notice as a letter: plain text, and HTML that is readable on a phone and in the dark. Pure.

Mail programs make links of whatever looks like one, and most of a notice may be a stranger's words. In plain text such words are
written as security people do (`evil[.]example`); in HTML they are taken apart by empty markup, so that what is copied is whole.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from agent.notifying.bare import unlinked
from agent.notifying.notice import MOST_TARGETS, Notice, fold_lines
from agent.visible import visible

_APART: Final = re.compile(r"[.@:/]")
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{margin:0;padding:1em;font:16px/1.5 sans-serif;color:#1a1a1a;background:#fff}"
    "main{max-width:40em;margin:auto;overflow-wrap:anywhere}"
    "h1{font-size:1.15em;margin:0 0 .5em}h2{font-size:1em;margin:1.2em 0 .2em}"
    "p,ul{margin:.3em 0}ul{padding-left:1.2em}"
    ".small{font-size:.85em;color:#595959}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}.small{color:#aaa}a{color:#9cf}}"
)


def subject(notice: Notice) -> str:
    """What the letters of one incident are called: nothing in it changes but its severity, so that they stay one thread."""
    name = notice.title or notice.policy or notice.headline
    return _in_header(f"[{notice.severity} {notice.incident}] {notice.host}: {name}", 160)


def _in_header(text: str, most: int) -> str:
    """A text that stays one line and one word of its own in a header: RFC 2047's encoded words are taken apart."""
    return visible(" ".join(text.split()), most).replace("=?", "= ?").strip()


def plain(notice: Notice) -> str:
    """The letter in plain text."""
    parts = [_unlinked(notice.headline), _unlinked(notice.news) if notice.news != notice.headline else ""]
    parts += ["\n".join([f"{title}:", *(f"  {_unlinked(one)}" for one in lines)]) for title, lines in _sections(notice)]
    links = [f"  {visible(word, 100)}: {address}" for word, address in _links(notice)]
    parts.append("\n".join(["Links:", *links]) if links else "")
    parts.append(_unlinked(_foot(notice)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _unlinked(text: str) -> str:
    return unlinked(visible(text))


def in_html(notice: Notice) -> str:
    """The same in HTML: no picture, no script, nothing that is fetched; and no link but the notice's own."""
    news = f"<p>{_shown(notice.news)}</p>" if notice.news and notice.news != notice.headline else ""
    sections = "".join(f"<h2>{title}</h2>{_list(_shown(one) for one in lines)}" for title, lines in _sections(notice))
    links = [f'<a href="{html.escape(address)}">{html.escape(visible(word, 100))}</a>' for word, address in _links(notice)]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
        '<meta name="format-detection" content="telephone=no,date=no,address=no,email=no,url=no">'
        f"<title>{html.escape(subject(notice))}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{_shown(notice.headline)}</h1>{news}{sections}"
        f"{f'<h2>Links</h2>{_list(links)}' if links else ''}"
        f'<p class="small">{_shown(_foot(notice))}</p></main></body></html>\n'
    )


def _sections(notice: Notice) -> list[tuple[str, Sequence[str]]]:
    shown = notice.targets[:MOST_TARGETS]
    more = (f"and {notice.many - len(shown)} more",) if notice.many > len(shown) else ()
    every = [
        ("What we saw", fold_lines(notice.saw)),
        ("What we did" + (" (dry run: nothing is really done)" if notice.dry else ""), fold_lines(notice.did)),
        ("What we need from you", fold_lines(notice.need)),
        ("Targets", (*shown, *more) if shown else ()),
    ]
    return [(title, lines) for title, lines in every if lines]


def _links(notice: Notice) -> list[tuple[str, str]]:
    """Those that are links: an address of the web, of which nothing would have to be escaped in plain text."""
    known = [(word, address) for word, address in notice.links if address.startswith(("https://", "http://"))]
    return [(word, address) for word, address in known if address.isprintable() and " " not in address][:10]


def _foot(notice: Notice) -> str:
    who = f"acknowledged by {notice.acked_by}" if notice.acked_by else "not acknowledged"
    whose = f", assigned to {notice.assigned}" if notice.assigned else ""
    return f"{notice.incident} on {notice.host or 'this host'}, {notice.severity}, {notice.phase}, {who}{whose}. {notice.key}"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{one}</li>' for one in items)}</ul>"


def _shown(text: str) -> str:
    """A stranger's words in HTML: what could be taken for an address is taken apart."""
    return _APART.sub(r"<span>\g<0></span>", html.escape(visible(text)))
