"""Jails of fail2ban's written as our policies, and as the sensors of agent.yaml that they need."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.fail2ban.filters import WHERE
from agent.fail2ban.jails import Jail
from agent.fail2ban.kinds import FAILURE
from agent.schema import Ttl, spell

_STRANGERS: Final = ("203.0.113.7", "198.51.100.7", "192.0.2.200", "2001:db8::7")
"""Documentation addresses for the examples."""


def policies(jails: Sequence[Jail]) -> dict[str, str]:
    """A policy for each jail, by the name of its file."""
    shared = Counter(jail.filter for jail in jails)
    return {f"{_name(jail)}.yaml": _policy(jail, apart=shared[jail.filter] > 1) for jail in jails}


def _name(jail: Jail) -> str:
    return "fail2ban-" + re.sub(r"[^a-z0-9]+", "-", jail.name.lower()).strip("-")


def _policy(jail: Jail, *, apart: bool) -> str:
    """`apart`: another jail has the same filter, over other logs."""
    match = {"filter": jail.filter} | ({"source": _sources(jail)} if apart and _sources(jail) else {})
    within = spell(jail.findtime)
    count = f">= {jail.maxretry} in {within}"
    step = _step(jail)
    said = f"{jail.maxretry} failure{'s' if jail.maxretry > 1 else ''} within {within}"
    lines = [
        "# yaml-language-server: $schema=policy.schema.json",
        f"# From fail2ban's jail {jail.name}, written by: contain policy import-fail2ban",
        *(f"# Not carried over: {one}" for one in _flat(jail.lost)),
        *(f"# Note: {one}" for one in _flat(jail.notes)),
        f"policy: {_name(jail)}",
        f"title: {_text(f'As the jail {jail.name} of fail2ban: {said}')}",
        "severity: P2",
        "owner: security",
        "when:",
        f"  event: {FAILURE.name}",
        f"  match: {_text(match)}",
        "  by: src.ip",
        f"  count: {_text(count)}",
        *_unless(jail),
        *(["then:", f"  - block_ip: {step}"] if jail.blocks else []),
        *(["guard:", "  max: 1000 per 10m"] if jail.blocks else []),
        *(["recover:", "  after: manual"] if jail.blocks and jail.bantime is None else []),
        "examples:",
        *_examples(jail, match, said),
    ]
    return "\n".join(lines) + "\n"


def _unless(jail: Jail) -> list[str]:
    if not jail.ignored:
        return []
    head = "unless:  # ignoreip; whoever no policy may ever block belongs into never_touch of agent.yaml"
    return [head, f"  src.ip: {_text({'cidr': list(jail.ignored)})}"]


def _flat(lines: Iterable[str]) -> Iterator[str]:
    """A sentence must not leave its comment."""
    return (" ".join(one.split()) for one in lines)


def _step(jail: Jail, ip: str = "$src.ip") -> str:
    parts = [f"ip: {ip}", f"ttl: {_ttl(jail)}"]
    return "{" + ", ".join([*parts, f"ports: {list(jail.ports)}"] if jail.ports else parts) + "}"


def _ttl(jail: Jail) -> Ttl:
    return (
        Ttl(jail.bantime, 2.0, jail.longest)
        if jail.longest and jail.bantime and jail.longest > jail.bantime
        else Ttl(jail.bantime)
    )


def _examples(jail: Jail, match: Mapping[str, object], said: str) -> Iterator[str]:
    stranger = next((one for one in _STRANGERS if not any(_in(one, net) for net in jail.ignored)), "")
    if not stranger:
        yield "  []"
        return
    source = {"source": _sources(jail)[0]} if "source" in match else {}
    every = spell(timedelta(seconds=min(10.0, jail.findtime.total_seconds() / (2 * jail.maxretry))))
    ports = f", ports={list(jail.ports)}" if jail.ports else ""
    done = f"block_ip(ip={stranger}, ttl={_ttl(jail)}{ports})" if jail.blocks else "finding"
    tries = [(jail.maxretry, said, [done])] + ([(jail.maxretry - 1, "one fewer does nothing", [])] if jail.maxretry > 1 else [])
    for times, title, expected in tries:
        event = {"at": "0s", **({"repeat": f"{times} every {every}"} if times > 1 else {}), "event": FAILURE.name}
        event |= {"filter": jail.filter, **source, "src.ip": stranger}
        yield f"  - title: {_text(title)}"
        yield f"    events: [{_text(event)}]"
        yield f"    expect: {_text(expected)}"


def _in(address: str, network: str) -> bool:
    net = ipaddress.ip_network(network)
    one = ipaddress.ip_address(address)
    return one.version == net.version and one in net


def _sources(jail: Jail) -> list[str]:
    return ["journal"] if jail.journal else [f"file:{path}" for path in jail.files]


def _text(value: object) -> str:
    """JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)


def sensors(jails: Sequence[Jail], directory: Path) -> str:
    """The lines of agent.yaml that read what the jails read; one sensor for each log, whatever many filters it has."""
    files: dict[str, list[str]] = {}
    for jail in jails:
        for path in jail.files:
            files.setdefault(path, []).append(jail.filter)
    where = f", filters_dir: {_text(str(directory / 'filter.d'))}" if str(directory / "filter.d") != WHERE else ""
    lines, names = ["sensors:"], Counter[str]()
    for path, used in files.items():
        stem = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-") or "log"
        names[stem] += 1
        name = stem if names[stem] == 1 else f"{stem}-{names[stem]}"
        lines.append(f"  {name}: {{logfile: {{path: {_text(path)}, filters: {_text(list(dict.fromkeys(used)))}{where}}}}}")
    if journal := list(dict.fromkeys(jail.filter for jail in jails if jail.journal)):
        lines.append(f"  journal: {{journald: {{filters: {_text(journal)}{where}}}}}")
    lines += [
        f"  # {jail.name}: {{logfile: {{path: {_text(path)}, filters: [{_text(jail.filter)}]{where}}}}}    # there is none now"
        for jail in jails
        for path in jail.missing
    ]
    ignored = list(dict.fromkeys(one for jail in jails for one in jail.ignored))
    head = [
        "# For agent.yaml. A log that a sensor reads already gets `filters:` beside its `parsers:`.",
        *([f"# never_touch: {_text(ignored)}   # what the jails ignore; here it would hold for every policy"] if ignored else []),
    ]
    return "\n".join([*head, *(lines if len(lines) > 1 else ["# sensors: none of the logs is there"])]) + "\n"
