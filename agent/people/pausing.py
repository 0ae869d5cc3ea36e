"""What people and the clock do with pauses: begin, plan, end, and say what was not done meanwhile. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from agent.messages import Asked, Reply
from agent.people.maintenance import Window
from agent.people.pauses import Pause, outcome, summary
from agent.policy import BUILT_IN
from agent.turn import Agent, Turn

MOST: Final = 100
"""Pauses that may be on or planned at once."""
AHEAD: Final = 30 * 86400.0
"""Seconds ahead for which one can be planned."""
SLACK: Final = 60.0
"""Seconds by which a clock may be set back without a pause being measured anew, or an order's beginning lie behind us."""
SHOWN: Final = 3600.0
"""Seconds for which a status shows what came of a pause."""
_AGENT: Final = "agent"


def pause(turn: Turn, message: Asked) -> None:
    """Have all policies, or those named, say what they would do instead of doing it."""
    body, book = message.body, turn.agent.state.pauses
    policies = list(dict.fromkeys(body.get("policies", ())))
    since = body.get("begins", turn.now)
    if error := _wrong(turn, policies, since):
        turn.do(Reply(message, {"result": "failed", "error": f"cannot pause: {error}"}))
        return
    since = max(since, turn.now)
    made = {"pause": f"P-{book.last + 1}", "since": since, "until": since + body["seconds"], "policies": policies}
    planned = since > turn.now
    turn.note("pause_planned" if planned else "paused", made | {"actor": message.actor, "why": body["why"]})
    turn.agent.next_pause = _next(turn.agent, turn.now)
    turn.do(Reply(message, {"result": "planned" if planned else "paused", **made}))


def _wrong(turn: Turn, policies: list[str], since: float) -> str:
    known = turn.agent.policies.keys() - BUILT_IN
    if unknown := [one for one in policies if one not in known]:
        return f"no policy is called {', '.join(unknown)}; known: {', '.join(sorted(known)) or 'none'}"
    if since < turn.now - SLACK:
        return "it would begin in the past"
    if since > turn.now + AHEAD:
        return f"it would begin in more than {AHEAD / 86400:.0f} days; for what comes round there is maintenance in agent.yaml"
    if len(turn.agent.state.pauses.all) >= MOST:
        return f"{MOST} pauses are on or planned already; end some: contain resume"
    return ""


def resume(turn: Turn, message: Asked) -> None:
    """End the one that is on, one by its name or its window's, or all; without a name never one of several."""
    book, what = turn.agent.state.pauses, message.body.get("what", "")
    found = [one for one in book.all.values() if what in (one.id, one.window, "all")] if what else book.on
    if not what and len(found) > 1:
        names = ", ".join(f"{one.id} ({one.actor}: {one.why})" for one in found)
        error = f"cannot resume: several are on: {names}; name one, or: contain resume all"
        turn.do(Reply(message, {"result": "failed", "error": error}))
        return
    ended = [_end(turn, one, message.actor, "asked for") for one in found]
    turn.agent.next_pause = _next(turn.agent, turn.now)
    left = [view(one) for one in book.all.values()]
    turn.do(Reply(message, {"result": "resumed" if ended else "nothing", "ended": ended, "left": left}))


def _end(turn: Turn, one: Pause, actor: str, why: str) -> dict[str, Any]:
    """Write down that it is over, and all that it kept from being done; what that comes to, for whoever asked."""
    body = {
        "pause": one.id,
        "actor": actor,
        "why": why,
        "since": one.since,
        "length": max(0.0, min(turn.now, one.until) - one.since),
        "begun": one.on,
        "window": one.window,
        "policies": list(one.policies),
        "missed": one.missed,
        "by_policy": [list(pair) for pair in one.by_policy],
        "latest": [list(missed) for missed in one.latest],
        "cut": actor != _AGENT,
    }
    turn.note("resumed", body)
    return view(turn.agent.state.pauses.over[-1]) | {"say": outcome(body), "head": summary(body)}


# By itself ----------------------------------------------------------------------------------------------------------------


def come_round(turn: Turn) -> None:
    """Begin what was planned and the windows that open; end what is over. At a start too, before any policy acts."""
    zone = turn.agent.settings.zone
    opened = [_of_window(one, *found) for one in turn.agent.settings.windows if (found := one.open(turn.now, zone))]
    for one in list(turn.agent.state.pauses.all.values()):
        if one.window:
            _shut(turn, one, opened)
        else:
            _move_on(turn, one)
    book = turn.agent.state.pauses
    running = {one.window for one in book.all.values()}
    for one in opened:
        if one.window not in running and book.cut.get(one.window) != one.until:
            _begin(turn, one._replace(id=f"P-{book.last + 1}"))
    turn.agent.next_pause = _next(turn.agent, turn.now)


def _move_on(turn: Turn, one: Pause) -> None:
    """What the time makes of a person's pause."""
    if turn.now >= one.until:
        _end(turn, one, _AGENT, "its time was over" if one.on else "its time passed while no agent ran")
    elif not one.on and turn.now >= one.since:
        _begin(turn, one)
    elif one.on and turn.now < one.since - SLACK:  # the clock was set back: it lasts no longer for that
        _begin(turn, one._replace(since=turn.now, until=turn.now + one.until - one.since))


def _shut(turn: Turn, one: Pause, opened: Sequence[Pause]) -> None:
    """End a window's pause where that window is not open any more as it was."""
    same = (one.window, one.until, one.policies, one.why)
    if same not in [(each.window, each.until, each.policies, each.why) for each in opened]:
        _end(turn, one, _AGENT, "the window is over" if turn.now >= one.until else "the clock or agent.yaml was changed")


def _of_window(one: Window, since: float, until: float) -> Pause:
    why = one.why or "a maintenance window of agent.yaml"
    return Pause(one.name, since, until, f"maintenance {one.name}", why, one.policies, one.name)


def _begin(turn: Turn, one: Pause) -> None:
    body = {"pause": one.id, "since": one.since, "until": one.until, "policies": list(one.policies)}
    turn.note("paused", body | {"actor": one.actor, "why": one.why, "window": one.window})


def _next(agent: Agent, now: float) -> float:
    """When a pause begins or ends next."""
    times = [one.until if one.on else one.since for one in agent.state.pauses.all.values()]
    for one in agent.settings.windows:
        opened = one.open(now, agent.settings.zone)
        times += [one.next(now, agent.settings.zone), *(opened[1:] if opened else ())]
    return min(times, default=math.inf)


# Shown --------------------------------------------------------------------------------------------------------------------


def view(one: Pause) -> dict[str, Any]:
    """One pause as plain values, for the control socket."""
    stage = "over" if one.ended is not None else "on" if one.on else "planned"
    plain = {**one._asdict(), "stage": stage, "policies": list(one.policies)}
    return plain | {"by_policy": [list(pair) for pair in one.by_policy], "latest": [each._asdict() for each in one.latest]}


def shown(agent: Agent, now: float, *, ended: bool = False) -> dict[str, Any]:
    """Those that are on or planned, windows with the time they open next, and what ended lately; with `ended` all known."""
    book = agent.state.pauses
    rows = [view(one) for one in sorted(book.all.values(), key=lambda one: (not one.on, one.until))]
    for one in agent.settings.windows:
        since = one.next(now, agent.settings.zone)
        rows.append(view(_of_window(one, since, since + one.length * 60)) | {"stage": "window"})
    rows += [view(one) for one in reversed(book.over) if ended or now - (one.ended or 0.0) < SHOWN]
    return {"total": len(book.all), "items": rows}
