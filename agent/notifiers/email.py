"""Sends letters by a mail server: one for each recipient, in one thread for each incident (RFC 5321, 5322, 3834)."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal

from agent.action import CannotReach
from agent.notifying.in_time import in_time
from agent.notifying.letter import in_html, plain, subject
from agent.notifying.mail_session import Session, refusal, taken
from agent.notifying.notice import Notice
from agent.notifying.notifier import Busy, Refused, Thread, Unsure, notifier
from agent.notifying.secret_file import secret
from agent.schema import About, Duration, canonical, rough
from agent.systems.cut_off import cut_off
from agent.systems.dial import Refused as Unanswered
from agent.systems.dial import dial, dial_tls, trust
from agent.visible import visible

Security = Literal["starttls", "implicit", "none", ""]

MOST: Final = 20
"""Recipients of one channel; a list of the mail server's is the way to tell more."""
_LONGEST: Final = timedelta(seconds=8)
_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_MAIL, _NOTE = "mail to ", "note to "
_PORTS: Final[Mapping[int, Security]] = {465: "implicit"}


@notifier()
class Email:
    """Mails by `server` (host:port). The connection is encrypted and the server's certificate verified: at once at port 465, by
    STARTTLS at others; `tls` says otherwise. Only to this very host letters go in the clear.

    The subject stays the same while the severity does, so that all letters about an incident are one conversation; a worse one
    begins a conversation of its own where the mail program goes by subjects (Gmail), and stays in the thread elsewhere. A
    letter that is repeated has the same Message-ID. `user` and `password_file` log in.
    """

    server: Annotated[str, About("host:port of the mail server", '"smtp.example.com:587"')]
    from_: Annotated[str, About("the sender's address, as in containment@example.com")]
    to: Annotated[tuple[str, ...], About("who gets it, as in [sre@example.com]")]
    user: Annotated[str, About("who logs in there; nobody where nothing is said", "containment")] = ""
    password_file: Annotated[
        Path | None, About("a file that only the agent can read, with the password of `user`", "/etc/containment-agent/smtp")
    ] = None
    tls: Annotated[
        Security, About("starttls, or tls from the beginning, or off; by the port where nothing is said", "starttls")
    ] = ""
    ca_file: Annotated[
        str, About("the issuers of its server's certificate, where the host does not know them", "/etc/ssl/proxy-ca.pem")
    ] = ""
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = _LONGEST

    def __post_init__(self) -> None:
        host, _ = self._server()
        for one in (self.from_, *self.to):
            if not _ADDRESS.fullmatch(one) or ".." in one:
                raise ValueError(
                    f"`{visible(one, 100)}` is no mail address; write name@example.com, a domain of other letters as xn--…"
                )
        if not 0 < len(self.to) <= MOST or len(set(map(str.lower, self.to))) != len(self.to):
            raise ValueError(f"to is to have 1 to {MOST} addresses, each once; for more people make a list at the mail server")
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file belong together; write both, or neither")
        if not self.user.isascii() or not self.user.isprintable():
            raise ValueError("user is to be plain ASCII")
        if self.tls == "none" and not _is_here(host):
            raise ValueError(
                f"tls: none would send letters to {host} in the clear; leave it out, or use the mail server on this host"
            )
        if self.within > _LONGEST:
            raise ValueError(f"within is to be at most {rough(_LONGEST)}")

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """A letter for each recipient: who could not be reached is tried again alone, and the others get nothing twice."""
        kind = _NOTE if notice.what == "noted" else _MAIL
        return tuple(f"{kind}{one}" for one in self.to)

    def replaces(self, part: str) -> bool:
        """A letter says how things stand, so the latest is enough; a note stands in no later one."""
        return part.startswith(_MAIL)

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:  # noqa: ARG002 - nobody can be asked
        """Hand one letter to the mail server."""
        to = part.removeprefix(_NOTE).removeprefix(_MAIL)
        here = {"root": message_id(notice), **thread}
        if notice.severity < here.get("severity", "P9"):
            here |= {"severity": notice.severity, "subject": subject(notice)}
        letter = self._letter(notice, here).as_bytes(policy=SMTP)
        key = secret(self.password_file, f"{self.server} by SMTP") if self.password_file else ""
        host, _ = self._server()
        in_time(lambda: self._hand_over(to, letter, key, _domain(notice.host)), host, self.within.total_seconds() + 0.5)
        return here

    def whom(self) -> str:
        """The recipients."""
        return ", ".join(self.to[:3]) + (f" and {len(self.to) - 3} more" if len(self.to) > 3 else "")

    def hosts(self) -> tuple[str, ...]:
        """The mail server."""
        return (self._server()[0],)

    # The letter -----------------------------------------------------------------------------------------------------------

    def _letter(self, notice: Notice, thread: Thread) -> EmailMessage:
        letter = EmailMessage(policy=SMTP)
        letter["From"] = Address(f"containment on {_domain(notice.host)}", addr_spec=self.from_)
        letter["To"] = [Address(addr_spec=one) for one in self.to]
        letter["Subject"] = thread["subject"]
        letter["Date"] = datetime.fromtimestamp(notice.at, UTC)
        letter["Message-ID"] = (own := message_id(notice))
        if thread["root"] != own:
            letter["In-Reply-To"] = letter["References"] = thread["root"]
        letter["Auto-Submitted"] = "auto-generated"
        letter["Precedence"] = "bulk"
        letter["X-Auto-Response-Suppress"] = "All"
        if notice.urgent:
            letter["Importance"] = "high"
        letter.set_content(plain(notice), cte="quoted-printable")
        letter.add_alternative(in_html(notice), subtype="html", cte="quoted-printable")
        return letter

    # The server -----------------------------------------------------------------------------------------------------------

    def _server(self) -> tuple[str, int]:
        host, colon, port = self.server.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16 or not (_NAME.fullmatch(host) or canonical(host)):
            raise ValueError(f"`{visible(self.server, 100)}` is no mail server; write smtp.example.com:587")
        return host, int(port)

    def _security(self) -> Security:
        host, port = self._server()
        return self.tls or _PORTS.get(port) or ("none" if _is_here(host) else "starttls")

    def _hand_over(self, to: str, letter: bytes, key: str, name: str) -> None:
        """One session, one letter."""
        until = time.monotonic() + self.within.total_seconds()
        at = _Step("greet")
        with self._wire() as wire:
            try:
                left = timedelta(seconds=until - time.monotonic())
                with cut_off(wire.fileno(), left), closing(Session(wire, name)) as there:
                    there.hear()
                    at.asked = "log in to"
                    self._begin(there, key)
                    at.asked = f"write to {to} by"
                    taken(self.server, at.asked, there.mail(self.from_))
                    taken(self.server, at.asked, there.rcpt(to))
                    at.under_way = True
                    taken(self.server, at.asked, there.data(letter))
                    at.done = True
                    there.quit()
            except (smtplib.SMTPException, OSError, ValueError) as error:  # ValueError: a line of theirs that is no text
                if not at.done:  # what becomes of our goodbye is all the same
                    raise self._broken(at, error) from None

    def _wire(self) -> socket.socket:
        host, port = self._server()
        try:
            if self._security() == "implicit":
                return dial_tls(host, port, self.within, trust(self.ca_file))
            wire = dial(host, port, self.within)
        except Unanswered as error:
            if "certificate" in str(error):
                raise CannotReach(f"cannot trust {self.server}: {error}") from None
            raise Busy(f"cannot reach {self.server}: {error}") from None
        if self._security() == "none" and not ip_address(wire.getpeername()[0]).is_loopback:
            wire.close()
            raise CannotReach(f"cannot write by {self.server} in the clear: it is not on this host; leave out tls: none")
        return wire

    def _begin(self, there: Session, key: str) -> None:
        there.ehlo_or_helo_if_needed()
        if self._security() == "starttls":
            if not there.has_extn("starttls"):
                raise CannotReach(f"cannot write by {self.server}: it offers no STARTTLS; name the port where it does, as in 587")
            there.secure(self._server()[0], trust(self.ca_file))
            there.ehlo_or_helo_if_needed()
        if self.user:
            there.login(self.user, key)

    def _broken(self, at: _Step, error: Exception) -> Exception:
        """What an error means: only once the letter was on its way it may have been taken."""
        if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500:
            return Refused(f"cannot log in to {self.server} as {self.user}: it answers {error.smtp_code}; look at password_file")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Refused(f"cannot log in to {self.server}: it lets nobody log in here; leave out user, or name another port")
        if isinstance(error, ssl.SSLCertVerificationError):
            mend = "; if its issuer is your own, name it as ca_file"
            return CannotReach(f"cannot trust {self.server}: {visible(error.verify_message, 200).rstrip('.')}{mend}")
        if isinstance(
            error, smtplib.SMTPConnectError | smtplib.SMTPAuthenticationError | smtplib.SMTPHeloError | smtplib.SMTPDataError
        ):
            return refusal(self.server, at.asked, error.smtp_code, error.smtp_error)
        why = "no answer in time" if isinstance(error, TimeoutError) else "its answer is none of SMTP's, or it broke off"
        if at.under_way:
            return Unsure(f"cannot tell whether {self.server} took it: {why}")
        return Busy(f"cannot {at.asked} {self.server}: {why}")


@dataclass
class _Step:
    """How far a session has come: what the server was asked last, in words for errors."""

    asked: str
    under_way: bool = False
    done: bool = False


def message_id(notice: Notice) -> str:
    """The letter's own name for ever; with a hash, since a host that was set up anew begins again at INC-1."""
    key = re.sub(r"[^A-Za-z0-9]+", ".", notice.key, flags=re.ASCII).strip(".")
    unique = sha256(f"{notice.host}\n{notice.opened}\n{notice.key}".encode("utf-8", "replace")).hexdigest()[:16]
    return f"<{key[:100]}.{unique}@{_domain(notice.host)}>"


def _domain(host: str) -> str:
    return host if _NAME.fullmatch(host) and ".." not in host else "containment.invalid"


def _is_here(host: str) -> bool:
    known = canonical(host)
    return host == "localhost" or (known is not None and ip_address(known).is_loopback)
