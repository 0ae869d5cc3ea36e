"""`hooks:` of agent.yaml: programs of this host's own that policies name, and that run with these arguments and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator

from agent.grammar.located import Node, Problem, did_you_mean
from agent.policy import Policy
from agent.schema import About, Duration, rough

LONGEST: Final = timedelta(hours=12)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET: Final = re.compile(r"passw|secret|token|api_?key|private_?key|credential", re.IGNORECASE)


def _command(words: tuple[str, ...]) -> None:
    if not words or not words[0].startswith("/"):
        raise ValueError("the first is the program, by its whole path; write run: [/usr/local/sbin/rollback, shop]")
    if any("\0" in one for one in words):
        raise ValueError("no argument can hold a NUL")


def _time(span: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= span <= LONGEST:
        raise ValueError(f"{rough(span)} is not between 1s and {rough(LONGEST)}")
    return span


def _environment(given: Mapping[str, str]) -> None:
    """Without secrets: agent.yaml is shown, copied and quoted."""
    for name in given:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"`{name}` is no name of a variable")
        if _SECRET.search(name):
            raise ValueError(
                f"`{name}` looks like a secret, which does not stand in agent.yaml; let the program read it from a file"
            )


Time = Annotated[Duration, AfterValidator(_time)]


@dataclass(frozen=True)
class HookKeys:
    """One hook."""

    run: Annotated[tuple[str, ...], About("the program and its arguments, as in [/usr/local/sbin/rollback, shop]; no shell")]
    timeout: Annotated[Time, About("killed after this time, with all it started")] = timedelta(minutes=5)
    user: Annotated[str, About("who runs it; the agent's own user where nothing is said", "deploy")] = ""
    env: Annotated[
        Mapping[str, str], About("variables, beside PATH, LANG, HOME and USER; none of the agent's own", "{RELEASE: stable}")
    ] = field(default_factory=dict)
    verify: Annotated[tuple[str, ...], About("checks that must be good after it, before the incident is resolved", "[shop]")] = ()
    verify_run: Annotated[
        tuple[str, ...],
        About("a program that is run after it; ends it well, the hook has worked, as in [/usr/local/sbin/check, shop]"),
    ] = ()

    elsewhere: ClassVar[Mapping[str, str]] = {
        "command": "write run: [/usr/local/sbin/rollback, shop]",
        "args": "the arguments stand behind the program: run: [/usr/local/sbin/rollback, shop]",
        "shell": "no shell reads it; write a script, and name that",
        "approve": "who must say yes stands in the policy's step; a hook waits for a person there unless it says approve: never",
    }

    def __post_init__(self) -> None:
        """Whole paths, and no secrets."""
        _command(self.run)
        if self.verify_run:
            _command(self.verify_run)
        _environment(self.env)


def unknown(policies: Sequence[Policy], known: Mapping[str, HookKeys]) -> list[Problem]:
    """What is wrong with the hooks that policies name: one that is not there would be missed at the worst moment.

    A policy that is off may name any: the shipped ones cannot know what programs a host has.
    """
    steps = [step for one in policies if one.mode != "off" for step in (*one.then, *one.guard.overflow)]
    named = [(step, str(step.literal.get("hook"))) for step in steps if step.action.name == "run_hook"]
    make = "make it in agent.yaml, as in hooks: {rollback-shop: {run: [/usr/local/sbin/rollback, shop]}}"
    return [
        Problem(step.places.get("hook") or step.places[""], f"no hook is called `{name}`", did_you_mean(name, known) or make)
        for step, name in named
        if name not in known and step.places
    ]


def hooks(
    given: Mapping[str, HookKeys | None] | None, root: Node, checks: Sequence[str], found: list[Problem]
) -> dict[str, HookKeys]:
    """The hooks; `checks` are the names of those that there are, and what is wrong goes to `found`."""
    found += list(_wrong(given or {}, root, checks))
    return {name: one for name, one in (given or {}).items() if one is not None}


def _wrong(given: Mapping[str, HookKeys | None], root: Node, checks: Sequence[str]) -> Iterator[Problem]:
    pairs = root.pairs["hooks"].value.pairs if given else {}
    for name, one in given.items():
        if not _NAME.fullmatch(name):
            yield Problem(pairs[name].key.place, f"`{name}` is not a name: small letters, digits and -, at most 63")
        for wanted in one.verify if one else ():
            if wanted not in checks:
                hint = did_you_mean(wanted, checks) or "checks stand under checks: in agent.yaml"
                yield Problem(pairs[name].value.pairs["verify"].value.place, f"no check is called `{wanted}`", hint)
