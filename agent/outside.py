"""Every outside system, made from agent.yaml. None is touched yet; everything heavy is imported where it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.action import System
from agent.schema import spoken

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.grammar.config_keys import VaultKeys
    from agent.needs import Needs
    from agent.systems.hooks import Hook
    from agent.systems.host import Host
    from agent.systems.perimeter import Opening
    from agent.systems.vault import VaultSettings

Learn = Callable[[str], None]


def systems(config: Config | None, learn: Learn = lambda _: None, live: Callable[[], Config] | None = None) -> dict[str, System]:
    """Every outside system by name. `learn` hears each secret, so that it can be kept out of evidence; `live` gives the
    agent.yaml that counts when the host is isolated, which a reload may have changed.

    Raises:
        CannotReach: a password file cannot be read, or everybody can read it.
    """
    from agent.grammar.config import Config
    from agent.needs import Needs
    from agent.systems.accounts import Accounts
    from agent.systems.containers import Containers
    from agent.systems.firewall import Firewall
    from agent.systems.forensics import Forensics
    from agent.systems.hooks import Hooks
    from agent.systems.host import Host
    from agent.systems.perimeter import Perimeter
    from agent.systems.postgres import Postgres
    from agent.systems.postgres_evidence import PostgresEvidence
    from agent.systems.units import Units
    from agent.systems.vault import Vault

    config = given = config or Config()
    now: Callable[[], Config] = live or (lambda: given)
    host, postgres = Host(), Postgres(_connections(config, learn))
    containers = Containers(str(config.docker.socket)) if config.docker else Containers()
    needs = Needs(now, postgres, containers)
    made: list[System] = [
        Firewall(),
        host,
        Units(),
        Accounts(),
        Forensics(),
        postgres,
        PostgresEvidence(postgres),
        Vault(_vault(config.vault) if config.vault else None, learn),
        containers,
        Hooks(_hooks(config), config.state / "hooks"),
        needs,
        Perimeter(lambda: list(_openings(now(), host, needs)), config.ssh_ports, host),
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


def _hooks(config: Config) -> dict[str, Hook]:
    from agent.systems.hooks import Hook

    return {name: Hook(one.run, one.timeout, one.user, one.env, one.verify_run) for name, one in config.hooks.items()}


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


def _openings(config: Config, host: Host, needs: Needs) -> Iterator[Opening]:
    """What agent.yaml names, what this host learnt by itself, and the systems that the agent needs to end the isolation."""
    from agent.systems.perimeter import Opening, learnt

    yield from learnt(host, config.ssh_ports)
    for network in config.never_touch:  # by ssh alone: an attacker may sit in the office's network, too
        yield Opening(spoken(network), config.ssh_ports, "in", "never_touch in agent.yaml")
    yield from needs.openings()
