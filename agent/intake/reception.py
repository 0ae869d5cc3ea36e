"""What is done with one request: who sends it, what it says, and the answer once that is written down. Knows no HTTP library."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from agent.action import CannotReach
from agent.event import Event, Value
from agent.intake.bounds import Bucket, Buckets, Budget
from agent.intake.heard import Heard
from agent.intake.json_body import read_json
from agent.intake.key_file import Learn
from agent.intake.pending import Handed, Pending
from agent.intake.settings import BAD_INPUT, LARGEST_EVER, REFUSED, Inlet, Settings
from agent.intake.ways import Busy, Caller, Way, stranger, way
from agent.streams.parser import LONGEST_RAW
from agent.streams.sender import MOST, BadDocumentError, events

BODIES: Final = 4 * LARGEST_EVER
"""Bytes of all bodies together that are in memory at once."""
PIECE: Final = 64 << 10
PATIENCE: Final = 10.0
"""Seconds that a sender waits at most for its document to be written down."""
SOON: Final = 5
"""Seconds after which whoever was put off may come again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, what is said in JSON, and after how many seconds to come again."""

    status: HTTPStatus
    body: Mapping[str, Any]
    again: int = 0


# One answer for whoever does not show who they are: whether there is such a sender is nobody's business.
TURNED_AWAY: Final = Answer(HTTPStatus.UNAUTHORIZED, {"error": "refused"})


def later(why: str, again: float = SOON) -> Answer:
    """Not now. Alertmanager and its like repeat after 503, and after no other refusal."""
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": why}, max(1, math.ceil(again)))


def wrong(status: HTTPStatus, why: str) -> Answer:
    """A request that would be as wrong if it came again."""
    return Answer(status, {"error": why})


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose head was read: `read` gives the next bytes of its body, none where it ended too early.

    `read` raises TimeoutError where they take too long, OSError where the connection broke.
    """

    name: str
    caller: Caller
    length: int
    read: Callable[[int], bytes]


