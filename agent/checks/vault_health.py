"""Can the agent revoke anything in Vault?"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from agent.action import CannotReach
from agent.check import Answer, bad, check, good
from agent.schema import About, Duration, rough
from agent.systems.vault import Vault
from agent.systems.vault_login import NoVault


@check
class VaultHealth:
    """Vault answers, is unsealed and has a leader, and the agent's own token lives for some time yet."""

    life_floor: Annotated[Duration, About("bad where the agent's own token ends sooner, as in 1m")] = timedelta(minutes=1)
    within: Annotated[Duration, About("an answer that takes longer is unknown, as in 5s")] = timedelta(seconds=3)

    def ask(self, vault: Vault) -> Answer:
        """Ask without a token, then with the agent's; the value is the seconds that its token lives."""
        try:
            seen = vault.health(self.within)
            if not seen.initialised:
                return bad("Vault is not initialised")
            if seen.sealed:
                return bad("Vault is sealed: nothing can be revoked, and nothing expires; it takes the key holders to unseal it")
            if not seen.leader:
                return bad("Vault is a standby without a leader: it answers, and can revoke nothing")
            life = vault.life(self.within)
        except NoVault:
            raise
        except CannotReach as error:
            return bad(str(error))
        how = "standby, its leader is known" if seen.standby else "active"
        if life is None:
            return good(f"Vault {seen.version} answers ({how}), and the agent's token has no end")
        verdict = good if life >= self.life_floor else bad
        say = f"Vault {seen.version} answers ({how}), and the agent's token lives for {rough(life)}"
        return verdict(say, value=life.total_seconds(), limit=self.life_floor.total_seconds())
