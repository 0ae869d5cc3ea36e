"""The requests that are made to Vault, each in one place: the verbs send them, and the dry run shows them."""

from __future__ import annotations

from urllib.parse import quote

from agent.systems.vault_login import Request


def entity(entity_id: str) -> Request:
    """Read an entity."""
    return Request("GET", f"identity/entity/id/{quote(entity_id, safe='')}")


def entity_by(**given: str) -> Request:
    """Find an entity: by `id`, by `name`, or by `alias_name` with `alias_mount_accessor`."""
    return Request("POST", "identity/lookup/entity", given)


def set_entity(entity_id: str, *, disabled: bool) -> Request:
    """Disable an entity, or enable it. A partial update: its policies and metadata stay."""
    return Request("POST", f"identity/entity/id/{quote(entity_id, safe='')}", {"disabled": disabled})


def accessors() -> Request:
    """List every token."""
    return Request("LIST", "auth/token/accessors")


def token(accessor: str) -> Request:
    """Look a token up."""
    return Request("POST", "auth/token/lookup-accessor", {"accessor": accessor})


def revoke_token(accessor: str) -> Request:
    """Revoke a token, its children and its leases. The answer to an unknown one is 200 all the same."""
    return Request("POST", "auth/token/revoke-accessor", {"accessor": accessor})


def lease(lease_id: str) -> Request:
    """Look a lease up."""
    return Request("PUT", "sys/leases/lookup", {"lease_id": lease_id})


def leases(folder: str) -> Request:
    """List what is under a path; what ends in a slash has more under it."""
    return Request("LIST", f"sys/leases/lookup/{quote(folder.rstrip('/'))}")


def revoke_lease(lease_id: str) -> Request:
    """Revoke a lease, and answer when it is done. The answer to an unknown one is 204 all the same."""
    return Request("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})


def revoke_prefix(prefix: str) -> Request:
    """Revoke every lease under a prefix, and answer before it is done. OpenBao takes whole parts, and no slash at the end."""
    return Request("PUT", f"sys/leases/revoke-prefix/{quote(prefix)}", {"sync": False})


def secret_id(mount: str, role_name: str, secret_id_accessor: str, do: str) -> Request:
    """Look the secret id of an AppRole up, or destroy it."""
    where = f"auth/{quote(mount)}/role/{quote(role_name, safe='')}/secret-id-accessor/{do}"
    return Request("POST", where, {"secret_id_accessor": secret_id_accessor})


def auth_mount(mount: str) -> Request:
    """Read how an auth method is mounted."""
    return Request("GET", f"sys/auth/{quote(mount)}")


def health() -> Request:
    """Read how the server is, as 200 whatever it is: hvac gives raw answers for the other codes. Needs no token."""
    codes = "&".join(f"{one}code=200" for one in ("standby", "sealed", "uninit", "drsecondary", "performancestandby"))
    return Request("GET", f"sys/health?{codes}")


def leader() -> Request:
    """Ask who is active. Needs no token."""
    return Request("GET", "sys/leader")


def own_token() -> Request:
    """Look up the token that asks."""
    return Request("GET", "auth/token/lookup-self")


def capabilities(paths: list[str]) -> Request:
    """Ask what the token that asks may do."""
    return Request("POST", "sys/capabilities-self", {"paths": paths})
