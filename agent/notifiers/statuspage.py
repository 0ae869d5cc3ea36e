"""Tells customers on a page at Statuspage (Atlassian): in fixed words, and never anything that was seen (API version 1).

What people there have changed by hand is theirs from then on: an incident that they moved, ended or deleted is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import quote

from agent.notifying.in_time import in_time
from agent.notifying.notice import Notice
from agent.notifying.notifier import Busy, Thread, Unsure, notifier
from agent.notifying.posting import Reply, call, host_of, not_taken, retry_after
from agent.notifying.secret_file import secret
from agent.policy import Severity
from agent.schema import About, Duration, Flag, rough
from agent.visible import visible

Status = Literal["investigating", "identified", "monitoring", "resolved"]

_STATUS: Final[Mapping[str, Status]] = {
    "open": "investigating",
    "contained": "identified",
    "recovering": "monitoring",
    "resolved": "resolved",
    "closed": "resolved",
}
_STATES: Final[Mapping[str, str]] = {"P0": "major_outage", "P1": "partial_outage"}
_SLOW: Final = "degraded_performance"
_WELL: Final = "operational"
_TEXTS: Final[Mapping[str, str]] = {
    "investigating": "We are aware of a problem with our service and are looking into it.",
    "identified": "The problem has been limited, and we are working on it.",
    "monitoring": "Our service is being brought back to normal. We keep watching it.",
    "resolved": "The problem is over. We are sorry for the trouble.",
}
_MOVES: Final = frozenset({"opened", "changed", "escalated", "reopened", "resolved", "closed"})
_TOO_FAST: Final = frozenset({420, 429})
_MINUTE: Final = 60.0
"""Seconds over which their limit of one request a second is measured."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LONGEST: Final = timedelta(seconds=4)
_LONGEST_TITLE: Final = 255
_LONGEST_TEXT: Final = 25_000


