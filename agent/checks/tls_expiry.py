"""How long does a server's certificate still hold?"""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from typing import Annotated

from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, Port
from agent.systems.dial import Refused, dial_tls, trust


@check
class TlsExpiry:
    """A server's certificate is accepted, and holds for some days more.

    A certificate that is its own issuer is accepted when `ca_file` names it. `server_name` is the name it should have, where
    that is not `host`.
    """

    host: Annotated[str, About("its name or address", "shop.example.com")]
    port: Annotated[Port, About("its port", "443")] = 443
    days_floor: Annotated[float, About("bad where it holds for fewer days", "14")] = 14
    server_name: Annotated[str, About("the name that it must be for, where that is not `host`", "shop.example.com")] = ""
    ca_file: Annotated[str, About("its issuers, where the host does not know them", "/etc/ssl/shop-ca.pem")] = ""
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

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
