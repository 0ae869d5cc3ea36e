"""Who may come in to the pages, and what every answer says to the browser. Each check is one that a hostile web page runs into:

a name that leads here by DNS rebinding, a form on another site (Origin, Sec-Fetch-Site, and a token of our own), a frame, a
script, a cached page, a login by somebody else's link.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Response, g, request
from werkzeug.exceptions import Forbidden, HTTPException, LengthRequired, MethodNotAllowed, RequestEntityTooLarge

from agent.intake.bounds import Bucket, Buckets
from agent.intake.wire import network_of
from agent.pages.sessions import Session, Sessions
from agent.pages.settings import LARGEST, Settings, without_port

COOKIE: Final = "containment"
SECURE: Final = f"__Host-{COOKIE}"
"""The same where the browser speaks TLS: it then comes from this very host, and was never sent in the clear (RFC 6265bis)."""
OPEN: Final = frozenset({"style", "icon", "login_page", "login"})
"""What is there for whoever is not logged in."""
STILL: Final = "still"
"""In the address of a page that reloads itself: nobody may be there."""
AGAIN: Final = "again"
"""In the address of that second look."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser sends `Origin: null` from our own forms, too. This one says nothing to other sites either.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::\d{1,5})?", re.IGNORECASE)


class Misdirected(HTTPException):
    """Asked by a name that is none of ours."""

    code = 421
    description = "this host does not go by that name; see pages: {hosts: […]} in agent.yaml"


class TooMany(HTTPException):
    """Too many tries."""

    code = 429
    description = "too many tries to log in; wait a minute, then ask for a new link: contain web"


class LoggedOut(HTTPException):
    """Nobody is logged in, or not any more."""

    code = 403
    description = "you are not logged in"


class Gate:
    """Stands before every page."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        """Nobody has come."""
        self._settings, self._sessions, self._names = settings, sessions, settings.names
        self._misses = Buckets(10, 0.2, Bucket(50, 2.0))

    def enter(self) -> None:
        """Let a request in, with its session in `g`; else answer it with a refusal."""
        g.session = None
        self._known()
        posts = request.method == "POST"
        if request.method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(("GET", "HEAD", "POST"))
        if posts:
            _bounded()
            _same_origin()
        g.session = self._session()
        if request.endpoint in OPEN:
            return
        if g.session is None:
            raise LoggedOut
        if posts:
            self._meant(g.session)

    def _known(self) -> None:
        host = request.environ.get("HTTP_HOST", "")
        if not _HOST.fullmatch(host) or without_port(host) not in self._names:
            raise Misdirected
        if self._settings.tls and self._settings.tls.client_ca_file and not request.environ.get("intake.names"):
            raise Forbidden("show a client certificate by an issuer of pages: {tls: {client_ca_file: …}}")

    def _session(self) -> Session | None:
        cookie = self.cookie()
        return self._sessions.find(cookie, clicked=STILL not in request.args) if cookie else None

    def cookie(self) -> str:
        """What the browser holds; empty for none."""
        given = request.cookies
        return given.get(SECURE) or ("" if self._settings.tls else given.get(COOKIE, ""))

    def _meant(self, session: Session) -> None:
        if not hmac.compare_digest(request.form.get("form", "").encode(), session.form.encode()):
            raise Forbidden("this form is of another login; load its page again")
        if session.read_only and request.endpoint != "logout":
            raise Forbidden("this login is to look only; for one that may order: contain web")

    def missed(self) -> None:
        """Count a try to log in that came to nothing; a link that is good is never kept waiting by those of others.

        Raises:
            TooMany: there were too many of them from there.
        """
        address = request.environ.get("REMOTE_ADDR")
        if not self._misses.allows(network_of(address) if address else "the socket"):
            raise TooMany

    def keep(self, response: Response, cookie: str) -> None:
        """Have the browser hold a cookie; an empty one takes it away."""
        secure = self.encrypted()
        options: dict[str, Any] = {"secure": secure, "httponly": True, "samesite": "Strict", "path": "/"}
        name = SECURE if secure else COOKIE
        if cookie:
            response.set_cookie(name, cookie, **options)
        else:
            response.delete_cookie(name, **options)

    def encrypted(self) -> bool:
        """Whether the browser speaks TLS, with us or with a proxy before us: it says so in the Origin of its own forms."""
        return bool(self._settings.tls) or request.headers.get("Origin", "").lower().startswith("https://")


def _bounded() -> None:
    if request.environ.get("wsgi.input_terminated") or request.content_length is None:
        raise LengthRequired
    if request.content_length > LARGEST:
        raise RequestEntityTooLarge


def _same_origin() -> None:
    """A form counts only where it came from a page of ours, by the word of the browser."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    here = request.environ.get("HTTP_HOST", "").lower()
    strange = (site is not None and site != "same-origin") or (origin is not None and _netloc(origin) != here)
    if strange or (site is None and origin is None):
        raise Forbidden("this came from another site, and nothing was done")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return None


def guarded(response: Response) -> Response:
    """The answer, with what the browser must know of it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def from_elsewhere() -> bool:
    """Whether a link on another site led here: the browser has kept the cookie back (SameSite), and a second look brings it."""
    strange = request.headers.get("Sec-Fetch-Site") == "cross-site" and AGAIN not in request.args
    return strange and request.method == "GET" and request.endpoint is not None
