"""`intake:` of agent.yaml: who may hand in documents over HTTP, how each shows who it is, and where the agent listens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator

from agent.grammar.config_listening import HTTPS_EXAMPLE, Listening, TlsKeys, listening, misplaced, tls_needs_an_address
from agent.grammar.located import Node, Problem
from agent.grammar.pick import Picked, Shelf, pick
from agent.grammar.policy_keys import RateLine
from agent.grammar.typed import read, record
from agent.intake.settings import GRAFANA_TIMESTAMP, LARGEST, LARGEST_EVER, Auth, Inlet, Settings, Style, Way
from agent.policy import Rate
from agent.schema import About, Duration, Size, rough

SOCKET: Final = "intake.sock"
RATE: Final = Rate(50, timedelta(seconds=1))
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError(f"`{text}` is no name of an HTTP header; write {GRAFANA_TIMESTAMP}")
    return text


def _largest(number: int) -> int:
    if not 0 < number <= LARGEST_EVER:
        raise ValueError("a document may have up to 8MiB; write largest: 8MiB, or have the sender send less at once")
    return number


def _expected(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1):
        raise ValueError(f"{rough(span)} is too short; write at least 1s, and leave room for one lost message")
    return span


@dataclass(frozen=True)
class AuthKeys:
    """How a sender shows who it is: one of these."""

    users: Annotated[tuple[str, ...], About("users of this host who may send over the unix socket, as in [prometheus]")] = ()
    client_names: Annotated[
        tuple[str, ...],
        About("names in its client certificate, by an issuer of tls: {client_ca_file}", "[alertmanager.example.com]"),
    ] = ()
    bearer_file: Annotated[Path | None, About("a file with its token; two lines while you exchange it")] = None
    basic_file: Annotated[Path | None, About("a file with user:password, for what knows basic authentication only")] = None
    hmac_file: Annotated[Path | None, About("a file with the secret that signs: X-Containment-Signature: t=…,v1=…")] = None
    path_file: Annotated[Path | None, About("a file with the secret to stand behind its name in the path")] = None
    style: Annotated[Style, About("grafana, pagerduty: as those two sign")] = "containment"
    timestamp_header: Annotated[
        Annotated[str, AfterValidator(_header)],
        About("the header that Grafana is told to put the time into; it is demanded", "X-Grafana-Alerting-Timestamp"),
    ] = GRAFANA_TIMESTAMP

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("bearer", "token"), "put the token into a file and name that: bearer_file: …"),
        **dict.fromkeys(("hmac", "secret"), "put the secret into a file and name that: hmac_file: …"),
        **dict.fromkeys(("basic", "password"), "put user:password into a file and name that: basic_file: …"),
        **dict.fromkeys(("uid", "unix", "peer"), "write users: [prometheus]"),
        "mtls": "write client_names: [alertmanager.example.com]",
    }

    def __post_init__(self) -> None:
        """One way, and only what belongs to it."""
        given = [name for name, value in self._ways() if value]
        if len(given) != 1:
            had = " and ".join(given) or "none"
            raise ValueError(f"a sender shows who it is in one way, here are {had}; write one of bearer_file, hmac_file, users")
        if self.hmac_file is None and (self.style != "containment" or self.timestamp_header != GRAFANA_TIMESTAMP):
            raise ValueError("style and timestamp_header belong to hmac_file; leave them out, or write hmac_file: …")

    def _ways(self) -> tuple[tuple[Way, Any], ...]:
        return (
            ("users", self.users),
            ("client_names", self.client_names),
            ("bearer", self.bearer_file),
            ("basic", self.basic_file),
            ("hmac", self.hmac_file),
            ("path", self.path_file),
        )

    def auth(self) -> Auth:
        """As the intake takes it."""
        way, value = next((way, value) for way, value in self._ways() if value)
        if isinstance(value, Path):
            return Auth(way, value, style=self.style, timestamp_header=self.timestamp_header)
        return Auth(way, names=value)


@dataclass(frozen=True)
class SenderOptions:
    """What may stand beside the type of a sender."""

    auth: Annotated[
        Node,
        About(
            "how it shows who it is: {bearer_file: …}, {users: [prometheus]}, {hmac_file: …}, or none", "{users: [prometheus]}"
        ),
    ]
    rate: Annotated[RateLine | None, About("at most so many documents, as in 50 per 1s; more are to come again")] = None
    largest: Annotated[
        Annotated[Size, AfterValidator(_largest)] | None, About("at most so much in one document, as in 8MiB; 1MiB if unsaid")
    ] = None
    expect: Annotated[
        Annotated[Duration, AfterValidator(_expected)] | None,
        About("an alarm where it is silent for longer, as in 10m: for senders that say something regularly"),
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("bearer_file", "hmac_file", "basic_file", "path_file", "users", "client_names"), "it goes inside auth: {…}"
        ),
        "type": "the type is the key itself: prometheus: {alertmanager: {}, auth: {bearer_file: …}}",
    }


@dataclass(frozen=True)
class IntakeKeys:
    """Where other tools hand in their alerts: POST /in/NAME."""

    senders: Annotated[
        Mapping[str, Node],
        About(
            "who may send, as in prometheus: {alertmanager: {}, auth: {bearer_file: …}}",
            "{prometheus: {alertmanager: {}, auth: {bearer_file: /etc/containment-agent/prometheus}}}",
        ),
    ]
    socket: Annotated[Path | None, About("the unix socket; intake.sock beside the control socket if unsaid")] = None
    listen: Annotated[Listening | None, About('a TCP address too, as in "127.0.0.1:9443"')] = None
    tls: Annotated[TlsKeys | None, About("speak HTTPS at the TCP address: {cert_file: …, key_file: …}", HTTPS_EXAMPLE)] = None

    elsewhere: ClassVar[Mapping[str, str]] = misplaced(9443)

    def __post_init__(self) -> None:
        """What belongs together."""
        tls_needs_an_address(self.tls, self.listen, 9443)


def intake(keys: IntakeKeys | None, socket: Path, senders: Mapping[str, type[Any]], found: list[Problem]) -> Settings | None:
    """What `intake:` says; None where there is none, or something of it cannot be read. `socket` is the control socket.

    `senders` are the types that are installed, by name.
    """
    if keys is None:
        return None
    before, shelf = len(found), Shelf("sender type", "sender", senders, SenderOptions)
    nodes = {name: node for name, node in keys.senders.items() if node is not None}
    inlets = {name: _inlet(name, node, shelf, found) for name, node in nodes.items()}
    tls = keys.tls.tls if keys.tls else None
    listen = listening(keys.listen) if keys.listen else None
    known = tuple(one for one in inlets.values() if one)
    made = Settings(keys.socket or socket.parent / SOCKET, known, listen, tls)
    for one, risk in made.risks():
        text, _, mend = risk.partition("; ")
        found.append(Problem(nodes[one.name].pairs["auth"].value.place, text, mend))
    return made if len(found) == before else None


def _inlet(name: str, node: Node, shelf: Shelf, found: list[Problem]) -> Inlet | None:
    if not _NAME.fullmatch(name):
        text = f"`{name}` cannot stand in a path"
        found.append(Problem(node.place, text, "a sender's name has small letters, digits, dots, - and _, as in prometheus-2"))
        return None
    picked = pick(node, shelf, found)
    if picked is None or picked.name is None:
        return None
    given = Node({}, picked.key.place) if picked.given.empty else picked.given
    made = record(given, shelf.choices[picked.name], found, picked.excused, Node(picked.name, picked.key.place))
    auth = _auth(picked, found)
    if made is None or auth is None:
        return None
    rate = picked.options.get("rate") or RATE
    return Inlet(
        name,
        made,
        auth,
        rate.most,
        rate.per_second,
        picked.options.get("largest") or LARGEST,
        picked.options.get("expect"),
    )


def _auth(picked: Picked, found: list[Problem]) -> Auth | None:
    node = picked.options.get("auth")
    if node is None:
        return None
    if node.value == "none":
        return Auth("none")
    keys = read(node, AuthKeys, found)
    return keys.auth() if keys else None
