"""The keys of agent.yaml: what each value is, and one line about it. config.py reads files against these classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Interval
from pydantic import AfterValidator

from agent.grammar.config_feeds import FeedKeys
from agent.grammar.config_hooks import HookKeys
from agent.grammar.config_intake import IntakeKeys
from agent.grammar.config_metrics import MetricsKeys
from agent.grammar.config_notify import NotifyKeys
from agent.grammar.config_pages import PagesKeys
from agent.grammar.config_windows import MaintenanceKeys
from agent.grammar.located import Node
from agent.grammar.policy_keys import RateLine, ShareLine
from agent.grammar.typed import Later
from agent.schema import About, Address, Duration, Port, Size, rough, spell

_CHECKPOINTS: Final = "one is made after each minute in which something was recorded"
_SERVICES: Final = "until then: actions know the services of /etc/services, or write ports: [80, 443]"
SHORTEST: Final = timedelta(seconds=1)
SHORTEST_ROUND: Final = timedelta(minutes=1)
_SECRET: Final = re.compile(r"://[^\s/@:]*:.*@|\bpassword\s*=", re.IGNORECASE)


def _period(span: timedelta) -> timedelta:
    if span < SHORTEST:
        raise ValueError(f"{rough(span)} is too short; the shortest time here is {spell(SHORTEST)}")
    return span


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", text):
        raise ValueError(f"`{text}` is no address of a server; write https://vault.example.com:8200")
    return text.rstrip("/")


def _open(dsn: str) -> str:
    """A connection string without a password: this file is shown, copied and quoted in problems."""
    if _SECRET.search(dsn):
        raise ValueError("a password does not stand in agent.yaml; put it into a file and name that: password_file: …")
    return dsn


def _round(span: timedelta) -> timedelta:
    if span < SHORTEST_ROUND:
        raise ValueError(f"{rough(span)} is too short: a round blocks for 30 s; write at least {spell(SHORTEST_ROUND)}, or off")
    return span


Round = Annotated[Duration, AfterValidator(_round)]
Period = Annotated[Duration, AfterValidator(_period)]
Url = Annotated[str, AfterValidator(_url)]
Dsn = Annotated[str, AfterValidator(_open)]


@dataclass(frozen=True)
class LimitKeys:
    """What all policies together must not exceed; a policy's own guard can only be tighter."""

    max: Annotated[RateLine | None, About("at most so many mitigations, as in 100 per 10m")] = None
    max_active: Annotated[Annotated[int, Interval(ge=1, le=1_000_000)] | None, About("at most so many in force at once")] = None
    cooldown: Annotated[Duration | None, About("after acting on a target, leave it alone so long")] = None
    max_share: Annotated[ShareLine | None, About("at most this part of connected clients, of running containers: 50%", "50%")] = (
        None
    )


