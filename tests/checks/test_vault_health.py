"""VaultHealth: can the agent revoke anything in Vault?"""

from __future__ import annotations

import os
import signal
from contextlib import closing
from datetime import timedelta

from agent.checks.vault_health import VaultHealth
from agent.systems.vault import Vault
from tests.checks.asking import the_answer
from tests.openbao import Bao


def test_an_active_vault_that_lets_the_agent_in_is_good(vault: Vault) -> None:
    answer = the_answer(VaultHealth(), vault=vault)

    assert (answer.state, answer.limit) == ("good", 60)
    assert "answers (active), and the agent's token lives for " in answer.say
    assert answer.value is not None
    assert 1100 < answer.value <= 1200


def test_a_token_that_will_soon_end_is_bad(vault: Vault) -> None:
    assert the_answer(VaultHealth(life_floor=timedelta(hours=1)), vault=vault).state == "bad"


def test_a_sealed_vault_is_bad(bao: Bao, vault: Vault) -> None:
    bao.seal()
    try:
        answer = the_answer(VaultHealth(), vault=vault)
    finally:
        bao.unseal()

    assert answer.state == "bad"
    assert answer.say.startswith("Vault is sealed: nothing can be revoked")


def test_a_login_that_fails_is_bad(bao: Bao) -> None:
    with closing(Vault(bao.settings(secret_id=lambda: "mistyped"))) as vault:
        answer = the_answer(VaultHealth(), vault=vault)

    assert (answer.state, answer.say) == ("bad", "cannot log in to Vault: invalid role or secret ID")


def test_a_stopped_vault_is_bad_in_time(bao: Bao, vault: Vault) -> None:
    vault.keep()
    os.kill(bao.pid, signal.SIGSTOP)
    try:
        answer = the_answer(VaultHealth(within=timedelta(seconds=1)), vault=vault)
    finally:
        os.kill(bao.pid, signal.SIGCONT)

    assert (answer.state, answer.say) == ("bad", f"cannot ask how Vault is: Vault at {bao.url} did not answer within 1 s")


def test_nothing_that_listens_is_bad(bao: Bao) -> None:
    with closing(Vault(bao.settings(url="https://127.0.0.1:1"))) as vault:
        answer = the_answer(VaultHealth(), vault=vault)

    said = "cannot ask how Vault is: Vault at https://127.0.0.1:1 cannot be reached: Connection refused; is it running?"
    assert (answer.state, answer.say) == ("bad", said)


def test_a_certificate_of_an_unknown_issuer_is_bad(bao: Bao) -> None:
    with closing(Vault(bao.settings(ca_file=""))) as vault:
        answer = the_answer(VaultHealth(), vault=vault)

    assert answer.state == "bad"
    assert "self-signed certificate" in answer.say
    assert answer.say.endswith("name its issuers as ca_file")


def test_no_vault_in_the_configuration_says_nothing_about_one() -> None:
    answer = the_answer(VaultHealth(), vault=Vault(None))

    assert (answer.state, answer.say) == ("unknown", "cannot ask Vault: agent.yaml names none under systems")
