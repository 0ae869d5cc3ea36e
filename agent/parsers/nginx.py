"""nginx's access log: the combined format, and JSON with `escape=json`.

A web server writes more lines than any policy wants to see one by one, so `tally` counts whole chunks for the rates
(`http.source`, `http.stats`), and `http.request` is built only where a policy names it.

The client is `$remote_addr`, the first word of a line. `X-Forwarded-For` is the client's own text and never read: behind a
proxy, nginx's realip module puts the client into `$remote_addr`. nginx writes `"` inside a value as `\\x22` (JSON: `\\"`), so
no value can end early; never write `escape=none` into a format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.json_line import loaded
from agent.streams.parser import Said, parser
from agent.streams.rates import MEASURED, SOURCE, STATS, Hit, Tally
from agent.streams.syslog import exact_time

REQUEST: Final = Kind(
    "http.request",
    "One request in a web server's access log.",
    {
        "src.ip": "address",
        "method": "text",
        "path": "text",
        "query": "text",
        "status": "integer",
        "bytes": "integer",
        "agent": "text",
        "referer": "text",
        "vhost": "text",
        "seconds": "number",
    },
    forgeable=True,
)
__all__ = ["REQUEST", "SOURCE", "STATS", "Nginx"]  # the rates' kinds are gathered from here

_COMBINED: Final = re.compile(
    r'(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d{1,15}|-)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?'
)
"""From the first `"` of a line on; before it stand the client, a name it gave itself, and the time in the last brackets."""
_LONGEST_TIME: Final = 40
_LONGEST_ADDRESS: Final = 46
"""One more than any address has, so that none comes of cutting: texts that are looked up are remembered, and must be short."""
_TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_COUNT_COMBINED: Final = re.compile(rb'^([\dA-Fa-f:.]{2,45}) [^"\n]*"[^"\n]*" (\d{3}) ', re.MULTILINE)
_COUNT_ADDRESS: Final = re.compile(rb'"remote_addr": ?"([^"\n]{0,45})"')
_COUNT_TIMES: Final = {
    "msec": re.compile(rb'"msec": ?"?([\d.]{1,40})'),
    "time_iso8601": re.compile(rb'"time_iso8601": ?"([^"\n]{1,40})"'),
    "time_local": re.compile(rb'"time_local": ?"([^"\n]{1,40})"'),
}
_COUNT_STATUS: Final = re.compile(rb'"status": ?"?(\d{3})')
_COUNT_HOST: Final = re.compile(rb'"server_name": ?"([^"\n]*)"')


@parser(kinds=(REQUEST, *MEASURED), longest=65536)
class Nginx:
    """Requests, and request rates per client and per site, from nginx's access log."""

    def read(self, text: str) -> Said | None:
        """One line, in either format."""
        return _read_json(text) if text.startswith("{") else combined(text, text)

    def tally(self, chunk: bytes) -> Tally:
        """Requests of a chunk by client, site and status, with the time of its first and last line."""
        first = chunk[: chunk.find(b"\n")]
        last = chunk[chunk.rfind(b"\n", 0, -1) + 1 :].rstrip(b"\n")
        hits = _count_json(chunk) if first.startswith(b"{") else count_combined(chunk)
        return Tally(hits, time_of(first), time_of(last))


# The combined format ----------------------------------------------------------------------------------------------------


def combined(text: str, bare: str) -> Said | None:
    """One line. `bare` is the same, as long, without quotes inside a value: where they are, its parts end."""
    begin = bare.find('"')
    named, bracket, stamp = text[: max(0, begin)].rpartition("[")
    found, ip = _COMBINED.match(bare, begin + 1), canonical(named.partition(" ")[0][:_LONGEST_ADDRESS])
    if found is None or ip is None or not bracket or not stamp.endswith("] ") or len(stamp) > _LONGEST_TIME:
        return None
    parts = {name: None if found[name] is None else text[found.start(name) : found.end(name)] for name in found.groupdict()}
    fields: dict[str, Value] = {
        "src.ip": ip,
        **_request(str(parts["request"])),
        "status": int(found["status"]),
        "bytes": 0 if found["bytes"] == "-" else int(found["bytes"]),
        "referer": _text(parts["referer"]),
        "agent": _text(parts["agent"]),
    }
    return Said(REQUEST.name, fields, local_time(stamp[:-2]))


