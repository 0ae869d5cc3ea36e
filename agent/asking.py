"""What each question and order at the control socket must bring: the types of its JSON, checked before anybody acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from agent.scans.body import Import

Text = Annotated[str, Field(max_length=4096)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]
Lasting = Annotated[float, Field(gt=0, le=7 * 86400)]
STRICT: Final = ConfigDict(extra="forbid", strict=True)


@with_config(STRICT)
class Nothing(TypedDict):
    """Nothing to bring."""


@with_config(STRICT)
class Listing(TypedDict):
    """Those that are over as well?"""

    ended: NotRequired[bool]


@with_config(STRICT)
class Events(TypedDict):
    """The newest first, at most so many, seen since (Unix seconds)."""

    since: NotRequired[float]
    limit: NotRequired[Annotated[int, Field(ge=1, le=1000)]]


@with_config(STRICT)
class Why(TypedDict):
    """About whom."""

    target: Text


@with_config(STRICT)
class Do(TypedDict):
    """An action by name, its parameters as text, the reason, whether to plan only, and a yes to what is destructive."""

    action: Text
    params: NotRequired[dict[str, Text]]
    why: Reason
    dry: NotRequired[bool]
    sure: NotRequired[bool]


@with_config(STRICT)
class Undo(TypedDict):
    """A mitigation, an incident, a target, or `all`."""

    what: Text
    why: Reason


@with_config(STRICT)
class Pause(TypedDict):
    """How long policies do not act, at most a week, and why; only those named, from `begins` (Unix seconds) on."""

    seconds: Lasting
    why: Reason
    policies: NotRequired[Annotated[list[Text], Field(max_length=100)]]
    begins: NotRequired[Annotated[float, Field(gt=0, lt=1e11)]]


@with_config(STRICT)
class Resume(TypedDict):
    """Which pause: its name, its window's, or `all`; without it, the one that is on."""

    what: NotRequired[Text]


@with_config(STRICT)
class Silence(TypedDict):
    """Of what nobody is told, how long, and why."""

    seconds: Lasting
    why: Reason
    policy: NotRequired[Text]
    target: NotRequired[Text]
    incident: NotRequired[Text]


@with_config(STRICT)
class EndSilence(TypedDict):
    """A silence by its name, or `all`."""

    what: Text


@with_config(STRICT)
class Approve(TypedDict):
    """Which question, the plan that was shown, and why yes."""

    what: Text
    plan: NotRequired[Text]
    why: Reason


@with_config(STRICT)
class Accept(TypedDict):
    """What was done about what happened to the evidence."""

    why: Reason


@with_config(STRICT)
class SetMode(TypedDict):
    """A policy and the mode it gets until the next order."""

    policy: Text
    mode: Literal["enforce", "dry_run", "off"]


@with_config(STRICT)
class ListAdd(TypedDict):
    """A list, an address, for how long (90 days at most) and why; for these policies alone; a yes to what is very wide."""

    list: Text
    address: Text
    seconds: Annotated[float, Field(gt=0, le=90 * 86400)]
    why: Reason
    policies: NotRequired[Annotated[list[Text], Field(max_length=100)]]
    sure: NotRequired[bool]


@with_config(STRICT)
class ListRemove(TypedDict):
    """A list, an address, why, and whether only what was added for just these policies."""

    list: Text
    address: Text
    why: Reason
    policies: NotRequired[Annotated[list[Text], Field(max_length=100)]]


@with_config(STRICT)
class ListCheck(TypedDict):
    """About which address."""

    address: Text


