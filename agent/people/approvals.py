"""Questions to people, as the state keeps them: what waits for a yes, bound to its plan's hash, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple

from agent.action import Change
from agent.record import Record

KEPT: Final = 100
"""Approvals that are over and still shown."""


class Approval(NamedTuple):
    """A question to people. Times are Unix seconds; `order` has the words of `contain do` behind the action's name.

    `found` is the finding it came of (empty for a person's order), `step` the place in its policy's steps. `yes` are those
    who have said so; `needs` how many must. `over` says how it ended; empty while it waits.
    """

    id: str
    plan: str
    action: str
    order: tuple[str, ...]
    target: str
    describe: tuple[str, ...]
    because: str
    asked: float
    until: float
    needs: int = 1
    yes: tuple[str, ...] = ()
    incident: str = ""
    policy: str = ""
    actor: str = ""
    found: Mapping[str, Any] = {}
    step: int = 0
    over: str = ""
    digest: str = ""
    why: str = ""
    """A person's own reason, where it is about an order."""
    raises: bool = False
    """Whether its yes is for all that its policy does in the time that follows: only their number needed one."""


class Approvals:
    """What waits for a person, and what came of the latest."""

    kinds: ClassVar[frozenset[str]] = frozenset({"asked_for", "approved", "denied", "approval_over"})

    def __init__(self) -> None:
        """Nothing waits."""
        self.all: dict[str, Approval] = {}
        self.of: dict[str, tuple[str, ...]] = {}
        self.raised: dict[str, float] = {}
        self.declined: dict[str, float] = {}
        self.last = 0

    @property
    def waiting(self) -> list[Approval]:
        """Those without an answer, the oldest first."""
        return [one for one in self.all.values() if not one.over]

    def for_incident(self, incident: str) -> list[Approval]:
        """What an incident waits for."""
        return [one for name in self.of.get(incident, ()) if not (one := self.all[name]).over]

    def fold(self, record: Record, ts: float) -> None:
        """Change as the record says."""
        body = record.body
        if record.kind == "asked_for":
            self._keep(_read({**body, "asked": ts, "incident": record.incident}))
            return
        one = self.all.get(body["approval"])
        if one is None:
            return
        match record.kind:
            case "approved":
                self.all[one.id] = one._replace(yes=(*one.yes, body["actor"]))
            case "denied":
                self.all[one.id] = one._replace(over=f"{body['actor']} said no: {body['because']}")
                if one.raises:
                    self.declined[one.policy] = ts
            case _:
                self.all[one.id] = one._replace(over=body["because"])
                if one.raises and body.get("used"):
                    self.raised[one.policy] = ts

    def _keep(self, made: Approval) -> None:
        self.all[made.id], self.last = made, max(self.last, int(made.id.rpartition("-")[2]))
        self.of[made.incident] = (*self.of.get(made.incident, ()), made.id)
        over = [one for one in self.all.values() if one.over]
        for one in over[: max(0, len(over) - KEPT)]:
            del self.all[one.id]
            if left := tuple(name for name in self.of.pop(one.incident) if name != one.id):
                self.of[one.incident] = left

    def plain(self) -> Any:
        """All of it as JSON values."""
        rates = {name: list(getattr(self, name).items()) for name in ("raised", "declined")}
        return {"last": self.last, **rates, "all": [one._asdict() for one in self.all.values()]}

    def restore(self, plain: Any) -> None:
        """Be again what `plain` said."""
        for one in plain["all"]:
            self._keep(_read(one))
        self.last, self.raised, self.declined = plain["last"], dict(plain["raised"]), dict(plain.get("declined", ()))

    def shift(self, by: float) -> None:
        """Move every time that is kept."""
        for one in list(self.all.values()):
            self.all[one.id] = one._replace(asked=one.asked + by, until=one.until + by)
        self.raised = {policy: at + by for policy, at in self.raised.items()}
        self.declined = {policy: at + by for policy, at in self.declined.items()}


def _read(plain: Mapping[str, Any]) -> Approval:
    lists = {name: tuple(plain.get(name, ())) for name in ("order", "describe", "yes")}
    return Approval(**{**{name: plain[name] for name in Approval._fields if name in plain}, **lists})


def plan_hash(changes: Sequence[Change]) -> str:
    """What a yes is bound to: every call that would be made, with its final arguments, its undo and what it touches."""
    lines = [f"{one.describe}\n{one.apply}\n{one.undo}\n{one.verify}\n{one.touches}" for one in changes]
    return sha256("\n\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def view(one: Approval) -> dict[str, Any]:
    """One question as plain values, for the control socket."""
    return {**one._asdict(), "found": None, "order": " ".join(("contain do", one.action, *one.order))}
