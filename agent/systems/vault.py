"""Vault or OpenBao: entities are disabled, tokens, leases and secret ids revoked, and each is looked up before and after.

Vault's answers say little: revoking what does not exist succeeds. So nothing here believes them. Revoking by force, which
forgets a credential that still works, and sealing are not offered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from agent.action import Call, CannotReach, Holds, InProgress, System, call, slow
from agent.systems import vault_guard as guard
from agent.systems import vault_requests as requests
from agent.systems.vault_guard import Own
from agent.systems.vault_login import Login, NoVault, Patience, Refused, Request, TimedOut, VaultSettings
from agent.systems.vault_look import Entity, Look, Tokens

__all__ = ["AT_ONCE", "Health", "NoVault", "Vault", "VaultSettings"]

AT_ONCE: Final = 200
"""Tokens of one change: seconds, not minutes, and a place to go on from."""
_VERB: Final = 8.0
"""Seconds for a verb that says nothing of its own: every call may take ten."""
_SLOW: Final = 60.0
_POLL: Final = 0.5
_WATCHED: Final = 10.0
"""Seconds without a lease less, after which a revocation is no longer waited for, only asked about."""
_STILL: Final = 30.0
"""Seconds without a lease less, after which a revocation is stuck."""
_GOING: Final = 90.0
"""Seconds that Vault may go on with a request whose answer was not waited for: its own default for the longest."""
_FEW: Final = 200
"""Leases that are looked up one by one for when they were issued."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one server is. `leader` is False where it is a standby that knows no active one."""

    initialised: bool
    sealed: bool
    standby: bool
    leader: bool
    version: str
    clock: int


