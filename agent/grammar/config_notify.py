"""`notify:` of agent.yaml: the channels to people, who is told of what, and what happens while nobody answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import AfterValidator

from agent.grammar.located import Node, Problem, did_you_mean
from agent.grammar.pick import Picked, Shelf, pick
from agent.grammar.typed import keys, record, values_of
from agent.notifying.routes import Channel, Escalation, Routes
from agent.policy import Severity
from agent.schema import About, Duration, rough

MOST: Final = 50
SHORTEST: Final = timedelta(minutes=1)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_SECRET: Final = re.compile(r"(?:.*[_-])?(?:password|passwd|secret|token|key|hmac|credentials?)", re.IGNORECASE)

USUAL: Final[Mapping[Severity, tuple[Escalation, ...]]] = {
    "P0": (
        Escalation(timedelta(minutes=5)),
        Escalation(timedelta(minutes=10)),
        Escalation(timedelta(minutes=30), "open"),
    ),
    "P1": (
        Escalation(timedelta(minutes=15)),
        Escalation(timedelta(minutes=30)),
        Escalation(timedelta(minutes=60)),
    ),
    "P2": (Escalation(timedelta(hours=2)), Escalation(timedelta(hours=4))),
    "P3": (Escalation(timedelta(hours=12)), Escalation(timedelta(hours=24))),
}
"""What happens where nothing is said, as the response times of the plan ask for: all channels are told again."""


def _soon(span: timedelta) -> timedelta:
    if not SHORTEST <= span <= timedelta(days=7):
        raise ValueError(f"{rough(span)} is no time to wait for a person; write 1m to 7d")
    return span


def _link(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", text, re.ASCII):
        raise ValueError(f"`{text}` is no address of pages; write https://shop1.example.com:9444")
    return text.rstrip("/")


Names = tuple[str, ...]


@dataclass(frozen=True)
class ChannelOptions:
    """What may stand beside the type of a channel: nothing yet."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "type": "the type is the key itself: ops: {slack: {channel: C0123456789, token_file: …}}",
        "severity": "which severities go there stands in routes: {P0: [ops, mail]}",
        "public": "whether strangers read a channel is known by its type",
    }


@dataclass(frozen=True)
class EscalationKeys:
    """Who is told as well, after so long."""

    after: Annotated[Annotated[Duration, AfterValidator(_soon)], About("from its beginning on, as in 5m")]
    while_: Annotated[Literal["unacknowledged", "open"], About("only while nobody has acknowledged it, or while it goes on")] = (
        "unacknowledged"
    )
    to: Annotated[Names, About("these channels; all where none is named", "[lead]")] = ()


Rounds = Annotated[
    tuple[EscalationKeys, ...] | None,
    About(
        "who is told as well, and when, as in [{after: 5m, to: [lead]}, {after: 10m}]; [] for never", "[{after: 5m, to: [lead]}]"
    ),
]
Whom = Annotated[Names | None, About("the channels that are told, as in [ops, mail]; [] for nobody")]


@dataclass(frozen=True)
class RouteKeys:
    """Who is told, by severity."""

    P0: Whom = None
    P1: Whom = None
    P2: Whom = None
    P3: Whom = None


@dataclass(frozen=True)
class EscalationTable:
    """What happens while nobody answers, by severity."""

    P0: Rounds = None
    P1: Rounds = None
    P2: Rounds = None
    P3: Rounds = None