def _request(line: str) -> dict[str, Value]:
    """`GET /a?b HTTP/1.1`; what is no request at all (TLS on a plain port) has neither method nor path."""
    words = line.split(" ")
    if len(words) < 2:
        return {"method": "", "path": "", "query": ""}
    path, _, query = words[1].partition("?")
    return {"method": words[0], "path": path, "query": query}


def _text(written: str | None) -> str:
    return "" if written in (None, "-") else str(written)


@lru_cache(maxsize=4096)
def local_time(stamp: str) -> float:
    """$time_local, '23/Nov/2026:06:00:01 +0100', as Unix seconds; 0 where it is no time."""
    found = _TIME.fullmatch(stamp)
    if found is None or found[2] not in _MONTHS:
        return 0.0
    day, month, year = int(found[1]), _MONTHS.index(found[2]) + 1, int(found[3])
    east = timedelta(hours=int(found[8]), minutes=int(found[9])) * (-1 if found[7] == "-" else 1)
    try:
        return datetime(year, month, day, int(found[4]), int(found[5]), int(found[6]), tzinfo=timezone(east)).timestamp()
    except ValueError:
        return 0.0


# JSON, with the names of nginx's own variables --------------------------------------------------------------------------


def _read_json(text: str) -> Said | None:
    line = loaded(text)
    ip = canonical(str(line.get("remote_addr", ""))[:_LONGEST_ADDRESS])
    if ip is None:
        return None
    fields = _request(str(line["request"])) if "request" in line else _request(f"{line.get('request_method', '')} {_uri(line)}")
    fields |= {
        "src.ip": ip,
        "status": int(_number(line.get("status"))),
        "bytes": int(_number(line.get("body_bytes_sent", line.get("bytes_sent")))),
        "referer": _text(str(line.get("http_referer", ""))),
        "agent": _text(str(line.get("http_user_agent", ""))),
        "vhost": str(line.get("server_name", line.get("host", ""))),
        "seconds": _number(line.get("request_time")),
    }
    return Said(REQUEST.name, fields, _json_time(line))


def _uri(line: Mapping[str, Any]) -> str:
    return str(line.get("request_uri", line.get("uri", "")))


def _number(value: object) -> float:
    """nginx writes every value in quotes, and nothing or `-` where there is none."""
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e15 else 0.0


def _json_time(line: Mapping[str, Any]) -> float:
    if "msec" in line:
        return _number(line["msec"])
    if "time_iso8601" in line:
        return exact_time(str(line["time_iso8601"])[:_LONGEST_TIME])
    return local_time(str(line.get("time_local", ""))[:_LONGEST_TIME])


# Counting whole chunks --------------------------------------------------------------------------------------------------


def count_combined(chunk: bytes) -> Counter[Hit]:
    """How often each client got each status."""
    return Counter((ip, b"", status) for ip, status in _COUNT_COMBINED.findall(chunk))


def _count_json(chunk: bytes) -> Counter[Hit]:
    """Three searches over the chunk line up when each line holds each name once, and cost a sixth of reading the JSON."""
    lines = chunk.count(b"\n")
    ips, statuses, hosts = _COUNT_ADDRESS.findall(chunk), _COUNT_STATUS.findall(chunk), _COUNT_HOST.findall(chunk)
    if len(ips) == len(statuses) == lines and len(hosts) in (0, lines):
        return Counter(zip(ips, hosts or [b""] * lines, statuses, strict=True))
    return Counter(_hit(line) for line in chunk.split(b"\n") if line)


def _hit(line: bytes) -> Hit:
    """A line that lacks a name or has one twice; then whose it is cannot be told."""
    found = [form.findall(line) for form in (_COUNT_ADDRESS, _COUNT_HOST, _COUNT_STATUS)]
    ip, host, status = (each[0] if len(each) == 1 else b"" for each in found)
    return ip, host, status


def time_of(line: bytes) -> float:
    """When a line says it was written; 0 where that is no time."""
    if not line.startswith(b"{"):
        stamp = _TIME.search(line[:512].decode("utf-8", "replace"))
        return local_time(stamp[0]) if stamp else 0.0
    named = {name: found[1].decode("utf-8", "replace") for name, form in _COUNT_TIMES.items() if (found := form.search(line))}
    return _json_time(named)
