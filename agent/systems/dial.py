"""Open TCP and TLS connections, and tell "it does not answer" from "we could not ask"."""

from __future__ import annotations

import errno
import socket
import ssl
from datetime import timedelta
from functools import cache
from typing import Final

from agent.action import CannotReach
from agent.schema import spell
from agent.systems.cut_off import cut_off

_THEIRS: Final = {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EPIPE}
"""What the other side can do to a connection. The rest (no route, no socket left, our own firewall) is ours."""
_UNTRUSTED: Final = {18, 19, 20, 21}
"""OpenSSL's verify codes for "nobody I know signed this" (x509_vfy.h); 10 is expired, 62 another name."""


class Refused(Exception):  # noqa: N818 - reads as the sentence it is
    """The other side was asked and did not answer as it should. The text says why."""


def dial(host: str, port: int, within: timedelta) -> socket.socket:
    """A connected socket whose reads and writes time out after `within` too.

    Raises:
        Refused: nothing answers there: refused, reset, unreachable, or silent.
        CannotReach: the name does not resolve, or this host cannot open connections.
    """
    try:
        return socket.create_connection((host, port), timeout=within.total_seconds())
    except socket.gaierror as error:
        raise CannotReach(f"cannot resolve {host}: {error.strerror}; see /etc/resolv.conf and /etc/hosts") from error
    except TimeoutError as error:
        raise Refused(f"no answer within {spell(within)}") from error
    except OSError as error:
        raise _whose(error, f"{host}:{port}") from error


def dial_tls(host: str, port: int, within: timedelta, context: ssl.SSLContext, name: str = "") -> ssl.SSLSocket:
    """A TLS connection to a server that proved to be `name` (`host` unless said), as far as the context asks for proof.

    Raises:
        Refused, CannotReach: as in `dial`; a certificate that does not hold is Refused.
    """
    wire = dial(host, port, within)
    try:
        with cut_off(wire.fileno(), within):  # a byte now and then keeps a handshake going for hours
            return context.wrap_socket(wire, server_hostname=name or host)
    except ssl.SSLCertVerificationError as error:
        mend = "; if that is as it should be, name its issuer's file as ca_file" if error.verify_code in _UNTRUSTED else ""
        raise Refused(f"its certificate does not hold: {error.verify_message.rstrip('.')}{mend}") from error
    except TimeoutError as error:
        raise Refused(f"no TLS answer within {spell(within)}") from error
    except ssl.SSLError as error:
        raise Refused(f"TLS failed: {(error.reason or 'the connection was ended').replace('_', ' ').lower()}") from error
    except OSError as error:
        raise _whose(error, f"{host}:{port}") from error
    finally:
        wire.close()  # wrapped, it is detached and this does nothing; otherwise it is not needed any more


def trust(ca_file: str = "", *, verify: bool = True) -> ssl.SSLContext:
    """Whom to believe: the host's own list, the issuers in `ca_file`, or anybody.

    Raises:
        CannotReach: `ca_file` cannot be read or holds no certificate.
    """
    if not ca_file:
        return _believe_host() if verify else _believe_anybody()
    try:
        return ssl.create_default_context(cafile=ca_file)  # read anew: a small file, and it gets renewed
    except (OSError, ssl.SSLError) as error:
        raise CannotReach(f"cannot read the issuers in {ca_file}: {error.strerror or error}") from error


@cache
def _believe_host() -> ssl.SSLContext:
    return ssl.create_default_context()  # reading 140 issuers costs 10 to 20 ms


@cache
def _believe_anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _whose(error: OSError, target: str) -> Exception:
    why = (error.strerror or str(error)).lower()
    if error.errno in _THEIRS or isinstance(error, ConnectionError):
        return Refused(why)
    return CannotReach(f"cannot open a connection to {target}: {why}")
