"""What can happen to the agent, and what it can decide to do: the two vocabularies that flow.py translates between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from agent.action import Adopted, Change
from agent.event import Event
from agent.feeds.listing import Change as FeedChange
from agent.feeds.listing import Listing
from agent.guard import Lifelines
from agent.notifying.notice import Notice
from agent.notifying.notifier import Notifier, Thread
from agent.policy import Policy, Step
from agent.record import Record

Result = Literal["in_force", "partly", "not_verified", "failed", "not_tried", "late", "under_way"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A person's question or order. `actor` is who the control socket says it is; `ticket` finds the way back."""

    verb: str
    body: Mapping[str, Any] = field(default_factory=dict)
    actor: str = ""
    ticket: int = 0


class Run(NamedTuple):
    """The steps of one finding, or one person's order, on their way through plan, guard and apply."""

    actor: str
    because: str
    steps: tuple[Step, ...] = ()
    at: int = 0
    incident: str = ""
    policy: Policy | None = None
    target: str = ""
    event: Event | None = None
    since: float = 0.0
    dry: bool = False
    held: bool = True
    asked: Asked | None = None
    made: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """The sources that speak for the finding."""
    forged: bool = False
    """Whether a stranger could have written all that speaks for it."""
    approval: str = ""
    """The approval it is done by."""
    pauses: tuple[str, ...] = ()
    """The pauses that make it a dry run."""
    below: bool = False
    """Whether it puts in place the rung below of what is let go: that takes no room in limits."""
    over: bool = False
    """Whether it is what a policy does when it has too many targets; its rate does not count for that."""

    @property
    def step(self) -> Step | None:
        """The step that is being done; None for a person's order."""
        return self.steps[self.at] if self.at < len(self.steps) else None

    def next(self, *, held: bool = True, made: tuple[str, ...] = ()) -> Run:
        """The run, one step on."""
        return self._replace(at=self.at + 1, held=self.held and held, made=self.made + made)


class Outcome(NamedTuple):
    """What came of one change. `error` is a sentence, for `partly` what is missing; `found` is the evidence taken before."""

    mitigation: str
    result: Result
    error: str = ""
    found: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """What came of one undo: `lifted` now, already `gone`, or `failed`; `say` where that needs a sentence."""

    mitigation: str
    result: Literal["lifted", "gone", "failed"]
    say: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What verify answered for one mitigation: True, False, `partly`, or None where it could not be asked."""

    mitigation: str
    holds: bool | Literal["partly"] | None
    say: str = ""


# What can happen ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The journal has been read; what it left open must be settled by what the systems say."""

    version: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Events arrived."""

    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Planned:
    """An action has said what it would change; `error` instead where it could not say, `refused` where a system forbids it.

    `population` is what there is of each kind that a share is taken of: clients, containers.
    `by_hand` is the undo of each change in its system's own words, for a person who has the journal and no agent.
    """

    run: Run
    action: Any
    changes: tuple[Change, ...] = ()
    error: str = ""
    refused: str = ""
    by_hand: tuple[str, ...] = ()
    population: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """Changes were made, or not."""

    run: Run
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Lifted:
    """Mitigations were taken down, or not."""

    releases: tuple[Release, ...]
    because: str
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """Systems were asked whether mitigations hold."""

    held: tuple[Held, ...]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Healed:
    """Mitigations that had vanished were put back, or not; with `asked`, a person's confirmation was passed on."""

    outcomes: tuple[Outcome, ...]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Disturbed:
    """Somebody else changed a system: time to look whether ours still holds."""

    system: str
    who: str


@dataclass(frozen=True, slots=True)
class Learnt:
    """This host's life-lines, as they are now, by the agent.yaml that was read so many times."""

    lifelines: Lifelines
    reading: int = 0


@dataclass(frozen=True, slots=True)
class Fed:
    """A list that others keep, as it is now. `change` is to be recorded; `refused` is why a new text of it was not used."""

    name: str
    listing: Listing
    change: FeedChange | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Adoptable:
    """What a system holds of ours; asked where the state was lost."""

    system: str
    found: tuple[Adopted, ...]


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The host's clock was set by so many seconds."""

    by: float


@dataclass(frozen=True, slots=True)
class Counted:
    """The kernel said what it has stopped: packets and bytes, by what each mitigation is about."""

    counters: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A call to a channel of people has ended. `type` is the channel's; for `after` seconds it wants to be left alone."""

    channel: str
    key: str
    part: str
    result: Literal["told", "busy", "unsure", "refused", "bug"]
    type: str
    why: str = ""
    after: float | None = None
    thread: Thread = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Message = (
    Started
    | Seen
    | Planned
    | Applied
    | Lifted
    | Verified
    | Healed
    | Disturbed
    | Learnt
    | Fed
    | Adoptable
    | Counted
    | ClockSet
    | Sent
    | Tick
    | Asked
)


# What to do about it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """Write this down. Always committed before any other effect of the same turn begins."""

    record: Record


@dataclass(frozen=True, slots=True)
class Plan:
    """Ask the action what it would change."""

    run: Run
    action: Any


@dataclass(frozen=True, slots=True)
class Apply:
    """Make changes, in order, each proven by its verify. Their intents are in the journal."""

    run: Run
    jobs: tuple[tuple[str, Change], ...]


@dataclass(frozen=True, slots=True)
class Lift:
    """Take mitigations down, where they still hold."""

    jobs: tuple[tuple[str, Change], ...]
    because: str
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Verify:
    """Ask the systems whether mitigations hold."""

    jobs: tuple[tuple[str, Change], ...]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Heal:
    """Put back what vanished, for the time that is left; with `asked`, have it stay as a person confirmed."""

    jobs: tuple[tuple[str, Change], ...]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Tell one part of a notice to a channel; its record is in the journal."""

    channel: str
    notifier: Notifier
    notice: Notice
    part: str
    thread: Thread
    doubtful: bool


@dataclass(frozen=True, slots=True)
class Cry:
    """Tell the terminals of this host, because nobody else could be told."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a person."""

    asked: Asked
    body: Mapping[str, Any]


Effect = Note | Plan | Apply | Lift | Verify | Heal | Reply | Send | Cry
