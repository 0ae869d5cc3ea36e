"""What keeps the intake from working, for `contain doctor`: its addresses, its certificate, and each sender's secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.intake.settings import Inlet, Listen, Settings, Tls
from agent.intake.tls import context_of
from agent.intake.ways import way
from agent.schema import rough
from agent.stale_socket import LONGEST_PATH

SOON: Final = timedelta(days=14)
"""A certificate that ends earlier than this is told."""

Seen = tuple[str, bool | None, str, str]
"""What was looked at, whether it is well (None: not seen, or it does not matter yet), a sentence, and the mend."""


def examine(settings: Settings | None) -> Iterator[Seen]:
    """Look at all that `intake:` names; nothing is changed, and nobody is shut out meanwhile."""
    if settings is None:
        return
    yield _socket(settings.socket)
    if settings.listen:
        yield _address(settings.listen, settings.socket)
    if settings.tls:
        yield _certificate(settings.tls)
    for one in settings.inlets:
        yield _sender(one)


def _socket(path: Path) -> Seen:
    what = "intake"
    if len(os.fsencode(path)) > LONGEST_PATH:
        return what, False, f"{path} is too long for a socket", f"at most {LONGEST_PATH} bytes: intake: {{socket: …}}"
    if path.is_socket():
        with closing(socket.socket(socket.AF_UNIX)) as there, suppress(OSError):
            there.settimeout(2.0)
            there.connect(str(path))
            return what, True, f"an agent listens on {path}", ""
    place = next(one for one in path.absolute().parents if one.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return (
            what,
            False,
            f"{path} cannot be made: no right to write in {place}",
            "write intake: {socket: …}",
        )
    return what, True, f"{path} can be made", ""


def _address(listen: Listen, beside: Path) -> Seen:
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    with closing(socket.socket(family)) as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            here.bind((listen.address, listen.port))
        except OSError as error:
            if beside.is_socket():
                return "intake", None, f"{listen} is taken, by the running agent as it seems", ""
            mend = "is it an address of this host, and does somebody else listen there? ss -ltnp"
            return "intake", False, f"nobody can listen on {listen}: {error.strerror}", mend
    return "intake", True, f"{listen} is free to listen on", ""


def _certificate(tls: Tls) -> Seen:
    from datetime import UTC, datetime

    from cryptography import x509

    path = tls.cert_file
    try:
        context_of(tls)
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (CannotReach, OSError, ValueError) as error:
        return "intake tls", False, str(error), "name a certificate in PEM and its key under intake: {tls: …}"
    left = ends - datetime.now(UTC)
    if left < SOON:
        how = f"ends in {rough(left)}" if left > timedelta() else "has ended"
        return "intake tls", left > timedelta() and None, f"{path} {how}", "renew it; it is read again without a restart"
    return "intake tls", True, f"{path} fits its key, and is good for {rough(left)}", ""


def _sender(inlet: Inlet) -> Seen:
    what = f"sender {inlet.name}"
    try:
        way(inlet.auth, lambda _: None).ready()
    except CannotReach as error:
        said, _, mend = str(error).partition("; ")
        return what, False, said, mend or "see its auth under intake: {senders: …}"
    if inlet.auth.way == "none":
        return what, None, "anybody on this host may send in its name", "give it an auth, as in {users: [prometheus]}"
    return what, True, f"shows who it is by {_BY[inlet.auth.way]}", ""


_BY: Final = {
    "users": "its user on this host",
    "client_names": "its client certificate",
    "bearer": "a token",
    "basic": "a password",
    "hmac": "a signature",
    "path": "a secret in the path, which proxies and logs may keep",
}
