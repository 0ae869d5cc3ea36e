"""fail2ban's expressions: Python's, with tags for addresses (`<HOST>`) and named groups (`<F-USER>…</F-USER>`) in them.

Host names are never looked up, as with `usedns = no`: who owns a name decides what it stands for. `<HOST>` is then an address.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from agent.fail2ban.needles import begins_with_text, needed
from agent.fail2ban.search import Expression
from agent.fail2ban.shape import begins, sets

_TAG: Final = re.compile(r"</?[\w-]+/?>")
_GROUP: Final = re.compile(r"(/?)F-([A-Z0-9_-]+)")
_INNER_FLAGS: Final = re.compile(r"(?<!\\)\((?:\?:)?(\(\?[a-z]+)\)")

_IP4: Final = r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
_IP6: Final = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"
_DNS: Final = r"(?P<dns>[\w\-.^_]*\w)"
_CIDR: Final = r"(?P<cidr>\d+)"
_ADDR: Final = rf"\[?(?:{_IP4}|{_IP6})\]?"
_TAGS: Final = {
    "IP4": _IP4,
    "IP6": _IP6,
    "ADDR": _ADDR,
    "CIDR": _CIDR,
    "SUBNET": rf"\[?(?:{_IP4}|{_IP6})(?:/{_CIDR})?\]?",
    "DNS": _DNS,
}
_CLOSED: Final = {**{f"F-{name}/": text for name, text in _TAGS.items()}, "F-ID/": r"(?P<fid>\S+)", "F-PORT/": r"(?P<fport>\w+)"}
_NAMES: Final = {"id": "fid", "port": "fport"}
_IDENTITY: Final = frozenset(("fid", "ip4", "ip6", "dns", "mlfid"))
_SKIPPED: Final = "skiplines"


def identifies(one: Expression) -> bool:
    """Whether it tells who it was, or which connection."""
    return not _IDENTITY.isdisjoint(one.names)


def compiled(text: str, *, multiline: bool = False, raw: bool = False) -> Expression:
    """An expression of fail2ban's. With `raw` (`usedns = raw`) a host name counts as it stands.

    Raises:
        ValueError: Python's engine does not take it.
    """
    written = _INNER_FLAGS.sub(r"\1:", resolved(text, raw=raw))
    if not written.strip():
        raise ValueError("an empty expression matches everything")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = re.compile(written, re.MULTILINE if multiline else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"bad expression: {error}") from None
    needs = needed(made, words=False) or frozenset()
    plain = () if any(one.fold for one in needs) else tuple(sorted(one.text for one in needs))
    anchored = begins_with_text(made)
    return Expression(made, plain, begins(made) if anchored else None, anchored=anchored, sets=sets(made))


def resolved(text: str, *, raw: bool = False) -> str:
    """The text with its tags as Python writes them."""
    opened: set[str] = set()
    skips = 0

    def one(found: re.Match[str]) -> str:
        nonlocal skips
        whole = found[0]
        tag = whole[1:-1]
        if tag == "HOST":
            return rf"(?:{_ADDR}|{_DNS})" if raw else _ADDR
        if tag == "SKIPLINES":
            skips += 1
            return rf"\n(?P<{_SKIPPED}{skips - 1}>(?:(?:.*\n)*?))"
        if tag in _TAGS or tag in _CLOSED:
            return _TAGS.get(tag) or _CLOSED[tag]
        group = _GROUP.fullmatch(tag)
        if group is None:
            return whole
        if group[1]:
            return ")" if group[2] in opened else whole
        opened.add(group[2])
        return f"(?P<{_NAMES.get(group[2].lower(), group[2].lower())}>"

    return _TAG.sub(one, text)
