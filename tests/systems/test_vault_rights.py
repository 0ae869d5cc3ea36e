"""The policy that is shipped for Vault, line by line, and what `contain doctor` says of others."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from agent.systems.vault import Vault
from tests.openbao import GRANTS, Bao


def test_the_shipped_policy_lacks_nothing_and_allows_nothing_harmful(vault: Vault) -> None:
    assert vault.lacks() == []


def test_a_policy_that_reaches_the_agents_own_token_is_said(bao: Bao) -> None:
    wide = GRANTS.read_text(encoding="utf-8") + 'path "sys/leases/revoke-prefix/auth/*" { capabilities = ["update", "sudo"] }\n'
    bao.ask("PUT", "sys/policies/acl/wide", {"policy": wide})
    role_id, secret_id, _ = bao.approle("containment", "wide", token_policies="wide")
    with closing(Vault(bao.settings(role_id=role_id, secret_id=lambda: secret_id))) as vault:
        lacks = vault.lacks()

    assert len(lacks) == 3
    assert lacks[0].startswith("the agent's policy in Vault allows `sudo, update` on sys/leases/revoke-prefix/auth/any")


ALLOWED: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "auth/token/lookup-self", None),
    ("POST", "auth/token/renew-self", None),
    ("POST", "sys/capabilities-self", {"paths": ["sys/seal"]}),
    ("LIST", "auth/token/accessors", None),
    ("POST", "auth/token/lookup-accessor", {"accessor": "{accessor}"}),
    ("POST", "identity/lookup/entity", {"id": "{entity}"}),
    ("GET", "identity/entity/id/{entity}", None),
    ("POST", "identity/entity/id/{entity}", {"disabled": False}),
    ("LIST", "sys/leases/lookup/auth/userpass/login", None),
    ("LIST", "sys/leases/lookup/auth/userpass/login/paula", None),
    ("PUT", "sys/leases/lookup", {"lease_id": "{lease}"}),
    ("PUT", "sys/leases/revoke", {"lease_id": "{lease}", "sync": True}),
    ("PUT", "sys/leases/revoke-prefix/auth/userpass/login/paula", {"sync": False}),
    ("PUT", "sys/leases/revoke-prefix/database/creds/app", {"sync": False}),
    ("GET", "sys/auth/userpass", None),
    ("POST", "auth/approle/role/paula/secret-id-accessor/lookup", {"secret_id_accessor": "{secret_id}"}),
    ("POST", "auth/approle/role/paula/secret-id-accessor/destroy", {"secret_id_accessor": "{secret_id}"}),
    ("POST", "auth/token/revoke-accessor", {"accessor": "{accessor}"}),
)
DENIED: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "identity/entity/id/{entity}", {"policies": ["containment"]}),
    ("POST", "identity/entity/id/{entity}", {"disabled": False, "policies": ["containment"]}),
    ("DELETE", "identity/entity/id/{entity}", None),
    ("POST", "identity/entity", {"name": "new"}),
    ("PUT", "sys/leases/revoke", {"lease_id": "auth/containment/login/h1"}),
    ("PUT", "sys/leases/revoke", {"lease_id": "auth/token/root/h1"}),
    ("PUT", "sys/leases/revoke-prefix/auth/containment", {}),
    ("PUT", "sys/leases/revoke-prefix/auth/containment/login", {}),
    ("PUT", "sys/leases/revoke-prefix/auth/userpass", {}),
    ("PUT", "sys/leases/revoke-prefix/database", {}),
    ("PUT", "sys/leases/revoke-force/database/creds/app", {}),
    ("PUT", "sys/seal", None),
    ("GET", "sys/policies/acl/containment", None),
    ("PUT", "sys/policies/acl/containment", {"policy": 'path "*" { capabilities = ["sudo"] }'}),
    ("GET", "sys/auth", None),
    ("POST", "sys/auth/userpass", {"type": "userpass"}),
    ("DELETE", "sys/auth/userpass", None),
    ("POST", "auth/userpass/users/paula", {"token_policies": "root"}),
    ("POST", "auth/approle/role/paula/secret-id", {}),
    ("POST", "auth/token/create", {}),
    ("POST", "auth/token/create-orphan", {}),
    ("GET", "database/creds/app", None),
)


def test_each_line_of_the_shipped_policy_allows_what_it_should_and_nothing_beside_it(bao: Bao) -> None:
    bao.user("paula")
    auth, other = bao.login("paula"), bao.login("paula")
    _, _, secret_id = bao.approle("approle", "paula", token_policies="default")
    under = "auth/userpass/login/paula"
    held = {bao.ask("PUT", "sys/leases/lookup", {"lease_id": f"{under}/{key}"})["data"]["id"] for key in bao.keys(under)}
    names = {"accessor": auth["accessor"], "entity": auth["entity_id"], "lease": sorted(held)[0], "secret_id": secret_id}
    given = {"role_id": bao.role_id, "secret_id": bao.settings().secret_id()}
    agent = bao.ask("POST", "auth/containment/login", given, by="")["auth"]["client_token"]

    denied = {line: _status(bao, line, names, agent) for line in map(str, DENIED)}
    allowed = {line: _status(bao, line, names, agent) for line in map(str, ALLOWED)}

    assert {line for line, status in denied.items() if status != 403} == set()
    assert {line: status for line, status in allowed.items() if status >= 300} == {}
    assert not bao.knows(auth)
    assert not bao.knows(other)


def _status(bao: Bao, line: str, names: dict[str, str], agent: str) -> int:
    method, path, body = next(one for one in (*ALLOWED, *DENIED) if str(one) == line)
    filled = {
        key: value.format(**names) if isinstance(value, str) and "{" in value[:1] else value
        for key, value in (body or {}).items()
    }
    return bao.raw(method, path.format(**names), filled if body is not None else None, by=agent).status_code
