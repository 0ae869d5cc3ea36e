"""What a notifier is: one channel to people, that sends one part of a notice in one call, and says what came of it.

    @notifier(gap=1.0)                          the file's name is the channel's type in agent.yaml
    class Webhook:
        url: str                                its options are the fields of a frozen dataclass
        def parts(self, notice: Notice) -> tuple[str, ...]: ...
        def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread: ...

A notice that needs two calls (Slack: edit the first message, reply below it) has two parts, each with its own place in the
outbox: a crash between them repeats neither. What a channel must know to go on (a message's place, an id over there) it returns
as a `Thread`; the outbox keeps it with the incident, and hands it in again. Secrets are read from their files at each call.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar, dataclass_transform

from agent.notifying.notice import Notice

Thread = Mapping[str, str]
"""What a channel remembers of one incident, as JSON text: at most 20 names, none that ends like a secret's (redact.py)."""
SECONDS: Final = 10.0
"""The longest that one `send` may take in all; each outside call in it has a timeout of its own, below this."""


class Busy(Exception):  # noqa: N818 - a word, like CannotReach
    """It was surely not taken: come again, not before `after` seconds where the channel says so (Retry-After)."""

    def __init__(self, why: str, after: float | None = None) -> None:
        """`why` is a sentence that begins with `cannot`."""
        super().__init__(why)
        self.after = after


class Unsure(Busy):
    """It may have been taken: a timeout, a connection that broke after the request. The next `send` is `doubtful`."""


class Refused(Exception):  # noqa: N818
    """It will never be taken as it is: a wrong key, an unknown channel. `why` says so, and how to mend it."""


class Notifier(Protocol):
    """An instance of the class under agent/notifiers/: options bound. Used by one thread at a time.

    Attributes:
        gap: the least seconds between two calls, as its vendor asks for.
        public: whether strangers read it: then only fixed texts go there, and `security` only after a person's yes.
    """

    name: ClassVar[str]
    gap: ClassVar[float]
    public: ClassVar[bool]

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """What must be sent for this notice, in order; empty where this channel has nothing to say about it. Pure."""
        ...

    def replaces(self, part: str) -> bool:
        """Whether a newer notice's same part makes this one needless while it is unsent: a state, not a piece of news."""
        ...

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:
        """Send one part, and return what to remember (the whole of it, not only what is new).

        With `doubtful`, an earlier call may have got through: ask the channel first where it can say, and send it only if not.

        Raises:
            Busy, Unsure, Refused: as they say. CannotReach (a secret's file cannot be read) counts as Refused for now and is
                tried again.
        """
        ...

    def whom(self) -> str:
        """Where it goes, in a few words for people: `#incidents`, `incidents@example.com`. No secrets."""
        ...

    def hosts(self) -> tuple[str, ...]:
        """The names and addresses it talks to, which an isolated host must still reach."""
        ...


T = TypeVar("T", bound=type)


@dataclass_transform(frozen_default=True)
def notifier(*, gap: float = 0.0, public: bool = False) -> Callable[[T], T]:
    """Declare the one notifier of a file under agent/notifiers/."""

    def declare(cls: T) -> T:
        if not (cls.__doc__ or "").strip() or not hasattr(cls, "send"):
            raise TypeError(f"{cls.__module__}: a notifier needs a docstring and send()")
        made: Any = dataclass(frozen=True)(cls)
        made.name, made.gap, made.public = cls.__module__.rpartition(".")[2], gap, public
        return typing.cast("T", made)

    return declare


def discover_notifiers() -> dict[str, type[Any]]:
    """Every notifier of agent/notifiers/ by name."""
    from agent import notifiers
    from agent.action import discover

    return discover(notifiers, mark="send")
