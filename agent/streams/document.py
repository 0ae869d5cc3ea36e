"""Documents of other tools, part by part: what is not as expected is said with its place, as in `alerts[3].status: …`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.streams.sender import MOST, BadDocumentError
from agent.visible import visible

Object = Mapping[str, Any]

_STEP: Final = re.compile(r"""\.(?P<name>[^.\[\]"\s]{1,100})|\."(?P<quoted>[^"]{1,100})"|\[(?P<at>\d{1,4})\]""")
_DEEPEST: Final = 20


def shape(value: Any) -> str:
    """What a value is, for sentences: `found 3`, `found a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"`{visible(value, 60)}`" if value else "an empty text"
    if isinstance(value, int):
        return str(value) if -(1 << 63) <= value < 1 << 63 else "a number of too many digits"
    if isinstance(value, float):
        return str(value)
    return "a list" if isinstance(value, list) else "an object"


def wrong(place: str, expected: str, value: Any) -> BadDocumentError:
    """The error to raise for a value that is something else than expected."""
    return BadDocumentError(f"{place}: expected {expected}, found {shape(value)}")


def whole(document: Any) -> Object:
    """The document, which must be an object."""
    if not isinstance(document, dict):
        raise BadDocumentError(f"expected an object, found {shape(document)}")
    return document


def object_at(of: Object, name: str, place: str = "") -> Object:
    """The object under a name; an empty one where there is none."""
    value = of.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(_joined(place, name), "an object", value)
    return value


def list_at(of: Object, name: str, place: str = "") -> list[Any]:
    """The list under a name, which must be there and hold no more than may come at once."""
    value = of.get(name)
    if not isinstance(value, list):
        raise wrong(_joined(place, name), "a list", value)
    if len(value) > MOST:
        raise BadDocumentError(f"{_joined(place, name)}: {len(value)} at once, and at most {MOST} are taken")
    return value


def needed(of: Object, name: str, place: str = "") -> str:
    """The text under a name, which must be there and say something. As it stands: neither cut nor made visible."""
    value = of.get(name)
    if not isinstance(value, str) or not value:
        raise wrong(_joined(place, name), "text", value)
    return value


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


# Paths --------------------------------------------------------------------------------------------------------------------

Path = tuple[str | int, ...]


def path(written: str) -> Path:
    """A path into a document: `.client.addr`, `.items[0].name`, `."a.b"` for a name with dots; the first dot may be left out.

    Raises:
        ValueError: it is none.
    """
    steps: list[str | int] = []
    at, text = 0, written if written.startswith((".", "[")) else f".{written}"
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or len(steps) == _DEEPEST:
            raise ValueError(f'`{visible(written, 80)}` is no path; write names with dots, as in .client.addr, .items[0], ."a.b"')
        steps.append(int(found["at"]) if found["at"] else found["name"] or found["quoted"])
        at = found.end()
    return tuple(steps)


def look_up(document: Any, steps: Path) -> Any:
    """What stands at a path; None where nothing does."""
    for step in steps:
        if isinstance(step, int):
            document = document[step] if isinstance(document, list) and step < len(document) else None
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document