@notifier(gap=1.0, public=True)
class Statuspage:
    """Opens, moves and resolves an incident on the page `page`, by the API key in `key_file`.

    Only what is at least `from_severity` is opened (P1 unless said). `title` and `texts` (by investigating, identified,
    monitoring, resolved) are all that is ever published. `component_ids` are the page's components that are marked as affected,
    `by_policy` others for single policies: a P0 is a major outage, a P1 a partial one, else degraded performance. `notify`:
    whether subscribers get a mail.
    """

    page: Annotated[str, About("the page's id", "gytm4qzbx9t6")]
    key_file: Annotated[Path, About("a file that only the agent can read, with the API key", "/etc/containment-agent/statuspage")]
    component_ids: Annotated[tuple[str, ...], About("the components that are marked as affected, as in [3xdk5n3lzs1p]")] = ()
    by_policy: Annotated[
        Mapping[str, tuple[str, ...]], About("other components for single policies", "{postgres-down: [3xdk5n3lzs1p]}")
    ] = field(default_factory=dict)
    from_severity: Annotated[Severity, About("only what is at least so severe is opened", "P0")] = "P1"
    title: Annotated[str, About("what an incident is called there", "Problem with our shop")] = "Problem with our service"
    texts: Annotated[
        Mapping[str, str],
        About("what is said, by investigating, identified, monitoring, resolved", "{resolved: The shop is back.}"),
    ] = field(default_factory=dict)
    notify: Annotated[Flag, About("whether subscribers get a mail", "false")] = True
    base_url: Annotated[str, About("where Statuspage answers", '"https://api.statuspage.io/v1"')] = "https://api.statuspage.io/v1"
    ca_file: Annotated[
        str, About("the issuers of its server's certificate, where the host does not know them", "/etc/ssl/proxy-ca.pem")
    ] = ""
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = timedelta(seconds=4)

    def __post_init__(self) -> None:
        host_of(self.base_url)
        for one in (self.page, *self.component_ids, *(each for ids in self.by_policy.values() for each in ids)):
            if not _ID.fullmatch(one):
                raise ValueError(
                    f"`{visible(one, 60)}` is no id at Statuspage; the page's own settings show them, as in kctbh9vrtdwd"
                )
        for name, text in self.texts.items():
            if name not in _TEXTS:
                raise ValueError(f"`{visible(name, 60)}` is none of {', '.join(_TEXTS)}")
            if not text.strip() or len(text) > _LONGEST_TEXT:
                raise ValueError(f"texts: {name} is to have 1 to {_LONGEST_TEXT} characters")
        if self.within > _LONGEST:
            raise ValueError(f"within is to be at most {rough(_LONGEST)}, since two calls may be needed")
        if not self.title.strip() or len(self.title) > _LONGEST_TITLE:
            raise ValueError(f"title is to have 1 to {_LONGEST_TITLE} characters")

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """How it stands, where that can have moved. A test looks whether the page can be reached, and publishes nothing."""
        if notice.what == "test":
            return ("look",)
        if notice.dry or notice.what not in _MOVES:
            return ()
        return () if notice.what == "opened" and not self._bad_enough(notice) else ("state",)

    def replaces(self, part: str) -> bool:  # noqa: ARG002
        """Always: only how it stands last is of use to customers."""
        return True

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:  # noqa: ARG002
        """Bring the page to how things stand. Two calls at most: what is there, and the change."""
        if part == "look":
            self._unresolved()
            return thread
        want = self._wanted(notice)
        if "id" not in thread:
            over = want.status == "resolved" or not self._bad_enough(notice)
            left = "left" in thread and notice.what != "reopened"
            return thread if over or left else self._open(want)
        there = self._unresolved()
        mine = next((one for one in there if one.id == thread["id"]), None)
        if mine is None or not self._ours(mine, (thread.get("status"), want.status)):
            return {} if want.status == "resolved" else {"left": thread["id"]}
        return self._move(want, mine, thread, there)

    def whom(self) -> str:
        """The page."""
        return f"status page {self.page}"

    def hosts(self) -> tuple[str, ...]:
        """The server of the API."""
        return (host_of(self.base_url),)

    # What is to stand there -----------------------------------------------------------------------------------------------

    def _bad_enough(self, notice: Notice) -> bool:
        return notice.severity <= self.from_severity

    def _wanted(self, notice: Notice) -> _Wanted:
        status = _STATUS.get(notice.phase, "investigating")
        ids = self.by_policy.get(notice.policy, self.component_ids)
        state = _WELL if status == "resolved" else _STATES.get(notice.severity, _SLOW)
        # Their metadata may be public: a hash says nothing, and yet is known again.
        mark = sha256(f"{notice.host}\n{notice.incident}\n{notice.opened}".encode("utf-8", "replace")).hexdigest()[:32]
        return _Wanted(status, self._text(status), dict.fromkeys(ids, state), mark)

    def _text(self, status: Status) -> str:
        return self.texts.get(status, _TEXTS[status])

    def _ours(self, mine: _There, expected: tuple[str | None, ...]) -> bool:
        """Whether it stands where we have brought it, perhaps by a call that was never answered; else people have moved it."""
        return mine.status in expected or (mine.status, self.texts.get(mine.status) or _TEXTS.get(mine.status)) in mine.said

    def _open(self, want: _Wanted) -> Thread:
        """Always look first: two incidents for one are worse for customers than one call more."""
        there = self._unresolved()
        mine = next((one for one in there if one.mark == want.mark), None)
        if mine is not None:
            return self._move(want, mine, {"id": mine.id, "status": mine.status}, there)
        said = {
            "name": self.title,
            "status": want.status,
            "body": want.text,
            "deliver_notifications": self.notify,
            "metadata": {"containment": {"mark": want.mark}},
            **_components(want.states),
        }
        made = _read(self._ask("POST", "/incidents", {"incident": said}))
        if made is None:
            raise Unsure(f"cannot tell whether {host_of(self.base_url)} took it: its answer is none of Statuspage's")
        return _thread(made.id, want)

    def _move(self, want: _Wanted, mine: _There, thread: Thread, there: Sequence[_There]) -> Thread:
        states = dict(want.states)
        if want.status == "resolved":  # what another incident affects is not well yet
            held = {each for one in there if one.id != mine.id for each in one.components}
            states = {one: state for one, state in states.items() if one not in held}
        said: dict[str, Any] = {}
        if mine.status != want.status:
            said = {"status": want.status, "body": want.text, "deliver_notifications": self.notify}
        if said or thread.get("states") != _told(want.states):
            said |= _components(states)
        if said:
            self._ask("PATCH", f"/incidents/{quote(mine.id, safe='')}", {"incident": {"deliver_notifications": False, **said}})
        return {} if want.status == "resolved" else _thread(mine.id, want)

    # Calls ----------------------------------------------------------------------------------------------------------------

    def _unresolved(self) -> list[_There]:
        """All that is not resolved there."""
        host = host_of(self.base_url)
        try:
            reply = self._ask("GET", "/incidents/unresolved?per_page=100")
        except Unsure as error:  # nothing was to be taken
            raise Busy(str(error).replace("cannot tell whether", "cannot ask", 1), error.after) from None
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            found = None
        read = [_one(each) for each in found] if isinstance(found, list) else [None]
        if None in read:
            raise Busy(f"cannot ask {host}: its answer is none of Statuspage's")
        return [one for one in read if one is not None]

    def _ask(self, method: str, path: str, said: Mapping[str, Any] | None = None) -> Reply:
        host = host_of(self.base_url)
        headers = {"Authorization": f"OAuth {secret(self.key_file, 'Statuspage')}", "Accept": "application/json"}
        if said is not None:
            headers["Content-Type"] = "application/json"
        body = json.dumps(said).encode() if said is not None else None
        url, within = f"{self.base_url.rstrip('/')}/pages/{self.page}{path}", self.within.total_seconds()
        reply = in_time(lambda: call(method, url, body, headers, ca_file=self.ca_file, within=within), host, within)
        if reply.status in _TOO_FAST:
            raise Busy(
                f"cannot tell {host} now: it answers {reply.status}", retry_after(reply.headers.get("retry-after")) or _MINUTE
            )
        if not 200 <= reply.status < 300:
            not_taken(host, reply, _words(reply), _MENDS.get(reply.status, ""))
        return reply


