"""An incident in the words of a row: how far it is, what it is about, who is on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def phase(one: Mapping[str, Any]) -> str:
    """How far it is, together with all that are told with it."""
    return str((one["whole"] or one)["phase"])


def target(one: Mapping[str, Any]) -> str:
    """What it is about, and how many more."""
    more = one["whole"]["many"] - 1 if one["whole"] else 0
    return f"{one['target']} and {more} more" if more else str(one["target"])


def who(one: Mapping[str, Any]) -> str:
    """Whose it is, or who has said to be on it."""
    return str(one["assigned"] or one["acked_by"] or "nobody yet")


def quiet(one: Mapping[str, Any]) -> str:
    """That nobody is told of an incident, until when and why."""
    silence = one["silenced"]
    return f"silenced ({silence['id']}) by {silence['actor']}: {silence['why']}"
