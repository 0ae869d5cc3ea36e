"""One set of policies over stored events, in virtual time: the agent's own heart, with a stand-in for everything outside. Pure.

What it decides comes as the records that the journal would hold, so that a replay and a journal are read by the same eyes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from agent import flow, rounds
from agent.backtest.stand_in import StandIn
from agent.event import Event
from agent.guard import Lifelines
from agent.lifting import TRY_AGAIN
from agent.messages import Message, Note, Seen, Tick
from agent.people import lists
from agent.policy import Mode, Policy
from agent.proving.reach import Ground
from agent.record import Record
from agent.state import State
from agent.turn import Agent, Settings, watching
from agent.watching.watch import STEP_BACK, Watch

Heard = Callable[[float, Record], None]
"""Takes each record with its (virtual) time in Unix seconds."""
MANY: Final = 200
"""Incidents from which on those that have gone quiet are looked for only every SELDOM seconds."""
SELDOM: Final = 60.0
AT_ONCE: Final = 5
"""Ticks at one moment: what one of them moves to now is due at once."""
SHORTEST: Final = 0.01
"""Seconds to the next one then."""


def acting(policies: Iterable[Policy], mode: Mode | None) -> tuple[Policy, ...]:
    """The policies with this mode, but for those that are off; None leaves each its own."""
    return tuple(one if mode is None or one.mode == "off" else replace(one, mode=mode) for one in policies)


class Replay:
    """Feed it events oldest first, then `end` it. Belongs to one thread."""

    def __init__(
        self, policies: Sequence[Policy], settings: Settings, known: tuple[Lifelines, State], ground: Ground, heard: Heard
    ) -> None:
        """`known` are the life-lines, and a state that knows what people have listed and switched; nothing is in force."""
        lifelines, state = known
        self.agent = Agent(settings, state, Watch((), {}), {one.name: one for one in policies})
        lists.know(self.agent, lifelines)
        self.agent.watch = watching(self.agent)
        self.wants = self.agent.watch.wants()
        self._outside, self._heard = StandIn(self.agent, ground), heard
        self._now, self._behind, self._next = float("-inf"), 0.0, float("inf")
        self._tidied = self._looked = float("-inf")
        self._asleep = False

    def warm(self, event: Event) -> None:
        """Count in what was seen before the beginning, as a start of the agent does."""
        self.agent.watch.feed(event, event.seen)

    def begin(self, now: float) -> None:
        """From here on it decides."""
        self._now = self._next = self.agent.started = now

    def feed(self, event: Event) -> None:
        """What was seen, at the time it was seen; whatever came due before is done before."""
        now = self._steady(event.seen)
        if now >= self._next:
            self._pass(now)
        if event.kind in self.wants and self._tell(Seen((event,)), now):
            self._next = min(self._next, rounds.next_due(self.agent, now))

    def end(self, now: float) -> None:
        """Let time pass until then."""
        self._pass(self._steady(now))

    def _steady(self, now: float) -> float:
        """A time that never goes back: where the host's clock was set back, ours goes on."""
        now += self._behind
        if now < self._now - STEP_BACK:
            self._behind += self._now - now
        self._now = max(now, self._now)
        return self._now

    def _pass(self, until: float) -> None:
        while self._next <= until:
            self._skip(until)
            now = self._next
            self._tidy_seldom(now)
            for _ in range(AT_ONCE):
                self._tell(Tick(), now)
                if (due := rounds.next_due(self.agent, now)) > now:
                    break
            self._next = max(due, now + SHORTEST)

    def _skip(self, until: float) -> None:
        """Where nothing waits for anything, ticks only repeat themselves each minute: whole minutes of them are left out."""
        now, agent = self._next, self.agent
        if now - self._looked < 60.0 or until - now < 180.0:
            return
        was, self._looked, self._asleep = self._asleep, now, _asleep(agent)
        if was and self._asleep:
            skipped = (until - now) // 60.0 * 60.0
            for name in ("ticked", "next_sweep", "next_tidy"):
                setattr(agent, name, getattr(agent, name) + skipped)
            self._next = self._looked = now + skipped

    def _tidy_seldom(self, now: float) -> None:
        """The agent looks through its incidents every ten seconds; a week of that for a thousand of them takes minutes here."""
        if len(self.agent.state.incidents) < MANY or now - self._tidied >= SELDOM:
            self._tidied = now
        else:
            self.agent.next_tidy = now + TRY_AGAIN

    def _tell(self, message: Message, now: float) -> bool:
        """Work a message off with all that follows from it; whether anything did."""
        effects = flow.step(self.agent, message, now)
        for one in effects:
            if isinstance(one, Note):
                self._heard(now, one.record)
        for one in effects:  # as in the daemon, after all that is written down
            if (answer := self._outside.answer(one, now)) is not None:
                self._tell(answer, now)
        return bool(effects)


def _asleep(agent: Agent) -> bool:
    """Whether no time that comes brings anything: nothing is open, in force, put off, asked for or to be begun."""
    state = agent.state
    waits = (agent.due, agent.nearing, agent.later, agent.owed, agent.running, agent.settings.windows, state.alerts.all)
    books = (state.releases.due, state.approvals.waiting, state.silences.all, state.pauses.all)
    return not any(waits) and not any(books) and all(one.over for one in state.incidents.values())
