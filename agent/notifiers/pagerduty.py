"""Pages whoever is on call at PagerDuty: one alert for each incident, opened, acknowledged and resolved with it (Events API v2).

PagerDuty drops what is said of an alert that is not open, so nothing is said before the first page was taken. It knows an alert
by its key: the same event twice is one. Once resolved, the same key opens another alert (developer.pagerduty.com, "Send an Alert
Event").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from agent.notifying.in_time import in_time
from agent.notifying.notice import LONGEST_LINE, MOST_TARGETS, Notice, fold_lines
from agent.notifying.notifier import Busy, Refused, Thread, Unsure, notifier
from agent.notifying.posting import Reply, broken, host_of, not_taken
from agent.notifying.secret_file import secret
from agent.notifying.thread_key import key_of, title_of
from agent.schema import About, Duration, rough
from agent.systems.dial import trust
from agent.visible import visible

_SEVERITIES: Final[Mapping[str, str]] = {"P0": "critical", "P1": "error", "P2": "warning", "P3": "info"}
_PAGES: Final = ("opened", "changed", "escalated", "reopened")
_ENDS: Final = ("resolved", "closed")
_SHORT: Final = 255
_MOST_LINKS: Final = 10
_KEY_LENGTH: Final = 32
_LONGEST: Final = timedelta(seconds=8)

_Event = dict[str, Any]


@notifier(gap=0.5)
class Pagerduty:
    """Pages by the integration key in `routing_key_file` (a service's integration "Events API v2").

    `base_url` is https://events.eu.pagerduty.com for an account in the EU. It acknowledges only what a person has acknowledged
    here. What people do at PagerDuty comes back by a webhook: intake: {senders: {pagerduty: {pagerduty: {}, auth: {hmac_file: …,
    style: pagerduty}}}}.
    """

    routing_key_file: Annotated[
        Path, About("a file that only the agent can read, with the integration key", "/etc/containment-agent/pagerduty")
    ]
    base_url: Annotated[str, About("where PagerDuty answers", '"https://events.eu.pagerduty.com"')] = (
        "https://events.pagerduty.com"
    )
    ca_file: Annotated[
        str, About("the issuers of its server's certificate, where the host does not know them", "/etc/ssl/proxy-ca.pem")
    ] = ""
    within: Annotated[Duration, About("give up one try after this time, as in 4s")] = timedelta(seconds=6)

    def __post_init__(self) -> None:
        host_of(self.base_url)
        if self.within > _LONGEST:
            raise ValueError(f"within is to be at most {rough(_LONGEST)}")
        if not self.base_url.startswith("https://"):
            raise ValueError("base_url is to be https://events.pagerduty.com, or https://events.eu.pagerduty.com")

    def parts(self, notice: Notice) -> tuple[str, ...]:
        """Nothing about notes: PagerDuty has no place for them but another page."""
        if notice.what in _PAGES:
            return ("trigger",)
        if notice.what == "acknowledged":
            return ("acknowledge",)
        if notice.what == "test":
            return ("trigger", "resolve")
        return ("resolve",) if notice.what in _ENDS else ()

    def replaces(self, part: str) -> bool:  # noqa: ARG002
        """Never: an alert is opened, acknowledged and resolved in this order; what changes nothing there costs no call."""
        return False

    def send(self, notice: Notice, part: str, thread: Thread, *, doubtful: bool) -> Thread:
        """Send one event, unless the alert there is that far already. Sending it again does no harm there."""
        known = thread.get("open", "")
        key = key_of(notice.host, notice.incident)
        if part == "trigger":
            if known == notice.severity and not doubtful:
                return thread
            self._event({"event_action": "trigger", "dedup_key": key, **_alert(notice)})
            return {"open": notice.severity}
        if not known:
            return thread
        self._event({"event_action": part, "dedup_key": key})
        return {} if part == "resolve" else thread

    def whom(self) -> str:
        """PagerDuty, and where it is not the usual one."""
        return "PagerDuty" if self.base_url == type(self).base_url else f"PagerDuty at {host_of(self.base_url)}"

    def hosts(self) -> tuple[str, ...]:
        """The server for events."""
        return (host_of(self.base_url),)

    def _event(self, event: _Event) -> None:
        key = secret(self.routing_key_file, "PagerDuty")
        host = host_of(self.base_url)
        if len(key) != _KEY_LENGTH:
            mend = f"copy the 32 characters of the integration into {self.routing_key_file}"
            raise Refused(f"cannot page {host}: that is no integration key of Events API v2; {mend}")
        reply = in_time(lambda: self._post(key, event), host)
        if reply.status != 202:
            mend = "is it the integration key of a service's Events API v2?"
            not_taken(host, reply, _words(reply, key), f"{mend} see {self.routing_key_file}")
        if not _understood(reply):
            raise Unsure(f"cannot tell whether {host} took it: its answer is none of PagerDuty's")

    def _post(self, key: str, event: _Event) -> Reply:
        """One request by the vendor's client, and no second one: it would try again for minutes, and for ever after a 429."""
        import httpx2
        import pagerduty

        answers: list[Reply] = []

        class Once(pagerduty.EventsApiV2Client):
            timeout: Any = self.within.total_seconds()
            max_network_attempts = 0

            def postprocess(self, response: httpx2.Response) -> None:
                """Called for every answer, before the client thinks of another try."""
                answers.append(Reply(response.status_code, dict(response.headers), response.content))
                raise _AnsweredError

        action, body = event["event_action"], {name: value for name, value in event.items() if name != "event_action"}
        with Once(key, base_url=self.base_url, verify=trust(self.ca_file)) as client:
            try:
                client.send_event(action, **body)
            except _AnsweredError:
                return answers[0]
            except pagerduty.Error as error:
                raise _not_sent(host_of(self.base_url), error.__cause__) from None
        raise Unsure(f"cannot tell whether {host_of(self.base_url)} took it: it did not answer")


class _AnsweredError(Exception):
    """There is an answer: the vendor's client is done."""


def _not_sent(host: str, cause: BaseException | None) -> Busy:
    """What became of a request without an answer. The client's own errors wrap the one that says so."""
    import httpx2

    inner = cause
    while inner is not None and not isinstance(inner, OSError):
        inner = inner.__cause__ or inner.__context__
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
        told = broken(host, inner) if isinstance(inner, OSError) else None
        return told if told and not isinstance(told, Unsure) else Busy(f"cannot reach {host}: no connection")
    if isinstance(cause, httpx2.TimeoutException):
        return Unsure(f"cannot tell whether {host} took it: no answer in time")
    return Unsure(f"cannot tell whether {host} took it: {visible(type(cause).__name__, 100)}")


def _words(reply: Reply, key: str) -> str:
    """What PagerDuty says is wrong, without the key."""
    try:
        said = json.loads(reply.body)
        words = "; ".join(map(str, [said["message"], *said.get("errors", ())]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return visible(words.replace(key, "…"), 200).rstrip(".")


def _understood(reply: Reply) -> bool:
    try:
        return "dedup_key" in json.loads(reply.body)
    except (ValueError, TypeError, RecursionError):
        return False


def _alert(notice: Notice) -> _Event:
    """The alert, as PagerDuty's common event format has it."""
    more = notice.many - len(notice.targets[:MOST_TARGETS])
    details: dict[str, Any] = {
        "news": notice.news,
        "saw": list(fold_lines(notice.saw)),
        "did": list(fold_lines(notice.did)),
        "need": list(fold_lines(notice.need)),
        "targets": [*notice.targets[:MOST_TARGETS], *([f"and {more} more"] if more > 0 else [])],
        "incident": notice.incident,
        "policy": notice.policy,
        "acknowledged by": notice.acked_by or "nobody",
    }
    if notice.dry:
        details["dry run"] = "nothing is really done about it"
    payload = {
        "summary": title_of(notice.host, notice.incident, notice.severity, visible(notice.headline)),
        "source": visible(notice.host, _SHORT) or "containment-agent",
        "severity": "info" if notice.what == "test" else _SEVERITIES[notice.severity],
        "component": visible(notice.targets[0] if notice.targets else notice.host, _SHORT),
        "group": notice.about,
        "class": visible(notice.policy, _SHORT),
        "custom_details": _plain(details),
    }
    links = [
        {"href": address, "text": visible(word, _SHORT)}
        for word, address in notice.links
        if address.startswith(("https://", "http://"))
    ]
    return {"payload": payload, "client": "containment-agent", **({"links": links[:_MOST_LINKS]} if links else {})}


def _plain(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The details without what is empty, each text visible and bounded: 512 kB are the most that is taken."""
    return {name: _shown(value) for name, value in details.items() if value}


def _shown(value: Any) -> Any:
    return [visible(one, LONGEST_LINE) for one in value] if isinstance(value, list) else visible(value, 500)
