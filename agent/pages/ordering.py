"""What people can order on a page about an incident, and how the agent's answer is told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from agent.pages.sessions import Said

Form = Mapping[str, str]
Answer = Mapping[str, Any]

LENGTHS: Final[Mapping[str, int]] = {"30 min": 1800, "1 h": 3600, "2 h": 7200, "8 h": 28800, "1 d": 86400}
"""How long something can be silenced; P0 for an hour at most."""
MANY: Final = 10
"""More mitigations than this are lifted at once only after a person typed what is meant."""
_BAD: Final = frozenset({"refused", "failed", "usage"})
_HALF: Final = frozenset({"nothing", "waits", "partly", "under_way", "would"})


class Order(NamedTuple):
    """A verb of the control socket, what it is sent, and what is said once it is done."""

    verb: str
    body: Callable[[str, Form], dict[str, Any]]
    said: str


def text(form: Form, name: str) -> str:
    """What a person has written into a field."""
    return form.get(name, "").strip()


def _why(name: str, form: Form) -> dict[str, Any]:
    return {"what": name, "why": text(form, "why")}


def _silence(name: str, form: Form) -> dict[str, Any]:
    return {"incident": name, "seconds": float(LENGTHS.get(form.get("length", ""), 3600)), "why": text(form, "why")}


ORDERS: Final[Mapping[str, Order]] = {
    "acknowledge": Order("acknowledge", _why, "You are on {what} from here on; nobody else is woken for it."),
    "assign": Order("assign", lambda what, form: {"what": what, "to": text(form, "to")}, "{what} is {to}'s from here on."),
    "note": Order("note", lambda what, form: {"what": what, "text": text(form, "text")}, "Your note stands in the timeline."),
    "severity": Order(
        "severity", lambda what, form: _why(what, form) | {"severity": form.get("severity", "")}, "{what} is {severity} now."
    ),
    "merge": Order("merge", lambda what, form: _why(what, form) | {"into": text(form, "into")}, "{what} is told with {into}."),
    "resolve": Order("resolve", _why, "{what} is resolved."),
    "reopen": Order("reopen", _why, "{what} is open again."),
    "close": Order("close", _why, "{what} is closed."),
    "false-positive": Order("false_positive", _why, "{what} is closed: it was none."),
    "silence": Order("silence", _silence, "Nobody is told of {incident} for now. Actions go on."),
}
"""Orders about an incident, by the last part of the path."""

END_SILENCE: Final = Order("end_silence", lambda what, _: {"what": what}, "Ended {what}: people are told again.")
CONFIRM: Final = Order("confirm", _why, "{what} is confirmed: it stays.")
UNDO: Final = Order("undo", _why, "Lifted: {made}.")
DENY: Final = Order("deny", _why, "Denied {what}: it is not done.")
APPROVE: Final = Order(
    "approve",
    lambda what, form: _why(what, form) | {"plan": form.get("plan", "")},
    "Approved {what}: {result} ({made}).",
)
MODE: Final = Order(
    "mode", lambda policy, form: {"policy": policy, "mode": form.get("mode", "")}, "The policy {policy} is in mode {mode} now."
)


def told(order: Order, body: Answer, answer: Answer) -> Said:
    """What came of it, in a sentence."""
    because = _because(answer)
    result = answer.get("result", "failed")
    if "problem" in answer or result in _BAD:
        return Said("bad", f"Not done: {because}")
    if result in _HALF:
        begin = {"nothing": "Nothing to do", "waits": "It waits", "would": "Dry run, nothing was done"}.get(
            result, "Done in part"
        )
        return Said("warn", f"{begin}: {because}" if because else f"{begin}.")
    made = ", ".join(answer.get("mitigations", ())) or "nothing"
    words = {**{key: str(value) for key, value in body.items()}, "made": made, "result": str(result).replace("_", " ")}
    return Said("good", order.said.format_map(words))


def _because(answer: Answer) -> str:
    failed = "; ".join(f"{one['mitigation']}: {one['error']}" for one in answer.get("failed", ()))
    return str(answer.get("because") or answer.get("problem") or answer.get("error") or failed or answer.get("result", ""))
