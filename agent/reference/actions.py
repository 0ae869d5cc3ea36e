"""docs/reference/actions.md: what each action does, needs, calls, and how that is undone and verified.

Plans are made by asking systems, so that none can be made here. But each names the verbs of its changes in its own file: they
are read there, and their words and native forms are those of the systems themselves, with examples for what a plan would know.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_network
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple

import actions as shelf
from agent.action import Call, CannotReach, System, discover
from agent.grammar.typed import Key, keys
from agent.reference.keys import MADE, keys_table
from agent.reference.words import anchor, code, example, fenced, first, prose, table
from agent.schema import Means, Ttl

_CHOSEN: Final = {"end_sessions": ("role",), "rate_limit": ("ip",), "revoke_credentials": ("entity", "ttl")}
"""Parameters that an example names though they may be left out: without one of them there is nothing to do."""
_KNOWN: Final = {
    "instance": "main", "unit": "nginx.service", "user": "alice", "database": "orders", "role": "shop", "roles": ("shop",),
    "network": "192.0.2.10", "uid": 1001, "pid": 4711, "number": 1, "hook": "rollback-shop",
}  # fmt: skip
_TOUCHED: Final = re.compile(r"(?:unit|container|database|postgres|role|user|hook|credential \w+) ")
_PARTS: Final = ("apply", "verify", "undo")


class Step(NamedTuple):
    """The verbs of one change, as the action's file names them: part → system, verb, and what it is called with."""

    apply: tuple[str, str, Mapping[str, ast.expr]]
    verify: tuple[str, str, Mapping[str, ast.expr]]
    undo: tuple[str, str, Mapping[str, ast.expr]] | None


_HEAD: Final = """\
Policies name them under [`then`](policies.md#then), people order them by `contain do ACTION key=value…`; `--dry-run` shows the
very calls of the plan on this host. In the native forms below, words in capitals are what a plan would know.

*mild*: nobody innocent notices. *disruptive*: service suffers, and all of it is undone. *destructive*: something is lost, or a
whole service or host stops, and a person is asked first.
"""


def actions() -> str:
    """The whole page."""
    from agent.outside import systems

    found, world = sorted(discover(shelf).items()), systems(None)
    listed = ((f"[{name}](#{anchor(name)})", first(made), impact(made)) for name, made in found)
    each = "\n".join(_action(name, made, world) for name, made in found)
    return f"# Actions\n\n{MADE}\n{_HEAD}\n{table(('action', 'what it does', 'impact'), listed)}\n{each}"


def impact(made: type[Any]) -> str:
    """How much it may break; with the reason where its parameters decide."""
    said = made.__dict__["impact"]
    if not isinstance(said, property):
        return str(said)
    words = dict.fromkeys(re.findall(r'"(mild|disruptive|destructive)"', inspect.getsource(said.fget)))  # type: ignore[arg-type]
    return " or ".join(sorted(words, key=("mild", "disruptive", "destructive").index))


def _action(name: str, made: type[Any], world: Mapping[str, System]) -> str:
    steps = _steps(made)
    calls = table(("done by", "taken back by", "it holds where"), (_said(made, one) for one in steps))
    native = fenced("\n\n".join(filter(None, (_native(made, one, world) for one in steps))), "text")
    parts = {
        f"Parameters of {name}": keys_table(made),
        f"What {name} calls": f"{calls}\n{native}",
        f"A policy with {name}": fenced(_policy(name, made), "yaml"),
    }
    head = f"## {name}\n\n{prose(made)}\n{table(('', ''), _facts(made, steps))}\n"
    return head + "\n".join(f"### {title}\n\n{text}" for title, text in parts.items())


# The verbs ----------------------------------------------------------------------------------------------------------------


def _steps(made: type[Any]) -> list[Step]:
    """Every Change that the action's file makes, each once."""
    tree = ast.parse(inspect.getsource(sys.modules[made.__module__]))
    found: dict[tuple[Any, ...], Step] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Change":
            given = {one.arg: _verb(one.value) for one in node.keywords if one.arg in _PARTS}
            apply, verify = given.get("apply"), given.get("verify")
            if apply and verify:
                found.setdefault((apply[:2], verify[:2]), Step(apply, verify, given.get("undo")))
    return list(found.values())


def _verb(node: ast.expr) -> tuple[str, str, Mapping[str, ast.expr]] | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not isinstance(node.func.value, ast.Name):
        return None
    return node.func.value.id, node.func.attr, {one.arg: one.value for one in node.keywords if one.arg}


def _method(made: type[Any], verb: tuple[str, str, Any]) -> Any:
    return getattr(made.needs[verb[0]], verb[1])


def _said(made: type[Any], step: Step) -> tuple[str, str, str]:
    undo = first(_method(made, step.undo)) if step.undo else "nothing: it is done once"
    return first(_method(made, step.apply)), undo, first(_method(made, step.verify)).removeprefix("Whether ")


# Facts --------------------------------------------------------------------------------------------------------------------


def _facts(made: type[Any], steps: list[Step]) -> Iterator[tuple[str, str]]:
    said = made.__dict__["impact"]
    why = f": {inspect.getdoc(said)}" if isinstance(said, property) else ""
    yield "impact", impact(made) + why
    rights = [made.rights] if hasattr(made, "rights") else [one.rights for one in made.needs.values()]
    yield "needs", "; ".join(dict.fromkeys(filter(None, rights))) or "nothing more"
    yield "touches", ", ".join(_touches(made)) or "nothing"
    yield "ends", _ends(steps)
    if made.mutes:
        yield "no alarms from", ", ".join(map(code, made.mutes))


