"""Posts to an address of agent.yaml over HTTP, and tells what was surely not taken from what may have been."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPMessage
from typing import IO, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

from agent import __version__
from agent.notifying.notifier import Busy, Refused, Unsure
from agent.schema import canonical
from agent.systems.dial import trust
from agent.visible import visible

LONGEST_WAIT: Final = 3600.0
"""The longest that a Retry-After is followed, in seconds; nobody wants to hear of an attack a day later."""
LARGEST: Final = 1 << 20
"""Bytes of an answer that are read."""
BROKEN: Final = (OSError, http.client.HTTPException, ValueError, LookupError)
"""What libraries raise when a connection breaks or an answer is none: LookupError is a charset that does not exist."""
_NOT_SENT: Final = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
_LATER: Final = frozenset({408, 409, 425, 429})
"""Not taken, and not for ever: 409 is what a receiver says while it works on the same Idempotency-Key."""


class Reply(NamedTuple):
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what we say, and how we prove who we are, is for that address alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Nowhere."""


def host_of(url: str) -> str:
    """The name or address in a URL, which alone of it is said in errors: paths may be secret.

    Raises:
        ValueError: it is no address to post to: neither https, nor http to this very host; or it has a user name in it.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    _ = parts.port  # read from the text only when asked for
    if parts.username is not None or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it is to be https://host/…, without a user name or blanks")
    near = host in ("localhost", "::1") or (host.startswith("127.") and canonical(host) is not None)
    if parts.scheme != "https" and not (near and parts.scheme == "http"):
        raise ValueError("it is to be https://…; http:// is for this very host alone")
    return host


def post(url: str, body: bytes, headers: Mapping[str, str], *, ca_file: str = "", within: float) -> Reply:
    """What the server answers to a POST; see `call`."""
    return call("POST", url, body, headers, ca_file=ca_file, within=within)


def call(method: str, url: str, body: bytes | None, headers: Mapping[str, str], *, ca_file: str = "", within: float) -> Reply:
    """What the server answers, whatever that is. `within` counts for each step of it: wrap the whole in `in_time`.

    Raises:
        Busy: it was surely not sent. Unsure: it may have been taken. CannotReach: `ca_file` cannot be read.
    """
    host = host_of(url)
    ways: list[urllib.request.BaseHandler] = [_Stay()]
    if url.startswith("https:"):
        ways.append(urllib.request.HTTPSHandler(context=trust(ca_file)))
    said = {"User-Agent": f"containment-agent/{__version__}", "Accept-Encoding": "identity", **headers}
    try:
        request = urllib.request.Request(url, body, said, method=method)  # noqa: S310 - host_of has looked at the scheme
        try:
            with urllib.request.build_opener(*ways).open(request, timeout=within) as answer:
                return _read(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return _read(answer)
    except BROKEN as error:
        raise broken(host, error) from None  # its text may hold the address


def _read(answer: http.client.HTTPResponse | urllib.error.HTTPError) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(int(answer.status or 0), headers, answer.read(LARGEST))


def broken(host: str, error: Exception) -> Busy:
    """What became of a request that ended without an answer."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = f"its certificate does not hold: {visible(cause.verify_message, 100).rstrip('.')}"
        return Busy(f"cannot trust {host}: {why}; if its issuer is your own, let this host know it: update-ca-certificates")
    if isinstance(cause, _NOT_SENT):
        return Busy(f"cannot reach {host}: {visible(cause.strerror or type(cause).__name__, 100).lower()}")
    if isinstance(cause, TimeoutError):
        return Unsure(f"cannot tell whether {host} took it: no answer in time")
    said = (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
    return Unsure(f"cannot tell whether {host} took it: {visible(said, 100).lower()}")


def not_taken(host: str, reply: Reply, word: str = "", mend: str = "") -> NoReturn:
    """Say what an answer means that is not a yes. `word` is the server's own for it, `mend` what helps.

    Raises:
        Busy: come again. Unsure: it may have been taken. Refused: never.
    """
    status, after = reply.status, retry_after(reply.headers.get("retry-after"))
    said = f"it answers {status} {word or http.client.responses.get(status, '')}".rstrip()
    if status in _LATER or (status == 503 and after is not None):
        raise Busy(f"cannot tell {host} now: {said}", after)
    if 300 <= status < 400:
        raise Refused(f"cannot tell {host}: it answers {status}, which sends us elsewhere; write the address where that ends")
    if 400 <= status < 500:
        raise Refused(f"cannot tell {host}: {said}; {mend or 'look at its own log, and at the keys of this channel'}")
    raise Unsure(f"cannot tell whether {host} took it: {said}")


def retry_after(said: str | None) -> float | None:
    """The seconds that a server asks us to wait (RFC 9110 §10.2.3: seconds or a date); None where it makes no sense."""
    text = (said or "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(float(text), LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - time.time()
    return min(max(0.0, seconds), LONGEST_WAIT)
