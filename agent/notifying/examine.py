"""What keeps channels from working, for `contain doctor`: secrets, and servers that do not answer. Nobody is told anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from agent.action import CannotReach
from agent.grammar.config import hidden
from agent.notifying.courier import secret_files
from agent.notifying.in_time import in_time
from agent.notifying.notifier import Busy
from agent.notifying.routes import Routes
from agent.notifying.servers import servers
from agent.systems.dial import Refused, dial

WITHIN: Final = timedelta(seconds=3)
MOST: Final = 5

Seen = tuple[str, bool | None, str, str]
"""What was looked at, whether it is well (None: it does not matter yet), a sentence, and the mend."""


def examine(notifiers: Mapping[str, Any], routes: Routes) -> Iterator[Seen]:
    """Look at all that `notify:` names."""
    if not notifiers:
        mend = "write notify: {channels: {ops: {slack: {…}}}}; contain init shows an example"
        yield "notify", None, "nobody is told of anything: agent.yaml names no channel", mend
        return
    for name, one in notifiers.items():
        yield _channel(name, one)
    for severity in ("P0", "P1"):
        if not routes.by.get(severity):
            yield f"notify {severity}", None, f"nobody is told of {severity}", f"write notify: {{routes: {{{severity}: […]}}}}"


def _channel(name: str, one: Any) -> Seen:
    what = f"channel {name}"
    try:
        for path in secret_files(one):
            if not hidden(path, one.whom()):
                return what, False, f"{path} is empty", "put the secret into it"
        found = [(host, port, _dialled(host, port)) for host, port in servers(one)[:MOST]]
    except CannotReach as error:
        said, _, mend = str(error).partition("; ")
        return what, False, said, mend or "see notify: {channels: …} in agent.yaml"
    if wrong := [f"{host}:{port}: {why}" for host, port, why in found if why]:
        mend = "is the way there open? an outgoing firewall or a proxy may be between"
        return what, False, f"its server does not answer: {'; '.join(wrong)}", mend
    there = ", ".join(f"{host}:{port}" for host, port, _ in found)
    answers = f"; {there} answers" if there else ""
    return what, True, f"{type(one).name} to {one.whom()}{answers}; try it: contain notify test {name}", ""


def _dialled(host: str, port: int) -> str:
    """Why nobody answers there; empty where somebody does."""
    try:
        in_time(lambda: dial(host, port, WITHIN).close(), host, WITHIN.total_seconds() + 1.0)
    except (Refused, CannotReach, Busy) as error:
        return str(error)
    return ""
