"""One session with a mail server over a connection that stands already, and what its answers mean."""

from __future__ import annotations

import smtplib
import socket
import ssl

from agent.notifying.notifier import Busy, Refused, Unsure
from agent.visible import visible


class Session(smtplib.SMTP):
    """An SMTP session over a connection that stands already."""

    def __init__(self, wire: socket.socket, name: str) -> None:
        """`name` is what we call ourselves: asking a resolver for it could take long."""
        super().__init__(local_hostname=name)
        self.sock = wire

    def hear(self) -> None:
        """The greeting."""
        code, said = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)

    def secure(self, host: str, context: ssl.SSLContext) -> None:
        """STARTTLS; nothing that was said before it counts (RFC 3207 §4.2), and nothing of it is read on."""
        code, said = self.docmd("STARTTLS")
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.file = None
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False


def taken(server: str, asked: str, answer: tuple[int, bytes]) -> None:
    """Go on where the server has said yes.

    Raises:
        Busy, Refused, Unsure: it has not.
    """
    code, said = answer
    if code not in (250, 251, 252):
        raise refusal(server, asked, code, said)


def refusal(server: str, asked: str, code: int, said: bytes | str) -> Exception:
    """What an answer means that is not a yes (RFC 5321 §4.2.1: 4xx not now, 5xx never)."""
    text = f"cannot {asked} {server}: {_said(code, said)}"
    if 400 <= code < 500:
        return Busy(text)
    if 500 <= code < 600:
        return Refused(f"{text}; look at from, to and the server's own log")
    return Unsure(f"cannot tell whether {server} took it: its answer is none of SMTP's")


def _said(code: int, said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return visible(f"{code} {' '.join(text.split())}".strip(), 200).rstrip(".")
