"""The pages of a running agent: where they listen, who is logged in, and the thread that keeps the doors open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.intake.doorkeeper import Doorkeeper, Place
from agent.messages import Asked
from agent.pages.sessions import LINK, Sessions
from agent.pages.settings import LARGEST, Settings
from agent.record import Record

if TYPE_CHECKING:
    from agent.pages.site import Ask

THREADS: Final = 40
"""Requests that are served at once, at each address: more than one peer may have connections, so that nobody who is slow keeps
others out, and enough for orders that take a minute."""
VERB: Final = "web"


class Pages:
    """Belongs to the owner's thread; the server has threads of its own."""

    def __init__(self, settings: Settings, journal: Path) -> None:
        """Nothing listens yet."""
        self._settings, self._journal = settings, journal
        self._sessions = Sessions()
        place = Place("pages", "the pages", settings.listen, settings.socket, settings.tls, THREADS, LARGEST)
        self._keeper = Doorkeeper(place)

    def begin(self, ask: Ask) -> None:
        """Listen, and try again where that cannot be had; `ask` is how pages come to the agent."""
        self._keeper.begin(lambda: self._application(ask))

    def _application(self, ask: Ask) -> Any:
        from agent.pages.app import app
        from agent.pages.gate import Gate
        from agent.pages.site import Site

        settings = self._settings
        return app(Site(ask, self._sessions, Gate(settings, self._sessions), self._journal, settings.address))

    def close(self) -> None:
        """Stop listening; everybody is logged out."""
        self._keeper.close()

    def status(self) -> dict[str, Any]:
        """For people: where they are, where they listen, why not, and how many are logged in. Any thread may ask."""
        return {"address": self._settings.address, "listens": self._keeper.listens, "sessions": len(self._sessions)}

    def asked(self, message: Asked) -> tuple[Mapping[str, Any], Record | None]:
        """`contain web`: a link for whoever asks at the control socket, or the end of all their logins; and what is recorded."""
        actor, body = message.actor, message.body
        if not actor or actor == "unknown":
            return {"result": "refused", "because": "the kernel does not say who you are"}, None
        if body.get("logout"):
            return {"result": "ended", "sessions": self._sessions.end(actor)}, Record("web_left", {"actor": actor})
        if not self._keeper.opened:
            why = "; ".join(filter(None, self._keeper.listens.values())) or "they do not listen yet"
            return {"result": "failed", "error": f"nobody would get to the pages now: {why}"}, None
        read_only = bool(body.get("read_only"))
        address = f"{self._settings.address}/login/{self._sessions.link(actor, read_only=read_only)}"
        answer = {"result": "made", "address": address, "seconds": LINK, "read_only": read_only}
        return answer, Record("web_link", {"actor": actor, "read_only": read_only})
