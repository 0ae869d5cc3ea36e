"""What must never be revoked in Vault, whoever asks: the agent's own way in, root tokens, break-glass accounts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.action import CannotReach, Protected

ROOT: Final = "auth/token/root"
_PATH: Final = re.compile(r"[\w.@+=:~ -]+(/[\w.@+=:~ -]+)*")
_NAME: Final = re.compile(r"[\w.@+=:~ -]+")
_NO_LEASES: Final = ("sys", "identity", "cubbyhole")


@dataclass(frozen=True, slots=True)
class Own:
    """Who the agent is in Vault. `mount` is that of its AppRole, without `auth/`."""

    accessor: str
    entity_id: str
    mount: str
    role_name: str

    @property
    def path(self) -> str:
        """Where its tokens are made, which is also where their leases stand."""
        return f"auth/{self.mount}/login"


@dataclass(frozen=True, slots=True)
class Kept:
    """A path whose tokens must live, and why."""

    path: str
    why: str


def name(text: str, what: str) -> str:
    """A name that can stand in an address as one part of it.

    Raises:
        CannotReach: it is empty, or would be read as something else.
    """
    if not _NAME.fullmatch(text) or text in (".", ".."):
        raise CannotReach(f"cannot ask Vault for the {what} `{text}`: no {what} is written like that")
    return text


def path(text: str, what: str) -> str:
    """A lease id or prefix without the slash at its end.

    One way to write it only: HTTP libraries fold `//`, `/../` and `%2e` after a guard has looked (hvac 2.4, urllib3 2.8).

    Raises:
        CannotReach: it is empty, or there is another way to write it.
    """
    plain = text.removesuffix("/")
    if not _PATH.fullmatch(plain) or any(one in (".", "..") or one != one.strip() for one in plain.split("/")):
        raise CannotReach(f"cannot revoke the {what} `{text}`: write it as Vault lists it, as in database/creds/app")
    return plain


def spare_token(seen: Mapping[str, Any], own: Own, protected: Iterable[str]) -> None:
    """Look at a token as lookup-accessor shows it.

    Raises:
        Protected: it is the agent's own, root's, or a break-glass one.
    """
    accessor, entity_id = str(seen.get("accessor") or ""), str(seen.get("entity_id") or "")
    if accessor and accessor == own.accessor:
        raise Protected(f"the token accessor {accessor} is the agent's own token: it is never revoked")
    if entity_id and entity_id == own.entity_id:
        raise Protected(f"the token accessor {accessor} belongs to the agent's own entity: it is never revoked")
    if "root" in (seen.get("policies") or ()) or seen.get("path") == ROOT:
        raise Protected(f"the token accessor {accessor} is a root token: only a person may revoke it")
    for one in (accessor, entity_id):
        if one and one in protected:
            raise Protected(f"the token accessor {accessor} is protected in agent.yaml ({one}): it is never revoked")


def spare_entity(entity_id: str, called: str, own: Own, protected: Iterable[str]) -> None:
    """Look at an entity.

    Raises:
        Protected: it is the agent's own, or a break-glass one.
    """
    if entity_id == own.entity_id:
        raise Protected(f"the entity {called} is the agent's own: it is never disabled")
    if found := {entity_id, called} & set(protected):
        raise Protected(f"the entity {called} is protected in agent.yaml ({found.pop()}): it is never disabled")


def spare_role(mount: str, role_name: str, own: Own) -> None:
    """Look at an AppRole.

    Raises:
        Protected: it is the one by which the agent logs in.
    """
    if mount.casefold() == own.mount.casefold() and (not own.role_name or role_name.casefold() == own.role_name.casefold()):
        raise Protected(f"the AppRole {role_name} at auth/{mount} is the agent's own way in: its secret ids are never destroyed")


def spare_lease(lease_id: str, own: Own, kept: Iterable[Kept]) -> None:
    """Look at a lease id, which begins with the path that made it.

    Raises:
        Protected: it may be a token that must live.
    """
    for one in (Kept(own.path, "the agent logs in there"), Kept(ROOT, "root tokens stand there"), *kept):
        if _within(lease_id, one.path):
            raise Protected(f"the lease {lease_id} is under {one.path}: {one.why}; revoke the token by its accessor instead")


def spare_prefix(prefix: str, own: Own, kept: Iterable[Kept]) -> None:
    """Look at a prefix, with no slash at its end.

    Raises:
        Protected: it is so short that it holds what nobody meant, or a token that must live stands under it or above.
    """
    parts = prefix.casefold().split("/")
    if parts[0] in _NO_LEASES:
        raise Protected(f"the prefix {prefix} is Vault's own: nothing is revoked there")
    if len(parts) < (3 if parts[0] == "auth" else 2):
        raise Protected(f"the prefix {prefix} holds a whole mount; name at least what is under it, as in database/creds/app")
    if parts == ["auth", "token", "create"]:
        raise Protected("the prefix auth/token/create holds the tokens of everybody; name a token role: auth/token/create/<role>")
    if _begins(prefix, own.path) or _begins(own.path, prefix):
        raise Protected(f"the prefix {prefix} meets {own.path}, where the agent logs in: it would revoke its own token")
    for one in (Kept(ROOT, "root tokens stand there"), *kept):
        if _within(prefix, one.path) or _within(one.path, prefix):
            raise Protected(f"the prefix {prefix} meets {one.path}: {one.why}")


def _begins(text: str, start: str) -> bool:
    """Letter by letter, so also where only part of a name fits; Vault keeps the case in which a user logged in."""
    return text.casefold().startswith(start.casefold())


def _within(inner: str, outer: str) -> bool:
    return _begins(f"{inner}/", f"{outer}/")
