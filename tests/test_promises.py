"""Promises that hold for any policy, any event and any order of things: hypothesis looks for the counter-example.

test_at_once.py throws dice over two policies that are given. Here the policies, addresses, life-lines and limits are drawn too,
and a counter-example comes out as small as it can be told. Between kill -9 and start only records and the world remain.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv4Network, ip_network
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.block_egress import BlockEgress
from actions.block_ip import BlockIp
from actions.rate_limit import RateLimit
from agent import execute
from agent.action import Answer, Call, Change, action, call
from agent.event import Catalogue, Kind
from agent.fold import fold
from agent.grammar.policy_reader import read_policies
from agent.guard import Lifeline, Lifelines, Network, addresses, barred
from agent.messages import Applied, Apply, Disturbed, Effect, Heal, Healed, Learnt, Message, Plan, Planned, Seen, Started
from agent.people import lists
from agent.policy import Limits, Policy, Rate, Step
from agent.schema import Address, Duration, Ttl, address, spoken
from agent.state import State
from agent.systems.firewall import Firewall
from tests.stories import Gate, Guard, Shut, Story, guard, login, policy, shut

POOL = ["203.0.113.7", "203.0.113.8", "203.0.114.1", "2001:db8::7", "2001:db8:1::9", "127.0.0.1"]
NETWORKS = [*POOL, "203.0.113.0/28", "203.0.112.0/20", "203.0.0.0/16", "203.0.0.0/15", "2001:db8::/64", "2001:db8::/31"]
MANY = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# Drawn ------------------------------------------------------------------------------------------------------------------------


def around(text: str, length: int) -> Network:
    """The network of that length in which an address lies; the length counts from 0 to 32 for either version."""
    one = ip_network(text)
    return ip_network((one.network_address, length if one.version == 4 else 4 * length), strict=False)


lines = st.lists(
    st.builds(
        lambda text, length, sure: Lifeline(around(text, length), "drawn", sure),
        st.sampled_from(POOL),
        st.sampled_from([32, 32, 28, 16, 8]),
        st.booleans(),
    ),
    max_size=2,
)
ttls = st.sampled_from(["30s", "10m", "1h x2 up to 4h", "forever"]).map(Ttl.read)
whose = st.one_of(st.just(None), st.sampled_from(NETWORKS).map(address))


def drawn_step(made: type[Any], ip: Network | None, ttl: Ttl, after: int, **more: Any) -> Step:
    """A step on a literal address, or on whoever the event is about."""
    literal = {"ttl": ttl, **more} | ({"ip": ip} if ip else {})
    return Step(made, literal, {} if ip else {"ip": "src.ip"}, False, "continue", timedelta(seconds=after) if after else None)


steps = st.builds(drawn_step, st.sampled_from([Shut, Guard]), whose, ttls, st.sampled_from([0, 0, 20]))
acting = st.tuples(st.lists(steps, min_size=1, max_size=3), st.integers(1, 3))
policies = st.lists(acting, min_size=1, max_size=2).map(
    lambda found: tuple(policy(f"p{at}", then=then, least=least) for at, (then, least) in enumerate(found))
)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("login"), st.sampled_from(POOL)),
        st.tuples(st.just("order"), st.sampled_from(NETWORKS)),
        st.tuples(st.just("learn"), lines),
        st.tuples(st.just("time"), st.sampled_from([1.0, 25.0, 70.0, 700.0])),
        st.tuples(st.sampled_from(["undo", "confirm"]), st.sampled_from([*POOL, "all"])),
        st.tuples(st.sampled_from(["slow", "answer", "answer", "gone", "dies", "fails"]), st.none()),
    ),
    min_size=10,
    max_size=40,
)


# The world ----------------------------------------------------------------------------------------------------------------------


class Watched(Gate):
    """A gate that writes down when it is closed to somebody who must never be shut out."""

    def __init__(self) -> None:
        super().__init__()
        self.certain: Callable[[], Lifelines] = Lifelines
        self.crossed: list[str] = []

    @call
    def close(self, ip: Address, ttl: Duration | None) -> None:
        if line := self.certain().touched(ip):
            self.crossed.append(f"{spoken(ip)} although {spoken(line.network)} must not be")
        self.shut[spoken(ip)] = ttl.total_seconds() if ttl else None
        if self.broken == "refuses":
            raise OSError("the gate is stuck, and closed all the same")


class World(Story):
    """A story whose lanes may be slow, and whose changes pass the door that the daemon has."""

    def __init__(self, *given: Policy, known: Sequence[Lifeline] = (), **more: Any) -> None:
        super().__init__(*given, **more)
        self.held, self.slow = list[Effect](), False
        self.after_each: Callable[[], None] = lambda: None
        self.wall = Watched()
        self.gate, self.systems = self.wall, {"gate": self.wall}
        self.wall.certain = lambda: self.agent.lifelines.certain
        self.lifelines = Lifelines(known)
        lists.know(self.agent, self.lifelines)
        self.aimed_at: list[str] = []

    def tell(self, message: Message) -> list[Effect]:
        effects = super().tell(message)
        self.after_each()
        return effects

    def lane(self, effect: Effect) -> Message | None:
        if isinstance(effect, Apply):  # as it is decided, before any door
            self.aimed_at += barred([change for _, change in effect.jobs], self.agent.lifelines).values()
        if self.slow:
            self.held.append(effect)
            return None
        return self.act(effect)

    def act(self, effect: Effect) -> Message | None:
        agent = self.agent
        match effect:
            case Apply(run, todo):
                return Applied(run, execute.apply([todo], self.systems, door=lambda few: barred(few, agent.lifelines))[0])
            case Heal(todo, asked):
                door = lambda few: barred(few, agent.lifelines.certain)  # noqa: E731
                made = execute.apply([[job] for job in todo], self.systems, door=door)
                return Healed(tuple(one[0] for one in made), asked)
        return super().lane(effect)

    def answer(self) -> None:
        """The lanes catch up with what was asked of them so far; they are slow again for what follows of it."""
        held, self.held = self.held, []
        for effect in held:
            if said := self.act(effect):
                self.tell(said)

    def start_again(self) -> None:
        """What kill -9 leaves, and a start that learns its life-lines before anything else, as the daemon's does."""
        self.held.clear()
        state = State({"gate": Watched})
        for at, record in self.records:
            fold(state, record, at)
        self.agent = self.born(state)
        lists.know(self.agent, self.lifelines)
        self.tell(Started("test"))

    def live(self, happening: tuple[str, Any]) -> None:  # noqa: C901 - a table
        what, how = happening
        match what:
            case "login":
                for _ in range(3):
                    self.tell(Seen([login(how, self.now)]))
            case "order":
                self.order("do", action=Shut(address(how), Ttl.read("10m")), why="an attack", sure=True)
            case "learn":
                self.lifelines = Lifelines(how)
                self.tell(Learnt(self.lifelines, self.agent.reading))
            case "time":
                self.pass_by(how)
            case "undo" | "confirm":
                self.order(what, what=how, why="over")
            case "slow":
                self.slow = not self.slow
            case "answer":
                self.answer()
            case "gone":
                self.gate.shut.clear()
                self.tell(Disturbed("gate", "nft"))
            case "fails":
                self.gate.broken = "" if self.gate.broken else "refuses"
            case _:
                self.start_again()

    def calm_down(self) -> None:
        self.gate.broken, self.slow = "", False
        while self.held:
            self.answer()
        for _ in range(30):
            self.pass_by(30.0)


