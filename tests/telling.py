"""Stories in which people are told: a story with channels, and what each of them was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from agent import snapshot
from agent.fold import fold
from agent.messages import Started
from agent.notifying.notice import Notice, read
from agent.notifying.routes import Channel, Routes
from agent.policy import Policy
from agent.state import State
from tests.stories import Gate, Story

CHANNELS = {
    "chat": Channel("chat", "slack", "#incidents"),
    "phone": Channel("phone", "pagerduty", "the one on call"),
    "mail": Channel("mail", "email", "team@example.com"),
    "boss": Channel("boss", "email", "boss@example.com"),
    "page": Channel("page", "statuspage", "status.example.com", public=True),
}
BY = {"P0": ("phone", "chat", "page"), "P1": ("phone", "chat", "page"), "P2": ("chat",)}
ROUTES = Routes(CHANNELS, BY, link="https://db1.example.com:9444")  # type: ignore[arg-type] # the literals are severities


class Telling(Story):
    """A story whose agent has channels. `told` are its notices with their channels, in order."""

    def __init__(self, *policies: Policy, routes: Routes = ROUTES, **more: Any) -> None:
        super().__init__(*policies, **more)
        self.settings = replace(self.settings, routes=routes)
        self.agent.settings = self.settings

    @property
    def told(self) -> list[tuple[Notice, list[str]]]:
        return [(read(one.body["notice"]), list(one.body["to"])) for one in self.said("notice")]

    @property
    def whats(self) -> list[str]:
        return [notice.what for notice, _ in self.told]

    @property
    def last(self) -> Notice:
        return self.told[-1][0]

    def live(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass as the daemon does: a tick at least every few seconds."""
        until = self.now + seconds
        while self.now < until:
            self.pass_by(min(step, until - self.now))

    def die(self, records: Sequence[Any] | None = None) -> None:
        """kill -9, and a start from what the journal holds; with `records` only so much of it had been written."""
        state = State({"gate": Gate})
        for at, record in self.records if records is None else records:
            fold(state, record, at)
        self.agent = self.born(state)
        self.tell(Started("test"))

    def restart_from_snapshot(self) -> None:
        plain = from_json(to_json(snapshot.snapshot(self.agent.state), timedelta_mode="float"))
        self.agent = self.born(snapshot.restore(plain, {"gate": Gate}))
        self.tell(Started("test"))


def by(**channels: Sequence[str]) -> Mapping[Any, tuple[str, ...]]:
    return {severity: tuple(names) for severity, names in channels.items()}
