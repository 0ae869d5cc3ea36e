"""Connections with limits: cheroot, made strict about requests and impatient with those who are slow.

What cheroot 11 does that does not do here: a TLS handshake holds up all who want in; whoever connects and says nothing holds a
thread; a time limit counts from byte to byte; the rest of a refused body is read into memory; `Content_Length` is taken for
`Content-Length`, of two the last one counts, and it may be negative; what strangers do wrong goes to stderr.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from cheroot import errors, wsgi
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPRequest
from cheroot.ssl import Adapter

from agent.connection import Connection
from agent.intake.settings import LARGEST_EVER
from agent.intake.tls import Certificate, names_of

log = logging.getLogger("agent")

HEAD: Final = 3.0
"""Seconds from the first byte until the head of a request is there, the TLS handshake included."""
WHOLE: Final = 10.0
"""The same until its body is."""
LINGER: Final = 1.0
"""Seconds in which whoever was refused may take the answer and stop sending."""
LONGEST_HEAD: Final = 16 << 10
_PIECE: Final = 64 << 10
AT_ONCE: Final = 128
"""Connections; one more is closed at once."""
OF_ONE: Final = 32
"""Of these for one address, or one user of this host."""
_NAME: Final = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110 §5.6.2), without the `_` that WSGI cannot tell from a `-`."""
_LENGTH: Final = re.compile(rb"\d{1,9}")
_ONCE: Final = frozenset({b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization"})
_PLAIN: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 29\r\n\r\nthis port speaks HTTPS only.\n"


class _Bytes(socket.SocketIO):
    """A connection's bytes, as long as the time for them lasts."""

    until = math.inf

    def __init__(self, sock: Any, mode: Any) -> None:
        super().__init__(sock, mode)
        self._socket = sock

    def readinto(self, buffer: Any) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return super().readinto(buffer)

    def write(self, data: Any) -> int | None:
        self._socket.settimeout(HEAD)
        return super().write(data)


class _Reader(StreamReader):
    def __init__(self, sock: Any, mode: str = "rb", bufsize: int = 8192) -> None:
        super().__init__(sock, mode, bufsize)
        self.bytes = self._raw = _Bytes(sock, "r")
        self._socket = sock

    def has_data(self) -> bool:
        """Also what TLS has decrypted, and nobody has read: no selector sees it."""
        pending = getattr(self._socket, "pending", None)
        waits: Any = super().has_data
        return bool(waits() or (pending and pending()))


class _Writer(StreamWriter):
    def __init__(self, sock: Any, mode: str = "wb", bufsize: int = 8192) -> None:
        super().__init__(sock, mode, bufsize)
        self._raw = _Bytes(sock, "w")


def _makefile(sock: Any, mode: str = "r", bufsize: int = 8192) -> Any:
    return _Reader(sock, mode, bufsize) if "r" in mode else _Writer(sock, mode, bufsize)


# Requests -----------------------------------------------------------------------------------------------------------------


def _headers(rfile: Any, into: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers up to the empty line.

    Raises:
        ValueError: they are not what RFC 9112 says, or could be read in two ways.
    """
    while (line := rfile.readline()) != b"\r\n":
        name, colon, value = line.partition(b":")
        if not line.endswith(b"\r\n") or not colon or line[:1] in b" \t":
            raise ValueError("a header line is not well formed")
        if b"_" in name:
            continue
        if not _NAME.fullmatch(name) or b"\0" in value or b"\r" in value[:-2]:
            raise ValueError("a header line is not well formed")
        name, value = name.title(), value.strip()
        if name in into and name in _ONCE:
            raise ValueError(f"the header {name.decode()} is there twice")
        into[name] = b", ".join((into[name], value)) if name in into else value
    if not _LENGTH.fullmatch(into.get(b"Content-Length", b"0")):
        raise ValueError("Content-Length is no number")
    if b"Content-Length" in into and b"Transfer-Encoding" in into:
        raise ValueError("Content-Length and Transfer-Encoding are both there")
    return into


class _Request(HTTPRequest):
    """One request. Once it was answered with a refusal, the connection ends: what follows may be anything."""

    header_reader = staticmethod(_headers)

    def read_request_line(self) -> bool:
        try:
            read: Any = super().read_request_line
            return bool(read())
        except ValueError:  # as for //[ in place of a path
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False

    def respond(self) -> None:
        self.conn.rfile.bytes.until = self.conn.begun + WHOLE
        super().respond()

    def send_headers(self) -> None:
        status: Any = self.status  # bytes by now
        if not status.startswith(b"2"):
            self.close_connection = self.conn.lingers = True
        super().send_headers()

    def simple_response(self, status: str, msg: str = "") -> None:
        self.conn.lingers = True
        super().simple_response(status, msg)


class _Connection(Connection):
    """One connection. `peer` is who is at the other end, for limits."""

    RequestHandlerClass = _Request

    def __init__(self, server: Any, sock: Any, makefile: Any = None) -> None:  # noqa: ARG002
        super().__init__(server, sock, _makefile)
        self.fresh, self.peer, self.begun = True, "", 0.0
        self.lingers = self.ended = False

    def communicate(self) -> bool:
        """Serve one request; whether the connection stays."""
        self.begun = time.monotonic()
        self.rfile.bytes.until = self.begun + HEAD
        if isinstance(self.socket, ssl.SSLSocket) and self.ssl_env is None and not self._shaken():
            return False
        serve: Any = super().communicate
        return bool(serve())

    def _shaken(self) -> bool:
        """The TLS handshake, in a thread of this connection's own."""
        try:
            self.socket.settimeout(HEAD)
            self.socket.do_handshake()
            self.ssl_env = {"intake.names": names_of(self.socket)}
        except (OSError, ValueError) as error:
            self.server.told("plain HTTP" if _plain(error) else "no TLS handshake")
            if _plain(error):
                self.lingers = True
                with suppress(OSError):
                    os.write(self.socket.fileno(), _PLAIN)
            return False
        return True

    def close(self) -> None:
        """End it; whoever was refused gets to read why, for closing with bytes unread would take the answer back."""
        if self.ended:
            return
        self.ended = True
        self.server.left(self)
        with suppress(OSError):
            if self.lingers and self.server.ready:
                self._drain()
        for end in (super().close, self.wfile.close):
            with suppress(OSError):
                end()

    def _drain(self) -> None:
        until = time.monotonic() + LINGER
        self.socket.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            if not self.socket.recv(_PIECE):
                return


def _plain(error: Exception) -> bool:
    return isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST"


# The server ---------------------------------------------------------------------------------------------------------------


class _Tls(Adapter):
    """TLS without waiting for the handshake, which is done where waiting holds up nobody else."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate

    def bind(self, sock: Any) -> Any:
        """The listening socket as it is."""
        return sock

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any] | None]:
        """The connection, before its handshake."""
        try:
            return self._certificate.context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False), None
        except OSError as error:  # it has gone already
            raise errors.FatalSSLAlert(*error.args) from error

    def get_environ(self) -> dict[str, Any]:
        """All is said by the connection."""
        return {}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        """The connection makes its own."""
        raise NotImplementedError


class Server(wsgi.Server):
    """Serves one address. `told` hears in a word of each connection that came to nothing."""

    ConnectionClass = _Connection
    _certificate: Certificate | None
    called = "intake"
    """What it is, in the log."""

    def __init__(self, address: str | tuple[str, int], app: Any, told: Callable[[str], None], threads: int) -> None:
        """Nothing is bound yet; a `str` is the path of a unix socket."""
        super().__init__(
            address,
            app,
            numthreads=threads,
            server_name="containment-agent",
            request_queue_size=128,
            timeout=int(WHOLE),
            shutdown_timeout=1,
            peercreds_enabled=isinstance(address, str),
        )
        self.max_request_header_size, self.max_request_body_size = LONGEST_HEAD, LARGEST_EVER
        self.keep_alive_conn_limit = AT_ONCE
        self.told, self._certificate = told, None
        self._peers: Counter[str] = Counter()
        self._door = threading.Lock()

    def secure(self, certificate: Certificate) -> None:
        """Speak TLS only."""
        self._certificate = certificate
        self.ssl_adapter = _Tls(certificate)

    @property
    def trouble(self) -> str:
        """Why what was renewed cannot be used."""
        return self._certificate.trouble if self._certificate else ""

    def process_conn(self, conn: Any) -> None:
        """A thread for whoever has said something; who is silent waits outside."""
        if not conn.fresh:
            super().process_conn(conn)
            return
        conn.fresh = False
        if self._enters(conn):
            self._connections.put(conn)  # type: ignore[attr-defined]
        else:
            self.told("too many connections")
            conn.close()

    def _enters(self, conn: Any) -> bool:
        conn.peer = f"uid {conn.peer_uid}" if isinstance(self.bind_addr, str) else network_of(conn.remote_addr)
        with self._door:
            self._peers[conn.peer] += 1
            return self._peers.total() <= AT_ONCE and self._peers[conn.peer] <= OF_ONE

    def left(self, conn: Any) -> None:
        """A connection has ended."""
        with self._door:
            self._peers[conn.peer] -= 1
            self._peers += Counter()  # without those that are at nought

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """What goes wrong with a stranger's connection is counted; bugs go to the log."""
        if level >= logging.ERROR:
            log.error("%s: %s", self.called, msg, exc_info=traceback)
        else:
            self.told("broken connection")


def network_of(address: str) -> str:
    """An address for limits: one has as many IPv6 addresses as one likes, but only in one network."""
    here = ip_address(address.partition("%")[0])
    if isinstance(here, IPv6Address) and here.ipv4_mapped is None:
        return str(IPv6Address(int(here) >> 64 << 64)) + "/64"
    return plain_address(address)


def plain_address(address: str) -> str:
    """An address as events have it: without a zone, and IPv4 as IPv4."""
    here = ip_address(address.partition("%")[0])
    mapped = here.ipv4_mapped if isinstance(here, IPv6Address) else None
    return str(mapped or here)
