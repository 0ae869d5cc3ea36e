"""What an action is: a frozen description that plans changes, and never makes them.

An action asks a system questions and returns `Change`s. A change is data: what to call, what to call to take it back, and
what to ask to see that it holds. So the dry run prints exactly what the real run does, evidence holds it word for word,
and an undo needs only the journal, not the code that planned it.

    @action(impact="mild")                   the file's name is the action's name in policies
    class BlockIp:
        ip: Address                          the fields are its parameters
        ttl: Ttl
        def plan(self, firewall: Firewall):  asks systems, returns Changes; an empty list means "already in force"
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shlex
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from functools import cache, wraps
from ipaddress import IPv4Network, IPv6Network
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Concatenate, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, dataclass_transform

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

P = ParamSpec("P")
S = TypeVar("S", bound="System")
F = TypeVar("F", bound=Callable[..., Any])

Impact = Literal["mild", "disruptive", "destructive"]


class CannotReach(Exception):  # noqa: N818 - reads as the sentence it is
    """The outside said no, or nothing. Text: `cannot <what>: <why>`, then how to mend it."""


class Protected(CannotReach):
    """What was to be changed must never be: the agent's own token, a protected container, PID 1. Counts as the guard's no."""


class InProgress(CannotReach):
    """The system has taken it on and is not done: no failure, and no success yet. `verify` asks again until it is."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on one outside system, written down and not yet performed. `args` are JSON-able through the verb's types."""

    system: str
    verb: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.system}.{self.verb}({', '.join(f'{name}={value}' for name, value in self.args.items())})"

    def lasting(self, ttl: timedelta | None) -> Call:
        """The same call for the time that is left; unchanged where the verb takes no ttl."""
        return Call(self.system, self.verb, {**self.args, "ttl": ttl}) if "ttl" in self.args else self


