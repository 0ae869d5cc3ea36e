"""Stories of the outbox: channels that can be told to misbehave, and a runner that plays their lanes in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic_core import from_json, to_json

from agent import flow, rounds, snapshot
from agent.fold import fold
from agent.messages import Asked, ClockSet, Cry, Effect, Message, Note, Reply, Send, Sent, Started, Tick
from agent.notifying.courier import Courier, not_sent
from agent.notifying.notice import Notice
from agent.notifying.notifier import Busy, Notifier, Refused, Thread, Unsure
from agent.notifying.routes import Channel, Routes
from agent.policy import Severity
from agent.record import Record
from agent.state import State
from agent.turn import Agent, Settings, Turn
from agent.watching.watch import Watch
from tests.notifiers.notices import notice
from tests.stories import T0


@dataclass
class Wall:
    """What hangs on a board: the notices' keys and parts in order, with their news; and how its keeper is."""

    shown: list[tuple[str, str]] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)
    manner: str = ""
    after: float | None = None
    refuses: set[str] = field(default_factory=set)
    stumbles: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Board:
    """A channel with one standing notice for each incident, and a slip below it for each piece of news."""

    wall: Wall
    asks: bool = True
    slips: bool = True
    name: ClassVar[str] = "board"
    gap: ClassVar[float] = 1.0
    public: ClassVar[bool] = False

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """Nothing about closed ones."""
        if notice.what == "closed":
            return ()
        return ("standing", "slip") if self.slips else ("standing",)

    def replaces(self, part: str) -> bool:
        """The standing one shows how things are."""
        return part == "standing"

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:
        """As its keeper feels."""
        wall, what = self.wall, (notice.key, part)
        if wall.manner == "refuses" or notice.key in wall.refuses:
            raise Refused("cannot hang that up: no such board; mend it")
        if notice.key in wall.stumbles:
            raise Unsure("cannot tell whether it hangs: the keeper stumbled")
        if wall.manner == "busy":
            raise Busy("cannot hang that up: the keeper is out", wall.after)
        if not (doubtful and self.asks and what in wall.shown):
            wall.shown.append(what)
            wall.news.append(notice.news)
        if wall.manner == "silent":
            raise Unsure("cannot tell whether it hangs: no answer")
        if wall.manner == "mad":
            raise RuntimeError("the keeper fell off the ladder")
        return {"last": notice.key, **({"first": thread["first"]} if "first" in thread else {"first": notice.key})}

    def whom(self) -> str:
        """Where it hangs."""
        return "the board in the hall"

    def hosts(self) -> tuple[str, ...]:
        """Nowhere else."""
        return ()


class Posting:
    """An agent with boards of these names, and a clock. `dead` channels hang: what is sent to them is out until `hang_up`."""

    def __init__(self, *names: str, fallback: tuple[str, ...] = (), **options: Any) -> None:
        self.walls = {name: Wall() for name in names}
        self.boards: dict[str, Notifier] = {name: Board(wall, **options) for name, wall in self.walls.items()}
        self.now, self.records = T0, list[tuple[float, Record]]()
        self.out: list[Send] = []
        self.hangs: set[str] = set()
        self.cries: list[str] = []
        self.replies: list[Reply] = []
        self.courier = Courier(list, lambda _: None)
        self.fallback = fallback
        self.agent = self.born(State({}))
        self.tell(Started("test"))

    def settings(self) -> Settings:
        channels = {name: Channel(name, "board") for name in self.boards}
        route = tuple(name for name in self.boards if name not in self.fallback)
        by: Mapping[Severity, tuple[str, ...]] = {"P0": route, "P1": route, "P2": route}
        return Settings("db1", routes=Routes(channels, by, self.fallback), notifiers=dict(self.boards))

    def born(self, state: State) -> Agent:
        return Agent(self.settings(), state, Watch((), {}))

    @property
    def outbox(self) -> Any:
        return self.agent.state.outbox

    def told(self, number: int, what: Any = "changed", severity: Any = "P2", *, to: tuple[str, ...] = (), **more: Any) -> Notice:
        """Something is to be told of INC-7."""
        name = more.pop("incident", "INC-7")
        made = notice(what, severity, key=f"{name}/{number}", incident=name, at=self.now, news=f"news {number}", **more)
        turn = Turn(self.agent, self.now)
        names = to or tuple(one for one in self.boards if one not in self.fallback)
        turn.note("notice", {"notice": made._asdict(), "to": list(names)})
        self.keep(turn.effects)
        self.tick()
        return made

    def keep(self, effects: list[Effect]) -> None:
        self.records += [
            (self.now, Record(one.record.kind, from_json(to_json(one.record.body)), one.record.incident))
            for one in effects
            if isinstance(one, Note)
        ]

    def tell(self, message: Message) -> None:
        effects = flow.step(self.agent, message, self.now)
        self.keep(effects)
        self.cries += [one.text for one in effects if isinstance(one, Cry)]
        self.replies += [one for one in effects if isinstance(one, Reply)]
        for one in effects:
            if isinstance(one, Send):
                self.walls[one.channel].tries.append(self.now)
                if one.channel in self.hangs:
                    self.out.append(one)
                else:
                    self.tell(self.courier.job(one).work()[0])

    def hang_up(self, *, done: bool = False) -> None:
        """What was out is given up on by its lane; with `done`, it had been done."""
        while self.out:
            one = self.out.pop(0)
            if done:
                self.courier.job(one).work()
            self.tell(not_sent(one, "cannot tell: no answer")[0])

    def tick(self) -> None:
        self.tell(Tick())

    def pass_by(self, seconds: float) -> None:
        """As the daemon does: a tick whenever one is due."""
        until = self.now + seconds
        for _ in range(100_000):
            due = max(rounds.next_due(self.agent, self.now), self.now + 0.01)
            if due > until:
                break
            self.now = due
            self.tick()
        self.now = until
        self.tick()

    def ask(self, verb: str, **body: Any) -> Any:
        self.tell(Asked(verb, body, "alice (uid 1000)"))
        return self.replies[-1].body if self.replies else None

    def set_clock(self, by: float) -> None:
        self.now += by
        self.tell(ClockSet(by))

    def die(self, records: list[tuple[float, Record]] | None = None) -> None:
        """kill -9, and a start from what the journal holds."""
        self.records = list(self.records if records is None else records)
        state = State({})
        for at, record in self.records:
            fold(state, record, at)
        self.out.clear()
        self.agent = self.born(state)
        self.tell(Started("test"))
        self.tick()

    def restart_from_snapshot(self) -> None:
        plain = from_json(to_json(snapshot.snapshot(self.agent.state), timedelta_mode="float"))
        self.agent = self.born(snapshot.restore(plain, {}))
        self.tell(Started("test"))
        self.tick()

    def said(self, kind: str) -> list[Record]:
        return [record for _, record in self.records if record.kind == kind]

    def reread(self) -> None:
        """agent.yaml is read again with the boards there are now."""
        self.agent.settings = replace(self.settings())
        from agent.guard import Lifelines
        from agent.messages import Learnt

        self.tell(Learnt(Lifelines(), self.agent.reading + 1))
        self.tick()


__all__ = ["Board", "Posting", "Sent", "Wall"]
