"""Calls to Vault as the HTTP requests that they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.action import Call
from agent.systems import vault_requests as requests
from agent.systems.vault_login import Request

_Args = Mapping[str, Any]


def native(one: Call) -> str:
    """The requests of a call, one a line, in order; logging in and looking up what is protected go without saying."""
    return "\n".join(_SAID[one.verb](one.args))


def _entity_set(args: _Args, *, disabled: bool) -> list[str]:
    return [str(requests.entity(args["entity_id"])), str(requests.set_entity(args["entity_id"], disabled=disabled))]


def _entity(args: _Args) -> list[str]:
    return [str(requests.entity(args["entity_id"]))]


def _revoke_accessors(args: _Args) -> list[str]:
    return _for_each("look up, then revoke", args, requests.token(""), requests.revoke_token(""))


def _accessors_gone(args: _Args) -> list[str]:
    return _for_each("look up", args, requests.token(""))


def _for_each(what: str, args: _Args, *asked: Request) -> list[str]:
    """One head for all of them: two hundred tokens would say the same path four hundred times."""
    head = " and ".join(f"{one.method} /v1/{one.path}" for one in asked)
    bodies = [json.dumps({"accessor": one}) for one in args["accessors"]]
    return [f"{head} {bodies[0]}"] if len(bodies) == 1 else [f"{head}, {what} each of", *(f"  {one}" for one in bodies)]


def _revoke_lease(args: _Args) -> list[str]:
    return [str(requests.lease(args["lease_id"])), str(requests.revoke_lease(args["lease_id"]))]


def _lease(args: _Args) -> list[str]:
    return [str(requests.lease(args["lease_id"]))]


def _revoke_prefix(args: _Args) -> list[str]:
    request = requests.revoke_prefix(args["prefix"].rstrip("/"))
    return [*_listed(args, "to count"), str(request), *_listed(args, "until none is left")]


def _prefix_empty(args: _Args) -> list[str]:
    return _listed(args, "and PUT /v1/sys/leases/lookup for the last ones")


def _listed(args: _Args, more: str) -> list[str]:
    return [f"{requests.leases(args['prefix'])}  (and what is under it, {more})"]


def _secret_id(args: _Args, *doing: str) -> list[str]:
    return [str(requests.secret_id(args["mount"], args["role_name"], args["secret_id_accessor"], one)) for one in doing]


_SAID: Final[Mapping[str, Callable[[_Args], list[str]]]] = {
    "disable_entity": lambda args: _entity_set(args, disabled=True),
    "enable_entity": lambda args: _entity_set(args, disabled=False),
    "entity_disabled": _entity,
    "entity_seen": _entity,
    "revoke_accessors": _revoke_accessors,
    "accessors_gone": _accessors_gone,
    "token_seen": lambda args: [str(requests.token(args["accessor"]))],
    "revoke_lease": _revoke_lease,
    "lease_gone": _lease,
    "lease_seen": _lease,
    "revoke_prefix": _revoke_prefix,
    "prefix_empty": _prefix_empty,
    "destroy_secret_id": lambda args: _secret_id(args, "lookup", "destroy"),
    "secret_id_destroyed": lambda args: _secret_id(args, "lookup"),
}
