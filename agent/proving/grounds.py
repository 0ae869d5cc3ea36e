"""What a proof of policies stands on: agent.yaml, what this version forbids by itself, and this host as it is now."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlsplit

from agent.action import CannotReach, Protected, parameters
from agent.event import Catalogue
from agent.guard import Lifeline, Lifelines
from agent.proving.reach import Ground
from agent.schema import Ttl, address

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.grammar.config_keys import PostgresKeys

_OWN_UNIT: Final = "containment-agent"


def ground(config: Config | None, known: Catalogue, learnt: Iterable[Lifeline] = ()) -> Ground:
    """The ground for a proof; `learnt` are life-lines of this host, by default none.

    Without an agent.yaml, what is never touched anywhere is left.
    """
    lists = {name: networks for name, networks in known.lists.items() if name not in known.feeds}
    if config is None:
        return Ground(known.kinds, lists=lists, forbidden=_Forbidden(None), endless=frozenset(_endless(known.actions)))
    lines = {line.network: line for line in (*learnt, *configured(config))}
    return Ground(
        kinds=known.kinds,
        lifelines=Lifelines(lines.values()),
        lists=lists,
        protected=config.protected,
        limits=config.limits,
        ssh_ports=config.ssh_ports,
        let_in=bool(config.never_touch or config.keep_open),
        mode=config.mode,
        forbidden=_Forbidden(config),
        endless=frozenset(_endless(known.actions)),
    )


def configured(config: Config) -> list[Lifeline]:
    """The addresses in agent.yaml that the host or the agent cannot be without; names are not looked up."""
    lines = [Lifeline(network, "never_touch in agent.yaml") for network in config.never_touch]
    lines += [Lifeline(one.address, f"keep_open {name} in agent.yaml") for name, one in config.keep_open.items()]
    lines += _at(urlsplit(config.vault.url).hostname, "Vault") if config.vault else []
    for name, one in config.postgres.items():
        for host in _said(one).get("host", "").split(","):
            lines += _at(host, f"PostgreSQL {name}")
    return lines


def _at(host: str | None, what: str) -> list[Lifeline]:
    try:
        return [Lifeline(address(str(ip_address(host or ""))), f"{what} in agent.yaml")]
    except ValueError:  # a name, or the directory of a socket
        return []


def _said(one: PostgresKeys) -> Mapping[str, str]:
    """Host and user, from the connection string or its parts."""
    if not one.dsn:
        return {"host": one.host, "user": one.user}
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return {name: str(value) for name, value in conninfo_to_dict(one.dsn).items()}
    except ProgrammingError:
        return {}


class _Forbidden:
    """Why a thing is never touched, whatever agent.yaml protects: asked of those that refuse it in a plan, too."""

    def __init__(self, config: Config | None) -> None:
        postgres = config.postgres if config else {}
        self._roles = {f"{user} on {name}" for name, one in postgres.items() if (user := _said(one).get("user"))}
        self._vault = config.vault if config else None

    def __call__(self, named: str) -> str:
        """The reason, or nothing. `named` is a kind and a name, as in `unit ssh.service` or `role agent on main`."""
        kind, _, name = named.partition(" ")
        try:
            match kind:
                case "unit":
                    _spare_unit(name)
                case "user" if name == "root":
                    return "root is never locked: nobody could mend anything"
                case "role" if name in self._roles:
                    return f"role {name} is the one by which the agent itself logs in"
                case "credential":
                    self._spare_credential(*name.split(" ", 1))
        except Protected as refused:
            return str(refused).removeprefix(f"cannot change {name}: ")
        except CannotReach:  # no such name can be: the plan says so
            return ""
        return ""

    def _spare_credential(self, kind: str, name: str) -> None:
        from agent.systems import vault_guard

        if self._vault and name in self._vault.protected:
            raise Protected(f"{kind} {name} is protected in agent.yaml (systems: vault)")
        own = vault_guard.Own("", "", self._vault.mount if self._vault else "approle", "")
        if kind == "prefix":
            vault_guard.spare_prefix(vault_guard.path(name, kind), own, ())
        elif kind == "lease":
            vault_guard.spare_lease(vault_guard.path(name, kind), own, ())


def _spare_unit(name: str) -> None:
    from agent.systems.unit_facts import refuse_protected

    if name.partition(".")[0] == _OWN_UNIT:
        raise Protected(f"{name} is the agent itself")
    refuse_protected([name], f"change {name}")


def _endless(actions: Mapping[str, type[Any]]) -> Iterator[str]:
    """Actions that have no ttl and an undo: what they make stays in force, and nothing would end it.

    Whether there is an undo stands in the source alone; the guard sees it in each plan.
    """
    for name, made in actions.items():
        if not any(Ttl in (hint, *get_args(hint)[:1]) for hint, _ in parameters(made).values()) and _has_undo(made):
            yield name


def _has_undo(made: type[Any]) -> bool:
    try:
        tree = ast.parse(inspect.getsource(inspect.getmodule(made) or made))
    except (OSError, SyntaxError):
        return False
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    changes = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "Change"]
    undos = [one.args[2] for one in changes if len(one.args) > 2]
    undos += [given.value for one in changes for given in one.keywords if given.arg == "undo"]
    return any(not (isinstance(one, ast.Constant) and one.value is None) for one in undos)
