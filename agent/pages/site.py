"""What every page needs: the agent to ask in a person's name, templates to fill in, and the next page to go to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Response, g, make_response, redirect, render_template, request
from werkzeug.exceptions import NotFound, ServiceUnavailable

from agent.pages.gate import Gate
from agent.pages.ordering import Order, told
from agent.pages.sessions import Said, Session, Sessions

Ask = Callable[[str, Mapping[str, Any], str], Mapping[str, Any]]
"""The way to the agent: a verb of the control socket, its body, who asks. Waits for the answer."""
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_ID: Final = re.compile(r"(?:INC|M|A|S)-\d{1,12}")


@dataclass(frozen=True)
class Site:
    """The parts that pages are made with. `journal` is read, never written; `address` is where browsers come."""

    ask_agent: Ask
    sessions: Sessions
    gate: Gate
    journal: Path
    address: str

    def ask(self, verb: str, **body: Any) -> Mapping[str, Any]:
        """What the agent answers whoever is logged in.

        Raises:
            ServiceUnavailable: it cannot answer now.
        """
        answer = self.ask_agent(verb, body, self.session.actor)
        if "result" not in answer and (error := answer.get("error") or answer.get("problem")):
            raise ServiceUnavailable(str(error))
        return answer

    @property
    def session(self) -> Session:
        """Who is there; pages behind the gate have one."""
        found: Session = g.session
        return found

    def show(self, template: str, **values: Any) -> Response:
        """A page, with what came of the order before it."""
        number = request.args.get("said", "")
        said = g.session.said.get(int(number)) if g.session and _NUMBER.fullmatch(number) else None
        page = render_template(template, session=g.session, now=time.time(), said=said, **values)
        return make_response(page)

    def order(self, order: Order, body: Mapping[str, Any], back: str) -> Response:
        """Have the agent do it, in the name of whoever is logged in, and go to the page that shows what came of it."""
        answer = self.ask_agent(order.verb, body, self.session.actor)
        return self.back(back, told(order, body, answer))

    def back(self, path: str, said: Said) -> Response:
        """On to a page of ours, which says so."""
        return make_response(redirect(f"{path}?said={self.session.tell(said)}", 303))


def named(kind: str, name: str) -> str:
    """A name out of a path, as in INC-7.

    Raises:
        NotFound: it is none.
    """
    if not _ID.fullmatch(name) or not name.startswith(f"{kind}-"):
        raise NotFound(f"no page has this name; {kind}-7 would be one")
    return name
