"""The pages' addresses, in Flask. GET shows and changes nothing; POST is an order, and leads to a page that says what came of it.

Every address but those of the login is behind the gate.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, g, make_response, redirect, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException, InternalServerError

from agent.pages.acting import Acting
from agent.pages.gate import AGAIN, LoggedOut, from_elsewhere, guarded
from agent.pages.looking import Looking
from agent.pages.settings import LARGEST
from agent.pages.site import Site
from agent.pages.words import FILTERS, plain

log = logging.getLogger("agent")

HERE: Final = Path(__file__).parent
_SHOWN: Final = {
    "/": "now",
    "/incidents": "incidents",
    "/incidents/<name>": "incident",
    "/incidents/<name>/undo": "undo_incident",
    "/incidents/<name>/report": "report",
    "/mitigations": "mitigations",
    "/mitigations/<name>/undo": "undo",
    "/approvals": "approvals",
    "/approvals/<name>": "approval",
    "/policies": "policies",
    "/policies/<name>": "policy",
    "/events": "events",
    "/health": "health",
}
_ORDERED: Final = {
    "/login": "login",
    "/logout": "logout",
    "/incidents/<name>/undo": "undo_incident",
    "/incidents/<name>/<order>": "incident",
    "/silences/<name>/end": "end_silence",
    "/mitigations/<name>/undo": "undo",
    "/mitigations/<name>/confirm": "confirm",
    "/approvals/<name>/approve": "approve",
    "/approvals/<name>/deny": "deny",
    "/policies/<name>/mode": "mode",
}


class _Pages(Flask):
    jinja_options = {  # noqa: RUF012 - Flask's own name for it
        "autoescape": True,
        "finalize": plain,
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }

    def log_exception(self, exc_info: Any) -> None:
        """A bug goes to the log without the path, in which a link may stand."""
        log.error("a bug in the pages: a request was not worked off", exc_info=exc_info)


def app(site: Site) -> Flask:
    """The WSGI application."""
    made = _Pages("agent.pages", static_folder=None, root_path=str(HERE), instance_path="/")
    made.url_map.merge_slashes = False
    made.config.update(MAX_CONTENT_LENGTH=LARGEST, MAX_FORM_MEMORY_SIZE=LARGEST, MAX_FORM_PARTS=50)
    made.jinja_env.filters.update(FILTERS)
    made.jinja_env.globals["style"] = sha256((HERE / "style.css").read_bytes()).hexdigest()[:12]
    made.before_request(site.gate.enter)
    made.after_request(guarded)
    looking, acting = Looking(site), Acting(site)
    for path, name in _SHOWN.items():
        made.add_url_rule(path, f"show_{name}", getattr(looking, name), methods=["GET"], provide_automatic_options=False)
    for path, name in _ORDERED.items():
        endpoint = name if name in ("login", "logout") else f"order_{name}"
        made.add_url_rule(path, endpoint, getattr(acting, name), methods=["POST"], provide_automatic_options=False)
    _open(made, site)
    made.register_error_handler(HTTPException, lambda error: _refused(site, error))
    return made


def _open(made: Flask, site: Site) -> None:
    """What is there for whoever is not logged in: the style, the icon, the page of a link."""

    def file(name: str, kind: str) -> Response:
        response = make_response((HERE / name).read_bytes())
        response.headers["Content-Type"] = kind
        response.headers["Cache-Control"] = "max-age=86400"  # its address changes with its content
        return response

    def login_page(link: str = "") -> Response:
        if g.session and not link:
            return make_response(redirect("/", 303))
        return site.show("login.html", link=link)

    rules: dict[str, tuple[str, Any]] = {
        "/style.css": ("style", lambda: file("style.css", "text/css; charset=utf-8")),
        "/icon.svg": ("icon", lambda: file("icon.svg", "image/svg+xml")),
        "/login": ("login_page", login_page),
        "/login/<link>": ("login_page", login_page),
    }
    for path, (endpoint, view) in rules.items():
        made.add_url_rule(path, endpoint, view, methods=["GET"], provide_automatic_options=False)


def _refused(site: Site, error: HTTPException) -> Response:
    """A page that says why not; for whoever is not logged in, how to be."""
    g.setdefault("session", None)
    code = error.code or 500
    if isinstance(error, LoggedOut) and from_elsewhere():
        response = site.show("again.html", path=f"{request.path}?{AGAIN}=1")
    elif isinstance(error, LoggedOut):
        response = site.show("login.html", link="")
    else:
        why = "a bug in the agent; its log has more" if isinstance(error, InternalServerError) else error.description
        response = site.show("refused.html", title=error.name, why=why or error.name)
    response.status_code = code
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response