_MENDS: Final = {
    401: "look at the key_file of this channel: API keys stand under your avatar > API info",
    403: "the key in key_file may not do that on this page",
    404: "look at `page` and `component_ids` of this channel",
    422: "look at `component_ids`, `title` and `texts` of this channel",
}


class _Wanted(NamedTuple):
    """How the page should stand: components with their states, and the mark that our incident is known by."""

    status: Status
    text: str
    states: Mapping[str, str]
    mark: str


class _There(NamedTuple):
    """An incident on the page."""

    id: str
    status: str
    mark: str
    components: frozenset[str]
    said: frozenset[tuple[str, str]]
    """The status and text of each update."""


def _thread(name: str, want: _Wanted) -> Thread:
    return {"id": name, "status": want.status, "states": _told(want.states)}


def _told(states: Mapping[str, str]) -> str:
    return ",".join(f"{one}={state}" for one, state in sorted(states.items()))


def _components(states: Mapping[str, str]) -> dict[str, Any]:
    return {"component_ids": list(states), "components": dict(states)} if states else {}


def _read(reply: Reply) -> _There | None:
    try:
        return _one(json.loads(reply.body))
    except (ValueError, RecursionError):
        return None


def _one(plain: Any) -> _There | None:
    """An incident as their API shows it; None where it is none."""
    if not isinstance(plain, dict) or not isinstance(plain.get("id"), str) or not _ID.fullmatch(plain["id"]):
        return None
    metadata = plain.get("metadata")
    ours = metadata.get("containment") if isinstance(metadata, dict) else None
    mark = ours.get("mark") if isinstance(ours, dict) else None
    ids = frozenset(str(one.get("id")) for one in _objects(plain.get("components")))
    said = frozenset((str(one.get("status")), str(one.get("body"))) for one in _objects(plain.get("incident_updates")))
    return _There(plain["id"], str(plain.get("status")), mark if isinstance(mark, str) else "", ids, said)


def _objects(given: Any) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _words(reply: Reply) -> str:
    """What Statuspage says is wrong: `error` is a text or a list of texts."""
    try:
        said = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return visible("; ".join(map(str, said)) if isinstance(said, list) else said, 200).rstrip(".")
