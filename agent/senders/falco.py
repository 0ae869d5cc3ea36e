"""Falco's `http_output`, one alert a request, and falcosidekick's webhook, which writes the same (falco.org/docs/outputs).

In falco.yaml, on another host than the agent's (on the same one follow its file, from which nothing is lost):

    json_output: true
    http_output: {enabled: true, url: "https://db1.example.com:8443/in/falco/SECRET", mtls: true, …}

Falco can send no header, so it is known by mTLS or a secret path. It tries again only after a time-out; what was refused is lost.
falcosidekick can send headers (`webhook.customheaders`) and is better there.
"""

from __future__ import annotations

import socket
from typing import Annotated, Any

from agent.parsers.falco import ALERT, said
from agent.schema import About
from agent.streams.document import needed, object_at, whole
from agent.streams.json_line import text_at
from agent.streams.parser import Said
from agent.streams.sender import BadDocumentError, sender
from agent.visible import visible


@sender(kinds=(ALERT,))
class Falco:
    """Alerts of Falco's rules, sent by Falco or falcosidekick, of this host or those that `hosts` names (`*` for all).

    The containers and users they name are those of Falco's host: on another one, this agent would contain namesakes.
    """

    hosts: Annotated[tuple[str, ...], About('other hosts whose alerts are taken, as in [db2]; "*" for all')] = ()

    def read(self, document: Any) -> list[Said]:
        """One alert."""
        alert = whole(document)
        there, known = visible(text_at(alert, "hostname", 300), 100), self.hosts or (socket.gethostname(),)
        if there and there not in known and "*" not in known:
            raise BadDocumentError(f"hostname: Falco ran on {there}, not on {', '.join(known)}; hosts: [{there}] takes it")
        for name in ("rule", "priority"):
            needed(alert, name)
        object_at(alert, "output_fields")
        one = said(alert)
        return [one] if one else []