@with_config(STRICT)
class Attached(TypedDict):
    """A file that whoever reports has read: its name, and gzip of its content as base64."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    data: Annotated[str, Field(max_length=250_000)]


@with_config(STRICT)
class Report(TypedDict):
    """What is wrong, how bad, about what; or what is to be added to an incident."""

    text: Annotated[str, Field(min_length=1, max_length=4096)]
    severity: NotRequired[Literal["P0", "P1", "P2", "P3"]]
    service: NotRequired[Annotated[str, Field(max_length=255)]]
    ip: NotRequired[Text]
    incident: NotRequired[Text]
    attached: NotRequired[Attached]


@with_config(STRICT)
class Acknowledge(TypedDict):
    """An incident, and perhaps a word."""

    what: Text
    why: NotRequired[Annotated[str, Field(max_length=500)]]


@with_config(STRICT)
class Assign(TypedDict):
    """An incident, and whose it is."""

    what: Text
    to: Annotated[str, Field(min_length=1, max_length=100)]
    why: NotRequired[Annotated[str, Field(max_length=500)]]


@with_config(STRICT)
class TakeNote(TypedDict):
    """An incident, and a sentence about it."""

    what: Text
    text: Annotated[str, Field(min_length=1, max_length=4096)]


@with_config(STRICT)
class ReportNotes(TypedDict):
    """An incident, what people write for its report, and the version that they began with: 0 where there was none."""

    what: Text
    text: Annotated[str, Field(max_length=64 << 10)]
    after: Annotated[int, Field(ge=0)]


@with_config(STRICT)
class SetSeverity(TypedDict):
    """An incident, how bad it is, and why."""

    what: Text
    severity: Literal["P0", "P1", "P2", "P3"]
    why: Reason


@with_config(STRICT)
class Lawful(TypedDict):
    """An incident, a law that asks for word to an authority, and why; with `all` nothing more is due."""

    what: Text
    regime: Literal["nis2", "dora", "gdpr"]
    why: Reason
    all: NotRequired[bool]


@with_config(STRICT)
class Merge(TypedDict):
    """An incident, the one it is the same as, and why."""

    what: Text
    into: Text
    why: Reason


@with_config(STRICT)
class Baseline(TypedDict):
    """That files are right as they are: all that differ or those at and below some paths, as `shown` says, and why."""

    paths: NotRequired[Annotated[list[Text], Field(max_length=1000)]]
    shown: Annotated[str, Field(min_length=16, max_length=64)]
    why: Reason


@with_config(STRICT)
class ListAccept(TypedDict):
    """A list that others keep."""

    list: Text


@with_config(STRICT)
class ListEntries(TypedDict):
    """A list that others keep, and which of its networks: at most so many, from a place on."""

    list: Text
    first: NotRequired[Annotated[int, Field(ge=0)]]
    limit: NotRequired[Annotated[int, Field(ge=1, le=1000)]]


@with_config(STRICT)
class Web(TypedDict):
    """A link to the pages, perhaps to look only; or the end of all logins of whoever asks."""

    read_only: NotRequired[bool]
    logout: NotRequired[bool]


@with_config(STRICT)
class TestNotice(TypedDict):
    """A channel or a severity, and whether to say only what would be sent."""

    what: Text
    dry: NotRequired[bool]


BODIES: Final[Mapping[str, TypeAdapter[Any]]] = {
    verb: TypeAdapter(body)
    for verb, body in {
        **dict.fromkeys(
            ("ping", "status", "policies", "checks", "approvals", "alerts", "lists", "metrics", "config", "reload"), Nothing
        ),
        **dict.fromkeys(("mitigations", "incidents", "pauses", "silences"), Listing),
        "events": Events,
        "why": Why,
        "do": Do,
        "undo": Undo,
        "confirm": Undo,
        "approve": Approve,
        "deny": Undo,
        "pause": Pause,
        "resume": Resume,
        "silence": Silence,
        "end_silence": EndSilence,
        "mode": SetMode,
        "accept": Accept,
        "list_add": ListAdd,
        "list_remove": ListRemove,
        "list_check": ListCheck,
        "import": Import,
        "list_accept": ListAccept,
        "notify": Nothing,
        "notify_test": TestNotice,
        "notify_drop": Undo,
        "list_entries": ListEntries,
        "report": Report,
        **dict.fromkeys(("resolve", "reopen", "close", "false_positive"), Undo),
        "acknowledge": Acknowledge,
        "assign": Assign,
        "note": TakeNote,
        "report_notes": ReportNotes,
        "severity": SetSeverity,
        "merge": Merge,
        "publish": Undo,
        "regime": Lawful,
        "notified": Lawful,
        "baseline_update": Baseline,
        "web": Web,
    }.items()
}


def problem(verb: str, body: Mapping[str, Any]) -> str:
    """What is wrong with a request, in one sentence; empty where it is right."""
    adapter = BODIES.get(verb)
    if adapter is None:
        return f"this agent knows no such order or question; it knows {', '.join(sorted(BODIES))}"
    try:
        adapter.validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"`{'.'.join(map(str, first['loc'])) or 'the request'}`: {first['msg'].lower()}"
    return ""