# Never a life-line ------------------------------------------------------------------------------------------------------------


@MANY
@given(policies, lines, happenings)
def test_no_plan_from_any_policy_and_any_event_touches_a_life_line(
    given: tuple[Policy, ...], known: list[Lifeline], then: list[tuple[str, Any]]
) -> None:
    world = World(*given, known=known)

    for one in then:
        world.live(one)

    assert world.aimed_at == []
    assert world.wall.crossed == []


@MANY
@given(policies, lines, happenings)
def test_whoever_became_a_life_line_is_let_in_again(
    given: tuple[Policy, ...], known: list[Lifeline], then: list[tuple[str, Any]]
) -> None:
    world = World(*given, known=known)
    for one in then:
        world.live(one)

    world.calm_down()

    certain = world.agent.lifelines.certain
    held = [one.id for one in world.agent.state.in_force() for net in addresses(one.change.apply) if certain.touched(net)]
    assert held == []
    assert [ip for ip in world.gate.shut if certain.touched(address(ip))] == []


# As they stand in files, on the kernel ------------------------------------------------------------------------------------------

LOGIN = Kind("login", "Somebody logged in.", {"src.ip": "address", "user": "text"})
SHELF = Catalogue({"login": LOGIN}, {"block_ip": BlockIp, "block_egress": BlockEgress, "rate_limit": RateLimit}, {})
written = st.lists(
    st.builds(
        lambda verb, ip, more: f"  - {verb}: {{ip: {ip!r}, ttl: 1h{more.get(verb, more.get('', ''))}}}\n    on_error: continue\n",
        st.sampled_from(sorted(SHELF.actions)),
        st.sampled_from(["$src.ip", *NETWORKS]),
        st.sampled_from([{"rate_limit": ", rps: 9"}, {"rate_limit": ", rps: 9, ports: [80]", "": ", ports: [22, 443]"}]),
    ),
    min_size=1,
    max_size=3,
)


