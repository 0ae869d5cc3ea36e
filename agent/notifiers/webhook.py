"""Tells a program of yours: each notice as JSON, signed, to one address."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic_core import to_json

from agent.intake.key_file import KeyFile
from agent.intake.settings import SIGNATURE
from agent.notifying.in_time import in_time
from agent.notifying.notice import Notice
from agent.notifying.notifier import Thread, notifier
from agent.notifying.posting import host_of, not_taken, post
from agent.schema import About, Duration

VERSION: Final = 1


@notifier()
class Webhook:
    """Posts each notice to `url` as JSON: an object with `v` (1) and the fields of a notice.

    `key` is the notice's own for ever, and the header `Idempotency-Key` holds it with the part's name: `INC-7/12/notice`. Whoever
    has seen it before answers 2xx and does nothing; 409 while it is still at it. Texts: `key incident what severity phase
    headline news host policy title about acked_by assigned`. `what` is one of opened, changed, acknowledged, escalated,
    noted, resolved, reopened, closed, test; `about` of security, availability, data, other; `severity` P0 to P3. Lists of
    texts: `saw did need targets`; `links`: pairs of a word and an address. Numbers: `at opened` (Unix seconds), `many`.
    `dry` is true where nothing was really done. A new field can come any day; `v` goes up when one changes or goes. Texts
    may be a stranger's: escape them.

    With `hmac_file`, `X-Containment-Signature: t=<unix seconds>,v1=<hex>` is the HMAC-SHA256 over `<t>.<body>`, with a `v1` for
    each secret in the file (one a line) while they are exchanged. It is the signature that the agent's own intake takes.
    """

    url: Annotated[str, About("the address that each notice is posted to", '"https://hooks.example.com/containment"')]
    hmac_file: Annotated[
        Path | None,
        About("a file that only the agent can read, with the secrets that sign, one a line", "/etc/containment-agent/webhook"),
    ] = None
    ca_file: Annotated[
        str, About("the issuers of its server's certificate, where the host does not know them", "/etc/ssl/proxy-ca.pem")
    ] = ""
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = timedelta(seconds=5)

    def __post_init__(self) -> None:
        host_of(self.url)

    def parts(self, notice: Notice) -> tuple[str, ...]:  # noqa: ARG002
        """One call for each notice."""
        return ("notice",)

    def replaces(self, part: str) -> bool:  # noqa: ARG002
        """Never: each notice is an event for a program."""
        return False

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:  # noqa: ARG002
        """Post it; the receiver knows by the key what it has had."""
        body = to_json({"v": VERSION, **notice._asdict()})
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{notice.key}/{part}", **self._signed(body)}
        host = host_of(self.url)
        reply = in_time(lambda: post(self.url, body, headers, ca_file=self.ca_file, within=self.within.total_seconds()), host)
        if not 200 <= reply.status < 300:
            not_taken(host, reply)
        return thread

    def _signed(self, body: bytes) -> dict[str, str]:
        if self.hmac_file is None:
            return {}
        stamp = str(int(time.time()))
        message = stamp.encode() + b"." + body
        made = (hmac.new(one, message, hashlib.sha256).hexdigest() for one in KeyFile(self.hmac_file).secrets())
        return {SIGNATURE: f"t={stamp},{','.join(f'v1={one}' for one in made)}"}

    def whom(self) -> str:
        """The server; a path may be secret."""
        return f"webhook at {host_of(self.url)}"

    def hosts(self) -> tuple[str, ...]:
        """The server."""
        return (host_of(self.url),)
