"""The intake's certificate, read again when it was renewed; and the names in a client's."""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path
from typing import Any, Final

from agent.action import CannotReach
from agent.intake.settings import Tls

LOOK: Final = 2.0
"""Seconds between two looks whether the files have changed."""
_NAMES: Final = frozenset({"DNS", "URI", "email", "IP Address"})


class Certificate:
    """What a TLS server shows. Any thread may ask."""

    def __init__(self, tls: Tls) -> None:
        """Read it.

        Raises:
            CannotReach: it cannot be read, or does not fit its key.
        """
        self._tls, self._lock = tls, threading.Lock()
        self._context, self._stamp = context_of(tls), self._stamps()
        self._looked = time.monotonic()
        self.trouble = ""
        """Why the files as they are now cannot be used; what they were before is shown on."""

    def context(self) -> ssl.SSLContext:
        """The context for a new connection, of the files as they are now where these can be used."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK:
                return self._context
            self._looked = time.monotonic()
            try:
                if (stamp := self._stamps()) != self._stamp or self.trouble:
                    self._context, self._stamp, self.trouble = context_of(self._tls), stamp, ""
            except (CannotReach, OSError) as error:
                self.trouble = str(error)
            return self._context

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        found = [path.stat() for path in _files(self._tls)]
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def _files(tls: Tls) -> list[Path]:
    return [one for one in (tls.cert_file, tls.key_file, tls.client_ca_file) if one]


def context_of(tls: Tls) -> ssl.SSLContext:
    """A server's context.

    Raises:
        CannotReach: a file cannot be read, everybody can read the key, or certificate and key do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if tls.key_file.stat().st_mode & 0o007:
            raise CannotReach(f"cannot use {tls.key_file}: everybody can read it; chmod o= {tls.key_file}")
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        if tls.client_ca_file:
            context.load_verify_locations(tls.client_ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
    except ssl.SSLError as error:
        why = error.reason or "no certificate and key that belong together stand in them"
        raise CannotReach(f"cannot use {', '.join(map(str, _files(tls)))}: {why}") from error
    except OSError as error:
        raise CannotReach(f"cannot read {error.filename or ', '.join(map(str, _files(tls)))}: {error.strerror}") from error
    return context


def names_of(connection: ssl.SSLSocket) -> frozenset[str]:
    """The names in the client's certificate, which was verified; empty where it showed none."""
    shown: dict[str, Any] = connection.getpeercert() or {}
    common = {str(value) for part in shown.get("subject", ()) for key, value in part if key == "commonName"}
    return frozenset(common | {str(value) for key, value in shown.get("subjectAltName", ()) if key in _NAMES})
