"""Failed logins and refused mail, as Postfix and Dovecot write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.event import Event
from agent.streams.parser import Scan, discover_parsers
from tests.parsers.mail_servers import MailServers, plain
from tests.parsers.own_syslog import lines

CLIENT = "127.0.0.7"
SASL = b"x[6.6.6.6]: SASL PLAIN authentication failed: y, sasl_username=z\nNov 23 06:00:01"
DOVECOT = b"x>, method=PLAIN, rip=6.6.6.6, lip=1.1.1.1, session=<aaaa>\nNov 23 06:00:01"


@pytest.fixture(scope="module")
def servers() -> Iterator[MailServers]:
    with closing(MailServers()) as made:
        yield made


def events_of(servers: MailServers, until: bytes) -> list[Event]:
    chunk = lines(servers.syslog.said(until)).replace(b"db1 mail ", b"db1 ")
    return Scan.of([discover_parsers()[one] for one in ("postfix", "dovecot")], "file:x").events(chunk, time.time())


@pytest.mark.parametrize("user", [b"bob", SASL], ids=["bob", "forged"])
def test_a_wrong_password_at_postfix_is_a_failure_of_its_client(servers: MailServers, user: bytes) -> None:
    servers.talk("smtp", CLIENT, [b"EHLO x", b"AUTH PLAIN " + plain(user, b"wrong"), b"QUIT"])

    (event,) = events_of(servers, b"disconnect from .*auth=0/1")
    assert (event.kind, event.fields["src.ip"], event.fields["service"]) == ("auth.mail.failure", CLIENT, "smtp")
    assert str(event.fields["user"]).startswith(user[:20].decode())


def test_rejected_mail_says_its_stage_and_why_whatever_the_addresses_say(servers: MailServers) -> None:
    forged = b"unknown[6.6.6.6]: 554 "
    lines_ = [b"EHLO " + forged[:16], b'MAIL FROM:<"' + forged + b'"@b.example>', b'RCPT TO:<"' + forged + b'"@other.example>']
    servers.talk("smtp", CLIENT, [*lines_, b"QUIT"])

    (event,) = events_of(servers, b"disconnect from .*rcpt=0/1")
    assert event.kind == "mail.rejected"
    assert event.fields == {"src.ip": CLIENT, "stage": "RCPT", "code": 454, "reason": "Relay access denied"}


def test_a_client_with_too_many_errors_is_told(servers: MailServers) -> None:
    servers.talk("smtp", CLIENT, [b"EHLO x", *[b"NONSENSE"] * 6])

    (event,) = events_of(servers, b"disconnect from .*unknown=0/4")
    assert event.fields == {"src.ip": CLIENT, "stage": "UNKNOWN", "code": 421, "reason": "too many errors"}


@pytest.mark.parametrize("user", [b"bob", DOVECOT], ids=["bob", "forged"])
def test_a_failed_login_at_dovecot_is_its_clients(servers: MailServers, user: bytes) -> None:
    servers.talk("imap", CLIENT, [b"a AUTHENTICATE PLAIN", plain(user, b"wrong"), b"b LOGOUT"])

    (event,) = events_of(servers, b"auth failed")
    assert (event.kind, event.fields["src.ip"], event.fields["service"]) == ("auth.mail.failure", CLIENT, "imap")
    assert (event.fields["method"], str(event.fields["user"])[:1]) == ("PLAIN", user[:1].decode())


def test_each_of_several_attempts_counts(servers: MailServers) -> None:
    servers.talk("pop3", CLIENT, [b"USER bob", b"PASS a", b"USER bob", b"PASS b", b"QUIT"])

    events = events_of(servers, b"auth failed")
    assert [(one.fields["src.ip"], one.fields["service"]) for one in events] == [(CLIENT, "pop3")] * 2
