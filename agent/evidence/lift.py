"""What older versions wrote, in the words of this one: one pure step for each version. The stored bytes stay as they are.

A record says of which version it is (`v`). Reading lifts it step by step, so that nobody behind this module knows old shapes;
hashes and proofs are over the bytes, and hold for ever. To change the shape of a record: raise RECORD, write the step from the
version before, and keep a journal of it under tests/evidence/versions. The same goes for snapshots and SNAPSHOT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

RECORD: Final = 2
"""The version of the records that this agent writes."""
SNAPSHOT: Final = 2
"""The version of the snapshots that this agent writes."""
_ONLY_PAUSE: Final = "P-0"
"""The name of a pause in records that give none: there was never more than one at a time."""

Plain = dict[str, Any]


class TooNew(ValueError):  # noqa: N818 - reads as the sentence it is
    """A newer agent wrote it. Text: `it has version 3, and this agent knows 2`."""

    def __init__(self, version: object, known: int) -> None:
        super().__init__(f"it has version {version}, and this agent knows {known}")


def version_of(leaf: Mapping[str, Any]) -> int:
    """Of which version a record is; those of the first say so, too."""
    version = leaf.get("v", 1)
    if isinstance(version, int) and version > 0:
        return version
    raise ValueError(f"it says it has version {version!r}")


def lift(leaf: Plain) -> Plain:
    """A record as this version writes it, from its parsed leaf, which may be changed.

    Raises:
        TooNew: a newer agent wrote it. ValueError: it says no version.
    """
    version = version_of(leaf)
    if version > RECORD:
        raise TooNew(version, RECORD)
    for step in _RECORDS[version - 1 :]:
        step(leaf)
    return leaf


def lift_snapshot(plain: Plain, version: int) -> Plain:
    """A snapshot as this version writes it.

    Raises:
        TooNew: a newer agent wrote it.
    """
    if version > SNAPSHOT:
        raise TooNew(version, SNAPSHOT)
    for step in _SNAPSHOTS[version - 1 :]:
        step(plain)
    return plain


def _from_1(leaf: Plain) -> None:
    """Pauses have names, findings name every source they rest on, intents their place in their plan and what they mute."""
    body = leaf["body"]
    match leaf["kind"]:
        case "paused" | "resumed":
            body.setdefault("pause", _ONLY_PAUSE)
            body.setdefault("policies", [])
            if leaf["kind"] == "paused":
                body.setdefault("since", leaf["ts"] / 10**9)
        case "finding":
            body.setdefault("sources", [body["source"]])
        case "intent" | "would" | "adopted":
            body.setdefault("part", 0)
            body.setdefault("mutes", [])


def _snapshot_from_1(_: Plain) -> None:
    """Nothing is named otherwise; agent/snapshot.py reads what one of these lacks as empty."""


_RECORDS: Final[tuple[Callable[[Plain], None], ...]] = (_from_1,)
"""The step from version 1, the step from version 2, and so on."""
_SNAPSHOTS: Final[tuple[Callable[[Plain], None], ...]] = (_snapshot_from_1,)
