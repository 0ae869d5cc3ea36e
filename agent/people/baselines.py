"""What becomes of the baseline of files, in the evidence: taken, updated by a person and why, tampered with. Pure."""

from __future__ import annotations

from typing import Final

from agent.event import Event
from agent.integrity.kinds import REFUSED
from agent.messages import Asked, Reply
from agent.turn import Turn

SOURCE: Final = "files"
"""The one sensor that has a baseline; no sender's events come under its name."""
UPDATE: Final = "baseline_update"


def heard(turn: Turn, event: Event) -> None:
    """Write down what the sensor says of its baseline, and answer whoever asked for it."""
    if event.source != SOURCE:
        return
    fields = dict(event.fields)
    ticket = fields.pop("ticket", None)
    if fields["what"] != REFUSED:
        turn.note("baseline", fields)
    if isinstance(ticket, int):
        result = "refused" if fields["what"] == REFUSED else "updated"
        body = {**fields, "result": result, "because": fields["say"]}
        turn.do(Reply(Asked(UPDATE, {}, str(fields.get("actor", "")), ticket), body))
