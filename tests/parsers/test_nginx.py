"""nginx's access log, line by line and as rates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.event import Event, Value
from agent.streams.parser import Said, Scan, discover_parsers

AT = datetime(2026, 11, 23, 6, 0, 1, tzinfo=UTC).timestamp()
COMBINED = '{ip} - {user} [{time}] "{request}" {status} 1234 "https://a.example/" "Mozilla/5.0 (X11)"\n'


def combined(
    ip: str = "203.0.113.7", *, user: str = "-", request: str = "GET /a?b=c HTTP/1.1", status: int = 200, at: float = AT
) -> str:
    stamp = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return COMBINED.format(ip=ip, user=user, request=request, status=status, time=stamp)


def in_json(**changed: Any) -> str:
    line = {
        "time_iso8601": "2026-11-23T06:00:01+00:00",
        "remote_addr": "203.0.113.7",
        "server_name": "shop",
        "request_method": "GET",
        "request_uri": "/a?b=c",
        "status": "200",
        "body_bytes_sent": "1234",
        "http_referer": "https://a.example/",
        "http_user_agent": "Mozilla/5.0 (X11)",
        "request_time": "0.012",
    }
    return json.dumps({**line, **changed}, separators=(",", ":")) + "\n"


def read(line: str) -> Said | None:
    return discover_parsers()["nginx"].read(line.rstrip("\n"))


def rates(*lines: str, seconds: float = 5.0, seen: float = AT + 5) -> list[Event]:
    scan = Scan.of([discover_parsers()["nginx"]], "file:x", frozenset({"http.source", "http.stats"}))
    scan.tick(seen - seconds)
    assert scan.events("".join(lines).encode(), seen - seconds) == []
    return scan.tick(seen)


EXPECTED: dict[str, Value] = {
    "src.ip": "203.0.113.7",
    "method": "GET",
    "path": "/a",
    "query": "b=c",
    "status": 200,
    "bytes": 1234,
    "referer": "https://a.example/",
    "agent": "Mozilla/5.0 (X11)",
}


def test_a_line_of_the_combined_format_is_a_request() -> None:
    said = read(combined())

    assert said == Said("http.request", EXPECTED, AT)


def test_a_json_line_is_a_request_with_site_and_seconds() -> None:
    said = read(in_json())

    assert said == Said("http.request", {**EXPECTED, "vhost": "shop", "seconds": 0.012}, AT)


def test_a_basic_auth_name_cannot_move_the_fields() -> None:
    said = read(combined(user="x [01/Jan/2000:00:00:00 +0000] - 6.6.6.6"))

    assert said is not None
    assert (said.fields["src.ip"], said.fields["status"], said.ts) == ("203.0.113.7", 200, AT)


def test_x_forwarded_for_is_never_the_client() -> None:
    said = read(combined().rstrip("\n") + ' "6.6.6.6"')
    said_json = read(in_json(http_x_forwarded_for="6.6.6.6"))

    assert [one and one.fields["src.ip"] for one in (said, said_json)] == ["203.0.113.7", "203.0.113.7"]


def test_bytes_that_are_no_request_have_no_method() -> None:
    said = read(combined(request=r"\x16\x03\x01\x02", status=400))

    assert said is not None
    assert (said.fields["method"], said.fields["path"], said.fields["status"]) == ("", "", 400)


@pytest.mark.parametrize(
    "line", ["", "x", "{", "{}", "[1]", "[" * 5000, "{" * 5000, '{"remote_addr": 5}', 'unix: - - [x] "GET" 200 0']
)
def test_what_is_no_access_line_gives_nothing(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize("value", ["-", "", "nan", "inf", "x", None, -1, {"a": 1}])
def test_numbers_that_are_none_are_zero(value: object) -> None:
    said = read(in_json(body_bytes_sent=value, request_time=value))

    assert said is not None
    assert (said.fields["bytes"], said.fields["seconds"]) == (0, 0.0)


# Rates ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [combined, in_json], ids=["combined", "json"])
def test_a_client_with_many_requests_has_a_rate(make: Any) -> None:
    key = "ip" if make is combined else "remote_addr"
    lines = [make(**{key: "203.0.113.7"}, status=200 if n % 4 else 404) for n in range(100)]

    found = rates(*lines, *[make(**{key: "198.51.100.1"})] * 4)

    sources = [event.fields for event in found if event.kind == "http.source"]
    assert sources == [{"src.ip": "203.0.113.7", "rps": 20.0, "requests": 100, "error_ratio": 0.25}]


def test_a_site_has_a_rate_of_its_own_and_counts_only_our_errors() -> None:
    lines = [in_json(server_name="shop", status=500)] * 10 + [in_json(server_name="shop", status=404)] * 10
    lines += [in_json(server_name="blog")] * 10

    found = rates(*lines)

    stats = {event.fields["vhost"]: event.fields["error_ratio"] for event in found if event.kind == "http.stats"}
    assert stats == {"shop": 0.5, "blog": 0.0}


@pytest.mark.parametrize(
    "odd", ['{"remote_addr":"203.0.113.7","status":"500"}', in_json(server_name="x").replace('"status":"200",', "")]
)
def test_json_lines_with_different_fields_are_counted_one_by_one(odd: str) -> None:
    found = rates(*[in_json()] * 9, odd.rstrip("\n") + "\n")

    assert [event.fields["requests"] for event in found if event.kind == "http.source"] == [10]


def test_an_hour_of_log_read_at_once_is_no_flood() -> None:
    lines = [combined(at=AT + n) for n in range(3600)]

    found = rates(*lines, seen=AT + 3600)

    assert [event.fields["rps"] for event in found if event.kind == "http.source"] == [pytest.approx(1.0, rel=0.01)]


def test_yesterdays_lines_say_nothing_about_now() -> None:
    assert rates(*[combined()] * 100, seen=AT + 86400) == []


def test_a_client_that_was_busy_is_told_of_once_more_when_it_goes_quiet() -> None:
    scan = Scan.of([discover_parsers()["nginx"]], "file:x", frozenset({"http.source"}))
    scan.tick(AT)
    scan.events(combined().encode() * 50, AT)

    told = [[event.fields["requests"] for event in scan.tick(at)] for at in (AT + 1, AT + 5, AT + 6, AT + 10, AT + 15)]

    assert told == [[], [50], [], [0], []]


def test_memory_is_bounded_and_the_busiest_stay() -> None:
    scan = Scan.of([discover_parsers()["nginx"]], "file:x", frozenset({"http.source"}))
    scan.tick(AT)
    for high in range(200):
        crowd = "".join(combined(f"10.{high}.{low // 250}.{low % 250}") for low in range(250))
        scan.events((crowd + combined("203.0.113.7") * 20).encode(), AT)

    found = scan.tick(AT + 5)

    assert [e.fields["requests"] for e in found if e.kind == "http.source" and e.fields["src.ip"] == "203.0.113.7"] == [4000]
    assert len(found) < 20_001
