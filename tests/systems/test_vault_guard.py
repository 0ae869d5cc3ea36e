"""What is never revoked in Vault, however it is spelled: the agent's own way in, root tokens, break-glass accounts."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agent.action import CannotReach, Protected
from agent.systems.vault import Vault
from tests.openbao import Bao, perform


@pytest.mark.parametrize(
    "prefix",
    [
        "auth/containment/login",
        "auth/containment/login/",
        "auth/containment/LOGIN",
        "Auth/Containment/Login",
        "auth/containment/login/x",
        "auth/containment/log",
        "auth/containment",
        "auth/containment/",
        "auth/contain",
        "auth",
        "auth/",
        "auth/token",
        "auth/token/create",
        "auth/token/root",
        "auth/userpass",
        "sys",
        "sys/leases/x",
        "database",
        "database/",
    ],
)
def test_a_prefix_that_holds_the_agents_own_token_or_a_whole_mount_is_refused(vault: Vault, prefix: str) -> None:
    for refuse in (lambda: vault.leases(prefix), lambda: perform(vault, vault.revoke_prefix(prefix=prefix))):
        with pytest.raises(Protected):
            refuse()

    assert (vault.life() or timedelta()) > timedelta()


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "/",
        "/auth/containment/login",
        "auth//containment/login",
        "auth/./containment/login",
        "auth/userpass/../containment/login",
        "database/creds/../../auth/containment/login",
        "auth/%63ontainment/login",
        "auth/containment%2flogin",
        "auth\\containment\\login",
        "auth/containment/login//",
        "auth/containment /login",
        "auth/containment/login?x",
        "auth/containment/login#x",
        "auth/containment/login\n",
        "auth/containment/*",
    ],
)
def test_a_prefix_that_something_could_read_otherwise_is_refused(vault: Vault, prefix: str) -> None:
    for refuse in (lambda: vault.leases(prefix), lambda: perform(vault, vault.revoke_prefix(prefix=prefix))):
        with pytest.raises(CannotReach):
            refuse()

    assert (vault.life() or timedelta()) > timedelta()


def test_the_agents_own_token_and_entity_are_refused(vault: Vault) -> None:
    me = vault.own()
    refused = (
        lambda: vault.knows_token(me.accessor),
        lambda: perform(vault, vault.revoke_accessors(accessors=(me.accessor,))),
        lambda: vault.entity(me.entity_id),
        lambda: perform(vault, vault.disable_entity(entity_id=me.entity_id)),
        lambda: vault.tokens_of(me.entity_id),
        lambda: vault.knows_secret_id("containment", "agent", "x"),
        lambda: perform(vault, vault.destroy_secret_id(mount="containment", role_name="Agent", secret_id_accessor="x")),
        lambda: vault.knows_lease("auth/containment/login/h123"),
        lambda: perform(vault, vault.revoke_lease(lease_id="auth/containment/login/h123")),
    )

    for refuse in refused:
        with pytest.raises(Protected):
            refuse()


def test_an_earlier_token_of_the_agent_is_refused_too(bao: Bao, vault: Vault) -> None:
    with closing(Vault(bao.settings())) as another:
        earlier = another.own().accessor

        with pytest.raises(Protected, match="belongs to the agent's own entity"):
            perform(vault, vault.revoke_accessors(accessors=(earlier,)))


def test_a_root_token_is_refused_and_with_it_all_others_of_the_call(bao: Bao, vault: Vault) -> None:
    bao.user("rita")
    innocent, mighty = bao.login("rita"), bao.token(policies=["root"])

    with pytest.raises(Protected, match="is a root token: only a person may revoke it"):
        perform(vault, vault.revoke_accessors(accessors=(innocent["accessor"], mighty["accessor"])))

    assert bao.works(innocent)
    bao.ask("POST", "auth/token/revoke", {"token": mighty["client_token"]})


def test_break_glass_accessors_and_entities_are_refused_by_whatever_way_they_would_be_hit(bao: Bao) -> None:
    for name in ("glass", "glasses"):
        bao.user(name)
    spare, other = bao.login("glass"), bao.login("glasses")
    named = bao.ask("GET", f"identity/entity/id/{spare['entity_id']}")["data"]["name"]
    for protected in (spare["accessor"], spare["entity_id"], named):
        with closing(Vault(bao.settings(protected=(protected,)))) as vault:
            refused: list[Any] = [
                partial(vault.leases, "auth/userpass/login/glass"),
                partial(vault.leases, "auth/userpass/login"),
            ]
            refused += [partial(vault.knows_lease, "auth/userpass/login/glass/h1")]
            if protected != named:
                refused += [partial(perform, vault, vault.revoke_accessors(accessors=(spare["accessor"],)))]
            if protected != spare["accessor"]:
                refused += [partial(perform, vault, vault.disable_entity(entity_id=spare["entity_id"]))]

            for refuse in refused:
                with pytest.raises(Protected):
                    refuse()

            assert len(vault.leases("auth/userpass/login/glasses")) == 1
    assert bao.works(spare)
    assert bao.works(other)


def test_more_than_may_be_revoked_at_once_is_refused(bao: Bao) -> None:
    bao.user("many")
    auths = [bao.login("many") for _ in range(4)]
    with closing(Vault(bao.settings(most=3))) as vault:
        for refuse in (
            lambda: vault.leases("auth/userpass/login/many"),
            lambda: perform(vault, vault.revoke_prefix(prefix="auth/userpass/login/many")),
            lambda: vault.tokens_of(auths[0]["entity_id"]),
        ):
            with pytest.raises(Protected, match="3"):
                refuse()

    assert all(bao.works(one) for one in auths)
