"""What was done: each change from its intent to its end, with the hashes of the records that prove it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from agent.report.raw import Line
from agent.report.story import Deed, Kept, Proof, spelled
from agent.visible import visible

HOLDING: Final = ("in force", "in force in part", "being lifted", "in doubt", "under way")
_STATES: Final = {
    "in_force": "in force",
    "partly": "in force in part",
    "done": "done",
    "failed": "failed",
    "not_verified": "failed",
    "lifting": "being lifted",
    "lifted": "lifted",
    "lift_failed": "in force",
    "late": "in doubt",
    "under_way": "under way",
    "confirmed": "in force",
    "healed": "in force",
}
_MADE: Final = ("intent", "would", "adopted")
_LONGEST: Final = 2000
_MOST_PROOFS: Final = 12


def deeds(lines: Sequence[Line]) -> tuple[Deed, ...]:
    """Every change, in the order of their intents."""
    made: dict[str, Deed] = {}
    for one in lines:
        name, kind = one.record.mitigation, one.record.kind
        if kind in _MADE and name not in made:
            made[name] = _begun(one)
        elif name in made:
            made[name] = _then(made[name], one)
    return tuple(made.values())


def _begun(one: Line) -> Deed:
    body, kind = one.record.body, one.record.kind
    change = body["change"]
    state = {"would": "would", "adopted": "in force"}.get(kind, "intended")
    return Deed(
        id=one.record.mitigation,
        action=str(body["action"]),
        target=visible(body["target"]),
        does=visible(change["describe"], _LONGEST),
        actor=visible(body["actor"]),
        because=visible(body["because"], _LONGEST),
        at=one.at,
        state=state,
        call=visible(spelled(change["apply"]), _LONGEST),
        undo=visible(spelled(change["undo"]), _LONGEST),
        began=one.at if kind == "adopted" else None,
        until=_moved(body.get("until"), one),
        by_hand=str(body.get("by_hand", ""))[:_LONGEST],
        proofs=(_proof(one),),
        incident=one.record.incident,
    )


def _moved(at: Any, one: Line) -> float | None:
    return None if at is None else float(at) + one.by


def _then(deed: Deed, one: Line) -> Deed:
    """The change after one more record about it."""
    body, kind = one.record.body, one.record.kind
    if kind == "recovered":
        kind = "in_force" if body.get("holds") else "failed"
    state = _STATES.get(kind)
    if state is None:
        return replace(deed, until=_moved(body["until"], one)) if kind == "extended" else deed
    if deed.state in ("lifted", "failed", "done") and state != "lifted":
        return deed
    proofs = deed.proofs if kind == "lifting" else (*deed.proofs, _proof(one))  # its end follows, or why it did not
    deed = replace(deed, state=state, proofs=proofs[:_MOST_PROOFS])
    if state in ("in force", "in force in part", "done") and deed.began is None:
        deed = replace(deed, began=one.at)
    if "until" in body and state != "lifted":
        deed = replace(deed, until=_moved(body["until"], one))
    if state in ("lifted", "failed", "done"):
        how = body.get("error") or body.get("because") or ""
        return replace(deed, ended=one.at, how=visible(how, _LONGEST))
    return replace(deed, how=visible(body["error"], _LONGEST)) if body.get("error") else deed


def _proof(one: Line) -> Proof:
    return Proof(one.seq, one.record.kind, one.sha256)


def kept(lines: Iterable[Line]) -> tuple[Kept, ...]:
    """The files of evidence, in order."""
    return tuple(
        Kept(
            visible(file.get("file", "")),
            visible(file.get("sha256", "")),
            int(file.get("bytes", 0)),
            visible(file.get("call", "")),
            one.record.mitigation,
            one.seq,
            visible(file.get("error", "")),
        )
        for one in lines
        if one.record.kind == "captured"
        for file in one.record.body.get("files", ())
    )
