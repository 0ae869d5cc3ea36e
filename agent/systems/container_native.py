"""What isolating a container comes to, in docker's, nft's and the shell's own words, for dry runs and evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.action import Call
from agent.systems.container_cut import table
from agent.systems.container_group import Group, Who
from agent.systems.container_isolation import PAUSED, SILENT
from agent.systems.container_netns import OPEN, RULES
from agent.systems.container_networks import Place

Args = Mapping[str, Any]


def native(one: Call) -> str:
    """The call in the words of the tools that do it; nothing for a verb that is not known here."""
    said = _SAID.get(one.verb)
    return said(one.args) if said else ""


def _cut(args: Args) -> str:
    group: Group = args["group"]
    lines = [f"nft add table netdev {table(group.key)}, with policy drop at priority -500 on each end of a veth of {group}:"]
    lines += [
        f"  chain {chain} {{ type filter hook {hook} devices = {{ … }} }}"
        for chain, hook in (("sent", "ingress"), ("got", "egress"))
    ]
    lines += ['  on the host\'s own network instead: nft add table inet …, input and output: socket cgroupv2 level … "…" drop']
    return "\n".join(lines)


def _silence(args: Args) -> str:
    group: Group = args["group"]
    rules = "\n".join(f"  {line}" for line in RULES.strip().splitlines())
    enter = f"nsenter --net=/proc/<pid of {group}>/ns/net"
    return (
        f"nft add table netdev {table(group.key)}_{SILENT}\n{enter} nft -f -\n{rules}\n{enter} ss -K -H -n -t -u {' '.join(OPEN)}"
    )


def _unsilence(args: Args) -> str:
    group: Group = args["group"]
    inside = f"nsenter --net=/proc/<pid of {group}>/ns/net nft delete table inet containment"
    return f"{inside}\nnft delete table netdev {table(group.key)}_{SILENT}"


def _is_silent(args: Args) -> str:
    group: Group = args["group"]
    inside = f"nsenter --net=/proc/<pid of {group}>/ns/net nft list table inet containment"
    return f"{inside}\ncat /proc/<pid of {group}>/net/tcp /proc/<pid of {group}>/net/tcp6"


def _pause(args: Args) -> str:
    group: Group = args["group"]
    return f"nft add table netdev {table(group.key)}_{PAUSED}\ndocker pause {_names(group)}"


def _unpause(args: Args) -> str:
    group: Group = args["group"]
    frozen = " ".join(one.name for one in group.members if one.id not in args["paused_before"])
    return f"docker unpause {frozen}\nnft delete table netdev {table(group.key)}_{PAUSED}"


def _names(group: Group) -> str:
    return " ".join(one.name for one in group.members)


def _connect(args: Args) -> str:
    who: Who = args["who"]
    place: Place = args["place"]
    given = [("--ip", place.ipv4), ("--ip6", place.ipv6)]
    given += [("--link-local-ip", one) for one in place.link_local] + [("--alias", one) for one in place.aliases]
    given += [("--link", one) for one in place.links] + [("--driver-opt", f"{name}={value}") for name, value in place.options]
    return " ".join(["docker network connect", *(f"{option} {value}" for option, value in given if value), place.name, who.name])


_SAID: Final[Mapping[str, Callable[[Args], str]]] = {
    "cut": _cut,
    "uncut": lambda args: f"nft delete table netdev {table(args['group'].key)}; nft delete table inet {table(args['group'].key)}",
    "is_cut": lambda args: f"nft list table netdev {table(args['group'].key)}; nft list table inet {table(args['group'].key)}",
    "silence": _silence,
    "unsilence": _unsilence,
    "is_silent": _is_silent,
    "pause": _pause,
    "unpause": _unpause,
    "is_paused": lambda args: f"cat freezer.state (cgroup v1) or cgroup.events (v2) of {args['group']}",
    "forbid_restart": lambda args: f"docker update --restart no {args['who'].name}",
    "allow_restart": lambda args: f"docker update --restart {args['policy']} {args['who'].name}",
    "is_restart_forbidden": lambda args: f"docker inspect --format '{{{{.HostConfig.RestartPolicy.Name}}}}' {args['who'].name}",
    "disconnect": lambda args: f"docker network disconnect {args['place'].name} {args['who'].name}",
    "connect": _connect,
    "is_disconnected": lambda args: f"docker inspect {args['who'].name}; ip -d link show, in its network",
    "network_state": lambda args: f"ss, ip address, ip route, ip neigh, nft list ruleset, in the network of {args['who'].name}",
    "processes": lambda args: f"docker top {args['who'].name}",
    "attributes": lambda args: f"docker inspect {args['who'].name}",
    "usage": lambda args: f"docker stats --no-stream {args['who'].name}",
    "logs": lambda args: f"docker logs --timestamps --tail 5000 {args['who'].name}",
    "changed_files": lambda args: f"docker diff {args['who'].name}",
}
