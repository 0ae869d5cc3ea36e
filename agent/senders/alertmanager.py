"""Prometheus Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration, `webhook_config`).

In alertmanager.yml, with a bearer token as Alertmanager cannot sign, and a bound on how much it sends at once:

    receivers:
      - name: containment
        webhook_configs:
          - {url: "https://db1.example.com:8443/in/prometheus", max_alerts: 500,
             http_config: {authorization: {credentials_file: /etc/alertmanager/containment}}}

It sends the whole group whenever that changes and again every `repeat_interval`, so each alert is known by its own fingerprint
and the receiver's name, never by the group. `send_resolved` must stay true. Alerts beyond `max_alerts` are cut off, and their end
is not told either: such an alert is over when it was not heard of for twice `repeats`. A receiver with a `payload` of its own
writes something else, which is refused.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from agent.event import ALERT
from agent.schema import About, Duration
from agent.streams.alert_sender import AlertSender, group, key, told
from agent.streams.document import whole
from agent.streams.parser import Said
from agent.streams.sender import sender

_GRAFANA = ', as Alertmanager writes (Grafana writes "1": use the sender grafana)'


@sender(kinds=(ALERT,))
class Alertmanager(AlertSender):
    """Alerts of Prometheus Alertmanager; `repeats` is its repeat_interval."""

    repeats: Annotated[Duration, About("its repeat_interval, as in 4h")] = timedelta(hours=4)

    def read(self, document: Any) -> list[Said]:
        """The alerts of one notification."""
        message = group(whole(document), "4", _GRAFANA)
        common = {"repeats": self.repeats.total_seconds(), "truncated": message.cut or None}
        made = []
        for place, alert in message.alerts:
            one = told(alert, place)
            own = {**common, "link": alert.get("generatorURL")}
            made.append(self.said(one._replace(fingerprint=key(one.fingerprint, message.receiver), own=own)))
        return made
