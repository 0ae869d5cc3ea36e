"""Gets a list from its server: over TLS, in time, in full, from where agent.yaml says and nowhere else."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from agent import __version__
from agent.action import CannotReach
from agent.schema import rough
from agent.systems.cut_off import cut_off
from agent.systems.dial import Refused, dial, dial_tls, trust
from agent.visible import visible

LARGEST: Final = 64 << 20
"""Bytes of a list."""
WITHIN: Final = timedelta(seconds=60)
"""For everything, redirects included: less than the time after which a silent thread counts as hung."""
CONNECT: Final = timedelta(seconds=5)
MOST_REDIRECTS: Final = 3


class NotSent(CannotReach):
    """The server was reached, and did not send a list: to ask again soon would bother it.

    `wait` are the seconds that it asks for, `status` is what it answered where that was not 200.
    """

    def __init__(self, why: str, wait: float = 0.0, status: int = 0) -> None:
        super().__init__(why)
        self.wait, self.status = wait, status


@dataclass(frozen=True, slots=True)
class Source:
    """Where a list is got from. `private`: its server may have an address that the internet does not know."""

    url: str
    private: bool = False
    ca_file: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    within: timedelta = WITHIN


@dataclass(frozen=True, slots=True)
class Got:
    """What a server sent; `body` is None where it says that nothing has changed. `etag` and `modified` are its names for it."""

    body: bytes | None
    etag: str = ""
    modified: str = ""


def fetch(source: Source, etag: str = "", modified: str = "") -> Got:
    """The list, or that it is still the one that is called so. Redirects are followed on the same host alone.

    Raises:
        CannotReach: there is no way to the server. NotSent: it was reached, and sent no whole list.
    """
    until = time.monotonic() + source.within.total_seconds()
    here = urlsplit(source.url)
    for _ in range(MOST_REDIRECTS + 1):
        got = _get(source, here, until, (etag, modified))
        if isinstance(got, Got):
            return got
        here = _there(here, got)
    raise NotSent(f"cannot fetch {source.url}: more than {MOST_REDIRECTS} redirects")


def _there(here: SplitResult, location: str) -> SplitResult:
    try:
        there = urlsplit(urljoin(here.geturl(), location))
        same = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
    except ValueError:
        same = False
    if not same:
        where = visible(location, 200)
        raise NotSent(f"cannot fetch {here.geturl()}: it sends us to {where}; if that is right, write it as url in agent.yaml")
    return there


def _get(source: Source, here: SplitResult, until: float, known: tuple[str, str]) -> Got | str:
    """What one address answers: a text, or where it sends us."""
    connection = http.client.HTTPConnection(here.netloc)  # for the Host header; we dial ourselves
    connection.sock = _connected(source, here, until)
    try:
        with cut_off(connection.sock.fileno(), timedelta(seconds=until - time.monotonic())):
            connection.request(
                "GET", here._replace(scheme="", netloc="", fragment="").geturl() or "/", headers=_headers(source, known)
            )
            with closing(connection.getresponse()) as answer:
                return _answered(source, answer, known)
    except TimeoutError as error:
        raise NotSent(f"cannot fetch {source.url}: it was not there as a whole within {rough(source.within)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotSent(f"cannot fetch {source.url}: {_why(error)}") from error
    finally:
        connection.close()


def _answered(source: Source, answer: http.client.HTTPResponse, known: tuple[str, str]) -> Got | str:
    if answer.status in (301, 302, 303, 307, 308) and (location := answer.headers.get("Location")):
        return location
    if answer.status == 304 and any(known):
        return Got(None, *known)
    _good(source, answer)
    body = _whole(source, answer)
    return Got(body, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))


def _why(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "it was cut in the middle"
    return visible(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200)


def _headers(source: Source, known: tuple[str, str]) -> dict[str, str]:
    said = {"User-Agent": f"containment-agent/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
    said |= {name: value for name, value in zip(("If-None-Match", "If-Modified-Since"), known, strict=True) if value}
    return said | dict(source.headers)


def _good(source: Source, answer: http.client.HTTPResponse) -> None:
    if answer.status != 200:
        said = f"{answer.status} {http.client.responses.get(answer.status, '')}".rstrip()
        wait = answer.headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdecimal() and len(wait) < 8 else 0.0
        raise NotSent(f"cannot fetch {source.url}: it answers {said}", seconds, answer.status)
    if (packed := answer.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise NotSent(f"cannot fetch {source.url}: it comes packed ({visible(packed, 20)}), though that was not asked for")


def _whole(source: Source, answer: http.client.HTTPResponse) -> bytes:
    """All of the text, and nothing less: the last address of a cut one would be another one."""
    length = answer.length
    if length is not None and length > LARGEST:
        raise NotSent(f"cannot fetch {source.url}: it has {length >> 20:,} MiB, and {LARGEST >> 20} are the most")
    body = bytearray()
    while more := answer.read1(1 << 16):  # read() takes a chunk of length -1 for all that will ever come (http.client of 3.11)
        body += more
        if len(body) > LARGEST:
            raise NotSent(f"cannot fetch {source.url}: it has more than {LARGEST >> 20} MiB")
    if length is not None and len(body) < length:
        raise NotSent(f"cannot fetch {source.url}: it was cut after {len(body):,} of {length:,} bytes")
    if length is None and not answer.chunked and body and not body.endswith(b"\n"):
        raise NotSent(f"cannot fetch {source.url}: it does not say how long it is, and ends in the middle of a line")
    return bytes(body)


# The way there --------------------------------------------------------------------------------------------------------------


def _connected(source: Source, here: SplitResult, until: float) -> socket.socket:
    """A connection to one of the addresses that the name has now; looked at and dialled are the same."""
    tls, host = here.scheme == "https", here.hostname or ""
    port = here.port or (443 if tls else 80)
    why: Exception | None = None
    context = trust(source.ca_file) if tls else None
    for address in _addresses(source, host, port):
        left = min(CONNECT, timedelta(seconds=max(0.1, until - time.monotonic())))
        try:
            return dial_tls(address, port, left, context, host) if context else dial(address, port, left)
        except (Refused, CannotReach) as error:
            why = error
    raise CannotReach(f"cannot fetch {source.url}: {_bare(why)}") from why


def _addresses(source: Source, host: str, port: int) -> list[str]:
    try:
        found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise CannotReach(f"cannot fetch {source.url}: cannot resolve {host}: {error.strerror or error}") from error
    written = _is_address(host)
    inside = [] if source.private or written else [one for one in found if not ip_address(one.partition("%")[0]).is_global]
    if inside:
        mend = "if that is meant, write private: true"
        raise CannotReach(f"cannot fetch {source.url}: {host} is {inside[0]}, which is no address of the internet; {mend}")
    return found[:4]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _bare(error: Exception | None) -> str:
    """The reason alone."""
    text = str(error) if error else "its name has no address"
    return text.partition(": ")[2] if text.startswith("cannot ") else text