class Kernel(Story):
    """A story whose actions plan on the real firewall, and are carried out there."""

    def __init__(self, firewall: Firewall, given: Sequence[Policy], known: Sequence[Lifeline]) -> None:
        super().__init__(*given)
        self.systems = {"firewall": firewall}
        self.agent.lifelines = Lifelines(known)

    def lane(self, effect: Effect) -> Message | None:
        if isinstance(effect, Plan):
            changes = effect.action.plan(**{name: self.systems[one.name] for name, one in effect.action.needs.items()})
            return Planned(effect.run, effect.action, tuple(changes))
        return super().lane(effect)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_policy_file_and_no_event_has_the_kernel_drop_a_life_line(firewall: Firewall, data: st.DataObject) -> None:
    head = "policy: drawn\nseverity: P2\nwhen: {event: login, by: src.ip, count: '>= 1 in 1m'}\nthen:\n"
    read, _ = read_policies({"drawn.yaml": head + "".join(data.draw(written))}, SHELF)
    known = data.draw(lines)
    story = Kernel(firewall, read, known)

    for ip in data.draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=4)):
        story.tell(Seen([login(ip, story.now)]))
        story.pass_by(30)

    dropped = [one.args["ip"] for one in firewall.held()]
    assert [ip for ip in dropped if Lifelines(known).touched(ip)] == []
    firewall.perform([one.undo for one in firewall.held()])


# Limits -----------------------------------------------------------------------------------------------------------------------

limits = st.builds(
    lambda most, span, active: Limits(Rate(most, timedelta(seconds=span)), active),
    st.integers(1, 3),
    st.sampled_from([20, 60, 600]),
    st.integers(1, 3),
)


def too_many(world: World, whose: str, bound: Limits) -> list[str]:
    """Where more was begun within a span than may be, by what was written down."""
    plans = [(at, one.body["policy"]) for at, one in world.records if one.kind == "intent" and not one.body["part"]]
    begun = [at for at, name in plans if name and whose in ("", name)]  # what people order is never held back
    assert bound.max
    span = bound.max.span.total_seconds()
    within = [position + 1 - bisect_right(begun, at - span) for position, at in enumerate(begun)]
    return [f"{count} within {bound.max.span}" for count in within if count > bound.max.most]


def in_force(world: World, whose: str) -> int:
    """Plans of policies of which something may be in force."""
    active = [one for one in world.agent.state.mitigations.values() if one.active and one.policy and whose in ("", one.policy)]
    return sum(1 for one in active if one.part == 0)


