"""The first agent.yaml of a host, written from what was found there: commented, everything in dry run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.look import PG_SOCKETS, Listening, Looked

MOST_PORTS: Final = 12
_EPHEMERAL: Final = 32768
"""Ports from here on are mostly given out by the kernel for a while."""
_PG_CHECKS: Final = (
    *("reachable", "connections", "transactions", "locks", "replication", "checksums", "wraparound"),
    *("prepared", "crash", "config", "settings"),
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are to lie, as seen from the directory of agent.yaml."""

    state: Path
    socket: Path
    policies: Path


def draft(found: Looked, places: Places, day: str) -> str:
    """The text of agent.yaml; `day` is today's date."""
    parts = [
        _head(found, places, day),
        _never_touch(found),
        _LISTS,
        f"ssh_ports: [{', '.join(map(str, found.ssh_ports))}]      # whoever is logged in there is never blocked\n",
        _LIMITS,
        _PROTECTED,
        _section("sensors", _SENSORS, _sensors(found)),
        _INTAKE,
        _NOTIFY,
        _section("checks", _CHECKS, _checks(found)),
        _systems(found),
    ]
    return "\n".join(part for part in parts if part)


def _head(found: Looked, places: Places, day: str) -> str:
    missed = "".join(f"# Not seen: {one}\n" for one in found.missed)
    docker = "# Docker runs here: blocks and limits hold for published container ports too.\n" if found.docker else ""
    return f"""\
# What the agent watches on {_plain(found.host)}, what it asks, and what it must never touch.
# Written by `contain init` on {day} from what was found here. After an edit: contain doctor, then contain reload
{missed}{docker}
version: 1
host: {_quoted(found.host)}

# In dry run, what policies would do is recorded and not done. What a person orders is done, except under contain run --dry-run.
# Let a policy act when its findings are right:
#   contain policy mode ssh-brute-force enforce
mode: dry_run

state: {_quoted(places.state)}
socket: {_quoted(places.socket)}
policies: [{_quoted(places.policies)}]
"""


# What is never touched ------------------------------------------------------------------------------------------------


def _never_touch(found: Looked) -> str:
    """The life-lines that ops name themselves; those found by the agent stand there as comments, since they change."""
    named = {found.you: "connected over ssh when this was written"} if found.you else {}
    named |= {str(one.network.network_address): one.why for one in found.safe if one.why.startswith("logged in")}
    rows = [f'  - "{address}"    # {why}' for address, why in named.items()]
    rows = ["never_touch:", *rows] if rows else ["never_touch: []"]
    unsure = [one for one in found.safe if one.why.startswith("connected")]
    rows += [f'# - "{one.network.network_address}"    # {one.why}: is it you?' for one in unsure]
    rows += ["", "# Always safe, without being named here:"]
    others = [one for one in found.safe if "ssh" not in one.why and not one.network.is_loopback]
    rows += [f"#   {one.network.network_address}: {one.why}" for one in others]
    rows += ["#   whoever is logged in over ssh, loopback, link-local and multicast"]
    return "\n".join([_NEVER, *rows]) + "\n"


_NEVER: Final = """\
# Addresses that no action may ever reach: your own networks, the bastion, the monitoring, the load balancer in front.
# An attacker there is only reported."""

_LISTS: Final = """\
# Addresses by the names that policies use, as in `unless: {src.ip: {list: office}}`.
lists:
  office: []
  monitoring: []
# Lists that others keep, for `match: {src.ip: {list: threats}}`; see contain list show threats.
# feeds:
#   threats: {url: "https://www.spamhaus.org/drop/drop_v4.json", every: 12h}
"""

_LIMITS: Final = """\
# What all policies together must not exceed; beyond it they report, and do what their `guard.overflow` says, once for all.
limits:
  max: 1000 per 10m     # a fifth is kept for P0 and P1; what people order is never held back
  max_active: 2000
  cooldown: 1m
  max_share: 50%        # of the clients that are connected, of the containers that run

# What is destructive waits for a person: contain approvals. Without an answer it is not done.
approvals:
  wait: 30m
  people: 1             # 2: another person must say yes as well
# by: [alice, bob]      # only these may say yes
"""


# What is read and asked -----------------------------------------------------------------------------------------------

_SENSORS: Final = """\
# What is read: name: {type: {…}}. Types: journald, logfile, files, drop, kernel, connections, packets,
# sqs. They count from the next start of the agent."""

_INTAKE: Final = """\
# Who may hand in alerts, with POST /in/prometheus, also at the unix socket intake.sock. Then: contain alerts
# intake:
#   listen: "127.0.0.1:9443"
#   senders:
#     prometheus: {alertmanager: {}, auth: {bearer_file: /etc/containment-agent/prometheus.token}}
"""

_NOTIFY: Final = """\
# Who is told of incidents, by which way. P0, P1 and P2 are told to all channels unless routes say otherwise, P3 in a list once
# a day. Secrets stand in files that only root can read. Then: contain doctor, contain reload, contain notify test P1
# notify:
#   channels:
#     ops: {slack: {channel: C0123456789, token_file: /etc/containment-agent/slack.token}}
#     mail: {email: {server: "smtp.example.com:587", from: containment@example.com, to: [oncall@example.com]}}
#     oncall: {pagerduty: {routing_key_file: /etc/containment-agent/pagerduty.key}}
#   routes: {P0: [ops, mail, oncall], P1: [ops, oncall], P2: [ops]}
#   fallback: [mail]      # where a P0 or P1 gets through to none of its channels; then the terminals of this host
#   escalation: {P0: [{after: 5m, to: [oncall]}, {after: 10m}, {after: 30m, while: open}]}
"""

