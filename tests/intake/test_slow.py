"""Those who are slow, silent or many: each has an end, and the others are served meanwhile. Over TCP with TLS, as from afar."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.intake.listening import THREADS
from tests.certificates import certificate
from tests.intake.sending import SECRET, Answer, Intake, alert, heard, over_tls, request, signed
from tests.needs import need_root

Dripped = tuple[bytes, float]


@pytest.fixture(scope="module", autouse=True)
def slow(intake: Intake) -> Iterator[list[Future[Dripped]]]:
    """Two who send a byte now and then, beside all other tests: one its head, one its body."""
    known = f"POST /in/bearer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 1000\r\n\r\n"
    with ThreadPoolExecutor(2) as threads:
        yield [threads.submit(_drip, intake, raw) for raw in (b"POST /in/bearer HTTP/1.1\r\nX-A: ", known.encode())]


def _drip(intake: Intake, at_once: bytes) -> Dripped:
    """The answer to somebody who sends a byte every fifth of a second, and how long that took."""
    begun = time.monotonic()
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(0.2)
        there.connect(str(intake.socket))
        there.sendall(at_once)
        for _ in range(300):
            with suppress(TimeoutError):
                there.sendall(b"a")
                if answered := there.recv(65536):
                    return answered, time.monotonic() - begun
    raise AssertionError("no end")


class Afar(NamedTuple):
    intake: Intake
    port: int
    ca: Path
    folder: Path

    def post(self, path: str = "/in/bearer", client: Path | None = None, **headers: str) -> Answer:
        return Answer.of(over_tls(self.port, request(path, **headers), self.ca, client))


@pytest.fixture(scope="module")
def afar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Afar]:
    need_root()
    place = tmp_path_factory.mktemp("afar")
    ca = certificate(place, 90, name="ca")
    shown = certificate(place, 90, name="localhost", issuer=ca)
    shown.with_suffix(".key").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = f'  listen: "127.0.0.1:{port}"\n'
    listen += f"  tls: {{cert_file: {shown}, key_file: {shown.with_suffix('.key')}, client_ca_file: {ca}}}\n"
    senders = (
        "    mtls: {alertmanager: {}, auth: {client_names: [monitoring]}}\n"
        f"    large: {{alertmanager: {{}}, auth: {{hmac_file: {place}/agent/secret}}, largest: 8MiB}}\n"
        f"    lively: {{alertmanager: {{}}, auth: {{bearer_file: {place}/agent/secret}}, rate: 3 per 1m}}\n"
    )
    with Intake(place / "agent", senders=senders, listen=listen) as made:
        yield Afar(made, port, ca, place)


def test_a_client_certificate_shows_who_it_is_by_its_name(afar: Afar) -> None:
    right = certificate(afar.folder, 90, name="monitoring", issuer=afar.ca)
    other = certificate(afar.folder, 90, name="somebody", issuer=afar.ca)
    stranger = certificate(afar.folder, 90, name="monitoring")

    assert afar.post("/in/mtls", right).status == 202
    assert afar.post("/in/mtls", other).status == 401
    assert afar.post("/in/mtls").status == 401
    with suppress(OSError, IndexError):  # refused by TLS
        assert afar.post("/in/mtls", stranger).status != 202
    assert afar.post("/in/bearer", right).status == 202


def test_a_user_of_this_host_is_nobody_over_the_network(afar: Afar) -> None:
    assert afar.post("/in/root").status == 401


def test_plain_http_at_the_tls_port_is_told_so(afar: Afar) -> None:
    with socket.create_connection(("127.0.0.1", afar.port), timeout=30) as there:
        there.sendall(request())

        answered = heard(there)

    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b"HTTPS only" in answered


def test_a_sender_beyond_its_rate_is_to_come_again(afar: Afar) -> None:
    answers = [afar.post("/in/lively") for _ in range(4)]

    assert [one.status for one in answers] == [202, 202, 202, 503]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20


@pytest.mark.parametrize(
    "says", [b"", b"\x16\x03\x01", b"POST /in/bearer HTTP/1.1\r\n"], ids=["nothing", "half a handshake", "plain"]
)
def test_whoever_is_silent_holds_up_nobody(afar: Afar, says: bytes) -> None:
    with ExitStack() as held:
        for _ in range(31):
            one = held.enter_context(socket.create_connection(("127.0.0.1", afar.port), timeout=30))
            one.sendall(says)

        begun = time.monotonic()
        assert afar.intake.post().status == 202  # the unix socket has threads of its own
        status = afar.post().status
        waited = time.monotonic() - begun

        assert status == 202
        assert waited < 20  # a thread is held for 3 s at most, and there are half as many threads as silent ones


def test_one_address_has_a_part_of_the_connections(afar: Afar) -> None:
    with ExitStack() as held:
        silent = [held.enter_context(socket.create_connection(("127.0.0.1", afar.port), timeout=30)) for _ in range(60)]

        closed = [one for one in silent[40:] if heard(one) == b""]

        assert len(closed) == 20
    assert afar.intake.told()["refused"]["too many connections"] >= 20


def test_many_large_bodies_at_once_stay_within_bounds(afar: Afar) -> None:
    body = b" " * ((8 << 20) - 1)
    raw = request("/in/large", body, x_containment_signature=signed(b"another body"))
    before = afar.intake.rss()
    most = before

    def send() -> bytes:
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(60)
            there.connect(str(afar.intake.socket))
            with suppress(BrokenPipeError, ConnectionResetError):
                there.sendall(raw[:-1])
                put_off.wait(20)
                there.sendall(raw[-1:])
            return heard(there)[:12]

    put_off = threading.Event()
    with ThreadPoolExecutor(THREADS) as threads:
        sent = [threads.submit(send) for _ in range(THREADS)]
        until = time.monotonic() + 5
        while not all(one.done() for one in sent):
            most = max(most, afar.intake.rss())
            if any(one.done() for one in sent) or time.monotonic() > until:
                put_off.set()
            put_off.wait(0.05)
    answers = {one.result() for one in sent}

    assert answers <= {b"HTTP/1.1 503", b"HTTP/1.1 408", b"HTTP/1.1 401"}
    assert b"HTTP/1.1 503" in answers
    assert most - before < 64


def test_a_document_of_eight_mebibytes_is_taken_where_that_is_allowed(afar: Afar) -> None:
    body = json.dumps(alert("large") | {"groupKey": "x" * (7 << 20)}).encode()

    assert afar.intake.post("/in/large", body, x_containment_signature=signed(body)).status == 202
    assert afar.intake.post("/in/bearer", body).status == 413


def test_a_renewed_certificate_is_shown_without_a_restart(afar: Afar) -> None:
    config = afar.intake.agent.config.read_text()
    shown = Path(re.findall(r"cert_file: ([^,]+),", config)[0])
    fresh = certificate(afar.folder, 30, name="localhost", issuer=afar.ca)
    key = shown.with_suffix(".key")
    before = _serial(afar)

    key.write_bytes(fresh.with_suffix(".key").read_bytes())
    shown.write_bytes(fresh.read_bytes())
    until = time.monotonic() + 30
    while _serial(afar) == before and time.monotonic() < until:
        time.sleep(0.2)

    assert _serial(afar) != before
    assert afar.post().status == 202


def _serial(afar: Afar) -> object:
    context = ssl.create_default_context(cafile=str(afar.ca))
    with ExitStack() as held:
        plain = held.enter_context(socket.create_connection(("127.0.0.1", afar.port), timeout=30))
        shown = held.enter_context(context.wrap_socket(plain, server_hostname="localhost")).getpeercert()
        return shown["serialNumber"] if shown else None


def test_a_slow_head_and_a_slow_body_have_an_end(slow: list[Future[Dripped]]) -> None:
    (answered, took), (other, longer) = [one.result(60) for one in slow]

    assert answered.startswith(b"HTTP/1.1 408 ")
    assert other.startswith(b"HTTP/1.1 408 ")
    assert took < longer < 30
