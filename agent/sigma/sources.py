"""Which events of ours are what a Sigma rule's `logsource` means, and what its fields are called here.

A source stands here only where our kinds have every event that its log has, told once each; where they have only some (what
Vault refused, logins that PostgreSQL refused), a rule must name the kind itself: `service: vault.denied`. A field stands here
only where its value is the log's own, in the same unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.event import Kind, Value
from agent.grammar.problem import nearest


@dataclass(frozen=True)
class Name:
    """One of our fields. `blank`: what the log may have (None: nothing) where our event has the empty text."""

    ours: str
    blank: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Source:
    """What a `logsource` is here; without kinds, one that nothing is known of. `always` are fields that no event lacks."""

    kinds: tuple[Kind, ...]
    names: Mapping[str, Name]
    always: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class _Known:
    """One row of the table; `where` are the keys of `logsource` that must be there, with their values."""

    where: Mapping[str, str]
    kinds: tuple[str, ...]
    names: Mapping[str, Name]
    always: frozenset[str] = frozenset()
    note: str = ""
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys that may stand there, too, as they choose nothing that the kind does not have."""


def _same(*names: str) -> dict[str, Name]:
    return {name: Name(name) for name in names}


_SSH: Final = ("auth.ssh.failure", "auth.ssh.success", "auth.ssh.invalid_user", "auth.ssh.probe")
_SSH_NAMES: Final = {
    **_same("src.ip", "user", "port", "method", "reason"),
    "source.ip": Name("src.ip"),
    "user.name": Name("user"),
    "source.port": Name("port"),
}
_SUDO_NAMES: Final = {
    "USER": Name("as"),
    "COMMAND": Name("command"),
    "TTY": Name("tty"),
    "user.name": Name("user"),
}
_WEB_NAMES: Final = {
    "c-ip": Name("src.ip"),
    "cs-method": Name("method"),
    "cs-uri-stem": Name("path"),
    "cs-uri-query": Name("query"),
    "sc-status": Name("status"),
    "cs-user-agent": Name("agent", (None, "-")),
    "c-useragent": Name("agent", (None, "-")),
    "cs-referer": Name("referer", (None, "-")),
    "cs-referrer": Name("referer", (None, "-")),
}
_FALCO_NAMES: Final = {
    **_same("rule", "priority", "container.name", "container.image.repository", "k8s.ns.name", "k8s.pod.name"),
    **_same("proc.name", "proc.cmdline", "proc.pname", "fd.name", "hostname"),
    "user.name": Name("user", (None, "<NA>")),
    "container.id": Name("container.id", (None, "host", "<NA>")),
    "fd.cip": Name("src.ip"),
    "fd.sip": Name("dst.ip"),
}
_TABLE: Final = (
    _Known(
        {"category": "webserver"},
        ("http.request",),
        _WEB_NAMES,
        frozenset({"src.ip", "method", "path", "query", "status", "agent", "referer"}),
        "cs-uri-query is what stands behind the `?` of a request, and nothing before it",
        also={"product": ("nginx", "apache"), "service": ("nginx", "apache")},
    ),
    _Known(
        {"product": "linux", "service": "sshd"},
        _SSH,
        _SSH_NAMES,
        frozenset({"src.ip", "user"}),
        "one attempt to log in makes one event here, whatever else sshd writes about it",
    ),
    _Known(
        {"product": "linux", "service": "sudo"},
        ("auth.sudo.command", "auth.sudo.failure"),
        _SUDO_NAMES,
        frozenset({"user", "command"}),
        "sudo writes a long command over several lines, and only the first of them is looked at",
    ),
    _Known({"product": "falco"}, ("falco.alert",), _FALCO_NAMES, note="texts of Falco's are kept to 300 characters"),
)
_OWN_NAMES: Final[Mapping[str, Mapping[str, Name]]] = {
    **dict.fromkeys(_SSH, _SSH_NAMES),
    "auth.sudo.command": _SUDO_NAMES,
    "auth.sudo.failure": _SUDO_NAMES,
    "http.request": _WEB_NAMES,
    "falco.alert": _FALCO_NAMES,
    "postgres.auth.failure": {"dbname": Name("database"), "remote_host": Name("src.ip"), "state_code": Name("sqlstate")},
    "vault.auth.failure": {"request.path": Name("path"), "request.remote_address": Name("src.ip")},
    "vault.denied": {
        "request.path": Name("path"),
        "request.operation": Name("operation"),
        "request.remote_address": Name("src.ip"),
    },
    "vault.unknown": {
        "request.path": Name("path"),
        "request.operation": Name("operation"),
        "request.remote_address": Name("src.ip"),
    },
}
"""What the fields of single kinds are called elsewhere; their own names always count beside these."""
_ALWAYS: Final = {kind: known.always for known in _TABLE for kind in known.kinds}


def find(given: Mapping[str, str], kinds: Mapping[str, Kind]) -> Source | tuple[str, str]:
    """The source that a `logsource` names, or why there is none, and what to write instead."""
    own = kinds.get(given.get("service", ""))
    if own is not None:
        return _own(own)
    for known in _TABLE:
        rest = {key: value for key, value in given.items() if known.where.get(key) != value}
        fits = all(given.get(key) == value for key, value in known.where.items())
        if fits and all(value in known.also.get(key, ()) for key, value in rest.items()):
            made = tuple(kinds[name] for name in known.kinds)
            return Source(made, known.names, known.always, known.note)
    return _none(given, kinds)


def _own(kind: Kind) -> Source | tuple[str, str]:
    if kind.state or kind.alert:
        how = (
            "tells how something is, again and again" if kind.state else "is another tool's alert, which stands until it is over"
        )
        return f"`{kind.name}` {how}; a Sigma rule is about what happens", "write the policy by hand"
    names = {**_OWN_NAMES.get(kind.name, {}), **_same(*kind.fields)}
    note = next((known.note for known in _TABLE if kind.name in known.kinds), "")
    return Source((kind,), names, _ALWAYS.get(kind.name, frozenset()), note)


def _none(given: Mapping[str, str], kinds: Mapping[str, Kind]) -> tuple[str, str]:
    said = ", ".join(f"{key} {value}" for key, value in given.items())
    words = {given.get("product", ""), given.get("service", ""), given.get("category", "")}
    family = {"postgresql": "postgres", "hashicorp": "vault", "openbao": "vault", "sshd": "auth.ssh", "auth": "auth"}
    heads = {family.get(word, word) for word in words if word}
    near = sorted(name for name, kind in kinds.items() if name.startswith(tuple(f"{head}." for head in heads)) and not kind.state)
    if near:
        return (
            f"nothing here has all events of the log source ({said})",
            f"if one of our kinds is meant, name it, as in service: {near[0]}; there are {', '.join(near)}",
        )
    close = nearest(given.get("service", ""), kinds)
    known = "webserver; linux with sshd or sudo; falco; or as `service` a kind of ours"
    hint = f"did you mean service: {close}?" if close else f"known: {known}"
    return f"nothing here has the events of the log source ({said or 'nothing'})", hint