_CHECKS: Final = """\
# What is asked, again and again: name: {type: {…}, every: 10s, timeout: 3s}. Ask them now: contain check run
# How many bad answers count stands in a policy (for: 3 of 5). For a web site, by its own name:
#   shop: {http: {url: "https://shop.example.com/"}}
#   shop-certificate: {tls_expiry: {host: shop.example.com}, every: 1h}"""


def _section(name: str, about: str, rows: Iterable[str]) -> str:
    lines = [f"  {row}" for row in rows]
    return "\n".join([about, f"{name}:", *lines]) + "\n" if lines else f"{about}\n"


def _sensors(found: Looked) -> Iterator[str]:
    if found.journald:
        yield "auth: {journald: {parsers: [sshd, sudo]}}"
    elif found.auth_log:
        yield f"auth: {{logfile: {{path: {_quoted(found.auth_log)}, parsers: [sshd, sudo]}}}}"
    for number, log in enumerate(found.access_logs):
        name = "nginx" if number == 0 else f"nginx-{number + 1}"
        yield f"{name}: {{logfile: {{path: {_quoted(log)}, parsers: [nginx]}}}}"
    if files := [_quoted(one) for one in _FILES if _watchable(Path(one))]:
        yield f"files: {{files: {{paths: [{', '.join(files)}]}}}}    # contain baseline diff"
    yield "kernel: {kernel: {}}    # floods of SYNs and UDP packets, full tables: from the kernel's own counters"
    yield "connections: {connections: {}}    # who holds many, and ports that cannot keep up"


_FILES: Final = (
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/pam.d"),
    *("/etc/ld.so.preload", "/etc/crontab", "/etc/cron.d", "/etc/systemd/system", "/usr/local/bin", "/usr/local/sbin"),
    "/root/.ssh/authorized_keys",
)
"""What decides who gets in, what is run as root, and what no package brings."""


def _watchable(path: Path) -> bool:
    """Whether it can be read by whoever writes this; one that is not there is told when it comes."""
    if os.path.lexists(path):
        return os.access(path, os.R_OK)
    return os.access(path.parent, os.R_OK | os.X_OK)


def _checks(found: Looked) -> Iterator[str]:
    yield "disks: {disk: {used_limit: 90}, every: 1m}"
    yield "inodes: {inodes: {used_limit: 90}, every: 1m}"
    yield "memory: {memory: {}}"
    yield "load: {load: {}}"
    yield "file-descriptors: {file_descriptors: {}}"
    if Path("/proc/pressure/cpu").exists():
        yield "pressure: {pressure: {}}"
    if found.units:
        yield "units: {unit: {units: [" + ", ".join(_quoted(one) for one in found.units) + "]}}"
    for one in [port for port in found.listening if port.port < _EPHEMERAL and port.port not in found.postgres][:MOST_PORTS]:
        yield _tcp(one)
    if found.docker:
        yield "docker: {docker_reachable: {}}"
        yield "containers: {container_health: {}}"
        yield "container-restarts: {container_restarts: {}, every: 30s}"
    for name, _ in _instances(found):
        for asked in _PG_CHECKS:
            yield f"{name}-{asked}: {{postgres_{asked}: {{instance: {name}}}}}"


def _tcp(one: Listening) -> str:
    """A question for a port; only a comment for one that /etc/services does not know, which may be gone tomorrow."""
    name = f"{_word(one.program) or 'port'}-{one.port}"
    row = f"{name}: {{tcp: {{host: {_quoted(one.dial)}, port: {one.port}}}}}"
    return row if one.service else f"# {row}    # whatever that is"


def _systems(found: Looked) -> str:
    rows = ["systems:"] if found.postgres or found.docker else []
    if found.postgres:
        rows += [_POSTGRES, "  postgres:"]
        rows += [
            f"    {name}: {{host: {_quoted(PG_SOCKETS)}, port: {port}, user: agent, database: postgres}}"
            for name, port in _instances(found)
        ]
    rows += ["  docker: {}"] if found.docker else []
    rows += [_VAULT if rows else f"# systems:\n{_VAULT}"]
    return "\n".join([_SYSTEMS, *rows]) + "\n"


_SYSTEMS: Final = "# Systems that checks and actions ask. What the agent must be granted there: contain grants postgres|vault"
_POSTGRES: Final = """\
  # The agent's role needs no superuser: contain grants postgres | psql
  # and a line in pg_hba.conf lets the agent's user in, as in: local postgres agent peer map=agent"""
_VAULT: Final = """\
#  vault: {url: "https://vault.example.com:8200", role_id: "…", secret_id_file: /etc/containment-agent/vault-secret-id}"""

_PROTECTED: Final = """\
# What no action may touch, kind first: unit, container, role, user, postgres, credential, host; `*` stands for any text.
# The agent's own parts, sshd, systemd, root and superusers are always safe.
protected: []     # as in ["unit postgresql*", "container registry", "role replicator", "host"]

# What an isolated host still reaches and is reached by, beside never_touch, name servers and whoever is logged in over ssh.
keep_open: {}     # as in {vault: {address: 192.0.2.9, ports: [8200]}, nats: {address: 192.0.2.10, ports: [4222]}}
"""


def _instances(found: Looked) -> list[tuple[str, int]]:
    return [("main" if number == 0 else f"pg{port}", port) for number, port in enumerate(found.postgres)]


def _quoted(value: object) -> str:
    """A text as YAML in double quotes, whatever is in it."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text) + '"'


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _word(text: str) -> str:
    """A program's name as a check's name may be."""
    return "".join(one if one.isalnum() and one.isascii() else "-" for one in text.lower()).strip("-")