@MANY
@given(limits, limits, happenings, st.sampled_from(["1m", "10m", "forever"]))
def test_limits_hold_for_any_interleaving(ours: Limits, all_: Limits, then: list[tuple[str, Any]], ttl: str) -> None:
    acting = [shut(ttl), guard(ttl, on_error="continue")]
    world = World(policy("p", then=acting, guard=ours), policy("q", then=acting, least=2), limits=all_)
    most: list[str] = []
    bounds: Mapping[str, Limits] = {"": all_, "p": ours}

    def look() -> None:
        now = {name: (in_force(world, name), one.max_active or 0) for name, one in bounds.items()}
        most.extend(f"{name}: {count}" for name, (count, allowed) in now.items() if count > allowed)

    world.after_each = look
    for one in then:
        world.live(one)

    assert most == []
    assert [said for name, one in bounds.items() for said in too_many(world, name, one)] == []
    everything = [one for one in world.agent.state.mitigations.values() if one.active and one.part == 0]
    assert world.agent.state.active.get("", 0) == len(everything)


# Undo after any prefix ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone, in the middle of whatever it did."""


class Fused(Gate):
    """A gate at which the process is killed at the call that burns the fuse: before it has an effect, or after."""

    fuse: int | None = None
    after = False

    def perform(self, calls: Sequence[Call]) -> list[Answer]:
        return [self._one(one) for one in calls]

    def _one(self, one: Call) -> Answer:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                if self.after:
                    self._perform_one(one)
                raise Killed
        return self._perform_one(one)


@action(impact="mild")
class ShutRow:
    """Close the gate to a whole row of houses, one change each."""

    ip: Address
    houses: int
    ttl: Ttl

    def plan(self, gate: Gate) -> list[Change]:
        assert isinstance(self.ip, IPv4Network)
        row = [ip_network(self.ip.network_address + at) for at in range(self.houses)]
        return [
            Change(f"close the gate to {one}", gate.close(ip=one, ttl=None), gate.open(ip=one), gate.holds(ip=one))
            for one in row
            if not gate.is_shut(one)
        ]


def row(houses: int) -> Step:
    return Step(ShutRow, {"houses": houses, "ttl": Ttl.read("1h")}, {"ip": "src.ip"})


def until_killed(story: Story, gate: Fused, fuse: int, after: bool, act: Callable[[], object]) -> None:
    """Let it act until the fuse burns down, or to its end; then what kill -9 leaves starts again."""
    gate.fuse, gate.after = fuse, after
    with suppress(Killed):
        act()
    gate.fuse = None
    story.die_and_start_again()


@MANY
@given(
    st.integers(1, 6),
    st.sets(st.integers(0, 7)),
    st.lists(st.tuples(st.integers(0, 24), st.booleans()), min_size=1, max_size=3),
    st.tuples(st.integers(0, 24), st.booleans()),
    st.sampled_from(["undo", "expiry"]),
)
def test_undo_after_any_prefix_of_a_plan_restores_the_world(
    houses: int, others: set[int], kills: list[tuple[int, bool]], second: tuple[int, bool], how: str
) -> None:
    gate, story = Fused(), Story(policy(then=[row(houses), shut()]))
    story.gate, story.systems = gate, {"gate": gate}
    gate.shut.update({f"203.0.113.{7 + at}": None for at in others})  # somebody else's doing, which stays
    before = dict(gate.shut)

    def end() -> None:
        if how == "undo":
            story.order("undo", what="all", why="over")
        story.pass_by(3601.0)

    for fuse, after in kills:
        until_killed(story, gate, fuse, after, lambda: story.logins(3))
    until_killed(story, gate, *second, end)
    end()
    for _ in range(20):
        story.pass_by(30.0)

    assert gate.shut == before
    assert not [one for one in story.agent.state.mitigations.values() if one.active]
    assert set(story.agent.state.active.values()) <= {0}