class Reception:
    """Receives requests, from many threads at once. `pending` carries what they say to the owner's thread."""

    def __init__(self, settings: Settings, pending: Pending, heard: Heard, learn: Learn = lambda _: None) -> None:
        """Nobody was received yet."""
        self._inlets = {one.name: one for one in settings.inlets}
        self._ways: dict[str, Way] = {one.name: way(one.auth, learn) for one in settings.inlets}
        self._rates = {one.name: Bucket(one.burst, one.per_second) for one in settings.inlets}
        self._bad = {one.name: Bucket(10, 1) for one in settings.inlets}
        self._stranger = stranger()
        self._refused = Buckets(8, 0.1, Bucket(100, 10))
        self._budget = Budget(BODIES)
        self._reading = threading.Lock()
        self._pending, self._heard = pending, heard

    def receive(self, request: Request) -> Answer:
        """Whoever sends it shows who it is, before anything of it is looked into."""
        if self._pending.closed:
            return later("the agent is stopping")
        inlet = self._inlets.get(request.name)
        shown = self._ways[inlet.name] if inlet else self._stranger
        try:
            why = shown.head(request.caller)
            if why or inlet is None:
                return self._turn_away(why, inlet, request.caller)
            self._heard.trouble(inlet.name, "")
            if request.length > inlet.largest:
                return wrong(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {inlet.largest} bytes are taken from this sender")
            return self._with_body(inlet, shown, request)
        except CannotReach as error:
            self._heard.trouble(request.name, str(error))
            return later("the agent cannot tell who this is just now")

    def look(self) -> None:
        """Find out whether everybody could show who they are, before somebody has to."""
        for name, shown in self._ways.items():
            try:
                shown.ready()
            except CannotReach as error:
                self._heard.trouble(name, str(error))
            else:
                self._heard.trouble(name, "")

    def _with_body(self, inlet: Inlet, shown: Way, request: Request) -> Answer:
        with _Body(self._budget) as body:
            if wrong_or_later := body.fill(request):
                return wrong_or_later
            try:
                found = shown.whole(request.caller, body.data)
            except Busy as busy:
                return later(str(busy))
            if found.why:
                return self._turn_away(found.why, inlet, request.caller)
            if found.again:
                return Answer(HTTPStatus.ACCEPTED, {"accepted": 0})
            taken = False
            try:
                answer = self._read(inlet, body)
                taken = answer.status != HTTPStatus.SERVICE_UNAVAILABLE
            finally:
                found.settle(taken)
            return answer

    def _turn_away(self, why: str, inlet: Inlet | None, caller: Caller) -> Answer:
        """Counted, and told as an event within limits. Nothing of what was sent goes on from here."""
        self._heard.turned_away(why)
        if self._refused.allows(caller.peer):
            fields: dict[str, Value] = {"known": inlet is not None, "reason": why}
            fields |= {"sender": inlet.name} if inlet else {}
            fields |= {"src.ip": caller.address} if caller.address else {"uid": caller.uid}
            self._pending.hand_in(Handed("", [Event(REFUSED.name, time.time(), fields, "intake")]))
        return TURNED_AWAY

    # What it says ---------------------------------------------------------------------------------------------------------

    def _read(self, inlet: Inlet, body: _Body) -> Answer:
        if wait := self._rates[inlet.name].wait():
            self._heard.later(inlet.name)
            return later("more than agent.yaml lets this sender say", wait)
        try:
            with self._reading:  # one at a time: a document can be many times as large as its body
                said = inlet.sender.read(read_json(body.data))
        except BadDocumentError as error:
            return self._bad_input(inlet, str(error), body)
        if len(said) > MOST:
            return self._bad_input(inlet, f"says {len(said)} events at once, and at most {MOST} are taken", body)
        now = time.time()
        made = events(said, inlet.sender, inlet.source, now, body.beginning())
        body.free()
        return self._written_down(inlet, made, now)

    def _bad_input(self, inlet: Inlet, why: str, body: _Body) -> Answer:
        self._heard.bad(inlet.name)
        if not self._bad[inlet.name].wait():
            fields = {"sender": inlet.name, "reason": why[:500]}
            told = Event(BAD_INPUT.name, time.time(), fields, inlet.source, 0.0, body.beginning(), BAD_INPUT.forgeable)
            self._pending.hand_in(Handed("", [told]))
        return wrong(HTTPStatus.BAD_REQUEST, why)

    def _written_down(self, inlet: Inlet, made: list[Event], now: float) -> Answer:
        """Said to have been taken only after the commit."""
        handed = Handed(inlet.name, made)
        if not self._pending.hand_in(handed):
            self._heard.later(inlet.name)
            return later("the agent is stopping" if self._pending.closed else "the agent is behind")
        came = handed.wait(PATIENCE)
        if came == "kept":
            self._heard.took(inlet.name, len(made), now)
            return Answer(HTTPStatus.ACCEPTED, {"accepted": len(made)})
        self._pending.withdraw(handed)
        self._heard.later(inlet.name)
        if came == "not kept":
            return later("evidence cannot be written just now")
        return later("the agent is stopping" if came else "the agent is behind")


class _Body:
    """The body of one request, in memory that is given back at the end."""

    def __init__(self, budget: Budget) -> None:
        self.data = bytearray()
        self._budget, self._held = budget, 0

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def fill(self, request: Request) -> Answer | None:
        """Read it as it comes; the answer where that fails. Memory is taken as bytes arrive, not as they are announced."""
        while len(self.data) < request.length:
            wanted = min(PIECE, request.length - len(self.data))
            if not self._budget.take(wanted):
                return later("too much is being sent at once", 1)
            self._held += wanted
            try:
                piece = request.read(wanted)
            except TimeoutError:
                return wrong(HTTPStatus.REQUEST_TIMEOUT, "the body took too long")
            except OSError:
                return wrong(HTTPStatus.BAD_REQUEST, "the connection broke")
            if len(piece) < wanted:
                return wrong(HTTPStatus.BAD_REQUEST, "the body is shorter than Content-Length says")
            self.data += piece
        return None

    def beginning(self) -> str:
        """As much of it as an event keeps."""
        return self.data[:LONGEST_RAW].decode("utf-8", "replace")

    def free(self) -> None:
        """Let go of it."""
        self.data = bytearray()
        self._budget.give(self._held)
        self._held = 0
