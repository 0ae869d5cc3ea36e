"""JSON from a body, within limits that keep memory and time small; what is wrong is said with its place. Pure.

Stricter than JSON: no name twice in an object, no number without end, no NUL in a text, and nesting as deep as
pydantic_core's reader goes (200).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from agent.streams.sender import BadDocumentError
from agent.visible import visible

MOST: Final = 500_000
"""Values of one document; a million empty lists take 60 bytes of memory for two of body."""
_DIGITS: Final = 40
"""Of a whole number: 128 bits."""


def read_json(body: bytes | bytearray) -> Any:
    """The document.

    Raises:
        BadDocumentError: it is no JSON, or beyond the limits.
    """
    if sum(body.count(mark) for mark in b",[{") > MOST:
        raise BadDocumentError(f"more than {MOST:,} values in one document")
    try:
        from_json(body, allow_inf_nan=False)  # first, since its errors have places, and its depth a limit
    except ValueError as error:
        raise BadDocumentError(f"no JSON: {error}") from None
    text = body.decode()
    document = json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    if "\\u0000" in text:
        _without_nul(document)
    return document


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise BadDocumentError(f"`{visible(twice, 60)}` stands twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise BadDocumentError(f"{text[:20]}… is a number of {len(text)} digits, and at most {_DIGITS} are taken")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadDocumentError(f"{visible(text, 30)} is too large for a number")
    return value


def _constant(text: str) -> NoReturn:
    raise BadDocumentError(f"no JSON: {text} is no number")


def _without_nul(document: Any) -> None:
    """Look for a NUL, which ends a text in too many places."""
    left = [("", document)]
    while left:
        place, value = left.pop()
        if isinstance(value, str) and "\0" in value:
            raise BadDocumentError(f"{place or 'the document'}: a NUL in the text")
        if isinstance(value, dict):
            if any("\0" in name for name in value):
                raise BadDocumentError(f"{place or 'the document'}: a NUL in a name")
            left += [(f"{place}.{visible(name, 40)}".lstrip("."), one) for name, one in value.items()]
        elif isinstance(value, list):
            left += [(f"{place}[{at}]", one) for at, one in enumerate(value)]
