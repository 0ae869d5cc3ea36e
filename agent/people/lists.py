"""Life-lines and lists as they change: people add and remove, entries end, and what reaches a new one is lifted. Pure.

What a stranger can bring about by connecting (a life-line that is not `sure`) keeps new acts away, and lifts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from agent.feeds import sparing
from agent.grammar.problem import did_you_mean
from agent.guard import Lifeline, Lifelines, Network, addresses, meets, overlap
from agent.incident import Mitigation
from agent.lifting import free, lift
from agent.messages import Asked, Reply
from agent.people.listed import MOST, NEVER, Entry, key_of
from agent.policy import Policy
from agent.schema import address, spoken
from agent.turn import Agent, Turn, watching

WIDEST: Final[Mapping[int, int]] = {4: 8, 6: 19}
"""The shortest prefix that is listed without a second yes, by IP version."""


# Life-lines -------------------------------------------------------------------------------------------------------------


def know(agent: Agent, learnt: Lifelines) -> None:
    """Let these, and those that people added, be the life-lines from here on."""
    added = agent.state.lists.lines()
    agent.learnt, agent.added = learnt, tuple(one.network for one in added)
    agent.lifelines = Lifelines((*learnt.given, *added))


def learnt(turn: Turn, fresh: Lifelines, reading: int) -> None:
    """This host's life-lines as they are now; what reaches a new one is lifted, after a reload also what a list spares now."""
    agent = turn.agent
    before, reloaded = set(agent.lifelines.certain.given), reading != agent.reading
    agent.reading = reading
    know(agent, fresh)
    if reloaded or not before.issuperset(agent.lifelines.certain.given):
        reprieve(turn)


def reprieve(turn: Turn) -> list[str]:
    """Begin to lift whatever reaches what is never touched, or is left alone by its policy; the names of those."""
    known = Spared(turn.agent)
    found = {one.id: because for one in turn.agent.state.mitigations.values() if one.active and (because := known.why(one))}
    turn.agent.owed = dict(found)
    let_go(turn)
    return list(found)


def let_go(turn: Turn) -> None:
    """Lift what is owed to a life-line, as soon as no lane is at it."""
    agent = turn.agent
    if not agent.owed:
        return
    held = [one for name in agent.owed if (one := agent.state.mitigations.get(name)) and one.active and one.stage != "lifting"]
    ready, busy = free(turn, held)
    groups: dict[str, list[Mitigation]] = {}
    for one in ready:
        groups.setdefault(agent.owed[one.id], []).append(one)
    agent.owed = {one.id: agent.owed[one.id] for one in busy if one.change.undo is not None}
    for because, group in groups.items():
        lift(turn, group, because=because, actor="agent")


class Spared:
    """Why a mitigation would not be made now, by what is never touched and by what its policy leaves alone."""

    def __init__(self, agent: Agent) -> None:
        """Nothing is looked up yet."""
        self._agent, self._lines = agent, agent.lifelines.certain
        self._unless: dict[str, Lifelines] = {}

    def why(self, one: Mitigation) -> str:
        """The reason as a sentence; empty where it would be made again."""
        policy = self._agent.policies.get(one.policy)
        for network in addresses(one.change.apply):
            if line := self._lines.touched(network):
                return f"{spoken(line.network)} is a life-line now: {line.why}"
            if policy and (line := spared(self._agent, policy).touched(network)):
                return f"{spoken(line.network)} {line.why}"
        return self._by_its_finding(one, policy) if policy and policy.unless else ""

    def _by_its_finding(self, one: Mitigation, policy: Policy) -> str:
        """Whether `unless` would hold now for whom the finding was about."""
        if policy.name not in self._unless:
            self._unless[policy.name] = unless(self._agent, policy)
        incident = self._agent.state.incidents.get(one.incident)
        for network in _networks(incident.target if incident else ""):
            line = self._unless[policy.name].touched(network)
            if line and line.network.prefixlen <= network.prefixlen:
                return f"{spoken(network)} {line.why}"
        return ""


def spared(agent: Agent, policy: Policy) -> Lifelines:
    """What this policy alone leaves alone."""
    return sparing.spared(agent, policy)


def unless(agent: Agent, policy: Policy) -> Lifelines:
    """What its `unless` lets be, of the lists that it asks about whom its findings are about."""
    keyed = {name for clause in policy.when for name in clause.by}
    names = {name for one in policy.unless if one.operator == "list" and one.field in keyed for name in one.operand}
    now = agent.state.lists.beside(agent.settings.lists) if names else {}
    said = "is on the list `{}` ({}), which this policy leaves alone"
    lines = Lifelines((Lifeline(net, said.format(name, net)) for name in sorted(names) for net in now.get(name, ())), ())
    return sparing.beside(agent, lines, sorted(names), said)


def _networks(target: str) -> Iterator[Network]:
    for word in target.split():
        try:
            yield address(word)
        except ValueError:
            continue


# What people order --------------------------------------------------------------------------------------------------------


