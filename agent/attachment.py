"""What people attach to a report: it comes packed inside the request, is unpacked with a bound, and kept as evidence.

The agent reads no file for anybody: whoever reports reads it, with their own rights.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agent.action import Call
from agent.execute import Keep
from agent.messages import Asked
from agent.visible import visible
from agent.workers import Job

MOST: Final = 1 << 20
"""Bytes of what is attached, unpacked."""
DEADLINE: Final = 20.0
LANE: Final = "evidence"
_GZIP: Final = 31
"""zlib's `wbits` for gzip's format alone."""


def job(asked: Asked, keep: Keep) -> Job:
    """Keep what a report brings, and answer with the report that names the file; or why there is none, and the report goes on."""
    given = asked.body["attached"]
    call = Call("report", "attachment", {"name": visible(given["name"], 255)})

    def work() -> Asked:
        try:
            data = unpacked(given["data"])
        except ValueError as error:
            return _with(asked, {"call": str(call), "error": str(error)})
        return _with(asked, keep(f"report-{asked.ticket}", call, data))

    return Job("keep an attachment", work, lambda why: _with(asked, {"call": str(call), "error": why}), DEADLINE)


def unpacked(data: str) -> bytes:
    """The content of base64 of gzip, at most MOST of it.

    Raises:
        ValueError: it is something else, or more than that.
    """
    try:
        packed = base64.b64decode(data, validate=True)
        reading = zlib.decompressobj(_GZIP)
        found = reading.decompress(packed, MOST + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"it is not packed as it should be: {error}") from error
    if len(found) > MOST:
        raise ValueError(f"it is larger than {MOST >> 20} MiB")
    if not reading.eof:
        raise ValueError("it was cut off on the way")
    return found


def _with(asked: Asked, file: Mapping[str, Any]) -> Asked:
    body = {name: value for name, value in asked.body.items() if name != "attached"}
    return replace(asked, body={**body, "files": [dict(file)]})