@dataclass(frozen=True)
class NotifyKeys:
    """How people are told."""

    channels: Annotated[
        Mapping[str, Node],
        About(
            "ways to people by name, as in ops: {slack: {channel: C0123456789, token_file: …}}",
            "{ops: {slack: {channel: C0123456789, token_file: /etc/containment-agent/slack}}}",
        ),
    ]
    routes: Annotated[
        RouteKeys | None, About("who is told, as in {P0: [ops, mail, oncall], P2: [ops]}; unsaid: all, and P3 in a daily list")
    ] = None
    fallback: Annotated[Names, About("who is told where a P0 or P1 gets through to none of its channels, as in [mail]")] = ()
    link: Annotated[
        Annotated[str, AfterValidator(_link)],
        About("where the pages are, for links: https://shop1.example.com:9444", '"https://shop1.example.com:9444"'),
    ] = ""
    escalation: Annotated[
        EscalationTable | None,
        About("who is told as well while nobody answers: {P0: [{after: 5m, to: [lead]}]}", "{P0: [{after: 5m, to: [lead]}]}"),
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("slack", "email", "pagerduty", "webhook", "statuspage", "apprise", "slack_webhook"),
            "give the channel a name: channels: {ops: {slack: {…}}}",
        ),
        "default": "write routes: {P0: […], P1: […], P2: […]}",
        "escalate": "write escalation: {P0: [{after: 5m, to: [lead]}]}",
        "silence": "contain silence --policy NAME --for 2h",
    }


@dataclass(frozen=True)
class Told:
    """What `notify:` says: the channels ready to be called, and who is told of what."""

    notifiers: Mapping[str, Any] = field(default_factory=dict)
    routes: Routes = field(default_factory=Routes)


def notify(given: NotifyKeys | None, root: Node, types: Mapping[str, type[Any]], found: list[Problem]) -> Told:
    """The channels and routes; what is wrong goes to `found`. `types` are the notifiers that are installed, by name."""
    if given is None:
        return Told()
    node = root.pairs["notify"].value
    made = _Channels(types, found).read(node.pairs["channels"].value)
    channels = {name: Channel(name, type(one).name, one.whom(), type(one).public) for name, one in made.items()}
    known = {name: one.public for name, one in channels.items()} | {
        name: False for name in node.pairs["channels"].value.pairs if name not in channels
    }
    for path, one in _named(node):
        _known(one, path, known, found)
    return Told(made, _routes(given, channels))


def _routes(given: NotifyKeys, channels: Mapping[str, Channel]) -> Routes:
    """Where nothing is said, P0 to P2 go to everybody but strangers; P3 has no route, and comes once a day with P2's."""
    private = tuple(one.name for one in channels.values() if not one.public)
    by: dict[Severity, Names] = {}
    escalation: dict[Severity, tuple[Escalation, ...]] = {}
    for one in SEVERITIES:
        said = getattr(given.routes, one, None)
        if said is not None or one != "P3":
            by[one] = private if said is None else tuple(dict.fromkeys(said))
        rounds = getattr(given.escalation, one, None)
        escalation[one] = USUAL[one] if rounds is None else tuple(Escalation(each.after, each.while_, each.to) for each in rounds)
    return Routes(channels, by, tuple(dict.fromkeys(given.fallback)), escalation, given.link)


# Names of channels --------------------------------------------------------------------------------------------------------


def _named(notify: Node) -> Iterator[tuple[str, Node]]:
    """Every place where a channel is named, and what names it there."""
    for pair in _pairs(notify, "routes"):
        yield from (("route", one) for one in _items(pair))
    if "fallback" in notify.pairs:
        yield from (("fallback", one) for one in _items(notify.pairs["fallback"].value))
    for pair in _pairs(notify, "escalation"):
        for each in _items(pair):
            if isinstance(each.value, dict) and "to" in each.value:
                yield from (("escalation", one) for one in _items(each.value["to"].value))


def _pairs(node: Node, key: str) -> Iterable[Node]:
    there = node.pairs[key].value if key in node.pairs else None
    return [pair.value for pair in there.value.values()] if there is not None and isinstance(there.value, dict) else []


def _items(node: Node) -> Iterable[Node]:
    return node.value if isinstance(node.value, list) else []


def _known(one: Node, path: str, known: Mapping[str, bool], found: list[Problem]) -> None:
    name = one.value
    if not isinstance(name, str):
        return
    if name not in known:
        hint = did_you_mean(name, known) or "name it first: channels: {…}"
        found.append(Problem(one.place, f"no channel is called `{name}`", hint))
    elif known[name] and path != "route":
        hint = "strangers read it; name it in a route, where what is urgent and harmless goes there"
        found.append(Problem(one.place, f"`{name}` is public, and no {path} goes there", hint))