def _touches(made: type[Any]) -> Iterator[str]:
    """Addresses by its parameters' types, the rest by what its file says that is touched: what `protected` is held against."""
    if any(_means(key) == "address" for key in keys(made).values()):
        yield "addresses"
    source = inspect.getsource(sys.modules[made.__module__])
    texts = [one.values[0] for one in ast.walk(ast.parse(source)) if isinstance(one, ast.JoinedStr) and one.values]
    named = [str(one.value) for one in texts if isinstance(one, ast.Constant) and _TOUCHED.fullmatch(str(one.value))]
    yield from (code(f"{one}…") for one in sorted(set(named)))
    if getattr(made, "target", "") == "host" or '("host",)' in source:
        yield code("host")


def _ends(steps: list[Step]) -> str:
    if not any(one.undo for one in steps):
        return "when it is done: nothing stays in force"
    once = "; what is done once is not taken back" if any(one.undo is None for one in steps) else ""
    if all("ttl" in one.apply[2] for one in steps):
        return f"by the kernel after `ttl`, with or without the agent; before that by `contain undo`{once}"
    return (
        f"by the agent after `ttl`, or by a timer of systemd's where the agent is dead then; before that by `contain undo`{once}"
    )


def _means(key: Key) -> str:
    notes = typing.get_args(key.hint)[1:] if typing.get_origin(key.hint) is typing.Annotated else ()
    return next((one.name for one in notes if isinstance(one, Means)), "")


# Native forms -----------------------------------------------------------------------------------------------------------------


def _native(made: type[Any], step: Step, world: Mapping[str, System]) -> str:
    """The three in the system's own words; nothing where only a plan knows enough for them."""
    lines = []
    for part, verb in zip(_PARTS, (step.apply, step.verify, step.undo), strict=True):
        if verb is None:
            continue
        system = world[made.needs[verb[0]].name]
        try:
            text = system.native(Call(system.name, verb[1], _arguments(made, verb)))
        except (CannotReach, ValueError):
            continue
        lines += [f"{part if not number else '':7} {line}" for number, line in enumerate(text.splitlines())]
    return "\n".join(lines)


def _arguments(made: type[Any], verb: tuple[str, str, Mapping[str, ast.expr]]) -> dict[str, Any]:
    method = inspect.unwrap(_method(made, verb))
    hints = typing.get_type_hints(method, include_extras=True)
    return {name: _given(made, name, hint, verb[2].get(name)) for name, hint in hints.items() if name != "return"}


def _given(made: type[Any], name: str, hint: Any, written: ast.expr | None) -> Any:
    """What the action's file writes there, where that is a value or a parameter of the action; else an example of its type."""
    if isinstance(written, ast.Constant):
        return written.value
    if isinstance(written, ast.Attribute) and isinstance(written.value, ast.Name) and written.value.id == "self":
        key = keys(made).get(written.attr)
        if key is not None and key.example and typing.get_origin(hint) is not tuple and hint in (str, bool, int):
            return type(_sample(name, hint))(key.example)
    return _sample(name, hint)


def _sample(name: str, hint: Any) -> Any:
    """A value of the type; texts are the argument's name in capitals."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _sample(name, inner[0])
    if name == "roles" or (name in _KNOWN and not inner):
        return _KNOWN[name]
    if origin in (typing.Union, UnionType):
        return _sample(name, next(one for one in inner if one is not NoneType))
    if origin is tuple:
        return (_sample(name.removesuffix("s"), inner[0]),) if name != "ports" else ()
    if origin is typing.Literal:
        return inner[0]
    return _scalar(name, hint)


def _scalar(name: str, hint: Any) -> Any:
    usual: Mapping[Any, Any] = {timedelta: timedelta(hours=1), bool: True, int: 5, float: 1.0, str: name.upper()}
    if hint in usual:
        return usual[hint]
    if hint.__name__.startswith("IPv"):
        return ip_network("203.0.113.7")
    made = typing.get_type_hints(hint, include_extras=True)
    names = [one.name for one in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else hint._fields
    return hint(**{one: _sample(one, made[one]) for one in names})


# A policy -----------------------------------------------------------------------------------------------------------------


def _policy(name: str, made: type[Any]) -> str:
    """A whole one, in which it is the only step; an address comes from the event, all else is written."""
    address = next((one for one, key in keys(made).items() if _means(key) == "address" and _wanted(name, key)), "")
    given = {one: example(key) for one, key in keys(made).items() if _wanted(name, key)}
    given |= {one: "1h" for one in given if keys(made)[one].hint is Ttl}
    given |= {address: "$src.ip"} if address else {}
    step = f"  - {name}: {{{', '.join(f'{one}: {value}' for one, value in given.items())}}}"
    title = re.split("[,:.]", first(made))[0]
    heard = ("auth.ssh.failure", "by: src.ip", 'count: ">= 8 in 2m"') if address else ("report", "match: {service: shop}")
    when = "".join(f"  {line}\n" for line in (f"event: {heard[0]}", *heard[1:]))
    return f"policy: example-{name.replace('_', '-')}\ntitle: {title}\nseverity: P1\nwhen:\n{when}then:\n{step}"


def _wanted(name: str, key: Key) -> bool:
    return key.required or key.name in _CHOSEN.get(name, ())