@dataclass(frozen=True, slots=True)
class Change:
    """One reversible step, small enough to hold or not hold.

    `verify` answers True while the change holds, False where nothing of it is there, and a `Holds` where that needs a
    sentence. `undo` is None for what is done once and cannot be taken back (a restart, a revoked token): verified, it is
    over, and nothing of it stays in force. `capture` is asked before `apply`, and its answers become evidence. `touches`
    names what is affected, kind first, as in `unit nginx.service` or `container web`: what agent.yaml protects is refused by
    these names. Addresses need no mention; they stand in the calls.
    """

    describe: str
    apply: Call
    undo: Call | None
    verify: Call
    capture: tuple[Call, ...] = ()
    touches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holds:
    """What `verify` says where yes or no is not all: part of it is there, none of it and somebody else is the reason, or all
    of it and there is more to say (how a program ended).

    A part stays a mitigation: it is shown, undone and ended like a whole one, and tried again at every sweep.
    """

    how: Literal["yes", "partly", "no"]
    say: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one performed call: a value, or the error that came instead."""

    value: Any = None
    error: Exception | None = None


class Adopted(NamedTuple):
    """Something of ours that a system holds: what made it, about what, with its undo, and seconds until its end (None: none).

    What is not `sure` may be there: the system is asked before anybody believes it.
    """

    action: str
    target: str
    change: Change
    left: float | None
    sure: bool = True


class System:
    """The base of agent/systems/*: methods marked @call are written down, the others answer now."""

    name: ClassVar[str]
    rights: ClassVar[str] = ""
    """What it needs on a host, and what agent.yaml must say, in a phrase for people; an action may say it of itself instead."""

    def perform(self, calls: Sequence[Call]) -> list[Answer]:
        """Perform calls in order, one answer each. A system with transactions overrides this to make one of many."""
        return [self._perform_one(one) for one in calls]

    def prepare(self) -> None:
        """Make ready what calls need (a table, a connection). Called at start and before healing; harmless when all is there."""

    def population(self) -> Mapping[str, Sequence[Any]]:
        """What there is of each kind that a plan may take a share of: {"container": names that run}; empty where none counts."""
        return {}

    def adopt(self) -> list[Adopted]:
        """Everything of ours that the system holds, by its own word; asked where the journal that knew of it was lost.

        Raises:
            CannotReach: the system does not say.
        """
        return []

    def native(self, one: Call) -> str:
        """The call in the system's own words (`nft add element …`, the SQL, the API call), for dry runs and evidence."""
        return str(one)

    def within(self, one: Call) -> float:
        """Seconds that the call may take beyond what every call may: 0 where its verb says nothing."""
        return float(getattr(_method(type(self), one.verb), "within", 0.0))

    def _perform_one(self, one: Call) -> Answer:
        try:
            return Answer(_method(type(self), one.verb)(self, **one.args))
        except Exception as error:  # noqa: BLE001 - an answer is data; whoever asked decides what the error means
            return Answer(error=error)


def slow(seconds: float) -> Callable[[F], F]:
    """Declare, under @call, that a verb may take this long: `@call` `@slow(60)` `def end_all(self) …`."""

    def declare(method: F) -> F:
        method.within = seconds  # type: ignore[attr-defined]
        return method

    return declare


def call(method: Callable[Concatenate[S, P], Any]) -> Callable[Concatenate[S, P], Call]:
    """Make a system's method return the `Call` that execute.py will have performed later."""
    signature = inspect.signature(method)

    @wraps(method)
    def written(self: S, *args: P.args, **kwargs: P.kwargs) -> Call:
        if not args:  # the usual spelling needs no look at the signature
            return Call(self.name, method.__name__, kwargs)
        bound = signature.bind(self, *args, **kwargs)
        return Call(self.name, method.__name__, {n: v for n, v in bound.arguments.items() if n != "self"})

    written.performed = method  # type: ignore[attr-defined]
    return typing.cast("Callable[Concatenate[S, P], Call]", written)


def _method(system: type[System], verb: str) -> Callable[..., Any]:
    found = getattr(getattr(system, verb, None), "performed", None)
    if found is None:
        raise CannotReach(f"cannot call {system.name}.{verb}: this version knows no such verb")
    return typing.cast("Callable[..., Any]", found)


# Back from the journal -------------------------------------------------------------------------------------------------


@cache
def _adapters(method: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    hints = typing.get_type_hints(method, include_extras=True)
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name != "return"}


def read_call(plain: Mapping[str, Any], systems: Mapping[str, type[System]]) -> Call:
    """The call a journal holds as plain JSON, typed again by the verb's own signature."""
    adapters = _adapters(_method(systems[plain["system"]], plain["verb"]))
    return Call(plain["system"], plain["verb"], {n: adapters[n].validate_python(v) for n, v in plain["args"].items()})


def write_call(one: Call) -> dict[str, Any]:
    """The call as the journal holds it, but for durations, which JSON makes seconds."""
    args = {name: str(value) if isinstance(value, IPv4Network | IPv6Network) else value for name, value in one.args.items()}
    return {"system": one.system, "verb": one.verb, "args": args}


def write_change(change: Change) -> dict[str, Any]:
    """The change as the journal holds it. Field by field by hand: JSON's own look at dataclasses costs six times as much."""
    return {
        "describe": change.describe,
        "apply": write_call(change.apply),
        "undo": write_call(change.undo) if change.undo else None,
        "verify": write_call(change.verify),
        "capture": [write_call(one) for one in change.capture],
        "touches": change.touches,
    }


def read_change(plain: Mapping[str, Any], systems: Mapping[str, type[System]]) -> Change:
    """The change a journal holds as plain JSON."""
    calls = {part: read_call(plain[part], systems) if plain[part] else None for part in ("apply", "undo", "verify")}
    capture = tuple(read_call(one, systems) for one in plain["capture"])
    touches = tuple(plain.get("touches", ()))
    return Change(plain["describe"], calls["apply"], calls["undo"], calls["verify"], capture, touches)  # type: ignore[arg-type]


# Declaring and finding actions ----------------------------------------------------------------------------------------


class Action(Protocol):
    """An instance of a class under actions/: parameters bound, ready to plan."""

    name: ClassVar[str]
    within: ClassVar[float]
    mutes: ClassVar[tuple[str, ...]]
    needs: ClassVar[Mapping[str, type[System]]]

    @property
    def impact(self) -> Impact:
        """How much the plan may break; with these parameters, where the class has a property of that name."""
        ...

    def plan(self, *args: Any, **systems: Any) -> list[Change]:
        """Ask the systems, change nothing, and return what would have to change."""
        ...


T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def action(*, impact: Impact | None = None, mutes: tuple[str, ...] = (), within: float = 0.0) -> Callable[[T], T]:
    """Declare the one action of a file under actions/.

    `impact` is left out by a class that has a property `impact`, because its parameters decide. `mutes` are the kinds of events
    that it causes itself (`check unit` is a kind of check; * stands for any), about what its changes touch. `within` are the
    seconds that planning may take beyond what every plan may.
    """

    def declare(cls: T) -> T:
        if not (cls.__doc__ or "").strip() or not hasattr(cls, "plan"):
            raise TypeError(f"{cls.__module__}: an action needs a docstring and plan()")
        made: Any = dataclass(frozen=True)(cls)
        if (impact is None) != isinstance(cls.__dict__.get("impact"), property):
            raise TypeError(f"{cls.__module__}: an action says its impact once: impact=… or a property `impact`")
        if impact is not None:
            made.impact = impact
        if taken := {"name", "mutes", "needs"} & set(made.__dataclass_fields__):
            raise TypeError(f"{cls.__module__}: a parameter cannot be called {' or '.join(sorted(taken))}")
        made.name, made.mutes, made.within = cls.__module__.rpartition(".")[2], mutes, within
        made.needs = needs(made.plan)
        return typing.cast("T", made)

    return declare


def needs(method: Callable[..., Any]) -> dict[str, type[System]]:
    """The systems that a plan() or ask() wants, by parameter name, from its annotations."""
    hints = typing.get_type_hints(method)
    return {n: h for n, h in hints.items() if inspect.isclass(h) and issubclass(h, System)}


def parameters(made: type[Any]) -> dict[str, tuple[Any, bool]]:
    """An action's parameters: name → (type with its meaning, required)."""
    hints = typing.get_type_hints(made, include_extras=True)
    return {f.name: (hints[f.name], f.default is MISSING and f.default_factory is MISSING) for f in fields(made)}


def impact_of(made: type[Any], given: Mapping[str, Any]) -> Impact:
    """How much an action may break with these parameters, of which some may be only the name of a `$field` yet."""
    said = made.__dict__["impact"]
    if not isinstance(said, property):
        return typing.cast("Impact", said)
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(made)}
    assert said.fget is not None  # noqa: S101 - a property without a getter is no property
    return typing.cast("Impact", said.fget(SimpleNamespace(**{**defaults, **given})))


_FIELDS: dict[tuple[type[Any], str], TypeAdapter[Any]] = {}


def typed(made: type[Any], name: str, value: Any) -> Any:
    """A value as the action's parameter wants it.

    Raises:
        ValueError: it does not fit; pydantic's ValidationError is one.
    """
    adapter = _FIELDS.get((made, name))
    if adapter is None:
        adapter = _FIELDS[made, name] = TypeAdapter(parameters(made)[name][0])
    return adapter.validate_python(value)


def from_text(made: type[Any], given: Mapping[str, str]) -> Any:
    """The action with its parameters read from text, as on the command line (`ip=203.0.113.7 ttl=1h`; lists with commas).

    Raises:
        ValueError: one sentence naming every parameter that is unknown, missing or unfit.
    """
    known, wrong, values = parameters(made), [], {}
    for name, text in given.items():
        if name not in known:
            wrong.append(f"{made.name} has no parameter `{name}`; it takes {', '.join(known)}")
            continue
        try:
            values[name] = typed(made, name, _listed(known[name][0], text))
        except ValueError as error:
            wrong.append(f"{name}: {first_reason(error)}")
    wrong += [f"{made.name} needs `{name}`" for name, (_, required) in known.items() if required and name not in given]
    if wrong:
        raise ValueError("; ".join(wrong))
    return made(**values)


def spelled(action: Any) -> str:
    """The action as a person orders it: `contain do stop_writes ttl=1h strength=fence`."""
    made = type(action)
    words = []
    for f in fields(made):
        value = getattr(action, f.name)
        if f.default is MISSING or value != f.default:
            plain = to_jsonable_python(TypeAdapter(parameters(made)[f.name][0]).dump_python(value, mode="json"))
            text = ",".join(map(str, plain)) if isinstance(plain, list) else str(plain)
            words.append(f"{f.name}={text.lower() if isinstance(plain, bool) else text}")
    return shlex.join(["contain", "do", action.name, *words])


def _listed(hint: Any, text: str) -> str | list[str]:
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return [one.strip() for one in text.split(",")] if typing.get_origin(bare) is tuple and isinstance(text, str) else text


def first_reason(error: ValueError) -> str:
    """The first reason a validation gives, in our own words where the type has its own."""
    if isinstance(error, ValidationError):
        return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)


def discover(package: ModuleType, mark: str = "plan") -> dict[str, type[Any]]:
    """Every class of a shelf by name: one file, one class with the file's name, and nothing else to edit.

    Raises:
        TypeError: a file of the package holds none, or more than one.
    """
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        made = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__ and hasattr(v, mark)]
        if len(made) != 1:
            raise TypeError(f"{module.__file__}: found {len(made)} classes with {mark}(), expected exactly one")
        found[info.name] = made[0]
    return found
