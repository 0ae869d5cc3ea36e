"""Does a web address answer as it should?"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from datetime import timedelta
from string import punctuation
from typing import Annotated
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from agent.check import Answer, bad, check, good
from agent.grammar.pattern import LONGEST_BODY, ForBody
from agent.schema import About, Duration, Flag, rough
from agent.systems.cut_off import cut_off
from agent.systems.dial import Refused, dial, dial_tls, trust

MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    location: str
    body: str


@check
class Http:
    """A web address answers with a good status, in time, and with the text it should hold.

    Without `status`, 200 to 399 is good. Redirects are followed on the same host only; one to elsewhere is the answer.
    """

    url: Annotated[str, About("the address that is fetched", '"https://shop.example.com/health"')]
    status: Annotated[tuple[int, ...], About("the statuses that are good, as in [200, 204]; 200 to 399 where none is named")] = ()
    contains: Annotated[str, About("text that the body must hold", "ready")] = ""
    matches: Annotated[ForBody | None, About("a regular expression that must be found in the body", '\'"status": *"up"\'')] = None
    latency_limit: Annotated[Duration | None, About("bad where the whole answer takes longer, as in 500ms")] = None
    verify: Annotated[Flag, About("check the server's certificate; false: take any", "false")] = True
    ca_file: Annotated[
        str, About("the issuers of its certificate, where the host does not know them", "/etc/ssl/shop-ca.pem")
    ] = ""
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("url is to be http://host… or https://host…, without a user name or password")

    def ask(self) -> Answer:
        """Get it; the value is the seconds that took, redirects included."""
        started = time.monotonic()
        limit = self.latency_limit.total_seconds() if self.latency_limit else None
        try:
            reply = self._follow(started + self.within.total_seconds())
        except Refused as error:
            return bad(f"{self.url} does not answer: {error}", limit=limit, target=self.url)
        took = time.monotonic() - started
        wrong = self._wrong(reply, took)
        if wrong:
            return bad(f"{self.url} {wrong}", value=took, limit=limit, target=self.url)
        said = f"{self.url} answers {reply.status} in {rough(timedelta(seconds=took))}"
        return good(said, value=took, limit=limit, target=self.url)

    def _wrong(self, reply: _Reply, took: float) -> str:
        """What is wrong with the reply, or nothing."""
        if not (reply.status in self.status if self.status else 200 <= reply.status < 400):
            return f"answers {reply.status} {http.client.responses.get(reply.status, '')}".rstrip()
        if self.contains not in reply.body:
            return f"answers {reply.status} without `{self.contains}` in its first 64 KiB"
        if self.matches and not self.matches.search(reply.body):
            return f"answers {reply.status} with nothing that matches `{self.matches.pattern}` in its first 64 KiB"
        if self.latency_limit and took >= self.latency_limit.total_seconds():
            return f"takes {rough(timedelta(seconds=took))}, the limit is {rough(self.latency_limit)}"
        return ""

    def _follow(self, until: float) -> _Reply:
        here = urlsplit(self.url)
        for _ in range(MOST_REDIRECTS):
            reply = self._get(here, until)
            there = _redirected(here, reply.location)
            if not reply.location or there.hostname != here.hostname or there.scheme not in ("http", "https"):
                return reply
            here = there
        raise Refused(f"more than {MOST_REDIRECTS} redirects")

    def _left(self, until: float) -> timedelta:
        left = timedelta(seconds=until - time.monotonic())
        if left <= timedelta():
            raise Refused(f"no answer within {rough(self.within)}")
        return left

    def _get(self, parts: SplitResult, until: float) -> _Reply:
        left, host = self._left(until), parts.hostname or ""
        connection = http.client.HTTPConnection(parts.netloc)  # the netloc is for the Host header; we dial ourselves
        if parts.scheme == "https":
            connection.sock = dial_tls(host, parts.port or 443, left, trust(self.ca_file, verify=self.verify))
        else:
            connection.sock = dial(host, parts.port or 80, left)
        try:
            with cut_off(connection.sock.fileno(), self._left(until)):
                path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
                connection.request("GET", path, headers={"User-Agent": "containment-agent", "Connection": "close"})
                response = connection.getresponse()
                location = response.headers.get("Location", "") if 300 <= response.status < 400 else ""
                return _Reply(response.status, location, response.read(LONGEST_BODY).decode("utf-8", "replace"))
        except TimeoutError as error:
            raise Refused(f"no answer within {rough(self.within)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Refused(str(error) or type(error).__name__) from error
        finally:
            connection.close()


def _redirected(here: SplitResult, location: str) -> SplitResult:
    """Where a server sends us. What is neither punctuation nor ASCII is written as in browsers."""
    try:
        there = urlsplit(urljoin(here.geturl(), quote(location.encode("latin-1"), safe=punctuation)))
        _ = there.port  # read from the text only when asked for
    except ValueError as error:
        raise Refused(f"it redirects to what is no address: {location[:200]}") from error
    return there
