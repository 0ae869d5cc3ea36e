"""Stop what Vault or OpenBao gave out: an entity, a token, a lease, the secret id of an AppRole, a user."""

from __future__ import annotations

from typing import Annotated, Final, NoReturn

from agent.action import CannotReach, Change, Impact, action
from agent.schema import About, Flag, Ttl, spell
from agent.systems.postgres import ROLES_AT_ONCE, Postgres, some
from agent.systems.vault import AT_ONCE, Vault
from agent.systems.vault_look import Entity, Tokens
from agent.systems.vault_roles import is_database, roles_of

SOUGHT: Final = 2_000
"""Leases whose PostgreSQL roles are sought, at about 2 ms each; of more, all sessions end when Vault has dropped the roles."""
_WAYS: Final = ("entity", "userpass_user", "accessor", "lease", "lease_prefix", "approle")


@action(within=60)
class RevokeCredentials:
    """Stop one credential of Vault or OpenBao: exactly one of the six, from an entity to an AppRole's secret id.

    `entity` (id or name) and `userpass_user` are disabled, which takes milliseconds, stops logins and all tokens, batch
    tokens too, and is undone exactly; it ends with `ttl`, by default when a person lifts it. Their tokens are then revoked,
    which needs a look at every token that Vault holds; `tokens: false` leaves that out, and planning takes no time. Leases
    that they hold live on: revoke those by `lease` or `lease_prefix`.
    The others are done once: `accessor` revokes a token, `approle` with `secret_id_accessor` a secret id. With `lease` or
    `lease_prefix` of a PostgreSQL role, `instance` names the server (of agent.yaml) on which its open sessions are ended,
    since revoking ends none; `db_role` the role, where it cannot be found by its name.
    `mount` is where userpass or AppRole are mounted, if not under their own name.
    """

    entity: Annotated[str, About("an identity entity, by id or name", "shop-team")] = ""
    userpass_user: Annotated[str, About("a user of userpass", "alice")] = ""
    accessor: Annotated[str, About("a token, by its accessor", "hmZ2ZbCjFJHTZ4mE6vD2GqLj")] = ""
    lease: Annotated[str, About("one lease, by its whole id", "database/creds/shop/27e1b9a1")] = ""
    lease_prefix: Annotated[str, About("all leases that begin so", "database/creds/shop")] = ""
    approle: Annotated[str, About("an AppRole, of which `secret_id_accessor` is destroyed", "shop")] = ""
    secret_id_accessor: Annotated[
        str, About("the secret id of `approle`, by its accessor", "84896a0c-1347-aa90-a4f6-aca8b7558780")
    ] = ""
    mount: Annotated[str, About("where userpass or AppRole are mounted, if not under their own name", "userpass-staff")] = ""
    instance: Annotated[
        str, About("the PostgreSQL server on which the sessions of a lease are ended, as agent.yaml calls it", "main")
    ] = ""
    db_role: Annotated[str, About("the role of those sessions, where it cannot be found by its name", "v-approle-shop-x7")] = ""
    tokens: Annotated[
        Flag, About("revoke the tokens too; false: only disable, which takes no look at every token there is", "false")
    ] = True
    ttl: Annotated[
        Ttl, About("how long an entity or user stays disabled; until a person lifts it where nothing is said", "1h")
    ] = Ttl(None)

    @property
    def impact(self) -> Impact:
        """An entity is let in again; whatever else is revoked is lost."""
        return "disruptive" if self.entity or self.userpass_user else "destructive"

    def plan(self, vault: Vault, postgres: Postgres) -> list[Change]:
        """The changes, the quickest cut first; none where an entity is disabled and has no token left."""
        way = self._way()
        if way == "entity":
            return self._entity(vault)
        if way == "userpass_user":
            return self._user(vault)
        if way == "accessor":
            return self._token(vault)
        if way == "approle":
            return self._secret_id(vault)
        return self._leases(vault, postgres)

    def _way(self) -> str:
        """Which of the six is given. What is given beside it and would do nothing is an error: somebody counts on it."""
        given = [one for one in _WAYS if getattr(self, one)]
        if len(given) != 1:
            told = f"{' and '.join(given)} are given" if given else "none is given"
            raise CannotReach(f"cannot revoke credentials: exactly one of {', '.join(_WAYS)} is wanted, and {told}")
        (way,) = given
        if bool(self.secret_id_accessor) != (way == "approle"):
            raise CannotReach("cannot revoke credentials: approle and secret_id_accessor go together")
        if (self.instance or self.db_role) and way not in ("lease", "lease_prefix"):
            raise CannotReach(f"cannot revoke credentials: instance and db_role go with lease and lease_prefix, not with {way}")
        if self.db_role and not self.instance:
            raise CannotReach("cannot revoke credentials: db_role needs instance, the PostgreSQL server it is a role of")
        return way

    # Who comes back ---------------------------------------------------------------------------------------------------

    def _entity(self, vault: Vault) -> list[Change]:
        found = vault.entity(self.entity)
        changes = self._disabled(vault, found)
        if not self.tokens:
            return changes
        seen = vault.tokens_of(found.id)
        changes += self._without_tokens(vault, found, seen)
        return [_also(changes[0], say=_orphans(seen.orphans)), *changes[1:]] if changes else []

    def _disabled(self, vault: Vault, found: Entity) -> list[Change]:
        if found.disabled:
            return []
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        return [
            Change(
                describe=f"disable the Vault entity {found.name} {lasting}: no login, and none of its tokens works",
                apply=vault.disable_entity(entity_id=found.id),
                undo=vault.enable_entity(entity_id=found.id),
                verify=vault.entity_disabled(entity_id=found.id, changed=found.changed),
                capture=(vault.entity_seen(entity_id=found.id),),
                touches=(f"credential entity {found.id}", f"credential entity {found.name}"),
            )
        ]

    def _without_tokens(self, vault: Vault, found: Entity, seen: Tokens) -> list[Change]:
        chunks = [seen.accessors[at : at + AT_ONCE] for at in range(0, len(seen.accessors), AT_ONCE)]
        return [
            Change(
                describe=f"revoke {len(chunk)} of {len(seen.accessors)} tokens of the Vault entity {found.name}",
                apply=vault.revoke_accessors(accessors=chunk),
                undo=None,
                verify=vault.accessors_gone(accessors=chunk),
                touches=(f"credential entity {found.id}", f"credential entity {found.name}"),
            )
            for chunk in chunks
        ]

    def _user(self, vault: Vault) -> list[Change]:
        """By the entity, since a user who is deleted keeps his tokens, and cannot be put back: nobody knows his password."""
        mount = self.mount or "userpass"
        found = vault.entity_of_user(mount, self.userpass_user)
        changes = self._disabled(vault, found)
        for path in vault.login_paths(mount, self.userpass_user) if self.tokens else ():
            changes += self._prefix(vault, path, vault.leases(path))
        return [_also(change, f"user {self.userpass_user}") for change in changes]

    # What is lost -----------------------------------------------------------------------------------------------------

    def _token(self, vault: Vault) -> list[Change]:
        if not vault.knows_token(self.accessor):
            _unknown(f"the token accessor {self.accessor}")
        return [
            Change(
                describe=f"revoke the Vault token with the accessor {self.accessor}, its children and its leases",
                apply=vault.revoke_accessors(accessors=(self.accessor,)),
                undo=None,
                verify=vault.accessors_gone(accessors=(self.accessor,)),
                capture=(vault.token_seen(accessor=self.accessor),),
                touches=(f"credential accessor {self.accessor}",),
            )
        ]

    def _secret_id(self, vault: Vault) -> list[Change]:
        which = {"mount": self.mount or "approle", "role_name": self.approle, "secret_id_accessor": self.secret_id_accessor}
        if not vault.knows_secret_id(**which):
            _unknown(f"the secret id accessor {self.secret_id_accessor} of the AppRole {self.approle}")
        return [
            Change(
                describe=f"destroy the secret id {self.secret_id_accessor} of the AppRole {self.approle}; tokens it gave stay",
                apply=vault.destroy_secret_id(**which),
                undo=None,
                verify=vault.secret_id_destroyed(**which),
                touches=(f"credential approle {self.approle}", f"credential accessor {self.secret_id_accessor}"),
            )
        ]

    def _leases(self, vault: Vault, postgres: Postgres) -> list[Change]:
        if self.lease:
            found: tuple[str, ...] = (self.lease.removesuffix("/"),) if vault.knows_lease(self.lease) else ()
        else:
            found = vault.leases(self.lease_prefix)
        if not found:
            _unknown(f"the lease {self.lease}" if self.lease else f"any lease under {self.lease_prefix}")
        changes = self._one_lease(vault, found[0]) if self.lease else self._prefix(vault, self.lease_prefix, found)
        if self.instance:
            return [*self._sessions(vault, postgres, found), *changes, self._ghosts(postgres)]
        if is_database(found[0]):
            return [_also(changes[0], say="; a database session that is open stays (instance=… ends it first)")]
        return changes

    def _one_lease(self, vault: Vault, lease: str) -> list[Change]:
        return [
            Change(
                describe=f"revoke the Vault lease {lease}",
                apply=vault.revoke_lease(lease_id=lease),
                undo=None,
                verify=vault.lease_gone(lease_id=lease),
                capture=(vault.lease_seen(lease_id=lease),),
                touches=(f"credential lease {lease}",),
            )
        ]

    def _prefix(self, vault: Vault, prefix: str, found: tuple[str, ...]) -> list[Change]:
        prefix = prefix.removesuffix("/")
        if not found:
            return []
        return [
            Change(
                describe=f"revoke {len(found)} Vault leases and tokens under {prefix}",
                apply=vault.revoke_prefix(prefix=prefix),
                undo=None,
                verify=vault.prefix_empty(prefix=prefix, since=vault.health().clock, of=len(found)),
                touches=(f"credential prefix {prefix}",),
            )
        ]

    # Sessions of PostgreSQL, before and after: Vault drops the role and leaves its sessions alone -------------------------

    def _sessions(self, vault: Vault, postgres: Postgres, leases: tuple[str, ...]) -> list[Change]:
        if self.db_role:
            postgres.refuse_to_lock(self.instance, self.db_role)
        roles = (self.db_role,) if self.db_role else self._found_roles(vault, postgres, leases)
        chunks = [roles[at : at + ROLES_AT_ONCE] for at in range(0, len(roles), ROLES_AT_ONCE)]
        return [
            Change(
                describe=f"take the login from {_named(chunk)} on PostgreSQL {self.instance}, and end all their sessions",
                apply=postgres.end_roles(instance=self.instance, roles=chunk),
                undo=None,
                verify=postgres.roles_ended(instance=self.instance, roles=chunk),
                touches=tuple(f"role {role}" for role in chunk),
            )
            for chunk in chunks
        ]

    def _found_roles(self, vault: Vault, postgres: Postgres, leases: tuple[str, ...]) -> tuple[str, ...]:
        if len(leases) > SOUGHT:
            return ()
        found = roles_of(postgres, self.instance, vault.issued(leases))
        if self.lease and found.unsure:
            mend = "name it: db_role=v-… (see \\du); or leave instance out, and its sessions stay"
            raise CannotReach(f"cannot tell which role of PostgreSQL {self.instance} belongs to the lease {self.lease}; {mend}")
        return found.roles

    def _ghosts(self, postgres: Postgres) -> Change:
        return Change(
            describe=f"end every session on PostgreSQL {self.instance} whose role is gone",
            apply=postgres.end_ghosts(instance=self.instance),
            undo=None,
            verify=postgres.no_ghosts(instance=self.instance),
        )


def _named(roles: tuple[str, ...]) -> str:
    """Three of them; `touches` has them all."""
    more = f" and {len(roles) - 3} more" if len(roles) > 3 else ""
    return f"{some(len(roles), 'role')} ({', '.join(roles[:3])}{more})"


def _orphans(accessors: tuple[str, ...]) -> str:
    """Tokens made by create-orphan name no owner: a person has to look."""
    if not accessors:
        return ""
    named = ", ".join(accessors[:5])
    more = f" and {len(accessors) - 5} more" if len(accessors) > 5 else ""
    return f"; {len(accessors)} orphan tokens in Vault name no owner and may be its own: accessors {named}{more}"


def _also(change: Change, touched: str = "", say: str = "") -> Change:
    touches = (*change.touches, touched) if touched else change.touches
    return Change(change.describe + say, change.apply, change.undo, change.verify, change.capture, touches)


def _unknown(what: str) -> NoReturn:
    """Vault would say yes to revoking what it does not know."""
    raise CannotReach(f"cannot revoke: Vault does not know {what}: it is gone already, or mistyped")
