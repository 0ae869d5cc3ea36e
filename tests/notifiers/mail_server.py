"""A real SMTP server (aiosmtpd) with TLS and logins, that can refuse, hang and break off where it is told to."""

from __future__ import annotations

import asyncio
import threading
import warnings
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as STRICT
from pathlib import Path
from typing import Any, NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # aiosmtpd 1.4.6 names things of asyncio that are to go
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.certificates import server_context

USER, PASSWORD = "containment", "a-password-of-some-length"


class Letter(NamedTuple):
    """A letter that was taken, as it came and as it reads."""

    sender: str
    to: tuple[str, ...]
    raw: bytes
    tls: bool
    user: str

    @property
    def read(self) -> EmailMessage:
        made = message_from_bytes(self.raw, _class=EmailMessage, policy=STRICT)
        assert isinstance(made, EmailMessage)
        return made

    def part(self, kind: str) -> str:
        body = self.read.get_body((kind,))
        assert body is not None
        return str(body.get_content()).replace("\r\n", "\n")


class MailServer:
    """The server. `scripts` are answers by the place where they are given: `MAIL`, `RCPT`, `RCPT bob@example.com`, `DATA`.

    An answer is an SMTP line, or `hang`, `abort` (before it is taken), `lost` (taken, and no answer).
    """

    def __init__(self, shown: Path | None, *, implicit: bool = False, login: bool = False) -> None:
        self.letters: list[Letter] = []
        self.scripts: dict[str, str] = {}
        tls = server_context(shown) if shown else None
        starttls: dict[str, Any] = {"require_starttls": True, "tls_context": tls} if tls and not implicit else {}
        logins: dict[str, Any] = (
            {"authenticator": self._login, "auth_required": bool(starttls), "auth_require_tls": bool(starttls)} if login else {}
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def begin() -> asyncio.Server:
            return await self._loop.create_server(
                lambda: SMTP(self, hostname="mail.test", loop=self._loop, **starttls, **logins),
                "127.0.0.1",
                0,
                ssl=tls if implicit else None,
            )

        self._server = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Nothing listens any more, and whoever is connected is cut off."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            self._server.close()
            rest = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            for one in rest:
                one.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        return await self._scripted("MAIL", server) or self._take(envelope, "mail_from", address)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        answer = await self._scripted("RCPT", server) or await self._scripted(f"RCPT {address}", server)
        if not answer:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        script = self.scripts.get("DATA", "")
        if script not in ("", "lost"):
            answer = await self._scripted("DATA", server)
            return answer or "250 OK"
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        user = session.auth_data.decode() if isinstance(session.auth_data, bytes) else ""
        self.letters.append(Letter(str(envelope.mail_from), tuple(envelope.rcpt_tos), raw, session.ssl is not None, user))
        if script:
            await self._scripted("DATA", server)
        return "250 OK"

    def _take(self, envelope: Envelope, name: str, value: str) -> str:
        setattr(envelope, name, value)
        return "250 OK"

    async def _scripted(self, where: str, server: SMTP) -> str:
        script = self.scripts.pop(where, "")
        if script == "hang":
            await asyncio.sleep(15)
        if script in ("abort", "lost", "hang"):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return script

    def _login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False, auth_data=USER.encode() if right else None)
