"""What becomes of notices, in people's words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.record import Record

NAMED: Final = 5
_KINDS: Final = frozenset({"sending", "not_needed", "given_up", "fell_back", "cried", "channels"})


def words(record: Record) -> Iterator[tuple[str, str]]:
    """What the sentences about deliveries are made of."""
    if record.kind not in _KINDS:
        return
    body = record.body
    yield "doubt", ", which may be there already" if body.get("doubtful") else ""
    keys = list(body.get("notices", ()))
    yield "notice_names", ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
    yield "dropped_by", f" ({body['actor']})" if body.get("actor") else ""
    yield "to_names", ", ".join(body.get("to", ()))
    yield "to_terminals", "; said to the terminals and syslog of this host" if body.get("loud") else ""
    yield "channel_names", ", ".join(f"{one['name']} ({one['type']})" for one in body.get("channels", ())) or "no channel"
