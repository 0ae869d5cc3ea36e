"""Lock a person's account, and end what runs under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from agent.action import Change, action
from agent.schema import About, Flag, Ttl, spell
from agent.systems.accounts import EXPIRED, Account, Accounts


@action(impact="disruptive", mutes=("auth.*.failure", "auth.ssh.invalid_user", "auth.ssh.probe"))
class LockUser:
    """Lock a person's account on this host: nobody logs in with its password or an ssh key, and its cron and at jobs rest.

    With `end_sessions`, which is the default, what runs under it is ended too, and that cannot be taken back. The account
    itself is as it was when the time is over. Root and the accounts of services are never locked.
    """

    user: Annotated[str, About("the account's name", "alice")]
    ttl: Ttl
    end_sessions: Annotated[Flag, About("end what runs under it as well; false: only nobody new gets in", "false")] = True

    def plan(self, accounts: Accounts) -> list[Change]:
        """Expire the account, then end its processes; only what is left to do of these."""
        found = accounts.account(self.user, f"lock {self.user}")
        changes = [] if found.expires == EXPIRED and not found.lockable else [self._lock(accounts, found)]
        running = accounts.processes(found.uid)
        if self.end_sessions and (changes or running):  # whoever logs in before the lock is ended too
            changes.append(self._end(accounts, found, running))
        evidence = (accounts.who(user=found.name, uid=found.uid),)
        return [replace(one, capture=evidence if one is changes[0] else ()) for one in changes]

    def _lock(self, accounts: Accounts, found: Account) -> Change:
        lasting = f"for {spell(self.ttl.first)}" if self.ttl.first else "until it is lifted"
        alone = f"; beware: nobody else is in the group {', '.join(found.alone)}" if found.alone else ""
        bar = found.lockable
        return Change(
            describe=f"lock the account {found.name} {lasting}{alone}",
            apply=accounts.lock(user=found.name, bar=bar),
            undo=accounts.unlock(user=found.name, expires=found.expires, bar=bar),
            verify=accounts.is_locked(user=found.name, expires=found.expires, bar=bar),
            touches=(f"user {found.name}",),
        )

    def _end(self, accounts: Accounts, found: Account, running: int) -> Change:
        return Change(
            describe=f"end the sessions and processes of {found.name} ({running} now)",
            apply=accounts.end_sessions(user=found.name, uid=found.uid),
            undo=None,
            verify=accounts.sessions_ended(user=found.name, uid=found.uid),
            touches=(f"user {found.name}",),
        )
