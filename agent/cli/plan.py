"""The dry run of an action: what it would do, in the very words it would do it with. Needs no running agent, changes nothing."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.cli.ends import Exit, Stop
from agent.cli.given import Given, plainly
from agent.cli.show import Cell, word


@dataclass(frozen=True)
class Rehearsed:
    """A plan that was made and judged, and not carried out."""

    action: Any
    changes: Sequence[Any]
    systems: Mapping[str, Any]
    allowed: bool
    because: str

    @property
    def targets(self) -> list[str]:
        """What the plan would touch."""
        return [*dict.fromkeys(one for change in self.changes for one in change.touches)] or [self.target]

    @property
    def target(self) -> str:
        """The target by which the agent knows it."""
        from agent.turn import aim

        return aim(self.action)


def rehearse(given: Given, name: str, params: Mapping[str, str]) -> Rehearsed:
    """Bind the parameters, ask the real systems for the plan, and have the guard judge it.

    Raises:
        Stop: no such action, parameters that do not fit, or a system that cannot be asked.
    """
    from agent import wiring
    from agent.action import Protected
    from agent.grammar.config import Config
    from agent.guard import touches

    config = given.read_config() if given.config or given.config_path.exists() else Config()
    action = bind(name, params)
    with plainly():
        systems = wiring.systems(config)
        try:
            changes = action.plan(**{wanted: systems[needed.name] for wanted, needed in action.needs.items()})
        except Protected as error:
            return Rehearsed(action, (), systems, allowed=False, because=str(error))
        verdict = touches(changes, _lifelines(given, wiring.lifelines(config, systems)), {}, config.protected)
    return Rehearsed(action, changes, systems, verdict.allowed, verdict.because)


def _lifelines(given: Given, known: Any) -> Any:
    """This host's life-lines, and those that people told the running agent, where one answers within a second."""
    from agent.guard import Lifeline, Lifelines
    from agent.schema import address

    try:
        rows = given.ask("lists", patience=1.0)["items"]
    except Stop:
        return known
    ours = [one for one in rows if one["from"] == "added" and one["list"] == "never_touch" and not one["policies"]]
    return Lifelines([*known.given, *(Lifeline(address(one["address"]), f"on never_touch: {one['why']}") for one in ours)])


def bind(name: str, params: Mapping[str, str]) -> Any:
    """The action with its parameters.

    Raises:
        Stop: USAGE, with what is wrong and what it takes.
    """
    from agent import wiring
    from agent.action import from_text
    from agent.grammar.problem import did_you_mean

    actions = wiring.catalogue(None).actions
    if name not in actions:
        raise Stop(Exit.USAGE, f"cannot do {name}: there is no such action\n{did_you_mean(name, actions).capitalize()}")
    try:
        return from_text(actions[name], params)
    except ValueError as error:
        raise Stop(Exit.USAGE, f"cannot do {name}: {error}\nExample: {example(actions[name])}") from None


def example(action: Any) -> str:
    """How the action's required parameters are given."""
    from agent.action import parameters

    needed = [f"{name}=…" for name, (_, required) in parameters(action).items() if required]
    return f'contain do {action.name} {" ".join(needed)} --why "…"'


def described(action: Any) -> list[str]:
    """All there is to say about an action: how it is called, what it does, and each parameter with its type, default, meaning."""
    from agent.grammar.typed import keys
    from agent.reference.words import default, kind

    lines = [f"contain do {usage(action)[0]}", "", *(inspect.getdoc(action) or "").splitlines(), ""]
    for key in keys(action).values():
        said = default(key)
        tail = {"needed": "; needed", "": ""}.get(said, f"; {said} where nothing is said")
        lines += [f"  {key.name:20} {key.about}", f"  {'':20} ({kind(key).replace('`', '')}{tail})"]
    return lines


def usage(action: Any) -> tuple[str, str]:
    """How an action is called, and the sentence that says what it does."""
    from agent.action import parameters

    words = [f"{name}=…" if required else f"[{name}=…]" for name, (_, required) in parameters(action).items()]
    return f"{action.name} {' '.join(words)}", (inspect.getdoc(action) or "").partition("\n\n")[0].replace("\n", " ")


def tell(given: Given, found: Rehearsed, *, exit_code: bool) -> Exit:
    """Print the plan with its verdict; returns how the command ends."""
    from agent.execute import dry_run

    if given.json:
        given.show.document("plan", [_plain(found)])
    else:
        nothing = getattr(found.action, "nothing", "already in force")
        for line in dry_run(found.changes, found.systems, nothing) if found.allowed or found.changes else ():
            given.show.line(line)
        given.show.rows(list(_rows(found)))
    if not found.allowed:
        return Exit.REFUSED
    return Exit.FOUND if exit_code and found.changes else Exit.DONE


def _rows(found: Rehearsed) -> Iterable[list[Cell]]:
    yield ["guard", word("ok" if found.allowed else "refused"), found.because]
    yield ["impact", found.action.impact, ", ".join(found.targets)]
    if found.changes and found.allowed:
        yield ["ends", "", _end(found)]
        if any(change.undo for change in found.changes):
            yield ["undo", "", f"contain undo {found.target}"]
        if found.action.impact == "destructive":
            yield [
                "asks",
                "",
                "a person must say yes: --yes, or type the target; for a policy: contain approve",
            ]
    if peer := os.environ.get("SSH_CONNECTION", "").split(" ")[0]:
        yield ["you", *_you(found, peer)]


def _end(found: Rehearsed) -> str:
    from agent.expiry import timers
    from agent.expiry.capsule import ends_elsewhere
    from agent.schema import Ttl, spell

    ttl = getattr(found.action, "ttl", None)
    if not isinstance(ttl, Ttl) or all(change.undo is None for change in found.changes):
        return "when it is done: nothing stays in force"
    kernels = all(ends_elsewhere(change) for change in found.changes)
    how = "by itself" if kernels else timers.how()
    end = "only when somebody lifts it" if ttl.first is None else f"{how} after {ttl}"
    window = getattr(found.action, "confirm", None)
    if window is None or (ttl.first is not None and ttl.first <= window):
        return end
    return f"by itself after {spell(window)}, unless somebody says `contain confirm {found.target}`; then {end}"


def _you(found: Rehearsed, peer: str) -> tuple[Cell, Cell]:
    from ipaddress import ip_network

    from agent.guard import meets

    try:
        mine = ip_network(peer)
    except ValueError:
        return "", f"connected from {peer}"
    if any(meets(change.apply, mine) for change in found.changes):
        return word("bad"), f"{peer}, your own connection, would be affected"
    return word("ok"), f"{peer} is not affected"


def _plain(found: Rehearsed) -> dict[str, Any]:
    def spelled(call: Any) -> dict[str, str] | None:
        return {"call": str(call), "native": found.systems[call.system].native(call)} if call else None

    return {
        "action": found.action.name,
        "targets": found.targets,
        "impact": found.action.impact,
        "allowed": found.allowed,
        "because": found.because,
        "ends": _end(found),
        "changes": [
            {
                "describe": one.describe,
                "touches": list(one.touches),
                "capture": [spelled(each) for each in one.capture],
                "apply": spelled(one.apply),
                "verify": spelled(one.verify),
                "undo": spelled(one.undo),
            }
            for one in found.changes
        ],
    }