def add(turn: Turn, asked: Asked) -> None:
    """Put an address on a list, with an end and a reason; one that is there already stays until the later end."""
    body, book = asked.body, turn.agent.state.lists
    policies = body.get("policies", ())
    if error := _wrong(turn.agent, body["list"], body["address"], policies):
        turn.do(Reply(asked, {"result": "usage", "error": error}))
        return
    key = key_of(body["list"], body["address"], policies)
    if key[1].prefixlen < WIDEST[key[1].version] and not body.get("sure"):
        because = f"{key[1]} is wider than /{WIDEST[key[1].version]}: hardly anything would be left to contain"
        turn.do(Reply(asked, {"result": "waits", "because": because}))
        return
    known = book.entries.get(key)
    if known is None and len(book.entries) >= MOST:
        turn.do(Reply(asked, {"result": "failed", "error": f"{MOST:,} addresses are listed, and more there cannot be"}))
        return
    until = max(turn.now + body["seconds"], known.until if known else 0.0)
    told = {"list": key[0], "address": spoken(key[1]), "until": until, "actor": asked.actor, "why": body["why"]}
    turn.note("listed", told | {"policies": list(key[2])})
    lifting = _renewed(turn, key[0])
    also = [spoken(net) for name, net, _ in book.entries if name == key[0] and net != key[1] and overlap(net, key[1])]
    still = _by_people(turn.agent, key[1])
    result = {"result": "extended" if known else "listed", "lifting": lifting, "overlaps": also[:10], "still": still}
    turn.do(Reply(asked, told | result))


def _by_people(agent: Agent, network: Network) -> list[str]:
    """What people have in force against it: a list of policies lifts nothing of theirs."""
    held = (one for one in agent.state.in_force() if not one.policy and one.id not in agent.busy)
    return [one.id for one in held if meets(one.change.apply, network)][:10]


def remove(turn: Turn, asked: Asked) -> None:
    """Take an address off a list, for all policies or only for those that are named."""
    body, agent = asked.body, turn.agent
    try:
        network = address(body["address"])
    except ValueError as error:
        turn.do(Reply(asked, {"result": "usage", "error": str(error)}))
        return
    wanted = tuple(sorted(set(body.get("policies", ()))))
    found = [one for one in agent.state.lists.entries.values() if (one.list, one.network) == (body["list"], network)]
    found = [one for one in found if not wanted or one.policies == wanted]
    if not found:
        turn.do(Reply(asked, {"result": "nothing", "because": _not_there(agent, body["list"], network)}))
        return
    for one in found:
        _off(turn, one, asked.actor, body["why"])
    _renewed(turn, body["list"])
    turn.do(Reply(asked, {"result": "removed", "removed": len(found)}))


def tick(turn: Turn) -> None:
    """End what is over, and lift what could not be lifted before."""
    if over := turn.agent.state.lists.over(turn.now):
        for one in over:
            _off(turn, one, "agent", "its time is over")
        _renewed(turn, *{one.list for one in over})
    let_go(turn)


def _off(turn: Turn, one: Entry, actor: str, why: str) -> None:
    told = {"list": one.list, "address": spoken(one.network), "policies": list(one.policies)}
    turn.note("unlisted", told | {"actor": actor, "why": why})


def _renewed(turn: Turn, *names: str) -> list[str]:
    """Let changed lists count; the names of mitigations that are lifted because of that."""
    know(turn.agent, turn.agent.learnt)
    if any(name in turn.agent.settings.lists for name in names):
        turn.agent.watch = watching(turn.agent)
    return reprieve(turn)


def _wrong(agent: Agent, name: str, text: str, policies: Sequence[str]) -> str:
    """What is wrong with an order, as a sentence with its mend; empty where nothing is."""
    known = (NEVER, *agent.settings.lists)
    if name in agent.settings.feeds:
        return f"others keep the list `{name}`; put the address on one of {', '.join(known)}"
    if name not in known:
        hint = did_you_mean(name, known)
        return f"no list is called `{name}`; known: {', '.join(known)}{f'; {hint}' if hint else ''}"
    if policies and name != NEVER:
        return f"a list counts for the policies that name it; for these policies alone: contain list add {NEVER} … --policy …"
    for one in policies:
        if one not in agent.policies:
            hint = did_you_mean(one, agent.policies)
            return f"no policy is called `{one}`{f'; {hint}' if hint else ''}; all of them: contain policy list"
    try:
        address(text)
    except ValueError as error:
        return str(error)
    return ""


def _not_there(agent: Agent, name: str, network: Network) -> str:
    said = f"{spoken(network)} was not put on {name} by anybody"
    given = (
        agent.learnt.given
        if name == NEVER
        else [Lifeline(one, f"{name} in agent.yaml") for one in agent.settings.lists.get(name, ())]
    )
    if line := Lifelines(given, ()).touched(network):
        return f"{said}; it is {line.why}"
    listed = (one for one in agent.state.lists.entries.values() if one.list == name)
    if other := next((one for one in listed if overlap(one.network, network)), None):
        return f"{said}; {spoken(other.network)} is: contain list remove {name} {spoken(other.network)}"
    return said


ORDERS: Final[Mapping[str, Callable[[Turn, Asked], None]]] = {"list_add": add, "list_remove": remove}
