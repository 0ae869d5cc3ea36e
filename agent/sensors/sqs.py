"""Alarms of CloudWatch out of an SQS queue: alarm → SNS topic → SQS queue → here. No port of this host is open for it.

What SNS signs is not checked: who may put a message into the queue is said by the queue's policy (allow `sqs:SendMessage` to the
topic alone, by `aws:SourceArn`), who may take it out by IAM. The agent needs `sqs:ReceiveMessage` and `sqs:DeleteMessage` on it,
by boto3's own chain: the instance's role, environment, ~/.aws, or the named profile.

A message is deleted when what it says is committed, and not before. What was not deleted comes again after the queue's visibility
timeout; by its id, which the position keeps, it then says nothing new. A standard queue keeps no order, so a change of state that
is older than one known already is passed over: an ALARM that arrives behind its OK would otherwise stand for ever.

A message that cannot be read is told as `agent.bad_input` and stays in the queue for its redrive policy; the tenth time it comes
it is deleted, since a queue without one would hand it out until it is too old.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Final, cast

from agent.action import CannotReach
from agent.event import ALERT, Event
from agent.intake.json_body import read_json
from agent.intake.settings import BAD_INPUT
from agent.schema import About
from agent.senders.cloudwatch import Cloudwatch
from agent.streams.parser import LONGEST_RAW
from agent.streams.sender import BadDocumentError, Sender, events
from agent.streams.sensor import Backoff, Batch, Deliver, Outlet, sensor
from agent.visible import visible

__all__ = ["ALERT", "BAD_INPUT", "Sqs"]  # the kinds that it can bring are found here

WAIT: Final = 1
"""Seconds that SQS holds a question open; a stop waits no longer. It asks all its servers however short that is."""
CONNECT: Final = 3
READ: Final = WAIT + 3
AT_ONCE: Final = 10
"""Messages of one request; SQS takes no more."""
KNOWN: Final = 500
"""Messages, and alarms, that are remembered."""
TIMES: Final = 10
"""Receives after which a message that cannot be read is deleted."""
MOST_DONE: Final = 10_000
"""Messages that wait to be deleted; one more comes again."""

_URL: Final = re.compile(r"https?://[^\s/@?#]+/[^\s?#]+")
_ENDPOINT: Final = re.compile(r"https?://[^\s/@?#]+/?")
_REGION: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com")
_ALLOW: Final = "allow it sqs:ReceiveMessage and sqs:DeleteMessage on the queue"
_RENEW: Final = "see the credentials of the agent, and this host's clock"
_MENDS: Final[Mapping[str, str]] = {
    "InvalidClientTokenId": _RENEW,
    "ExpiredToken": _RENEW,
    "SignatureDoesNotMatch": _RENEW,
    "NonExistentQueue": "see queue_url and region in agent.yaml",
    "QueueDoesNotExist": "see queue_url and region in agent.yaml",
    "NoCredentialsError": "give this host a role, or name a profile in agent.yaml",
    "NoRegionError": "write region: eu-central-1 in agent.yaml",
}

log = logging.getLogger("agent")


@sensor
class Sqs:
    """CloudWatch's alarms from an SQS queue that is subscribed to their SNS topic.

    `severity` is that of its alarms, since CloudWatch has none; `fields` takes fields from labels, as in
    {container: labels.ContainerName}. `profile` is one of ~/.aws/config, `endpoint` another address to ask than AWS's own.
    """

    anchors: ClassVar[bool] = False

    queue_url: Annotated[str, About("the queue's address", '"https://sqs.eu-central-1.amazonaws.com/123456789012/alarms"')]
    region: Annotated[str, About("its region, where the address does not say it", "eu-central-1")] = ""
    profile: Annotated[str, About("a profile of ~/.aws/config", "shop")] = ""
    endpoint: Annotated[str, About("another address to ask than AWS's own", '"http://127.0.0.1:4566"')] = ""
    severity: Annotated[str, About("the severity of its alarms, since CloudWatch has none", "critical")] = ""
    fields: Annotated[Mapping[str, str], About("fields of the alert out of its labels", "{container: labels.ContainerName}")] = (
        field(default_factory=dict)
    )

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.queue_url):
            raise ValueError("queue_url is no queue's address; write https://sqs.eu-central-1.amazonaws.com/123456789012/alarms")
        if self.endpoint and not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError("endpoint is no server's address; write https://sqs.eu-central-1.amazonaws.com")
        Cloudwatch(self.fields, self.severity)

    @property
    def source(self) -> str:
        """As in `sqs:sqs.eu-central-1.amazonaws.com/123456789012/alarms`."""
        return f"sqs:{self.queue_url.partition('://')[2]}"

    def run(self, deliver: Deliver, position: str | None, stop: threading.Event, wanted: frozenset[str] | None = None) -> None:  # noqa: ARG002
        """Take messages until stopped; a queue that cannot be asked is told and waited for."""
        reading = _Reading(self, deliver, _Known.read(position))
        while not stop.is_set():
            reading.turn(stop)
        reading.delete(within=WAIT)


class _Reading:
    """One run: what is asked, what was handed over, and what may be deleted."""

    def __init__(self, given: Sqs, deliver: Deliver, known: _Known) -> None:
        self._given, self._deliver, self._known = given, deliver, known
        self._sender = cast("Sender", Cloudwatch(given.fields, given.severity))
        self._outlet, self._backoff = Outlet(given.source, deliver), Backoff()
        self._client: Any = None
        self._words: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        self._out = 0
        self._done: list[str] = []

    def turn(self, stop: threading.Event) -> None:
        """Take what waits and hand it over; delete what is committed."""
        trouble = self.delete()
        try:
            messages = self._ask(self._receive)
        except CannotReach as error:
            self._outlet.tell(ok=False, say=str(error))
            self._backoff.wait(stop)
            return
        self._backoff.reset()
        self._outlet.tell(ok=not trouble, say=trouble or f"reads {self._given.queue_url}")
        if messages:
            self._hand_over(messages)
            self.delete(within=WAIT)

    # Taking ---------------------------------------------------------------------------------------------------------------

    def _receive(self) -> list[Any]:
        answer = self._client.receive_message(
            QueueUrl=self._given.queue_url,
            MaxNumberOfMessages=AT_ONCE,
            WaitTimeSeconds=WAIT,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return list(answer.get("Messages", ()))

    def _hand_over(self, messages: Sequence[Any]) -> None:
        """One batch, with the position behind it: what is in it, and that it is known, is committed together."""
        seen, made, handles = time.time(), list[Event](), list[str]()
        for one in messages:
            new = self._known.take(one["MessageId"])
            try:
                found = self._read(one["Body"], seen)
            except BadDocumentError as error:
                made += self._bad(one["Body"], str(error), seen) if new else []
                handles += [one["ReceiptHandle"]] if _times(one) >= TIMES else []
            else:
                made += found if new else []
                handles.append(one["ReceiptHandle"])
        fresh = [one for one in sorted(made, key=lambda one: one.ts) if self._known.newer(one)]
        self._out += 1
        kept = partial(self._kept, handles)
        self._deliver(Batch(self._given.source, tuple(fresh), self._known.written(), len(messages), seen, kept))

    def _read(self, body: str, seen: float) -> list[Event]:
        said = self._sender.read(read_json(body.encode("utf-8", "surrogatepass")))
        return events(said, self._sender, self._given.source, seen, body)

    def _bad(self, body: str, reason: str, seen: float) -> list[Event]:
        log.warning("%s: a message cannot be read: %s", self._given.source, visible(reason, 300))
        fields = {"sender": self._sender.name, "reason": visible(reason, 300)}
        return [Event(BAD_INPUT.name, seen, fields, self._given.source, 0.0, body[:LONGEST_RAW], BAD_INPUT.forgeable)]

    # Deleting -------------------------------------------------------------------------------------------------------------

    def _kept(self, handles: Sequence[str], durable: bool) -> None:
        """Called by the owner. What is not durable comes again, and is then asked about again."""
        self._words.put(handles if durable else ())

    def delete(self, within: float = 0.0) -> str:
        """Delete what is committed, after waiting so many seconds for word of what is under way; a sentence where it cannot."""
        until = time.monotonic() + within
        while self._out:
            try:
                handles = self._words.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            self._out -= 1
            self._done = [*self._done, *handles][:MOST_DONE]
        try:
            while self._done:
                self._ask(partial(self._delete, self._done[:AT_ONCE]))
                del self._done[:AT_ONCE]
        except CannotReach as error:
            return f"{error}; until then its messages come again and again"
        return ""

    def _delete(self, handles: Sequence[str]) -> None:
        """One that SQS refuses because its time has run out comes again."""
        entries = [{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(handles)]
        self._client.delete_message_batch(QueueUrl=self._given.queue_url, Entries=entries)

    # Asking ---------------------------------------------------------------------------------------------------------------

    def _ask(self, what: Callable[[], Any]) -> Any:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client = self._client or self._connected()
            return what()
        except (BotoCoreError, ClientError, Boto3Error, OSError, ValueError) as error:  # ValueError: settings it cannot use
            self._client = None  # the next one reads the credentials again
            raise CannotReach(f"cannot ask {self._given.queue_url}: {_why(error)}") from error

    def _connected(self) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        given, found = self._given, _REGION.match(self._given.queue_url)
        region = given.region or (found[1] if found else None)
        config = Config(connect_timeout=CONNECT, read_timeout=READ, retries={"total_max_attempts": 1})
        session = Session(profile_name=given.profile or None, region_name=region)
        return session.client("sqs", endpoint_url=given.endpoint or None, config=config)


def _times(message: Any) -> int:
    """How often SQS says it has handed this message out."""
    said = message.get("Attributes", {}).get("ApproximateReceiveCount", "0")
    return int(said) if said.isdecimal() else 0


def _why(error: Exception) -> str:
    answer = getattr(error, "response", None) or {}  # None where no server answered
    code = str(answer.get("Error", {}).get("Code", type(error).__name__)).rpartition(".")[2]
    denied = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTPStatus.FORBIDDEN
    mend = _MENDS.get(code, _ALLOW if denied or code.startswith("AccessDenied") else "")
    return visible(error, 300) + (f"; {mend}" if mend else "")


class _Known:
    """What was handed over: the latest messages by id, and of each alarm the time of its latest change of state."""

    def __init__(self, ids: Sequence[str] = (), latest: Mapping[str, float] | None = None) -> None:
        self._ids = OrderedDict.fromkeys(ids)
        self._latest = OrderedDict(latest or {})

    @classmethod
    def read(cls, position: str | None) -> _Known:
        """As it was committed."""
        kept = json.loads(position) if position else {}
        return cls(kept.get("ids", ()), kept.get("latest", {}))

    def written(self) -> str:
        """For the commit."""
        return json.dumps({"ids": [*self._ids], "latest": self._latest})

    def take(self, message: str) -> bool:
        """Whether a message is new; from now on it is known."""
        new = message not in self._ids
        self._ids[message] = None
        self._ids.move_to_end(message)
        if len(self._ids) > KNOWN:
            self._ids.popitem(last=False)
        return new

    def newer(self, event: Event) -> bool:
        """Whether an alarm's change of state is later than the latest that is known of it; one without a time counts."""
        if event.kind != ALERT.name or not event.ts:
            return True
        alarm = sha256(str(event.fields["fingerprint"]).encode()).hexdigest()[:16]
        if event.ts <= self._latest.get(alarm, 0.0):
            return False
        self._latest[alarm] = min(event.ts, event.seen)
        self._latest.move_to_end(alarm)
        if len(self._latest) > KNOWN:
            self._latest.popitem(last=False)
        return True
