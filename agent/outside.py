"""Every outside system, made from agent.yaml. None is touched yet; everything heavy is imported where it is wanted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.action import CannotReach, System
from agent.schema import spoken

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.grammar.config_keys import VaultKeys
    from agent.systems.host import Host
    from agent.systems.perimeter import Opening
    from agent.systems.postgres import Postgres
    from agent.systems.vault import VaultSettings

Learn = Callable[[str], None]


def systems(config: Config | None, learn: Learn = lambda _: None, live: Callable[[], Config] | None = None) -> dict[str, System]:
    """Every outside system by name. `learn` hears each secret, so that it can be kept out of evidence; `live` gives the
    agent.yaml that counts when the host is isolated, which a reload may have changed.

    Raises:
        CannotReach: a password file cannot be read, or everybody can read it.
    """
    from agent.grammar.config import Config
    from agent.systems.accounts import Accounts
    from agent.systems.containers import Containers
    from agent.systems.firewall import Firewall
    from agent.systems.forensics import Forensics
    from agent.systems.host import Host
    from agent.systems.perimeter import Perimeter
    from agent.systems.postgres import Postgres
    from agent.systems.postgres_evidence import PostgresEvidence
    from agent.systems.units import Units
    from agent.systems.vault import Vault

    config = given = config or Config()
    host, postgres = Host(), Postgres(_connections(config, learn))
    made: list[System] = [
        Firewall(),
        host,
        Units(),
        Accounts(),
        Forensics(),
        postgres,
        PostgresEvidence(postgres),
        Vault(_vault(config.vault) if config.vault else None, learn),
        Containers(str(config.docker.socket)) if config.docker else Containers(),
        Perimeter(lambda: list(_openings(live() if live else given, host, postgres)), config.ssh_ports, host),
    ]
    return {one.name: one for one in made}


def _connections(config: Config, learn: Learn) -> dict[str, str]:
    if not config.postgres:
        return {}
    from psycopg.conninfo import conninfo_to_dict

    from agent.grammar.config import connection

    found = {name: connection(name, one) for name, one in config.postgres.items()}
    for dsn in found.values():
        if password := conninfo_to_dict(dsn).get("password"):
            learn(str(password))
    return found


def _vault(keys: VaultKeys) -> VaultSettings:
    from agent.grammar.config import hidden
    from agent.systems.vault import VaultSettings

    return VaultSettings(
        url=keys.url,
        role_id=keys.role_id,
        secret_id=lambda: hidden(keys.secret_id_file, "Vault"),
        mount=keys.mount,
        ca_file=keys.ca_file,
        namespace=keys.namespace,
        protected=keys.protected,
    )


# What stays open when the host is isolated --------------------------------------------------------------------------------


def _openings(config: Config, host: Host, postgres: Postgres) -> Iterator[Opening]:
    """What agent.yaml names, what this host learnt by itself, and the systems that the agent needs to end the isolation."""
    from agent.systems.perimeter import Opening, learnt

    yield from learnt(host, config.ssh_ports)
    for network in config.never_touch:  # by ssh alone: an attacker may sit in the office's network, too
        yield Opening(spoken(network), config.ssh_ports, "in", "never_touch in agent.yaml")
    for name, one in config.keep_open.items():
        yield Opening(spoken(one.address), one.ports, "in", f"keep_open {name} in agent.yaml")
        yield Opening(spoken(one.address), one.ports, "out", f"keep_open {name} in agent.yaml")
    if config.vault:
        server = urlsplit(config.vault.url)
        port = server.port or (443 if server.scheme == "https" else 80)
        yield from _servers(server.hostname or "", port, "Vault")
    for name in config.postgres:
        yield from _replicas(name, postgres)


def _servers(name: str, port: int, what: str) -> Iterator[Opening]:
    from agent.systems.perimeter import Opening

    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError:  # isolated without it: the plan names what stays open, and a person sees that this is not there
        return
    for address in sorted({str(one[4][0]).partition("%")[0] for one in found}):
        yield Opening(address, (port,), "out", what)


def _replicas(name: str, postgres: Postgres) -> Iterator[Opening]:
    """Who replicates from a server on this host, and from whom it replicates."""
    from agent.systems.perimeter import Opening

    try:
        rows: list[Any] = postgres.rows(
            """
            select distinct host(client_addr) as there, current_setting('port')::int as port, 'in' as way
            from pg_stat_replication where client_addr is not null
            union select distinct sender_host, sender_port, 'out' from pg_stat_wal_receiver where sender_host ~ '^[0-9a-f.:]+$'
            """,
            instance=name,
        )
    except CannotReach:  # a server that does not answer has nobody who replicates from it now
        return
    for one in rows:
        yield Opening(one.there, (one.port,), one.way, f"replication of PostgreSQL {name}")
