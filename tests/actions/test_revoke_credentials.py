"""Revoking credentials of Vault: what every action promises, and what becomes of tokens, leases and open sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest

from actions.revoke_credentials import RevokeCredentials
from agent import execute
from agent.action import CannotReach, Change, Protected
from agent.schema import Ttl, duration
from agent.systems.postgres import Postgres
from agent.systems.vault import Vault
from tests.contract import ActionContract, OnceContract, Systems
from tests.openbao import Bao
from tests.postgres import Server, programs

NONE = Postgres({})


def apply(plan: Sequence[Change], vault: Vault, postgres: Postgres = NONE) -> list[str]:
    jobs = [(f"M-{at}", change) for at, change in enumerate(plan)]
    return [
        f"{one.result}: {one.error}" if one.error else one.result for one in execute.apply([jobs], systems_of(vault, postgres))[0]
    ]


def systems_of(vault: Vault, postgres: Postgres = NONE) -> dict[str, Any]:
    return {"vault": vault, "postgres": postgres}


class EntityContract(ActionContract):
    """The world is the entity as Vault has it, but for the time of the last change."""

    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault) -> Systems:
        for name, metadata in (("carla", {"team": "web"}), ("carlo", {})):
            bao.user(name)
            if name in self.known:
                bao.ask("POST", f"identity/entity/id/{self.known[name]}", {"disabled": False})
            self.known[name] = bao.login(name)["entity_id"]
            how = {"name": name, "metadata": metadata, "policies": ["default"], "disabled": False}
            bao.ask("POST", f"identity/entity/id/{self.known[name]}", how)
        return systems_of(vault)

    known: dict[str, str] = {}  # noqa: RUF012

    def world(self, systems: Systems) -> object:
        vault = systems["vault"]
        assert isinstance(vault, Vault)
        seen = [answer.value for answer in vault.perform([vault.entity_seen(entity_id=one) for one in self.known.values()])]
        return [{key: value for key, value in one.items() if key != "last_update_time"} for one in seen]


class TestDisableAnEntity(EntityContract):
    action = RevokeCredentials(entity="carla", tokens=False)


class TestDisableAUser(EntityContract):
    action = RevokeCredentials(userpass_user="carla", tokens=False, ttl=Ttl(duration("1h")))


class RevokeContract(OnceContract):
    """The world is what Vault still lets two credentials do, of which one is to be revoked."""

    victim: Any
    other: Any
    bao: Bao

    def world(self, systems: Systems) -> object:
        return [self.bao.works(one) for one in (self.victim, self.other)]


class TestRevokeAToken(RevokeContract):
    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault) -> Systems:
        bao.user("tina")
        self.bao, self.victim, self.other = bao, bao.login("tina"), bao.login("tina")
        self.action = RevokeCredentials(accessor=self.victim["accessor"])
        return systems_of(vault)


class TestRevokeTheLeaseOfAToken(RevokeContract):
    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault) -> Systems:
        bao.user("lena")
        self.bao, self.other = bao, bao.login("lena")
        before = set(bao.keys("auth/userpass/login/lena"))
        self.victim = bao.login("lena")
        (lease,) = set(bao.keys("auth/userpass/login/lena")) - before
        self.action = RevokeCredentials(lease=f"auth/userpass/login/lena/{lease}")
        return systems_of(vault)


class TestRevokeEveryTokenUnderAPrefix(RevokeContract):
    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault) -> Systems:
        for name in ("pia", "piano"):
            bao.user(name)
        self.bao, self.victim, self.other = bao, bao.login("pia"), bao.login("piano")
        self.action = RevokeCredentials(lease_prefix="auth/userpass/login/pia/")
        return systems_of(vault)


class TestDestroyASecretId(OnceContract):
    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault) -> Systems:
        self.bao = bao
        role_id, victim, accessor = bao.approle("approle", "web", token_policies="default")
        _, other, _ = bao.approle("approle", "web")
        self.logins = [{"role_id": role_id, "secret_id": one} for one in (victim, other)]
        self.action = RevokeCredentials(approle="web", secret_id_accessor=accessor)
        return systems_of(vault)

    def world(self, systems: Systems) -> object:
        return [self.bao.raw("POST", "auth/approle/login", one, by="").ok for one in self.logins]


class TestRevokeADatabaseCredential(OnceContract):
    """The world is the role, whether it may log in, and its sessions."""

    @pytest.fixture
    def systems(self, bao: Bao, vault: Vault, postgres_server: Server, postgres: Postgres) -> Iterator[Systems]:
        bao.database(postgres_server, "solo", mount="shopdb")
        self.server = postgres_server
        lease, self.role = bao.credential("solo", mount="shopdb")
        self.action = RevokeCredentials(lease=lease, instance="main")
        with psycopg.connect(postgres_server.dsn.replace("user=agent", f"user={self.role}")):
            yield systems_of(vault, postgres)
        bao.ask("PUT", "sys/leases/revoke-prefix/shopdb", {})

    def world(self, systems: Systems) -> object:
        role = self.server.value(f"select rolcanlogin from pg_roles where rolname = '{self.role}'")
        return role, self.server.value(
            f"select count(*) from pg_stat_activity a left join pg_roles r on r.oid = usesysid"
            f" where backend_type = 'client backend' and (usename = '{self.role}' or r.oid is null)"
        )


# Two hundred at once --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big() -> Iterator[Server]:
    """A server of our own, with room for all of them."""
    server = Server(programs(), max_connections=260)
    try:
        server.start()
        server.grant("postgres")
        yield server
    finally:
        server.close()


def test_two_hundred_credentials_are_revoked_by_prefix_and_their_sessions_end_first(bao: Bao, vault: Vault, big: Server) -> None:
    bao.database(big, "app", "application")
    roles = [bao.credential("app")[1] for _ in range(200)]
    _, innocent = bao.credential("application")
    with ExitStack() as stack, closing(Postgres({"main": big.dsn})) as postgres:
        for role in (*roles, innocent):
            stack.enter_context(psycopg.connect(big.dsn.replace("user=agent", f"user={role}")))
        plan = RevokeCredentials(lease_prefix="database/creds/app", instance="main").plan(vault, postgres)
        kicks = [change for change in plan if change.apply.verb == "end_roles"]

        ended = apply(kicks, vault, postgres)
        left = big.value(f"select count(*) from pg_stat_activity where usename like 'v-%' and usename <> '{innocent}'")
        known = big.value("select count(*) from pg_roles where rolname like 'v-%'")
        began = time.monotonic()
        revoked = apply([change for change in plan if change not in kicks], vault, postgres)
        took = time.monotonic() - began

        assert set(kicks[0].apply.args["roles"]) == set(roles)
        assert set(kicks[0].touches) == {f"role {role}" for role in roles}
        assert ended == ["in_force"]
        assert (left, known) == (0, 201)
        assert revoked == ["in_force", "in_force"]
        assert took < 30
        assert bao.raw("LIST", "sys/leases/lookup/database/creds/app/").status_code == 404
        assert big.value("select string_agg(rolname, ' ') from pg_roles where rolname like 'v-%'") == innocent
        assert big.value(f"select count(*) from pg_stat_activity where usename = '{innocent}'") == 1


def test_a_role_that_owns_something_is_no_success_and_is_said_with_its_mend(bao: Bao, vault: Vault, big: Server) -> None:
    bao.database(big, "owner")
    lease, role = bao.credential("owner")
    big.run(f"create table kept_by_{lease[-6:]} ()", f'alter table kept_by_{lease[-6:]} owner to "{role}"')
    with closing(Postgres({"main": big.dsn})) as postgres:
        plan = RevokeCredentials(lease=lease, instance="main").plan(vault, postgres)

        outcomes = apply(plan, vault, postgres)

    assert [change.apply.verb for change in plan] == ["end_roles", "revoke_lease", "end_ghosts"]
    assert outcomes[0] == "in_force"
    assert outcomes[1].startswith(f"failed: cannot revoke the lease {lease}: ")
    assert outcomes[1].endswith("REASSIGN OWNED BY the role TO another; DROP OWNED BY the role; then order it again")
    assert big.value(f"select rolcanlogin from pg_roles where rolname = '{role}'") is False


def test_a_lease_whose_role_cannot_be_told_from_another_wants_it_named(bao: Bao, vault: Vault, big: Server) -> None:
    bao.database(big, "twins")
    (lease, role), _ = bao.credential("twins"), bao.credential("twins")
    with closing(Postgres({"main": big.dsn})) as postgres:
        with pytest.raises(
            CannotReach, match=f"cannot tell which role of PostgreSQL main belongs to the lease {lease}; name it: db"
        ):
            RevokeCredentials(lease=lease, instance="main").plan(vault, postgres)

        named = RevokeCredentials(lease=lease, instance="main", db_role=role).plan(vault, postgres)

    assert named[0].touches == (f"role {role}",)


# Entities and users ---------------------------------------------------------------------------------------------------


def test_an_entitys_batch_tokens_die_with_it_and_live_again_with_it(bao: Bao, vault: Vault) -> None:
    bao.user("bea", token_type="batch")
    batch = bao.login("bea")
    (disable,) = RevokeCredentials(entity=batch["entity_id"]).plan(vault, NONE)
    before = bao.works(batch)

    apply([disable], vault)
    during = bao.works(batch), bao.raw("POST", "auth/userpass/login/bea", {"password": "x"}, by="").status_code
    (release,) = execute.undo([("M-0", disable)], systems_of(vault))

    assert (before, during, bao.works(batch)) == (True, (False, 403), True)
    assert release.result == "lifted"


def test_an_entity_with_many_tokens_is_cut_first_and_then_loses_them_in_chunks(bao: Bao, vault: Vault) -> None:
    role_id, secret_id, _ = bao.approle("approle", "mona", token_policies="default")
    given = {"role_id": role_id, "secret_id": secret_id}
    auths = [bao.ask("POST", "auth/approle/login", given, by="")["auth"] for _ in range(201)]
    plan = RevokeCredentials(entity=auths[0]["entity_id"]).plan(vault, NONE)

    cut = apply(plan[:1], vault)
    works = {bao.works(one) for one in auths}
    outcomes = apply(plan[1:], vault)

    assert [len(change.apply.args.get("accessors", ())) for change in plan] == [0, 200, 1]
    assert (cut, works, outcomes) == (["in_force"], {False}, ["in_force", "in_force"])
    assert not any(bao.knows(one) for one in auths)
    assert RevokeCredentials(entity=auths[0]["entity_id"]).plan(vault, NONE) == []


def test_orphans_that_name_no_owner_are_told_and_left_alone(bao: Bao, vault: Vault) -> None:
    bao.user("olga")
    auth = bao.login("olga")
    orphan = bao.token(path="auth/token/create-orphan", display_name="olga")

    plan = RevokeCredentials(entity=auth["entity_id"]).plan(vault, NONE)
    apply(plan, vault)

    assert plan[0].describe.endswith(
        f"; 1 orphan tokens in Vault name no owner and may be its own: accessors {orphan['accessor']}"
    )
    assert (bao.works(auth), bao.works(orphan)) == (False, True)
    bao.ask("POST", "auth/token/revoke", {"token": orphan["client_token"]})


def test_a_user_loses_every_token_however_he_wrote_his_name(bao: Bao, vault: Vault) -> None:
    bao.user("uwe")
    auths = [bao.login(name) for name in ("uwe", "UWE", "Uwe")]
    plan = RevokeCredentials(userpass_user="Uwe").plan(vault, NONE)

    outcomes = apply(plan, vault)

    assert [change.apply.verb for change in plan] == ["disable_entity"] + ["revoke_prefix"] * 3
    assert outcomes == ["in_force"] * 4
    assert not any(bao.knows(one) for one in auths)
    assert all("user Uwe" in change.touches for change in plan)
    assert RevokeCredentials(userpass_user="Uwe").plan(vault, NONE) == []


def test_a_user_who_has_never_logged_in_is_said(bao: Bao, vault: Vault) -> None:
    bao.user("nina")

    with pytest.raises(
        CannotReach, match="cannot find the entity of the user nina at auth/userpass: whoever has never logged in"
    ):
        RevokeCredentials(userpass_user="nina").plan(vault, NONE)


# What is refused, and what is said ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accessor": "nope"}, "cannot revoke: Vault does not know the token accessor nope: it is gone already, or mistyped"),
        ({"lease": "database/creds/app/nope"}, "Vault does not know the lease database/creds/app/nope"),
        ({"lease_prefix": "database/creds/nope"}, "Vault does not know any lease under database/creds/nope"),
        ({"entity": "nope"}, "cannot find the entity nope"),
        ({"approle": "nobody", "secret_id_accessor": "nope"}, 'role "nobody" does not exist'),
        ({"approle": "web"}, "approle and secret_id_accessor go together"),
        ({"entity": "a", "secret_id_accessor": "b"}, "approle and secret_id_accessor go together"),
        ({"entity": "a", "instance": "main"}, "instance and db_role go with lease and lease_prefix, not with entity"),
        ({"lease": "a/b/c", "db_role": "v"}, "db_role needs instance"),
        ({}, "exactly one of entity, userpass_user, accessor, lease, lease_prefix, approle is wanted, and none is given"),
        ({"entity": "a", "lease": "b"}, "entity and lease are given"),
    ],
)
def test_what_vault_does_not_know_or_nobody_could_mean_is_an_error_of_the_plan(
    vault: Vault, given: dict[str, str], said: str
) -> None:
    with pytest.raises(CannotReach) as error:
        RevokeCredentials(**given).plan(vault, NONE)  # type: ignore[arg-type]

    assert said in str(error.value)


def test_an_unknown_secret_id_of_a_known_role_is_an_error_of_the_plan(bao: Bao, vault: Vault) -> None:
    bao.approle("approle", "known", token_policies="default")

    with pytest.raises(CannotReach, match="Vault does not know the secret id accessor nope of the AppRole known"):
        RevokeCredentials(approle="known", secret_id_accessor="nope").plan(vault, NONE)


def test_what_the_agent_lives_on_is_refused_by_the_plan(vault: Vault) -> None:
    me = vault.own()
    for given in (
        {"accessor": me.accessor},
        {"entity": me.entity_id},
        {"lease_prefix": "auth/containment/login"},
        {"lease": "auth/containment/login/h1"},
        {"approle": "agent", "mount": "containment", "secret_id_accessor": "x"},
    ):
        with pytest.raises(Protected):
            RevokeCredentials(**given).plan(vault, NONE)  # type: ignore[arg-type]


def test_only_what_is_let_in_again_is_less_than_destructive() -> None:
    impacts = [RevokeCredentials(entity="a"), RevokeCredentials(userpass_user="a"), RevokeCredentials(accessor="a")]

    assert [one.impact for one in impacts] == ["disruptive", "disruptive", "destructive"]


def test_the_dry_run_of_a_database_lease_says_that_its_session_stays(bao: Bao, vault: Vault, big: Server) -> None:
    bao.database(big, "loose")
    lease, _ = bao.credential("loose")

    said = execute.dry_run(RevokeCredentials(lease=lease).plan(vault, NONE), systems_of(vault))

    assert said[0] == f"would revoke the Vault lease {lease}; a database session that is open stays (instance=… ends it first)"
    assert f'  apply   PUT /v1/sys/leases/lookup {{"lease_id": "{lease}"}}' in said
