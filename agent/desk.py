"""The desk where people are answered: questions, orders, and a reload of what they wrote. Belongs to the owner's thread."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent import questions, sdnotify
from agent.action import CannotReach, System, from_text
from agent.canary import Canary
from agent.event import Event
from agent.evidence.keeper import Keeper
from agent.execute import Keep
from agent.expiry.outlive import Outlive
from agent.feeds.follow import accept
from agent.feeds.following import Following
from agent.grammar.problem import Problems
from agent.guard import Lifelines
from agent.messages import Asked, Effect, Learnt, Message, Note, Reply
from agent.metrics.health import Health, Signs, health
from agent.metrics.meters import Meters
from agent.metrics.serving import Metrics
from agent.notifying.courier import Courier
from agent.pages import serving
from agent.people import baselines, writing
from agent.people.writing import keep_texts
from agent.policy import BUILT_IN, ROUND
from agent.record import Record
from agent.schedule import Schedule
from agent.sensing import Sensing
from agent.streams.sensor import Sensor
from agent.turn import Agent, Reread, Turn, looks, watching
from agent.upkeep import Upkeep

log = logging.getLogger("agent")


@dataclass
class Parts:
    """Everything the daemon is made of; wiring.py gathers it. `told` hears of every record after its commit."""

    agent: Agent
    journal: Keeper
    systems: Mapping[str, System]
    sensors: Mapping[str, Sensor]
    schedule: Schedule
    actions: Mapping[str, type[Any]]
    socket: Path
    reread: Callable[[], Reread]
    lifelines: Callable[[], Lifelines]
    state_kinds: frozenset[str]
    version: str
    ship: Callable[[str], str]
    told: Callable[[float, Record], None]
    keep: Keep
    outlive: Outlive
    canary: Canary | None = None
    saw: Callable[[Event], None] | None = None
    feeds: Mapping[str, Following] = field(default_factory=dict)
    pages: serving.Pages | None = None
    courier: Courier | None = None
    meters: Meters = field(default_factory=Meters)
    metrics: Metrics | None = None
    config_digest: Callable[[], str] = str
    configured: Callable[[], Mapping[str, Any]] = dict


class Desk:
    """Answers one person after the other. `step` works a message into the state; `lines` counts what sensors have read."""

    def __init__(self, parts: Parts, step: Callable[[Message, float], list[Effect]], sensing: Sensing, upkeep: Upkeep) -> None:
        """Nobody has asked yet."""
        self._parts, self._agent, self._step, self._sensing, self._upkeep = parts, parts.agent, step, sensing, upkeep
        self._up, self.lines, self._problems = time.time(), 0, ""
        self._restart: tuple[str, ...] = ()
        self._loaded = time.time()

    def live(self, because: str, now: float) -> list[Effect]:
        """The records of which policies count from here on, and of texts that the journal does not have yet."""
        turn = Turn(self._agent, now)
        keep_texts(turn)
        named = [{"name": name, "digest": one.digest} for name, one in self._agent.policies.items() if name not in BUILT_IN]
        return [*turn.effects, Note(Record("policies", {"policies": named, "because": because}))]

    def answered(self, one: Reply, now: float) -> Reply:
        """The reply with what its question asked for."""
        try:
            return replace(one, body={**one.body, **questions.answer(self._facts(), one.asked, now)})
        except Exception as error:  # the same place: the daemon's loop
            log.exception("a bug in the agent: %s was not answered", one.asked.verb)
            return replace(one, body={"error": f"a bug in the agent: {type(error).__name__}: {error}; its log has more"})

    def _facts(self) -> questions.Facts:
        about = {
            "version": self._parts.version,
            "up": self._up,
            "lines": self.lines,
            "records": self._parts.journal.size,
            "evidence": self._parts.journal.told(),
            "problems": self._problems,
            "pid": os.getpid(),
            "config": {"hash": self._hash(), "at": self._loaded},
            "sensors": sorted(self._parts.sensors.keys() - {ROUND}),
            "sources": {one.source: name for name, one in self._parts.sensors.items()},
            "lag": self._sensing.lag,
            "blind": self._sensing.blind,
            "silent": self._sensing.silent,
            "canary": self._parts.canary.status() if self._parts.canary else None,
            "pages": self._parts.pages.status() if self._parts.pages else None,
            "metrics": self._parts.metrics.status() if self._parts.metrics else None,
            "intake": self._parts.sensors["intake"].status() if "intake" in self._parts.sensors else None,  # type: ignore[attr-defined]
        }
        newest = lambda since, limit: self._parts.journal.events(since=since, limit=limit, newest_first=True)  # noqa: E731
        sources = newest, about, self._sensing.evictions, self._parts.meters
        return questions.Facts(self._agent, self._parts.schedule, self._upkeep.counters, *sources)

    def _hash(self) -> int:
        """48 bits of what is live: as many as a floating-point number of Prometheus' holds exactly."""
        lines = sorted(f"{one.name} {one.digest}" for one in self._agent.policies.values())
        return int(sha256("\n".join([self._parts.config_digest(), *lines]).encode()).hexdigest()[:12], 16)

    def health(self) -> Health:
        """How the agent does; called by threads of its web server, also while the loop hangs."""
        parts, agent, names = self._parts, self._agent, {one.source: name for name, one in self._parts.sensors.items()}
        signs = Signs(
            still=time.monotonic() - parts.meters.turned_at,
            stopping=agent.stopping,
            failing=bool(agent.evidence),
            copies=not agent.no_copy,
            blind=tuple(names.get(one, one) for one in sorted(self._sensing.blind)),
            silent=tuple(names.get(one, one) for one in sorted(self._sensing.silent)),
            canary=parts.canary.status()["result"] if parts.canary else "",
            problems=bool(self._problems),
            dry_run="dry_run" in (agent.settings.mode, agent.settings.forced),
            paused=any(not one.policies for one in list(agent.state.pauses.all.values()) if one.on),
        )
        return health(signs)

    def reload(self, now: float) -> list[Effect]:
        """Read the policies again; a set with a single problem changes nothing."""
        sdnotify.reloading()
        try:
            fresh, lifelines = self._parts.reread(), self._parts.lifelines()
        except (Problems, CannotReach, OSError) as error:
            self._problems = str(error)
            log.error("the policies of before stay live:\n%s", error)
            count = sum(one.level == "error" for one in getattr(error, "found", ())) or 1
            sdnotify.notify("READY=1", "STATUS=watching; the policy files have problems, the policies of before are live")
            return [Note(Record("policies_refused", {"problems": count, "first": str(error).splitlines()[0]}))]
        wanted = self._agent.watch.wants()
        self._agent.settings, self._agent.policies = fresh.settings, {one.name: one for one in fresh.policies}
        self._agent.watch = watching(self._agent)
        self._rewant(wanted)
        self._problems, self._restart, self._loaded = "", fresh.restart, time.time()
        sdnotify.notify("READY=1", "STATUS=watching")
        return [*self.live("reloaded", now), *self._step(Learnt(lifelines, self._agent.reading + 1), now)]

    def _rewant(self, before: frozenset[str]) -> None:
        """Have sensors start again from where they are when other kinds of events are wanted now."""
        if before != self._agent.watch.wants():
            self._sensing.renew()

    def take(self, asked: Asked, now: float) -> list[Effect]:
        """Questions are answered here, those about the systems after a fresh look; orders go through flow.step."""
        if asked.verb in questions.FRESH and (held := self._agent.state.in_force()):
            return [*looks(self._agent, held, asked)]
        if asked.verb in questions.ALL:
            return [Reply(asked, {})]
        if asked.verb == "config":
            return [Reply(asked, self._configured())]
        if asked.verb == "reload":
            effects = self.reload(now)
            result = "failed" if self._problems else "reloaded"
            return [*effects, Reply(asked, {"result": result, "error": self._problems, "restart": list(self._restart)})]
        if asked.verb == baselines.UPDATE:
            return self._baseline(asked)
        if asked.verb == serving.VERB:
            return self._web(asked)
        if asked.verb == "list_accept":
            return [Reply(asked, accept(self._parts.feeds, asked))]
        if asked.verb == "mode":
            before = self._agent.watch.wants()
            effects = self._step(asked, now)
            self._rewant(before)
            return effects
        try:
            return self._step(self._typed(asked), now)
        except ValueError as error:
            return [Reply(asked, {"result": "usage", "problem": str(error)})]

    def _configured(self) -> Mapping[str, Any]:
        """What the agent goes by at this moment, which files may say otherwise by now."""
        policies = [(one.name, one.place, one.digest) for one in self._agent.policies.values() if one.name not in BUILT_IN]
        now = {"policies": policies, "at": self._loaded, "up": self._up, "forced": self._agent.settings.forced}
        return {**self._parts.configured(), **now, "problems": self._problems}

    def _web(self, asked: Asked) -> list[Effect]:
        """A link to the pages for whoever asks; that there is one is on record before it is used."""
        if self._parts.pages is None:
            because = 'agent.yaml has no pages; write pages: {listen: "127.0.0.1:9444"} and restart the agent'
            return [Reply(asked, {"result": "refused", "because": because})]
        body, record = self._parts.pages.asked(asked)
        return [*([Note(record)] if record else []), Reply(asked, body)]

    def _baseline(self, asked: Asked) -> list[Effect]:
        """Hand a person's update to the sensor, which alone writes the baseline, and answers with an event."""
        for one in self._parts.sensors.values():
            if one.source == baselines.SOURCE and hasattr(one, "inbox"):
                one.inbox.put(asked)
                return []
        because = "no files are watched; write a files sensor into agent.yaml"
        return [Reply(asked, {"result": "refused", "because": f"cannot update the baseline: {because}"})]

    def _typed(self, asked: Asked) -> Asked:
        """The order with its action: the one it names, or the one of the question that it answers."""
        if asked.verb == "do":
            return replace(asked, body={**asked.body, "action": self._action(asked.body)})
        if asked.verb == "close":
            missing = writing.missing(self._agent.state, str(asked.body["what"]))
            return replace(asked, body={**asked.body, "missing": missing})
        one = self._agent.state.approvals.all.get(str(asked.body.get("what"))) if asked.verb == "approve" else None
        if one is None:
            return asked
        params = dict(word.partition("=")[::2] for word in one.order)
        return replace(asked, body={**asked.body, "action": self._action({"action": one.action, "params": params})})

    def _action(self, body: Mapping[str, Any]) -> Any:
        name = body.get("action", "")
        if name not in self._parts.actions:
            raise ValueError(f"no action `{name}`; known: {', '.join(sorted(self._parts.actions))}")
        return from_text(self._parts.actions[name], body.get("params", {}))


def bug(item: Any, error: Exception) -> Note:
    """The record of a bug in the agent: what was being worked off, and what went wrong."""
    return Note(Record("bug", {"error": f"{type(error).__name__}: {error}", "item": type(item).__name__}))
