"""A small world for stories: one lamp-like system, one action on it, and a runner that plays the lanes in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from agent import execute, flow
from agent.action import Change, Holds, Impact, InProgress, Protected, System, action, call
from agent.event import Event
from agent.fold import fold
from agent.guard import Lifeline, Lifelines, barred
from agent.messages import (
    Applied,
    Apply,
    Asked,
    Effect,
    Heal,
    Healed,
    Lift,
    Lifted,
    Message,
    Note,
    Plan,
    Planned,
    Reply,
    Seen,
    Started,
    Tick,
    Verified,
    Verify,
)
from agent.people import lists
from agent.policy import Clause, Count, Limits, Part, Policy, Step
from agent.record import Record
from agent.schema import Address, Duration, Ttl, address, spoken
from agent.state import State
from agent.turn import Agent, Settings
from agent.watching.watch import Watch

T0 = 1_800_000_000.0


class Gate(System):
    """A system of these stories alone: it holds addresses shut, and can be told to misbehave."""

    name = "gate"

    def __init__(self) -> None:
        self.shut: dict[str, float | None] = {}
        self.broken: str = ""
        self.closings = 0
        self.rung: list[str] = []
        self.narrowed: dict[str, int] = {}

    def is_shut(self, ip: Address) -> bool:
        return spoken(ip) in self.shut

    @call
    def close(self, ip: Address, ttl: Duration | None) -> None:
        self.closings += 1
        if self.broken == "refuses":
            raise OSError("the gate is stuck")
        if self.broken != "lies":
            self.shut[spoken(ip)] = ttl.total_seconds() if ttl else None
        if self.broken == "is slow":
            raise InProgress("it is closing")

    @call
    def open(self, ip: Address) -> None:
        self.shut.pop(spoken(ip), None)

    @call
    def holds(self, ip: Address) -> bool | Holds:
        if self.broken == "silent":
            raise OSError("no answer")
        if self.broken == "is slow":
            raise InProgress("half of it is closed")
        if self.broken == "is somebody else's" and not self.shut:
            return Holds("no", "the mayor opened it")
        if self.broken == "jams" and spoken(ip) in self.shut:
            return Holds("partly", "a hand's breadth is open")
        return spoken(ip) in self.shut

    @call
    def narrow(self, ip: Address, rps: int, ttl: Duration) -> None:
        if self.broken == "will not narrow":
            raise OSError("the gate is open or shut, and nothing between")
        self.narrowed[spoken(ip)] = rps

    @call
    def widen(self, ip: Address) -> None:
        self.narrowed.pop(spoken(ip), None)

    @call
    def is_narrow(self, ip: Address) -> bool:
        return spoken(ip) in self.narrowed

    @call
    def ring(self, ip: Address) -> None:
        if self.broken == "no bell":
            raise OSError("the bell is gone")
        self.rung.append(spoken(ip))

    @call
    def rang(self, ip: Address) -> bool:
        return spoken(ip) in self.rung

    @call
    def look(self) -> list[str]:
        if self.broken == "refuses":
            raise OSError("the gate cannot be seen")
        return sorted(self.shut)


@action(impact="mild")
class Narrow:
    """Let only a few through the gate from one address."""

    ip: Address
    rps: int
    ttl: Ttl

    def plan(self, gate: Gate) -> list[Change]:
        if spoken(self.ip) in gate.narrowed:
            return []
        return [
            Change(
                describe=f"narrow the gate for {spoken(self.ip)}",
                apply=gate.narrow(ip=self.ip, rps=self.rps, ttl=self.ttl.first or timedelta()),
                undo=gate.widen(ip=self.ip),
                verify=gate.is_narrow(ip=self.ip),
            )
        ]


Narrow.name = "narrow"  # type: ignore[attr-defined] # an action is named by its file, and this one holds several


@action(impact="mild")
class Shut:
    """Close the gate to one address."""

    ip: Address
    ttl: Ttl

    def milder(self, rps: int, ttl: timedelta) -> Narrow:
        return Narrow(self.ip, rps, Ttl(ttl))

    def plan(self, gate: Gate) -> list[Change]:
        if gate.is_shut(self.ip):
            return []
        ttl = self.ttl.first
        return [
            Change(
                describe=f"close the gate to {spoken(self.ip)}",
                apply=gate.close(ip=self.ip, ttl=ttl),
                undo=gate.open(ip=self.ip),
                verify=gate.holds(ip=self.ip),
            )
        ]


@action()
class Guard:
    """Look who is shut out, close the gate and ring the bell: evidence, what can be taken back, and what cannot."""

    ip: Address
    ttl: Ttl
    confirm: Duration = timedelta(minutes=5)
    hard: bool = False

    @property
    def impact(self) -> Impact:
        return "destructive" if self.hard else "disruptive"

    def plan(self, gate: Gate) -> list[Change]:
        if spoken(self.ip) == "203.0.113.99":
            raise Protected("203.0.113.99 is the gatekeeper's own house")
        closing = Change(
            describe=f"close the gate to {spoken(self.ip)}",
            apply=gate.close(ip=self.ip, ttl=self.confirm),
            undo=gate.open(ip=self.ip),
            verify=gate.holds(ip=self.ip),
            capture=(gate.look(),),
            touches=(f"house {spoken(self.ip)}",),
        )
        return [closing, Change("ring the bell", gate.ring(ip=self.ip), None, gate.rang(ip=self.ip))]


def guard(ttl: str = "1h", **options: Any) -> Step:
    return Step(Guard, {"ttl": Ttl.read(ttl), "hard": options.pop("hard", False)}, {"ip": "src.ip"}, **options)


def shut(ttl: str = "1h", **options: Any) -> Step:
    return Step(Shut, {"ttl": Ttl.read(ttl)}, {"ip": "src.ip"}, **options)


def policy(name: str = "guessing", *, then: Sequence[Step] = (), least: int = 3, **more: Any) -> Policy:
    clause = Clause((Part("login", (), Count(least, timedelta(minutes=2))),), by=("src.ip",))
    return Policy(name, "P2", (clause,), tuple(then) or (shut(),), title="Somebody guesses", digest=f"digest of {name}", **more)


def login(ip: str = "203.0.113.7", at: float = T0, user: str = "root") -> Event:
    return Event("login", at, {"src.ip": ip, "user": user}, source="auth", ts=at, raw=f"login {user} from {ip}")


class Story:
    """The agent, its gate and a clock: `tell` a message, and the lanes answer at once unless they are told to be `dead`."""

    def __init__(self, *policies: Policy, mode: Any = "enforce", limits: Limits | None = None, never: Sequence[str] = ()) -> None:
        self.gate, self.now, self.records = Gate(), T0, list[tuple[float, Record]]()
        self.systems: dict[str, System] = {"gate": self.gate}
        self.policies = policies or (policy(),)
        self.settings = Settings("db1", mode, None, limits or Limits(), {}, ("house 192.0.2.*",))
        self.lifelines = Lifelines(Lifeline(address(one), "an established ssh peer") for one in never)
        self.replies: list[Reply] = []
        self.dead = False
        self.agent = self.born(State({"gate": Gate}))

    def born(self, state: State) -> Agent:
        agent = Agent(self.settings, state, Watch(self.policies, {}), {one.name: one for one in self.policies})
        lists.know(agent, self.lifelines)
        return agent

    def tell(self, message: Message) -> list[Effect]:
        effects = flow.step(self.agent, message, self.now)
        self.records += [(self.now, one.record) for one in effects if isinstance(one, Note)]
        self.replies += [one for one in effects if isinstance(one, Reply)]
        for one in [] if self.dead else effects:
            if (answer := self.lane(one)) is not None:
                self.tell(answer)
        return effects

    def lane(self, effect: Effect) -> Message | None:
        match effect:
            case Plan(run, todo):
                try:
                    return Planned(run, todo, tuple(todo.plan(self.gate)))
                except Protected as error:
                    return Planned(run, todo, refused=str(error))
            case Apply(run, todo):
                return Applied(run, execute.apply([todo], self.systems, door=self.door)[0])
            case Lift(todo, because, asked):
                return Lifted(execute.undo(todo, self.systems), because, asked)
            case Verify(todo, asked):
                return Verified(execute.verify(todo, self.systems), asked)
            case Heal(todo, asked):
                return Healed(tuple(one[0] for one in execute.apply([[job] for job in todo], self.systems)), asked)
        return None

    def door(self, changes: Sequence[Change]) -> Mapping[int, str]:
        return barred(changes, self.agent.lifelines, self.agent.settings.protected)

    def logins(self, count: int, ip: str = "203.0.113.7", every: float = 1.0) -> None:
        for _ in range(count):
            self.tell(Seen([login(ip, self.now)]))
            self.pass_by(every)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Tick())

    def ask(self, verb: str, **body: Any) -> Any:
        self.order(verb, **body)
        return self.replies[-1].body

    def order(self, verb: str, **body: Any) -> list[Effect]:
        return self.tell(Asked(verb, body, "alice (uid 1000)"))

    def die_and_start_again(self) -> None:
        """What kill -9 leaves: the records, and the world."""
        state = State({"gate": Gate})
        for at, record in self.records:
            fold(state, record, at)
        self.agent, self.dead = self.born(state), False
        self.tell(Started("test"))

    def kinds(self) -> list[str]:
        return [record.kind for _, record in self.records]

    def said(self, kind: str) -> list[Record]:
        return [record for _, record in self.records if record.kind == kind]
