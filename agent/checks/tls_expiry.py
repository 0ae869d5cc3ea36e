"""How long does a server's certificate still hold?"""

from __future__ import annotations

import ssl
import time
from datetime import timedelta

from agent.check import Answer, bad, check, good
from agent.schema import Duration, Port
from agent.systems.dial import Refused, dial_tls, trust


@check
class TlsExpiry:
    """A server's certificate is accepted, and holds for some days more.

    A certificate that is its own issuer is accepted when `ca_file` names it. `server_name` is the name it should have, where
    that is not `host`.
    """

    host: str
    port: Port = 443
    days_floor: float = 14
    server_name: str = ""
    ca_file: str = ""
    within: Duration = timedelta(seconds=3)

    def ask(self) -> Answer:
        """Shake hands and look; the value is the days left."""
        name = self.server_name or self.host
        target = f"{name}:{self.port}"
        try:
            with dial_tls(self.host, self.port, self.within, trust(self.ca_file), name) as wire:
                ends = ssl.cert_time_to_seconds(str((wire.getpeercert() or {})["notAfter"]))
        except Refused as error:
            return bad(f"{target}: {error}", limit=self.days_floor, target=target)
        days = (ends - time.time()) / 86400
        verdict = good if days >= self.days_floor else bad
        say = f"the certificate of {target} holds for {days:.0f} more days"
        return verdict(say, value=days, limit=self.days_floor, target=target)
