"""What a check is: a frozen question about the world, with three possible answers.

A check only looks. It answers `good` or `bad`; if asking itself fails, `run` answers `unknown`, which is never a reason to
act. How often it is asked stands in agent.yaml, how many times before it counts stands in a policy (`for: 3 of 5`).

    @check                                    the file's name is the check's name in agent.yaml
    class Tcp:
        host: str                             the fields are its parameters
        port: Port
        def ask(self) -> Answer: ...          systems come by annotation, as in an action's plan()
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform

from agent.action import CannotReach, System, needs
from agent.event import CHECK, Event, Value

State = Literal["good", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the state, a sentence for people, and the numbers behind it.

    `value` is what was measured and `limit` what it was held against, in the same unit; `target` names the part that was
    asked about (a mount point, a unit, an instance), so that policies can say `by: target`.
    """

    state: State
    say: str
    value: float | None = None
    limit: float | None = None
    target: str = ""


def good(say: str, *, value: float | None = None, limit: float | None = None, target: str = "") -> Answer:
    """The world is as it should be."""
    return Answer("good", say, value, limit, target)


def bad(say: str, *, value: float | None = None, limit: float | None = None, target: str = "") -> Answer:
    """The world is not as it should be."""
    return Answer("bad", say, value, limit, target)


def unknown(say: str, *, target: str = "") -> Answer:
    """The question could not be asked; this says nothing about the world."""
    return Answer("unknown", say, target=target)


class Check(Protocol):
    """An instance of a class under agent/checks/: parameters bound, ready to be asked."""

    name: ClassVar[str]
    needs: ClassVar[Mapping[str, type[System]]]

    def ask(self, *args: Any, **systems: Any) -> Answer | list[Answer]:
        """Look, and answer; one answer per target where a check asks about several at once."""
        ...


T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def check(cls: T) -> T:
    """Declare the one check of a file under agent/checks/."""
    if not (cls.__doc__ or "").strip() or not hasattr(cls, "ask"):
        raise TypeError(f"{cls.__module__}: a check needs a docstring and ask()")
    made: Any = dataclass(frozen=True)(cls)
    made.name, made.needs = cls.__module__.rpartition(".")[2], needs(made.ask)
    return typing.cast("T", made)


def run(question: Check, systems: Mapping[str, System]) -> list[Answer]:
    """Ask once; an error in asking is the answer `unknown`, whatever it was."""
    try:
        answers = question.ask(**{name: systems[wanted.name] for name, wanted in question.needs.items()})
    except CannotReach as error:
        answers = unknown(str(error))
    except Exception as error:  # noqa: BLE001 - one of the three places: a check's run
        answers = unknown(f"cannot ask {question.name}: {type(error).__name__}: {error}")
    return answers if isinstance(answers, list) else [answers]


def events(name: str, question: Check, answers: Iterable[Answer], now: float, about: Sequence[str] = ()) -> list[Event]:
    """Answers as events of kind `check`. An unknown answer has no `ok`, so that nothing that asks for `ok` matches it.

    `about` is what the check depends on, beside what its own parameters say.
    """
    made = []
    for one in answers:
        fields: dict[str, Value] = {
            "name": name,
            "check": question.name,
            "state": one.state,
            "say": one.say,
            "target": one.target,
            "about": ", ".join(dict.fromkeys((*_subject(question, one), *about))),
        }
        fields |= {"value": one.value, "limit": one.limit} if one.state != "unknown" else {}
        fields |= {"ok": one.state == "good"} if one.state != "unknown" else {}
        made.append(Event(CHECK.name, now, fields, source=f"check:{name}", ts=now))
    return made


def _subject(question: Check, one: Answer) -> Iterator[str]:
    """What a question is about by itself, in the words of what changes touch."""
    if instance := getattr(question, "instance", ""):
        yield f"postgres {instance}"
    kind = question.name.partition("_")[0]
    if kind in ("unit", "container") and one.target:
        yield f"{kind} {one.target}"
