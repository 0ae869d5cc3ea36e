"""Tells any of the 170 services that the package `apprise` knows: Telegram, Teams, Matrix, SMS and more."""

from __future__ import annotations

import logging
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

from agent.action import CannotReach
from agent.grammar.config import hidden
from agent.notifying.bare import bare
from agent.notifying.in_time import in_time
from agent.notifying.notice import LONGEST_LINE, Notice
from agent.notifying.notifier import Refused, Thread, Unsure, notifier
from agent.schema import About

_MISSING: Final = "apprise is not installed; pip install 'containment-agent[apprise]'"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE | re.ASCII)
_MOST: Final = 20
_KINDS: Final = {"P0": "failure", "P1": "failure", "P2": "warning", "P3": "info"}


@notifier(gap=1.0)
class Apprise:
    """Sends each piece of news to the services in `urls_file`, one apprise address a line, and hears only whether it worked.

    Nothing is edited, nothing is a thread, and where one service of several fails all are told again: rather give each a channel
    of its own. The package takes about a second and 34 MB once it is used. `servers` are the names it talks to, which an
    isolated host must still reach: the agent cannot tell them from the addresses.
    """

    urls_file: Annotated[
        Path, About("a file that only the agent can read, with one apprise address a line", "/etc/containment-agent/apprise")
    ]
    servers: Annotated[
        tuple[str, ...], About("names of the servers it talks to, as in [api.telegram.org]: an isolated host must reach them")
    ] = ()

    def __post_init__(self) -> None:
        if find_spec("apprise") is None:
            raise ValueError(_MISSING)

    def parts(self, notice: Notice) -> tuple[str, ...]:  # noqa: ARG002
        """One message."""
        return ("message",)

    def replaces(self, part: str) -> bool:  # noqa: ARG002
        """Never: each message stays as it is."""
        return False

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:  # noqa: ARG002
        """Send it; nobody can tell whether it is there already."""
        urls = self._urls()
        in_time(lambda: _send(urls, notice, self.whom()), self.whom())
        return thread

    def _urls(self) -> tuple[str, ...]:
        lines = (line.strip() for line in hidden(self.urls_file, "apprise's services").splitlines())
        found = tuple(line for line in lines if line and not line.startswith("#"))
        if not found or len(found) > _MOST or not all(_SCHEME.match(one) and one.isprintable() for one in found):
            why = f"is to hold 1 to {_MOST} addresses of apprise, one a line, as in tgram://…"
            raise CannotReach(f"cannot log in to apprise's services: {self.urls_file} {why}")
        return found

    def whom(self) -> str:
        """The kinds of services; everything else of their addresses is secret."""
        try:
            kinds = sorted({found[1].lower() for one in self._urls() if (found := _SCHEME.match(one))})
        except CannotReach:
            kinds = [f"cannot read {self.urls_file.name}"]
        return f"apprise ({', '.join(kinds)})"

    def hosts(self) -> tuple[str, ...]:
        """What ops say it talks to."""
        return self.servers


def _send(urls: tuple[str, ...], notice: Notice, whom: str) -> None:
    try:
        from apprise import Apprise as Services
        from apprise import NotifyFormat, NotifyType
    except ImportError as error:
        raise Refused(f"cannot send by apprise: {_MISSING}") from error
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it writes whole addresses where it cannot read them
    services = Services()
    if not all([services.add(one) for one in urls]):  # noqa: C419 - all of them
        raise Refused(f"cannot send by {whom}: it does not know one of the addresses; look at them with: apprise --dry-run -vv")
    kind = NotifyType(_KINDS[notice.severity] if notice.what not in ("resolved", "closed") else "success")
    told = services.notify(
        body=_body(notice), title=bare(notice.headline, LONGEST_LINE), notify_type=kind, body_format=NotifyFormat.TEXT
    )
    if not told:
        raise Unsure(f"cannot tell whether {whom} took it: apprise says no, and not why; try it with: apprise -vv")


def _body(notice: Notice) -> str:
    parts = (
        ("", (notice.news,)),
        ("What we saw", notice.saw),
        ("What we did", notice.did),
        ("What we need from you", notice.need),
    )
    lines = [
        line for title, told in parts if told for line in (title, *(bare(one, LONGEST_LINE) for one in told)) if line.strip()
    ]
    return "\n".join(lines)
