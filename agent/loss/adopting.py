"""After the evidence was lost: what the systems hold of ours becomes mitigations (bereft.py asks them), until a person has seen
to it. Pure.
"""

from __future__ import annotations

from typing import Final

from agent.drift import ask
from agent.fold import key_of
from agent.messages import Adoptable, Asked, Reply
from agent.turn import Turn

BECAUSE: Final = "found in the system after the journal was lost"


def adopted(turn: Turn, message: Adoptable) -> None:
    """Write down what no mitigation holds yet, so that it is shown, undone and ended like everything else."""
    state, doubtful = turn.agent.state, []
    held = {one.key for one in state.mitigations.values() if one.active}
    for one in message.found:
        if key_of(one.change) in held:
            continue
        name = f"M-{state.last_mitigation + 1}"
        until = None if one.left is None else turn.now + one.left
        body = {"policy": "", "digest": "", "action": one.action, "target": one.target, "actor": "agent", "because": BECAUSE}
        turn.note("adopted", {**body, "change": one.change, "part": 0, "until": until, "sure": one.sure}, mitigation=name)
        turn.ends(state.mitigations[name])
        doubtful += [] if one.sure else [state.mitigations[name]]
    if message.system not in state.mishaps.answered:
        turn.note("system_asked", {"system": message.system, "found": len(message.found)})
    ask(turn, doubtful)


def accept(turn: Turn, message: Asked) -> None:
    """A person has seen to what happened to the evidence: status says no more of it, and the journal for ever."""
    seen = [one.say for one in turn.agent.state.mishaps.all]
    if seen:
        turn.note("mishaps_accepted", {"actor": message.actor, "why": message.body["why"], "seen": seen})
    turn.do(Reply(message, {"result": "accepted" if seen else "nothing", "seen": seen}))
