"""TlsExpiry: how long does a certificate still hold?"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agent.check import Answer
from agent.checks.tls_expiry import TlsExpiry
from tests.certificates import certificate, tls_server
from tests.checks.asking import the_answer


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return certificate(tmp_path, 1000, name="authority")


def ask(shown: Path, **how: object) -> Answer:
    with tls_server(shown) as port:
        return the_answer(TlsExpiry("127.0.0.1", port, **how))  # type: ignore[arg-type]


def test_a_certificate_that_holds_long_enough_is_good(tmp_path: Path, authority: Path) -> None:
    answer = ask(certificate(tmp_path, 30.5, issuer=authority), ca_file=str(authority))

    assert (answer.state, answer.limit) == ("good", 14)
    assert answer.value == pytest.approx(30.5, abs=0.01)


def test_one_that_ends_soon_is_bad_and_says_when(tmp_path: Path, authority: Path) -> None:
    answer = ask(certificate(tmp_path, 5.2, issuer=authority), ca_file=str(authority), server_name="localhost")

    assert answer.state == "bad"
    assert answer.say == f"the certificate of {answer.target} holds for 5 more days"


def test_an_expired_one_is_bad(tmp_path: Path, authority: Path) -> None:
    answer = ask(certificate(tmp_path, -1, issuer=authority), ca_file=str(authority))

    assert answer.state == "bad"
    assert answer.say.endswith("its certificate does not hold: certificate has expired")


def test_a_self_signed_one_is_bad_with_the_mend_and_good_once_it_is_named(tmp_path: Path) -> None:
    shown = certificate(tmp_path, 100)

    unnamed, named = ask(shown), ask(shown, ca_file=str(shown))

    assert (unnamed.state, named.state) == ("bad", "good")
    assert unnamed.say.endswith("self-signed certificate; if that is as it should be, name its issuer's file as ca_file")


def test_another_name_on_it_is_bad(tmp_path: Path, authority: Path) -> None:
    shown = certificate(tmp_path, 100, issuer=authority)

    answer = ask(shown, ca_file=str(authority), server_name="shop.example.com")

    assert answer.state == "bad"
    assert "Hostname mismatch, certificate is not valid for 'shop.example.com'" in answer.say


def test_a_server_without_tls_is_bad_within_its_time_limit() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        answer = the_answer(TlsExpiry("127.0.0.1", silent.getsockname()[1], within=timedelta(milliseconds=200)))

    assert (answer.state, answer.say.rpartition(": ")[2]) == ("bad", "no TLS answer within 0.2s")


def test_a_handshake_that_goes_on_for_ever_is_bad_within_its_time_limit() -> None:
    def drip(server: socket.socket) -> None:
        wire, _ = server.accept()
        with wire, suppress(OSError):  # until the other side has enough
            wire.sendall(b"\x16\x03\x03\x3f\xff")  # the head of a record of 16 KiB
            for _ in range(100):
                wire.sendall(b"\0")
                time.sleep(0.05)

    with closing(socket.create_server(("127.0.0.1", 0))) as slow:
        threading.Thread(target=drip, args=(slow,), daemon=True).start()
        began = time.monotonic()
        answer = the_answer(TlsExpiry("127.0.0.1", slow.getsockname()[1], within=timedelta(milliseconds=200)))

    assert (answer.state, answer.say.rpartition(": ")[2]) == ("bad", "no TLS answer within 0.2s")
    assert time.monotonic() - began < 2


def test_a_file_of_issuers_that_is_missing_is_unknown(tmp_path: Path) -> None:
    answer = ask(certificate(tmp_path, 100), ca_file="/nowhere.pem")

    assert (answer.state, answer.say) == ("unknown", "cannot read the issuers in /nowhere.pem: No such file or directory")
