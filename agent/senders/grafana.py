"""Grafana's webhook contact point, version 1 (grafana.com/docs, "Webhook notifier"): Alertmanager's shape with fields of its own.

Grafana can sign: set an HMAC secret and a timestamp header in the contact point, for without the time in it a signature can be
replayed. `orgId` belongs to an alert's fingerprint, since two organisations may have the same labels.

A rule whose query fails or finds nothing sends alerts of other names, `DatasourceError` and `DatasourceNoData`, which carry the
rule's own labels, `severity` too: they say that nobody knows, so name the alert in a policy that acts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from agent.event import ALERT
from agent.schema import About, Duration
from agent.streams.alert_sender import AlertSender, group, key, told
from agent.streams.document import Object, object_at, whole
from agent.streams.fit import fit, text
from agent.streams.parser import Said
from agent.streams.sender import sender

_ALERTMANAGER = ', as Grafana writes (Alertmanager writes "4": use the sender alertmanager)'
_LINKS = ("panelURL", "dashboardURL", "generatorURL")


@sender(kinds=(ALERT,))
class Grafana(AlertSender):
    """Alerts of Grafana; `repeats` is the notification policy's repeat interval. `fields` may also take from values.NAME."""

    repeats: Annotated[Duration, About("its repeat interval, as in 4h")] = timedelta(hours=4)

    parts: ClassVar[tuple[str, ...]] = ("labels", "annotations", "values")

    def read(self, document: Any) -> list[Said]:
        """The alerts of one notification."""
        message = group(whole(document), "1", _ALERTMANAGER)
        org = fit(document.get("orgId"), "integer")
        common = {"repeats": self.repeats.total_seconds(), "truncated": message.cut or None}
        made = []
        for place, alert in message.alerts:
            one, values = told(alert, place), object_at(alert, "values", place)
            own = {**common, "value": _only(values), "link": _link(alert)}
            parts = {"values": values}
            fingerprint = key(one.fingerprint, message.receiver, *([] if org is None else [org]))
            made.append(self.said(one._replace(fingerprint=fingerprint, own=own, parts=parts)))
        return made


def _only(values: Object) -> Any:
    """The value of a rule with one; of several nobody knows which is meant."""
    return next(iter(values.values())) if len(values) == 1 else None


def _link(alert: Object) -> str:
    return next((found for name in _LINKS if (found := text(alert.get(name), 2000))), "")
