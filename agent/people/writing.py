"""What people write for the report of an incident, and the texts of policies: both stand in the journal itself. Pure.

So a report is made of evidence alone: who wrote what, and when, is as hard to change afterwards as what the agent did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agent import gathering
from agent.messages import Asked, Reply
from agent.report import notes
from agent.state import State
from agent.turn import Turn

MOST_TEXT: Final = 64 << 10
"""Characters of a policy's text that are kept."""


def keep_texts(turn: Turn) -> None:
    """Have the journal hold the text of each live policy, once for each that is another."""
    for one in turn.agent.policies.values():
        if one.text and one.digest not in turn.agent.state.texts.known:
            cut = {"cut": len(one.text)} if len(one.text) > MOST_TEXT else {}
            turn.note("policy_text", {"policy": one.name, "digest": one.digest, "text": one.text[:MOST_TEXT], **cut})


def write(turn: Turn, message: Asked) -> None:
    """A new version of what people wrote. Whoever began with an older one is told, and overwrites nobody."""
    seen = gathering.picture(turn.agent.state, message.body["what"])
    if seen is None:
        error = f"cannot write the report of {message.body['what']}: the agent knows no such incident any more"
        turn.do(Reply(message, {"result": "failed", "error": error}))
        return
    text = message.body["text"]
    if len(text.encode(errors="replace")) > notes.LONGEST:
        turn.do(Reply(message, {"result": "usage", "problem": f"`text`: at most {notes.LONGEST >> 10} KiB"}))
        return
    known = turn.agent.state.writeups.of([one.id for one in seen.all])
    version = known.version if known else 0
    if message.body["after"] != version:
        who = known.actor if known else "nobody"
        because = f"{who} has saved version {version} meanwhile; look at that one first"
        turn.do(Reply(message, {"result": "refused", "because": because, "version": version}))
        return
    left = notes.unfilled(text)
    body = {"actor": message.actor, "version": version + 1, "missing": list(left), "text": text}
    turn.note("report_written", body, incident=seen.lead.id)
    answer = {"result": "written", "incident": seen.lead.id, "with": len(seen.members)}
    turn.do(Reply(message, {**answer, "version": version + 1, "missing": list(left)}))


def missing(state: State, name: str) -> list[str]:
    """What the report of an incident still lacks."""
    seen = gathering.picture(state, name)
    known = state.writeups.of([one.id for one in seen.all]) if seen else None
    return list(known.missing if known else notes.NOTHING)


ORDERS: Final[Mapping[str, Callable[[Turn, Asked], None]]] = {"report_notes": write}
