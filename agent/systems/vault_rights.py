"""What the agent's policy in Vault must allow, and what it must not: compared with what Vault says it may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.systems.vault_guard import Own

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "auth/token/accessors": ("list", "sudo"),
    "auth/token/lookup-accessor": ("update",),
    "auth/token/revoke-accessor": ("update",),
    "identity/lookup/entity": ("update",),
    "identity/entity/id/any": ("read", "update"),
    "sys/leases/lookup": ("update",),
    "sys/leases/revoke": ("update",),
}
"""Path → capabilities. Which prefixes and AppRoles the agent may touch is each place's own choice."""
HARMFUL: Final[Mapping[str, str]] = {
    "sys/leases/revoke-force/any": "it makes Vault forget credentials that still work",
    "sys/leases/revoke-prefix/auth/any": "revoke-prefix/auth/* reaches the agent's own token, whatever is denied beside it",
    "sys/policies/acl/any": "whoever writes policies may do everything",
    "sys/auth/any": "it can remove an auth method with all its users",
    "sys/seal": "a sealed Vault can revoke nothing",
    "auth/token/create-orphan": "whoever makes orphans outlives his own revocation",
}
_READING: Final = frozenset({"deny", "read", "list"})


def findings(ask: Callable[[list[str]], Mapping[str, Sequence[str]]], own: Own) -> list[str]:
    """A sentence for each line that the policy lacks, and for each that it should not have."""
    above = f"sys/leases/revoke-prefix/auth/{own.mount}"
    harmful = {**HARMFUL, above: "it reaches the agent's own token", f"{above}/login": "it reaches the agent's own token"}
    may = ask([*NEEDED, *harmful])
    said = []
    for path, wanted in NEEDED.items():
        if missing := [one for one in wanted if one not in may[path] and "root" not in may[path]]:
            said.append(f"the agent's policy in Vault lacks `{', '.join(missing)}` on {path}")
    for path, why in harmful.items():
        if more := sorted(set(may[path]) - _READING):
            said.append(f"the agent's policy in Vault allows `{', '.join(more)}` on {path}, and should not: {why}")
    return said
