"""What is no proper request, or no proper document: each gets a clear answer, costs no memory, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.intake.sending import SECRET, Answer, Intake, alert, request

TOKEN = f"Authorization: Bearer {SECRET}\r\n"
POST = f"POST /in/bearer HTTP/1.1\r\nHost: db1\r\n{TOKEN}"
EMPTY = "Content-Length: 2\r\n\r\n{}"
DEEP = b"[" * 100_000

REQUESTS: dict[str, tuple[bytes, int]] = {
    "no length": (f"{POST}\r\n".encode(), 411),
    "chunks": (f"{POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode(), 411),
    "chunks without end": (f"{POST}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n".encode(), 411),
    "chunks and a length": (f"{POST}Transfer-Encoding: chunked\r\n{EMPTY}".encode(), 400),
    "chunks of HTTP/1.0": (f"{POST}Transfer-Encoding: chunked\r\n\r\n".replace("1.1", "1.0").encode(), 411),
    "another coding": (f"{POST}Transfer-Encoding: gzip\r\n\r\n".encode(), 501),
    "two lengths": (f"{POST}Content-Length: 2\r\n{EMPTY}".encode(), 400),
    "two lengths that differ": (f"{POST}Content-Length: 20\r\n{EMPTY}".encode(), 400),
    "two tokens": (f"{POST}{TOKEN}{EMPTY}".encode(), 400),
    "a length below nought": (f"{POST}Content-Length: -1\r\n\r\n{{}}".encode(), 400),
    "a length with a sign": (f"{POST}Content-Length: +2\r\n\r\n{{}}".encode(), 400),
    "a length of words": (f"{POST}Content-Length: two\r\n\r\n{{}}".encode(), 400),
    "a length with _": (f"{POST}Content_Length: 2\r\n\r\n{{}}".encode(), 411),
    "a length beyond all": (f"{POST}Content-Length: 99999999999999999999\r\n\r\n{{}}".encode(), 400),
    "a length beyond ours": (f"{POST}Content-Length: 8388609\r\n\r\n{{}}".encode(), 413),
    "a length beyond the sender's": (f"{POST}Content-Length: 1048577\r\n\r\n{{}}".encode(), 413),
    "a folded header": (f"{POST}X-A: 1\r\n 2\r\n{EMPTY}".encode(), 400),
    "a blank in a name": (f"{POST}X-A : 1\r\n{EMPTY}".encode(), 400),
    "a NUL in a header": (f"{POST}X-A: \0\r\n{EMPTY}".encode(), 400),
    "a header without a colon": (f"{POST}X-A\r\n{EMPTY}".encode(), 400),
    "ends of lines of Unix": (f"{POST}{EMPTY}".replace("\r\n", "\n").encode(), 400),
    "headers without end": (f"{POST}{''.join(f'X-{n}: {n}' + chr(13) + chr(10) for n in range(5000))}{EMPTY}".encode(), 413),
    "a line without end": (b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
    "no request at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \xff\r\n\r\n", 400),
    "a proxy's request": (f"POST http://db1/in/bearer HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 400),
    "a path that is none": (f"POST //[ HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 400),
    "small letters": (f"post /in/bearer HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 400),
    "HTTP of tomorrow": (f"POST /in/bearer HTTP/3.0\r\n{TOKEN}{EMPTY}".encode(), 505),
    "a host that is none": (f"POST /in/bearer HTTP/1.1\r\nHost: \xff{'x' * 300}\r\n{TOKEN}{EMPTY}".encode("latin-1"), 400),
    "dots": (f"POST /in/../in/bearer HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 404),
    "two slashes": (f"POST //in//bearer HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 400),
    "a slash inside": (f"POST /in/x%2Fbearer HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 401),
    "a NUL in the path": (f"POST /in/bearer%00 HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 401),
    "no UTF-8 in the path": (f"POST /in/%ff%fe HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 401),
    "a slash at the end": (f"POST /in/bearer/ HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 404),
    "somewhere else": (f"POST /v1/status HTTP/1.1\r\n{TOKEN}{EMPTY}".encode(), 404),
    "GET": (f"GET /in/bearer HTTP/1.1\r\nHost: db1\r\n{TOKEN}\r\n".encode(), 405),
    "PUT": (f"PUT /in/bearer HTTP/1.1\r\nHost: db1\r\n{TOKEN}{EMPTY}".encode(), 405),
    "CONNECT": (b"CONNECT db1:22 HTTP/1.1\r\n\r\n", 405),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_is_none_is_answered_and_ends_its_connection(intake: Intake, name: str) -> None:
    raw, status = REQUESTS[name]

    answer = Answer.of(intake.talk(raw))

    assert answer.status == status


DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no JSON: EOF while parsing a value at line 1 column 0"),
    "half": (b'{"version": "4", "alerts": [', "no JSON: EOF while parsing a list at line 1 column 28"),
    "more than one": (b"{}{}", "no JSON: trailing characters at line 1 column 3"),
    "too deep": (DEEP, "no JSON: recursion limit exceeded at line 1 column 202"),
    "Latin-1": ('{"a": "ä"}'.encode("latin-1"), "no JSON: invalid unicode code point at line 1 column 8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "no JSON: expected value at line 1 column 1"),
    "a BOM": ('{"a": 1}'.encode("utf-8-sig"), "no JSON: expected value at line 1 column 1"),
    "half a pair": (b'{"a": "\\ud800"}', "no JSON: unexpected end of hex escape at line 1 column 14"),
    "the other half": (b'{"a": "\\udc00"}', "no JSON: lone leading surrogate in hex escape at line 1 column 13"),
    "NaN": (b'{"a": NaN}', "no JSON: expected value at line 1 column 7"),
    "Infinity": (b'{"a": -Infinity}', "no JSON: invalid number at line 1 column 8"),
    "beyond a float": (b'{"a": 1e999}', "1e999 is too large for a number"),
    "digits without end": (b'{"a": ' + b"9" * 100_000 + b"}", "no JSON: number out of range at line 1 column 4308"),
    "many digits": (b'{"a": ' + b"9" * 100 + b"}", "99999999999999999999… is a number of 100 digits, and at most 40 are taken"),
    "a NUL": (b'{"a": {"b": [1, "x\\u0000"]}}', "a.b[1]: a NUL in the text"),
    "a NUL in a name": (b'{"a\\u0000": 1}', "the document: a NUL in a name"),
    "a bare NUL": (
        b'{"a": "\0"}',
        "no JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 8",
    ),
    "a name twice": (b'{"alerts": [], "alerts": [1]}', "`alerts` stands twice in one object"),
    "a million lists": (b"[" + b"[]," * 340_000 + b"[]]", "more than 500,000 values in one document"),
    "another form": (b'{"version": "3"}', "version: expected"),
    "no object": (b"[]", "expected an object, found a list"),
    "another alert": (json.dumps(alert(status="maybe")).encode(), "alerts[0].status: expected firing or resolved, found `maybe`"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_none_is_refused_with_its_place(intake: Intake, name: str) -> None:
    body, says = DOCUMENTS[name]

    answer = intake.post("/in/bearer", body)

    assert (answer.status, answer.body["error"][: len(says)]) == (400, says)


def test_the_same_from_somebody_else_is_not_even_read(intake: Intake) -> None:
    for body, _ in DOCUMENTS.values():
        assert intake.post("/in/bearer", body, authorization="Bearer guess").body == {"error": "refused"}


def test_the_beginning_of_what_a_known_sender_wrote_is_kept(intake: Intake) -> None:
    body = b'{"version": "4", "note": "' + b"kept " * 2000 + b"\xff"

    def told() -> list[Any]:
        intake.post("/in/root", body)
        intake.post("/in/root")
        return [one for one in intake.events("agent.bad_input") if one.source == "in:root"]

    event = told()[-1]

    assert event.fields["sender"] == "root"
    assert str(event.fields["reason"]).startswith("no JSON: ")
    assert event.raw == body[:4096].decode()
    assert event.forgeable


def test_what_follows_a_refused_request_is_not_taken_for_another_one(intake: Intake) -> None:
    hidden = request("/in/bearer", alert("smuggled"))
    outer = f"POST /in/unknown HTTP/1.1\r\nHost: db1\r\nContent-Length: {len(hidden)}\r\n\r\n".encode()

    answered = intake.talk(outer + hidden)

    assert answered.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in intake.everything()


def test_requests_one_behind_the_other_are_each_answered_and_garbage_ends_it(intake: Intake) -> None:
    two = request("/in/bearer", connection="keep-alive") * 2

    answered = intake.talk(two + b"\0\1garbage\r\n\r\n")

    assert [int(one) for one in re.findall(rb"HTTP/1.1 (\d+)", answered)] == [202, 202, 400]


def test_health_is_asked_without_a_secret_and_changes_nothing(intake: Intake) -> None:
    before = intake.told()["senders"]

    answer = Answer.of(intake.talk(b"GET /healthz HTTP/1.0\r\n\r\n"))

    assert (answer.status, answer.body) == (200, "ok\n")
    assert intake.told()["senders"] == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    ).map(lambda one: json.dumps(one).encode())
)
def test_no_body_whatever_it_is_makes_the_agent_stumble(intake: Intake, body: bytes) -> None:
    assert intake.post("/in/bearer", body).status in (202, 400)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200), st.sampled_from([b"", b"POST /in/bearer HTTP/1.1\r\n", POST.encode()]))
def test_no_bytes_whatever_they_are_make_it_stumble_either(intake: Intake, raw: bytes, before: bytes) -> None:
    answered = b""
    with socket.socket(socket.AF_UNIX) as there, suppress(ConnectionResetError, BrokenPipeError):
        there.settimeout(30)
        there.connect(str(intake.socket))
        there.sendall(before + raw + b"\r\n\r\n")
        there.shutdown(socket.SHUT_WR)
        while piece := there.recv(65536):
            answered += piece

    assert not re.search(rb"HTTP/1.1 (2..|500)", answered)


def test_thousands_of_bad_requests_cost_no_memory(intake: Intake) -> None:
    bad = [raw for name, (raw, _) in REQUESTS.items() if "without end" not in name]
    bad += [request("/in/bearer", body) for body, _ in DOCUMENTS.values()]
    bad += [request("/in/unknown", b"x" * 100_000), request("/in/bearer", b"x" * 100_000, authorization="Bearer guess")]

    def grown_by(times: int) -> float:
        before = intake.rss()
        for raw in bad * times:
            intake.talk(raw)
        return intake.rss() - before

    before = intake.rss()

    assert any(grown_by(8) < 1 for _ in range(15))  # a thread may still come upon its largest document; a leak grows each time
    assert intake.rss() - before < 64
    assert "Traceback" not in intake.agent.log.read_text()