class _Channels:
    """Reads the channels; whatever is wrong goes to `found`."""

    def __init__(self, types: Mapping[str, type[Any]], found: list[Problem]) -> None:
        self.found = found
        self.shelf = Shelf("channel type", "channel", types, ChannelOptions)

    def read(self, node: Node) -> dict[str, Any]:
        """Those that could be read, by name."""
        if not isinstance(node.value, dict):
            return {}
        if len(node.value) > MOST:
            self.found.append(Problem(node.place, f"{len(node.value)} channels are too many", f"at most {MOST}"))
        made = {name: self._one(name, pair.key, pair.value) for name, pair in node.value.items()}
        return {name: one for name, one in made.items() if one is not None}

    def _one(self, name: str, key: Node, node: Node) -> Any:
        if not _NAME.fullmatch(name) or name in SEVERITIES:
            hint = "write letters, digits, `-`, `_` and `.`, as in ops; P0 to P3 are severities"
            self.found.append(Problem(key.place, f"`{name}` is no name for a channel", hint))
            return None
        if name in self.shelf.choices and isinstance(node.value, dict) and not node.value.keys() & self.shelf.choices.keys():
            hint = f"name it, and put the type inside: my-{name}: {{{name}: {{…}}}}"
            self.found.append(Problem(key.place, f"`{name}` is a channel type, and stands where a name belongs", hint))
            return None
        before = len(self.found)
        picked = pick(node, self.shelf, self.found)
        if picked is None or picked.name is None:
            self._hide(before)
            return None
        given, files = self._in_the_open(picked)
        cls, owner = self.shelf.choices[picked.name], Node(picked.name, picked.key.place)
        made = None
        if files:  # it is wrong already: only look for what else is
            values_of(given, cls, self.found, picked.excused | files, owner)
        else:
            made = record(given, cls, self.found, picked.excused, owner)
        self._hide(before)
        return made

    def _in_the_open(self, picked: Picked) -> tuple[Node, frozenset[str]]:
        """The options without secrets, which belong into files of their own; and the keys that should have named those."""
        cls, given = self.shelf.choices[str(picked.name)], picked.given
        if given.empty or not isinstance(given.value, dict):
            return (Node({}, picked.key.place) if given.empty else given), frozenset()
        bare = {name: pair for name, pair in given.value.items() if name not in keys(cls) and _SECRET.fullmatch(name)}
        files = [name for name in keys(cls) if name.endswith("_file") and name != "ca_file"]
        meant = {name: f"{name}_file" if f"{name}_file" in files else next(iter(files), "…_file") for name in bare}
        for name, pair in bare.items():
            hint = f"put it into a file that only the agent can read, and name that: {meant[name]}: …"
            self.found.append(Problem(pair.key.place, f"a secret does not stand in agent.yaml (`{name}`)", hint))
        rest = {name: pair for name, pair in given.value.items() if name not in bare}
        return replace(given, value=rest), frozenset(meant.values())

    def _hide(self, first: int) -> None:
        """What follows a word for a secret on a quoted line is shown to nobody, nor are addresses, which can be secrets, too."""
        for at, one in enumerate(self.found[first:], first):
            line, text = one.place.source, one.text
            for secret in [found["value"] or found["path"] for found in _VALUE.finditer(line)]:
                stars = "*" * len(secret)
                line, text = line.replace(secret, stars), text.replace(secret, stars)
            self.found[at] = replace(one, place=replace(one.place, source=line), text=text)


_VALUE: Final = re.compile(
    r"\b[\w-]*(?:password|passwd|secret|token|key|hmac|credentials?)[\"']?\s*:\s*[\"']?(?P<value>[^\s\"',}]+)"
    r"|(?<=://)(?P<path>[^\s\"'`,}]+)",
    re.IGNORECASE,
)
