"""AWS CloudWatch's alarms, bare or in the envelope of SNS (docs.aws.amazon.com/sns, "Parsing JSON formats").

Best read from an SQS queue (agent/sensors/sqs.py): no port is open, and IAM says who may put a message there. Over HTTP SNS can
neither send a header nor take part in mTLS, and its signature is not checked here, so the sender's path must be a secret one.

An alarm tells its state when that changes, and once. OK ends it, ALARM begins it. INSUFFICIENT_DATA is neither: CloudWatch does
not know, so the event's status is `unknown` and changes nothing. CloudWatch has no severities: say one in agent.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from agent.event import ALERT, FIRING, RESOLVED
from agent.intake.json_body import read_json
from agent.streams.alert_sender import AlertSender, Told, key
from agent.streams.document import Object, needed, object_at, whole, wrong
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.sender import BadDocumentError, sender
from agent.streams.syslog import exact_time

UNKNOWN: Final = "unknown"
_STATES: Final = {"ALARM": FIRING, "OK": RESOLVED, "INSUFFICIENT_DATA": UNKNOWN}
_ABOUT: Final = {"Namespace": "Trigger", "MetricName": "Trigger", "AWSAccountId": "", "Region": ""}


@sender(kinds=(ALERT,))
class Cloudwatch(AlertSender):
    """Alarms of CloudWatch. A metric's dimensions are labels, as in `fields: {container: labels.ContainerName}`."""

    parts: ClassVar[tuple[str, ...]] = ("labels",)

    def read(self, document: Any) -> list[Said]:
        """One alarm's change of state."""
        return [self.said(_told(_opened(whole(document))))]


def _opened(document: Object) -> Object:
    """What is in the envelope, where there is one."""
    kind = document.get("Type")
    if kind is None or "AlarmName" in document:
        return document
    if kind == "SubscriptionConfirmation":
        raise BadDocumentError(
            "Type: a subscription that waits to be confirmed; if it is yours, open its SubscribeURL or run"
            " aws sns confirm-subscription"
        )
    if kind != "Notification":
        raise wrong("Type", "Notification", kind)
    message = needed(document, "Message").encode("utf-8", "surrogatepass")
    try:
        alarm = read_json(message)
    except BadDocumentError as error:
        raise BadDocumentError(f"Message: {error}") from None
    if not isinstance(alarm, dict):
        raise wrong("Message", "an alarm", alarm)
    return alarm


def _told(alarm: Object) -> Told:
    name, arn, state = needed(alarm, "AlarmName"), needed(alarm, "AlarmArn"), alarm.get("NewStateValue")
    status = _STATES.get(state) if isinstance(state, str) else None
    if status is None:
        raise wrong("NewStateValue", "ALARM, OK or INSUFFICIENT_DATA", state)
    trigger = object_at(alarm, "Trigger")
    labels = {one: text((trigger if part else alarm).get(one)) for one, part in _ABOUT.items()}
    labels = {one: said for one, said in labels.items() if said}
    for dimension, said in _dimensions(trigger):
        labels.setdefault(dimension, said)
    because = [text(alarm.get(one)) for one in ("AlarmDescription", "NewStateReason")]
    own = {"name": name, "summary": ": ".join(one for one in because if one), "instance": labels.get("InstanceId")}
    ts = max(0.0, exact_time(text(alarm.get("StateChangeTime"), 40)))
    return Told(status, key(arn), labels, own=own, ts=ts)


def _dimensions(trigger: Object) -> Iterator[tuple[str, str]]:
    """`[{"name": "InstanceId", "value": "i-1"}]`; a composite alarm, or one on several metrics, has none."""
    given = trigger.get("Dimensions")
    for one in given[:64] if isinstance(given, list) else []:
        if isinstance(one, dict) and (name := text(one.get("name"))):
            yield name, text(one.get("value"))
