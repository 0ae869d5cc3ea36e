"""What is asked of Vault before and after: who a credential belongs to, what is under a prefix, what must be spared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from agent.action import CannotReach, Protected
from agent.systems import vault_guard as guard
from agent.systems import vault_requests as requests
from agent.systems.vault_guard import Kept
from agent.systems.vault_login import NO_WORDS, Login, Patience, Refused, Request

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BY_NAME: Final = ("userpass", "ldap", "radius", "okta")
"""Auth methods that put a user's tokens under auth/<mount>/login/<user>; the others all under auth/<mount>/login."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody as Vault knows him: one entity for all his ways in. `changed` is Vault's own time, as text."""

    id: str
    name: str
    disabled: bool
    changed: str
    aliases: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The accessors of an entity's tokens, and those of orphans, which belong to nobody and so may be its own."""

    accessors: tuple[str, ...]
    orphans: tuple[str, ...]


class Look:
    """Questions to one server, all within one patience."""

    def __init__(self, login: Login, patience: Patience) -> None:
        self._login, self._patience = login, patience
        self._protected, self._most = login.settings.protected, login.settings.most

    # Tokens ---------------------------------------------------------------------------------------------------------

    def token(self, accessor: str) -> dict[str, Any] | None:
        """What Vault shows of a token, never the token itself; None where there is none."""
        return self._sought(f"look up the token accessor {accessor}", requests.token(accessor), "invalid accessor")

    def spared_token(self, accessor: str) -> dict[str, Any] | None:
        """The same.

        Raises:
            Protected: it must live.
        """
        if accessor in self._protected:
            raise Protected(f"the token accessor {accessor} is protected in agent.yaml: it is never revoked")
        seen = self.token(accessor)
        if seen is not None:
            guard.spare_token(seen, self._login.own(self._patience), self._protected)
        return seen

    def tokens_of(self, entity_id: str) -> Tokens:
        """Every token of an entity. One look-up for each token that Vault holds: about 1 ms each.

        Raises:
            Protected: there are more tokens than may be enumerated, or one of the entity's must live.
        """
        listed = self._keys("list the tokens", requests.accessors())
        if len(listed) > self._most:
            raise Protected(
                f"Vault holds {len(listed)} tokens, and {self._most} are the most that are looked through;"
                " revoke by lease_prefix, or with `tokens: false` only disable the entity"
            )
        found, orphans = [], []
        for accessor in listed:
            seen = self.token(accessor)
            if seen is None:
                continue
            if seen["entity_id"] == entity_id:
                guard.spare_token(seen, self._login.own(self._patience), self._protected)
                found.append(accessor)
            elif not seen["entity_id"] and seen.get("orphan") and "root" not in (seen["policies"] or ()):
                orphans.append(accessor)
        return Tokens(tuple(sorted(found)), tuple(sorted(orphans)))

    # Entities -------------------------------------------------------------------------------------------------------

    def entity(self, named: str) -> Entity:
        """An entity, by its id or its name.

        Raises:
            Protected: it is the agent's own, or a break-glass one.
            CannotReach: Vault knows none.
        """
        found = self._named(named)
        if found is None:
            raise CannotReach(f"cannot find the entity {named}: Vault knows none with such an id or name")
        return self._spared(found)

    def entity_of_user(self, mount: str, user: str) -> Entity:
        """The entity of a user of an auth method that goes by names.

        Raises:
            Protected, CannotReach: as in `entity`; a user who has never logged in has none.
        """
        seen = self._ask(f"find the auth method at auth/{mount}", requests.auth_mount(mount))
        alias = {"alias_name": user.lower(), "alias_mount_accessor": str(seen.get("accessor"))}
        found = self._entity_by(f"find the entity of {user}", alias)
        if found is None:
            raise CannotReach(
                f"cannot find the entity of the user {user} at auth/{mount}: whoever has never logged in has none, and no token"
                f" either; to keep him out for good: bao delete auth/{mount}/users/{user}"
            )
        return self._spared(found)

    def spared_entity(self, entity_id: str) -> Entity:
        """An entity by its id alone.

        Raises:
            Protected, CannotReach: as in `entity`.
        """
        found = self.entity_now(entity_id)
        if found is None:
            raise CannotReach(f"cannot find the entity {entity_id}: it is gone")
        return self._spared(found)

    def entity_now(self, entity_id: str) -> Entity | None:
        """An entity as it is now; None where it is gone."""
        data = self._sought(f"read the entity {entity_id}", requests.entity(entity_id), NO_WORDS)
        return _entity(data) if data else None

    def _named(self, named: str) -> Entity | None:
        what = f"find the entity {named}"
        found = self._entity_by(what, {"id": named}) if _UUID.fullmatch(named) else None
        return found or self._entity_by(what, {"name": named})

    def _entity_by(self, what: str, given: Mapping[str, str]) -> Entity | None:
        data = self._ask(what, requests.entity_by(**given)).get("data")  # 204, and so nothing, for an unknown one
        return _entity(data) if data else None

    def _spared(self, found: Entity) -> Entity:
        guard.spare_entity(found.id, found.name, self._login.own(self._patience), self._protected)
        return found

    # Leases ---------------------------------------------------------------------------------------------------------

    def lease(self, lease_id: str) -> dict[str, Any] | None:
        """What Vault shows of a lease; None where there is none."""
        return self._sought(f"look up the lease {lease_id}", requests.lease(lease_id), "invalid lease")

    def spared_lease(self, lease_id: str) -> dict[str, Any] | None:
        """The same.

        Raises:
            Protected: it may be a token that must live.
        """
        plain = guard.path(lease_id, "lease")
        guard.spare_lease(plain, self._login.own(self._patience), self._kept() if plain.startswith("auth/") else ())
        return self.lease(plain)

    def spared_leases(self, prefix: str) -> list[str]:
        """The ids of all leases under a prefix.

        Raises:
            Protected: a token that must live stands there, or there are too many.
        """
        plain = guard.path(prefix, "prefix")
        guard.spare_prefix(plain, self._login.own(self._patience), self._kept() if plain.startswith("auth/") else ())
        return self.leases(plain)

    def leases(self, prefix: str) -> list[str]:
        """The ids of all leases under a prefix.

        Raises:
            Protected: there are more than may be revoked at once.
        """
        found, folders = list[str](), [f"{prefix}/"]
        while folders:
            folder = folders.pop()
            for key in self._keys(f"list the leases under {folder}", requests.leases(folder)):
                (folders if key.endswith("/") else found).append(folder + key)
            if len(found) + len(folders) > self._most:
                raise Protected(f"there are more than {self._most} leases under {prefix}: name a longer prefix")
        return sorted(found)

    def issued(self, lease_id: str) -> float | None:
        """When a lease was given out, by Vault's clock in Unix seconds; None where it is gone."""
        seen = self.lease(lease_id)
        return datetime.fromisoformat(seen["issue_time"]).timestamp() if seen else None

    def login_paths(self, mount: str, user: str) -> tuple[str, ...]:
        """Where a user's tokens stand: one path for each way in which he wrote his name, since Vault keeps it as it was."""
        above = f"auth/{mount}/login"
        names = [key.rstrip("/") for key in self._keys(f"list the leases under {above}", requests.leases(above))]
        return tuple(f"{above}/{one}" for one in sorted(names) if one.lower() == user.lower())

    def _kept(self) -> Iterator[Kept]:
        """The paths that hold the tokens of those who are protected."""
        for one in self._protected:
            seen = None if _UUID.fullmatch(one) else self.token(one)
            if seen is not None:
                yield Kept(str(seen["path"]), f"the protected token accessor {one} stands there")
                continue
            found = self._named(one)
            for alias in found.aliases if found else ():
                login = f"{alias['mount_path']}login"
                path = f"{login}/{alias['name']}" if alias["mount_type"] in _BY_NAME else login
                yield Kept(path, f"the protected entity {one} logs in there")

    # AppRoles -------------------------------------------------------------------------------------------------------

    def secret_id(self, mount: str, role_name: str, secret_id_accessor: str) -> dict[str, Any] | None:
        """What Vault shows of a secret id, never the secret id itself; None where there is none.

        Raises:
            CannotReach: there is no such role.
        """
        what = f"look up a secret id of the AppRole {role_name} at auth/{mount}"
        return self._sought(what, requests.secret_id(mount, role_name, secret_id_accessor, "lookup"), "failed to find accessor")

    def spared_secret_id(self, mount: str, role_name: str, secret_id_accessor: str) -> dict[str, Any] | None:
        """The same.

        Raises:
            Protected: the agent itself logs in by that role.
        """
        guard.path(mount, "mount"), guard.name(role_name, "AppRole")
        guard.spare_role(mount, role_name, self._login.own(self._patience))
        return self.secret_id(mount, role_name, secret_id_accessor)

    # Asking ---------------------------------------------------------------------------------------------------------

    def _ask(self, what: str, request: Request) -> dict[str, Any]:
        return self._login.ask(what, request, self._patience)

    def _sought(self, what: str, request: Request, unknown: str) -> dict[str, Any] | None:
        """The data of an answer; None where Vault refuses with these words, which say that there is no such thing."""
        try:
            data = self._ask(what, request).get("data")
        except Refused as error:
            if unknown in str(error):
                return None
            raise
        return dict(data) if data else None

    def _keys(self, what: str, request: Request) -> list[str]:
        """A listing; empty where there is nothing to list, which Vault answers with 404."""
        found = self._sought(what, request, NO_WORDS)
        return list((found or {}).get("keys") or ())


def _entity(data: Mapping[str, Any]) -> Entity:
    aliases = tuple(data.get("aliases") or ())
    return Entity(data["id"], data["name"], bool(data["disabled"]), str(data["last_update_time"]), aliases)
