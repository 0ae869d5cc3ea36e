"""docs/reference/agent-yaml.md and checks.md: every key of agent.yaml, from the classes that read it, and the shelves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent.action import discover
from agent.grammar import (
    config_feeds,
    config_hooks,
    config_intake,
    config_keys,
    config_listening,
    config_metrics,
    config_notify,
    config_pages,
)
from agent.grammar import config_windows as windows
from agent.reference.keys import MADE, Section, contents, keys_table, section, values
from agent.reference.words import anchor, code, fenced, first, prose, table

_HEAD: Final = """\
`contain init` writes one for this host; `contain config show` says what holds and where it comes from, `contain doctor` what is
missing. Where the column of defaults is empty, the meaning says what holds, or there is nothing.
"""
_CHECKS: Final = """\
Each is a line under `checks:` of [agent.yaml](agent-yaml.md#checks): a name, the type with its parameters, and `every`, `timeout`
or `about` beside it. It answers good, bad or unknown, and is an event of the kind [`check`](events.md#check); unknown never
triggers anything. `contain check run` asks all of them now.
"""
_EXAMPLE: Final = """\
checks:
  disks: {disk: {used_limit: 90}, every: 1m}
  shop:
    http: {url: "https://shop.example.com/health"}
    every: 10s
"""
_SENDERS: Final = "Each sender has a name, a type and these options beside the type.\n"
SECTIONS: Final = (
    Section("agent.yaml", config_keys.ConfigKeys),
    Section("limits", config_keys.LimitKeys),
    Section("approvals", config_keys.ApprovalKeys),
    Section("evidence", config_keys.EvidenceKeys),
    Section("systems", config_keys.SystemKeys),
    Section("systems: postgres", config_keys.PostgresKeys, "Each server has a name: `postgres: {main: {…}}`.\n"),
    Section("systems: vault", config_keys.VaultKeys),
    Section("systems: docker", config_keys.DockerKeys),
    Section("keep_open", config_keys.OpenKeys, "Each opening has a name: `keep_open: {nats: {…}}`.\n"),
    Section("feeds", config_feeds.FeedKeys, "Each list has a name, by which policies know it: `feeds: {threats: {…}}`.\n"),
    Section("feeds: crowdsec", config_feeds.CrowdsecKeys),
    Section("maintenance", windows.MaintenanceKeys, "Each window has a name: `maintenance: {deploy: {…}}`.\n"),
    Section("hooks", config_hooks.HookKeys, "Each hook has a name: `hooks: {rollback-shop: {…}}`.\n"),
    Section("pages", config_pages.PagesKeys),
    Section("metrics", config_metrics.MetricsKeys),
    Section("intake", config_intake.IntakeKeys),
    Section("tls", config_listening.TlsKeys, "It stands under `intake`, `pages` and `metrics`.\n"),
    Section("intake: senders", config_intake.SenderOptions, _SENDERS),
    Section("intake: auth", config_intake.AuthKeys),
    Section("notify", config_notify.NotifyKeys),
    Section("notify: routes", config_notify.RouteKeys),
    Section("notify: escalation", config_notify.EscalationTable),
    Section("notify: escalation steps", config_notify.EscalationKeys),
)


def agent_yaml() -> str:
    """docs/reference/agent-yaml.md."""
    shelves = dict(_shelves())
    body = "\n".join([*(section(one) for one in SECTIONS), *(f"## {title}\n\n{text}" for title, text in shelves.items())])
    titles = contents([*(one.title for one in SECTIONS), *shelves])
    return f"# agent.yaml: every key\n\n{MADE}\n{_HEAD}\n{titles}\n{values()}\n{body}"


def _shelves() -> Iterator[tuple[str, str]]:
    from agent.notifying.notifier import discover_notifiers
    from agent.streams.sender import discover_senders

    yield (
        "Sensors",
        _shelf("a line under `sensors:`, as in `auth: {logfile: {path: /var/log/auth.log, …}}`", sensors()),
    )
    yield "Parsers", f"What `parsers:` of logfile and journald may name.\n\n{table(('parser', 'reads'), _parsers())}"
    yield "Senders", _shelf("a line under `intake: senders:`, beside `auth` and the like", discover_senders())
    yield "Channels", _shelf("a line under `notify: channels:`", discover_notifiers())
    options = keys_table(config_keys.CheckOptions)
    yield "Checks", f"{prose(config_keys.CheckOptions)}\n{options}\nEach type of check: [checks](checks.md).\n"


def _shelf(how: str, found: Mapping[str, type[Any]]) -> str:
    each = "\n".join(f"### {name}\n\n{prose(made)}\n{keys_table(made)}" for name, made in sorted(found.items()))
    return f"Each is {how}.\n\n{each}"


def sensors() -> dict[str, type[Any]]:
    """The types of sensors that stand under `sensors:`."""
    from agent.streams.sensor import discover_sensors

    return {name: made for name, made in discover_sensors().items() if name != "intake"}


def _parsers() -> Iterator[tuple[str, str]]:
    from agent import parsers

    for name, made in sorted(discover(parsers, mark="read").items()):
        yield code(name), first(made)


def checks() -> str:
    """docs/reference/checks.md."""
    from agent import checks as shelf

    found = sorted(discover(shelf, mark="ask").items())
    listed = table(("check", "good means"), ((f"[{name}](#{anchor(name)})", first(made)) for name, made in found))
    each = "\n".join(f"## {name}\n\n{prose(made)}\n{keys_table(made)}{_asks(made)}" for name, made in found)
    return f"# Checks\n\n{MADE}\n{_CHECKS}\n{fenced(_EXAMPLE, 'yaml')}\n{listed}\n{each}"


def _asks(made: Any) -> str:
    names = [code(one.name) for one in made.needs.values()]
    return f"\nAsks: {', '.join(names)}.\n" if names else ""
