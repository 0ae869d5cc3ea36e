"""Answers what systems would answer, and asks none: each plan is one change made of the action's own parameters. Pure.

What only a system knows (that a unit is not there, that a container shares its network with another one) it does not know.
Life-lines, protected names and what the agent forbids by itself are judged as ever, by the guard and the proofs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from agent.action import Call, Change
from agent.incident import Mitigation
from agent.messages import Applied, Apply, Effect, Heal, Healed, Lift, Lifted, Message, Outcome, Plan, Planned, Release
from agent.policy import Policy, Step
from agent.proving.reach import Aim, Ground
from agent.turn import Agent, aim

SYSTEM: Final = "backtest"
_BY_ITSELF: Final = frozenset({"firewall", "perimeter"})
"""Systems that are told how long it lasts: a longer block is another change. Elsewhere the agent keeps the time."""
_NOBODY: Final = Policy("", "P3", ())


class StandIn:
    """The outside of one replay: whatever is asked for holds at once, for as long as it should."""

    def __init__(self, agent: Agent, ground: Ground) -> None:
        """`ground` says what is never touched whatever agent.yaml says."""
        self._agent, self._ground = agent, ground

    def answer(self, effect: Effect, now: float) -> Message | None:
        """What comes back; None where nothing does, or nobody waits for it."""
        match effect:
            case Plan():
                return self._planned(effect, now)
            case Apply(run, jobs):
                return Applied(run, tuple(Outcome(name, "in_force") for name, _ in jobs))
            case Lift(jobs, because, asked):
                return Lifted(tuple(Release(name, "lifted") for name, _ in jobs), because, asked)
            case Heal(jobs, asked):
                return Healed(tuple(Outcome(name, "in_force") for name, _ in jobs), asked)
        return None

    def _planned(self, one: Plan, now: float) -> Planned:
        action, policy = one.action, one.run.policy or _NOBODY
        values = {part.name: getattr(action, part.name) for part in fields(action)}
        aimed = Aim(policy, Step(type(action), values), self._ground)
        named = [name for _, name in aimed.named()]
        for name in named:
            on = f"{name} on {values.get('instance')}" if name.startswith("role ") else name
            if because := self._ground.forbidden(on):
                return Planned(one.run, action, refused=because)
        change = _change(action, aimed, values, tuple(named))
        return Planned(one.run, action, () if self._holds(change, action, now) else (change,), by_hand=("",))

    def _holds(self, change: Change, action: Any, now: float) -> bool:
        """Whether that is in force already, and for as long as it is wanted."""
        held = self._agent.state.holding(str(change.undo)) if change.undo else None
        if held is None or held.stage != "in_force":
            return False
        return "ttl" not in change.apply.args or _outlasts(held, action, now)


def _outlasts(held: Mitigation, action: Any, now: float) -> bool:
    if held.until is None:
        return True
    wanted = action.ttl.first
    return wanted is not None and held.until + 1.0 >= now + wanted.total_seconds()


def _change(action: Any, aimed: Aim, values: Mapping[str, Any], touches: tuple[str, ...]) -> Change:
    acted_on = {name for name, _ in aimed.victims()}
    about = {name: value if name in acted_on else _plain(value) for name, value in values.items() if name != "ttl"}
    kept = _BY_ITSELF & {needed.name for needed in action.needs.values()}
    lasting = {"ttl": action.ttl.first} if "ttl" in values and kept else {}
    return Change(
        describe=f"{action.name} {aim(action)}",
        apply=Call(SYSTEM, action.name, {**about, **lasting}),
        undo=None if aimed.done_once else Call(SYSTEM, f"end {action.name}", about),
        verify=Call(SYSTEM, f"see {action.name}", about),
        touches=touches,
    )


def _plain(value: Any) -> Any:
    """A value that is not what is acted on: addresses that are let be must not look as if they were reached."""
    ports = isinstance(value, tuple) and all(isinstance(one, int) for one in value)
    return value if ports or isinstance(value, str | int | float | None) else str(value)