class Vault(System):
    """One Vault or OpenBao, asked by the agent's own AppRole."""

    name = "vault"
    rights = "`systems: {vault: {…}}`, and the policy that `contain grants vault` prints"

    def __init__(self, settings: VaultSettings | None, learn: Callable[[str], None] = lambda _: None) -> None:
        """Nothing is asked yet. `learn` hears the secret id and each token, so that they can be kept out of evidence."""
        self._login = Login(settings, learn) if settings else None
        self._lowest: dict[tuple[str, int], tuple[int, float]] = {}
        self._going: dict[str, float] = {}
        self._lock = threading.Lock()

    # The server -----------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Log in, and renew the token when half its life is over; to be done now and then.

        Raises:
            CannotReach: it cannot.
        """
        if self._login is not None:
            self._login.own(Patience(_VERB))

    def close(self) -> None:
        """End the connections."""
        if self._login is not None:
            self._login.close()

    def health(self, within: timedelta = timedelta(seconds=_VERB)) -> Health:
        """How the server is, without a token.

        Raises:
            NoVault: agent.yaml names none.
            CannotReach: no answer `within`.
        """
        patience = Patience(within.total_seconds())
        seen = self._there.ask_openly("ask how Vault is", requests.health(), patience)
        if "sealed" not in seen:
            raise CannotReach(
                f"cannot ask how Vault is: {self._there.settings.url} does not answer as Vault does; is the url right?"
            )
        standby, sealed = bool(seen["standby"]), bool(seen["sealed"])
        leader = {} if sealed or not standby else self._there.ask_openly("ask for the leader", requests.leader(), patience)
        known = not leader or bool(leader.get("leader_address"))
        return Health(bool(seen["initialized"]), sealed, standby, known, seen["version"], int(seen["server_time_utc"]))

    def life(self, within: timedelta = timedelta(seconds=_VERB)) -> timedelta | None:
        """How long the agent's own token still lives; None for one without an end.

        Raises:
            CannotReach: the agent cannot log in.
        """
        data = self._there.ask("look up the agent's token", requests.own_token(), Patience(within.total_seconds()))["data"]
        return timedelta(seconds=data["ttl"]) if data.get("expire_time") else None

    def capabilities(self, paths: list[str]) -> dict[str, list[str]]:
        """What the agent may do on each path.

        Raises:
            CannotReach: it cannot be asked.
        """
        asked = self._there.ask("ask what the agent may do", requests.capabilities(paths), Patience(_VERB))
        return {path: list((asked.get("data") or asked)[path]) for path in paths}

    def lacks(self) -> list[str]:
        """What the agent's policy lacks, or has and should not: a sentence for each; empty where all is well.

        Raises:
            CannotReach: it cannot be asked.
        """
        from agent.systems.vault_rights import findings

        return findings(self.capabilities, self.own())

    def own(self) -> Own:
        """Who the agent is in Vault.

        Raises:
            CannotReach: it cannot log in.
        """
        return self._there.own(Patience(_VERB))

    @property
    def _there(self) -> Login:
        if self._login is None:
            raise NoVault("cannot ask Vault: agent.yaml names none under systems")
        return self._login

    def _look(self, seconds: float = _VERB) -> tuple[Look, Patience]:
        patience = Patience(seconds)
        return Look(self._there, patience), patience

    # For plans ------------------------------------------------------------------------------------------------------

    def entity(self, named: str) -> Entity:
        """An entity by id or name; see `Look`."""
        return self._look()[0].entity(named)

    def entity_of_user(self, mount: str, user: str) -> Entity:
        """The entity of a user; see `Look`."""
        return self._look()[0].entity_of_user(guard.path(mount, "mount"), guard.name(user, "user"))

    def tokens_of(self, entity_id: str) -> Tokens:
        """Every token of an entity, and the orphans; see `Look`. May take a minute."""
        return self._look(_SLOW)[0].tokens_of(entity_id)

    def knows_token(self, accessor: str) -> bool:
        """Whether there is such a token, and it may be revoked."""
        return self._look()[0].spared_token(accessor) is not None

    def knows_lease(self, lease_id: str) -> bool:
        """Whether there is such a lease, and it may be revoked."""
        return self._look()[0].spared_lease(lease_id) is not None

    def leases(self, prefix: str) -> tuple[str, ...]:
        """The ids of the leases under a prefix that may be revoked. May take a minute."""
        return tuple(self._look(_SLOW)[0].spared_leases(prefix))

    def issued(self, lease_ids: tuple[str, ...]) -> dict[str, float]:
        """When leases were given out, by Vault's clock; those that are gone are left out. May take a minute."""
        look, _ = self._look(_SLOW)
        return {one: at for one in lease_ids if (at := look.issued(one)) is not None}

    def login_paths(self, mount: str, user: str) -> tuple[str, ...]:
        """Where a user's tokens stand; see `Look`."""
        return self._look()[0].login_paths(mount, user)

    def knows_secret_id(self, mount: str, role_name: str, secret_id_accessor: str) -> bool:
        """Whether there is such a secret id, and it may be destroyed."""
        return self._look()[0].spared_secret_id(mount, role_name, secret_id_accessor) is not None

    # Entities -------------------------------------------------------------------------------------------------------

    @call
    def disable_entity(self, entity_id: str) -> None:
        """Stop an entity: no login, and none of its tokens works, batch tokens included. Leases it has live on."""
        look, patience = self._look()
        look.spared_entity(entity_id)
        self._there.ask(f"disable the entity {entity_id}", requests.set_entity(entity_id, disabled=True), patience)

    @call
    def enable_entity(self, entity_id: str) -> None:
        """Let an entity in again; its tokens that are left work as before."""
        look, patience = self._look()
        if look.entity_now(entity_id) is not None:
            self._there.ask(f"enable the entity {entity_id}", requests.set_entity(entity_id, disabled=False), patience)

    @call
    def entity_disabled(self, entity_id: str, changed: str) -> bool | Holds:
        """Whether it is disabled. `changed` is when the plan saw it last changed: later, somebody has enabled it."""
        now = self._look()[0].entity_now(entity_id)
        if now is None:
            return Holds("no", f"the entity {entity_id} is gone: somebody deleted it, and with it all its tokens")
        if now.disabled or now.changed == changed:
            return now.disabled
        return Holds("no", f"the entity {now.name} is enabled; it was last changed at {now.changed}")

    @call
    def entity_seen(self, entity_id: str) -> dict[str, Any]:
        """An entity as it is, for the evidence: its policies, groups, aliases."""
        return self._there.ask(f"read the entity {entity_id}", requests.entity(entity_id), Patience(_VERB)).get("data") or {}

    # Tokens ---------------------------------------------------------------------------------------------------------

    @call
    @slow(_SLOW)
    def revoke_accessors(self, accessors: tuple[str, ...]) -> None:
        """Revoke tokens with their children and leases, at most 200; those that are gone are passed over."""
        if len(accessors) > AT_ONCE:
            raise CannotReach(f"cannot revoke {len(accessors)} tokens in one call: {AT_ONCE} are the most")
        look, patience = self._look(_SLOW)
        known = [one for one in accessors if look.spared_token(one) is not None]  # all are looked at before one is revoked
        for at, accessor in enumerate(known):
            if patience.left < _VERB:
                raise CannotReach(f"cannot revoke all tokens in {_SLOW:g} s: {len(known) - at} of {len(accessors)} are left")
            self._set_going(f"revoke the token accessor {accessor}", requests.revoke_token(accessor), patience, accessor)

    @call
    @slow(_SLOW / 4)
    def accessors_gone(self, accessors: tuple[str, ...]) -> bool | Holds:
        """Whether Vault knows none of the tokens any more."""
        look, _ = self._look(_SLOW / 4)
        left = [one for one in accessors if look.token(one) is not None]
        if any(map(self._goes_on, left)):
            raise InProgress(f"{len(left)} of {len(accessors)} tokens are still valid")
        if 0 < len(left) < len(accessors):
            return Holds("partly", f"{len(left)} of {len(accessors)} tokens are still valid")
        return not left

    @call
    def token_seen(self, accessor: str) -> dict[str, Any]:
        """A token as Vault shows it, for the evidence: path, policies, names, times, never the token."""
        return self._look()[0].token(accessor) or {}

    # Leases ---------------------------------------------------------------------------------------------------------

    @call
    def revoke_lease(self, lease_id: str) -> None:
        """Revoke one lease, and wait for it; one that is gone is passed over."""
        look, patience = self._look()
        plain = guard.path(lease_id, "lease")
        if look.spared_lease(plain) is None:
            return
        try:
            self._set_going(f"revoke the lease {plain}", requests.revoke_lease(plain), patience, plain)
        except Refused as error:
            if "2BP01" not in str(error):
                raise
            mend = "in its database: REASSIGN OWNED BY the role TO another; DROP OWNED BY the role; then order it again"
            raise Refused(f"{error}; {mend}") from error

    @call
    def lease_gone(self, lease_id: str) -> bool:
        """Whether Vault knows the lease no more."""
        plain = guard.path(lease_id, "lease")
        seen = self._look()[0].lease(plain)
        if seen is not None and (seen["ttl"] <= 0 or self._goes_on(plain)):
            raise InProgress(f"Vault is still revoking the lease {plain}")
        return seen is None

    @call
    def lease_seen(self, lease_id: str) -> dict[str, Any]:
        """A lease as Vault shows it, for the evidence."""
        return self._look()[0].lease(lease_id) or {}

    @call
    @slow(_SLOW)
    def revoke_prefix(self, prefix: str) -> None:
        """Have Vault revoke every lease under a prefix, and wait until those that were there are gone, or for a minute."""
        look, patience = self._look(_SLOW)
        left = set(look.spared_leases(prefix))
        plain = guard.path(prefix, "prefix")
        if not left:
            return
        with suppress(InProgress):  # it is watched here
            self._set_going(f"revoke the leases under {plain}", requests.revoke_prefix(plain), patience, plain)
        fewer = time.monotonic()
        while now := left & set(look.leases(plain)):
            fewer = time.monotonic() if len(now) < len(left) else fewer
            if patience.left < _VERB or time.monotonic() - fewer > _WATCHED:
                raise InProgress(f"{len(now)} leases under {plain} are left")
            left = now
            time.sleep(_POLL)

    @call
    @slow(_SLOW / 2)
    def prefix_empty(self, prefix: str, since: int, of: int) -> bool | Holds:
        """Whether the leases are gone that were issued under a prefix up to `since`, by Vault's clock; there were `of`."""
        look, _ = self._look(_SLOW / 2)
        plain = guard.path(prefix, "prefix")
        left = look.leases(plain)
        if len(left) <= _FEW:  # what was issued later is another matter: an application may ask for a new one at once
            left = [one for one in left if (at := look.issued(one)) is not None and at < since + 1]
        if self._falls((plain, since), len(left)):
            raise InProgress(f"{len(left)} of {of} leases under {plain} are left")
        if not left:
            return True
        how: Literal["partly", "no"] = "partly" if len(left) < of else "no"
        why = "Vault goes on trying; its log says why: a database that is down, a role that owns objects (REASSIGN OWNED)"
        return Holds(how, f"{len(left)} of {of} leases under {plain} are left, and no fewer for {_STILL:g} s; {why}")

    def _falls(self, revocation: tuple[str, int], left: int) -> bool:
        """Whether some are left, and they have become fewer of late, or are counted for the first time."""
        now = time.monotonic()
        with self._lock:
            lowest, at = self._lowest.pop(revocation, (left + 1, now))
            if not left:
                return False
            self._lowest[revocation] = min(lowest, left), (now if left < lowest else at)
            return left < lowest or now - at < _STILL

    # AppRoles -------------------------------------------------------------------------------------------------------

    @call
    def destroy_secret_id(self, mount: str, role_name: str, secret_id_accessor: str) -> None:
        """Destroy one secret id of an AppRole: no more logins with it; tokens it gave live on."""
        look, patience = self._look()
        if look.spared_secret_id(mount, role_name, secret_id_accessor) is not None:
            request = requests.secret_id(mount, role_name, secret_id_accessor, "destroy")
            self._there.ask(f"destroy a secret id of the AppRole {role_name}", request, patience)

    @call
    def secret_id_destroyed(self, mount: str, role_name: str, secret_id_accessor: str) -> bool:
        """Whether Vault knows the secret id no more."""
        return self._look()[0].secret_id(mount, role_name, secret_id_accessor) is None

    # Calls ----------------------------------------------------------------------------------------------------------

    def _set_going(self, what: str, request: Request, patience: Patience, named: str) -> None:
        """Ask for what the server goes on with by itself when its answer is no longer waited for."""
        try:
            self._there.ask(what, request, patience)
        except TimedOut as error:
            with self._lock:
                self._going = {one: until for one, until in self._going.items() if until > time.monotonic()}
                self._going[named] = time.monotonic() + _GOING
            raise InProgress(f"Vault may still be at it: {error}") from error

    def _goes_on(self, named: str) -> bool:
        with self._lock:
            return time.monotonic() < self._going.get(named, 0.0)

    def native(self, one: Call) -> str:
        """The HTTP requests of a call, one a line, without the token that goes with them."""
        from agent.systems.vault_native import native

        return native(one)