@dataclass(frozen=True)
class SensorOptions:
    """What may stand beside the type of a sensor: nothing yet."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "type": "the type is the key itself: auth: {logfile: {path: …, parsers: [sshd]}}",
        "intake": "it stands at the top of agent.yaml: intake: {senders: {prometheus: {alertmanager: {}, auth: {…}}}}",
    }


@dataclass(frozen=True)
class CheckOptions:
    """What may stand beside the type of a check."""

    every: Annotated[Period | None, About("ask so often, as in 10s")] = None
    timeout: Annotated[Period | None, About("an answer that takes longer is unknown, as in 3s")] = None
    about: Annotated[
        tuple[str, ...] | None, About("what it depends on, as in [unit nginx.service, container web]: stopped by us, no alarm")
    ] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "interval": "write every: 10s",
        "for": "how many bad answers count stands in a policy: for: 3 of 5",
        "type": "the type is the key itself: shop: {http: {url: …}, every: 10s}",
    }


@dataclass(frozen=True)
class PostgresKeys:
    """How to reach one PostgreSQL server: a connection string, or its parts."""

    dsn: Annotated[
        Dsn, About("a connection string or URL, without a password", "host=/var/run/postgresql user=agent dbname=postgres")
    ] = ""
    host: Annotated[str, About("its name, address, or the directory of its socket", "/var/run/postgresql")] = ""
    port: Annotated[Port | None, About("its port; 5432 where nothing is said", "5433")] = None
    user: Annotated[str, About("the agent's own role, as in agent")] = ""
    database: Annotated[str, About("any database that the role may connect to, as in postgres")] = ""
    password_file: Annotated[Path | None, About("a file that only the agent can read, with the password in it")] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "password": "put it into a file and name that: password_file: …",
        "dbname": "write database: …",
    }

    def __post_init__(self) -> None:
        """Either way, and not both."""
        if self.dsn and (self.host or self.port or self.user or self.database):
            raise ValueError("dsn beside host, port, user or database; write everything into one of them")
        if not self.dsn and not self.host:
            raise ValueError("this says nowhere to connect to; write dsn: …, or host: … and user: …")


@dataclass(frozen=True)
class VaultKeys:
    """How to reach Vault or OpenBao, and whom never to revoke there."""

    url: Annotated[Url, About("its address, as in https://vault.example.com:8200", '"https://vault.example.com:8200"')]
    role_id: Annotated[str, About("the role id of the agent's own AppRole", "db02de05-fa39-4855-059b-67221c5c2f63")]
    secret_id_file: Annotated[Path, About("a file that only the agent can read, with the secret id in it; read at each login")]
    mount: Annotated[str, About("where that AppRole is mounted; a mount of its own is best", "containment")] = "approle"
    ca_file: Annotated[
        str, About("the issuers of its certificate, where the host does not know them", "/etc/ssl/vault-ca.pem")
    ] = ""
    namespace: Annotated[str, About("a namespace, where there are any", "ops")] = ""
    protected: Annotated[
        tuple[str, ...], About("accessors and entities that are never revoked: break-glass accounts", "[break-glass]")
    ] = ()

    elsewhere: ClassVar[Mapping[str, str]] = {
        "secret_id": "put it into a file and name that: secret_id_file: …",
        "token": "the agent logs in by AppRole: role_id and secret_id_file",
        "address": "write url: …",
    }


@dataclass(frozen=True)
class DockerKeys:
    """How to reach Docker."""

    socket: Annotated[Path, About("where its daemon listens")] = Path("/run/docker.sock")


@dataclass(frozen=True)
class SystemKeys:
    """The outside systems that the agent can ask, by name."""

    postgres: Annotated[
        Mapping[str, PostgresKeys] | None,
        About(
            "PostgreSQL servers by name, as in {main: {dsn: …}}",
            "{main: {dsn: host=/var/run/postgresql user=agent dbname=postgres}}",
        ),
    ] = None
    vault: Annotated[
        VaultKeys | None,
        About(
            "the Vault (or OpenBao) whose credentials can be revoked",
            '{url: "https://vault.example.com:8200", role_id: 4f1c-77aa, secret_id_file: /etc/containment-agent/secret-id}',
        ),
    ] = None
    docker: Annotated[DockerKeys | None, About("the Docker whose containers can be isolated", "{socket: /run/docker.sock}")] = (
        None
    )


@dataclass(frozen=True)
class OpenKeys:
    """What this host still reaches, and is reached by, when it is isolated."""

    address: Annotated[Address, About("an address or network")]
    ports: Annotated[tuple[Port, ...], About("these ports only, as in [4222]")] = ()


@dataclass(frozen=True)
class EvidenceKeys:
    """How long the record of what was seen is kept; what was done is kept for ever."""

    keep_events: Annotated[Duration, About("keep events so long, as in 7d")] = timedelta(days=7)
    keep_size: Annotated[Size, About("and at most so much of them, as in 1GiB")] = 1 << 30
    on_failure: Annotated[
        Literal["act", "refuse"] | None,
        About("what policies do while evidence cannot be written: act or refuse; unsaid: P0 and P1 act, the others refuse"),
    ] = field(default=None, compare=False)
    checkpoint_every: Annotated[Node | None, Later(_CHECKPOINTS)] = None


@dataclass(frozen=True)
class ApprovalKeys:
    """Who says yes to what waits for a person."""

    wait: Annotated[Period, About("without an answer for so long it is not done")] = timedelta(minutes=30)
    people: Annotated[Annotated[int, Interval(ge=1, le=5)], About("so many people must say yes to what is destructive")] = 1
    by: Annotated[
        tuple[str, ...], About("only these users may say yes; all who may use the socket where none is named", "[alice, bob]")
    ] = ()

    def __post_init__(self) -> None:
        """There must be enough people."""
        if self.by and len(set(self.by)) < self.people:
            raise ValueError(f"{self.people} people must say yes, and `by` names {len(set(self.by))}; name more, or ask fewer")


@dataclass(frozen=True)
class ConfigKeys:
    """All of agent.yaml."""

    version: Annotated[str, About("the version of this file's grammar; 1 where nothing is said", "1")] = "1"
    host: Annotated[str, About("this host's name in events and notices; its own name where nothing is said", "shop1")] = ""
    state: Annotated[Path, About("the directory of the journal and the key")] = Path("/var/lib/containment-agent")
    socket: Annotated[Path, About("where the agent listens for `contain`")] = Path("/run/containment-agent/agent.sock")
    policies: Annotated[tuple[Path, ...], About("directories and files of policies", "[/etc/containment-agent/policies]")] = ()
    mode: Annotated[Literal["dry_run", "enforce"], About("for policies that say nothing of their own")] = "dry_run"
    never_touch: Annotated[tuple[Address, ...], About("addresses that no action may ever reach", "[192.0.2.0/28]")] = ()
    lists: Annotated[
        Mapping[str, tuple[Address, ...]] | None,
        About("addresses by the names that policies use", "{office: [192.0.2.0/28], monitoring: [192.0.2.16]}"),
    ] = None
    feeds: Annotated[
        Mapping[str, FeedKeys] | None,
        About(
            "lists that others keep, as in drop: {url: https://lists.example.com/drop.txt}",
            '{threats: {url: "https://lists.example.com/drop.txt"}}',
        ),
    ] = None
    limits: Annotated[
        LimitKeys | None, About("what all policies together must not exceed", "{max: 1000 per 10m, max_active: 2000}")
    ] = None
    approvals: Annotated[ApprovalKeys | None, About("who says yes to what waits for a person, as in {people: 2}")] = None
    sensors: Annotated[
        Mapping[str, Node] | None,
        About(
            "what is read, as in auth: {logfile: {path: …, parsers: [sshd]}}",
            "{auth: {logfile: {path: /var/log/auth.log, parsers: [sshd, sudo]}}}",
        ),
    ] = None
    intake: Annotated[
        IntakeKeys | None,
        About(
            "what other tools may hand in over HTTP, as in {senders: {prometheus: {alertmanager: {}, …}}}",
            "{senders: {prometheus: {alertmanager: {}, auth: {bearer_file: /etc/containment-agent/prometheus}}}}",
        ),
    ] = None
    pages: Annotated[PagesKeys | None, About('web pages for people, as in {listen: "127.0.0.1:9444"}')] = None
    metrics: Annotated[
        MetricsKeys | None,
        About('/metrics for Prometheus, and /healthz: {listen: "127.0.0.1:9445"}', '{listen: "127.0.0.1:9445"}'),
    ] = None
    checks: Annotated[
        Mapping[str, Node] | None,
        About(
            "what is asked, as in shop: {http: {url: …}, every: 10s}",
            '{shop: {http: {url: "https://shop.example.com/health"}, every: 10s}}',
        ),
    ] = None
    systems: Annotated[
        SystemKeys | None,
        About(
            "outside systems that checks and actions need",
            "{postgres: {main: {host: /var/run/postgresql, user: agent, database: postgres}}, docker: {}}",
        ),
    ] = None
    protected: Annotated[
        tuple[str, ...],
        About(
            "what no action may touch, as in `unit postgresql*`, `container registry`, `role replicator`",
            "[unit postgresql*, container registry, role replicator]",
        ),
    ] = ()
    keep_open: Annotated[
        Mapping[str, OpenKeys] | None,
        About("what stays open when this host is isolated, beside never_touch", "{nats: {address: 192.0.2.10, ports: [4222]}}"),
    ] = None
    ssh_ports: Annotated[
        tuple[Port, ...], About("where sshd listens; whoever is logged in there is never blocked", "[22, 2222]")
    ] = (22,)
    evidence: Annotated[EvidenceKeys | None, About("how long events are kept", "{keep_events: 30d, keep_size: 2GiB}")] = None
    maintenance: Annotated[
        Mapping[str, MaintenanceKeys] | None,
        About(
            'when policies only say what they would do, as in deploy: {days: [tue], from: "22:30", to: "23:30"}',
            '{deploy: {days: [tue], from: "22:30", to: "23:30"}}',
        ),
    ] = None
    notify: Annotated[
        NotifyKeys | None,
        About(
            "how people are told, as in {channels: {ops: {slack: {channel: C0123456789, token_file: …}}}}",
            "{channels: {ops: {slack: {channel: C0123456789, token_file: /etc/containment-agent/slack}}}}",
        ),
    ] = None
    canary: Annotated[
        Node | None, About("prove so often that what is read reaches the kernel, as in 5m; off for never", "5m")
    ] = None
    hooks: Annotated[
        Mapping[str, HookKeys] | None,
        About(
            "programs that policies may have run, as in {rollback-shop: {run: [/usr/local/sbin/rollback, shop]}}",
            "{rollback-shop: {run: [/usr/local/sbin/rollback, shop]}}",
        ),
    ] = None
    services: Annotated[Node | None, Later(_SERVICES)] = None

    elsewhere: ClassVar[Mapping[str, str]] = {
        "senders": "write intake: {senders: {…}}",
        "policy": "policies stand in files of their own, named by `policies: [directory]`",
        "dry_run": "write mode: dry_run",
        "whitelist": "addresses that are never touched stand in `never_touch`",
        **dict.fromkeys(
            ("allowlist", "allow", "ignoreip", "ignore_ip", "trusted"), "addresses that are never touched stand in `never_touch`"
        ),
        "postgres": "write systems: {postgres: {main: {dsn: …}}}",
        "vault": "write systems: {vault: {url: …, role_id: …, secret_id_file: …}}",
        "docker": "write systems: {docker: {}}",
        "pause": "for what comes round: maintenance; for once: contain pause --for 30m",
    }
