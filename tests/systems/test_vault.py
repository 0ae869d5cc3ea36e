"""Vault on a real OpenBao: the login, what it says when Vault does not answer, and what Vault's answers are worth."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import requests

from agent.action import CannotReach, Holds, InProgress
from agent.systems.vault import Vault
from agent.systems.vault_login import VaultSettings
from tests.openbao import Bao, perform


@pytest.fixture
def stopped(bao: Bao) -> Iterator[None]:
    os.kill(bao.pid, signal.SIGSTOP)
    yield
    os.kill(bao.pid, signal.SIGCONT)


# The login ------------------------------------------------------------------------------------------------------------


def test_secret_id_and_token_are_told_so_that_they_stay_out_of_evidence(bao: Bao) -> None:
    told: list[str] = []
    with closing(Vault(bao.settings(), told.append)) as vault:
        vault.keep()

    assert told[0] == bao.settings().secret_id()
    assert told[1].startswith("s.")
    assert len(told) == 2
    assert told[0] not in repr(bao.settings())


def test_nothing_in_the_environment_stands_in_for_the_agents_own_login(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("VAULT_TOKEN", bao.root), ("VAULT_ADDR", "http://127.0.0.1:1"), ("HTTPS_PROXY", "http://127.0.0.1:1")):
        monkeypatch.setenv(name, value)
    with (
        closing(Vault(bao.settings(role_id="mistyped"))) as vault,
        pytest.raises(CannotReach, match="cannot log in to Vault: inv"),
    ):
        vault.keep()


def test_a_dead_token_is_replaced_once_also_when_four_threads_find_it_dead(bao: Bao) -> None:
    told: list[str] = []
    bao.user("dora")
    alive = bao.login("dora")
    with closing(Vault(bao.settings(), told.append)) as vault:
        vault.keep()
        bao.ask("POST", "auth/token/revoke", {"token": told[1]})
        seen: list[bool] = []
        threads = [threading.Thread(target=lambda: seen.append(vault.knows_token(alive["accessor"]))) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(10)

    assert seen == [True] * 4
    assert len(told) == 4


def test_a_token_is_renewed_when_half_its_life_is_over(bao: Bao) -> None:
    told: list[str] = []
    role_id, secret_id, _ = bao.approle("containment", "brief", token_policies="containment", token_period="2s")
    with closing(Vault(bao.settings(role_id=role_id, secret_id=lambda: secret_id), told.append)) as vault:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            vault.keep()
            time.sleep(0.3)

        assert vault.life() is not None
    assert len(told) == 2


def test_a_token_that_has_reached_its_longest_life_is_replaced(bao: Bao) -> None:
    told: list[str] = []
    role_id, secret_id, _ = bao.approle("containment", "short", token_policies="containment", token_ttl="2s", token_max_ttl="2s")
    with closing(Vault(bao.settings(role_id=role_id, secret_id=lambda: secret_id), told.append)) as vault:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            vault.keep()
            time.sleep(0.3)

    assert len(told) > 2


def test_a_secret_id_that_cannot_be_read_is_said() -> None:
    def missing() -> str:
        raise FileNotFoundError(2, "No such file or directory", "/run/secret-id")

    with pytest.raises(CannotReach, match=r"cannot log in to Vault: the secret id cannot be read: .*/run/secret-id"):
        Vault(VaultSettings("https://127.0.0.1:1", "r", missing)).keep()


def test_a_secret_id_that_was_refused_is_not_tried_again_and_a_new_one_is_at_once(bao: Bao) -> None:
    told: list[str] = []
    now = ["mistyped"]
    with closing(Vault(bao.settings(secret_id=lambda: now[0]), told.append)) as vault:
        with pytest.raises(CannotReach, match="cannot log in to Vault: invalid role or secret ID"):
            vault.keep()
        with pytest.raises(CannotReach, match="cannot log in to Vault: it has just refused this secret id"):
            vault.keep()
        now[0] = bao.settings().secret_id()

        vault.keep()

    assert [one for one in told if one == "mistyped"] == ["mistyped"]


def test_a_missing_file_of_issuers_is_said(bao: Bao) -> None:
    with (
        closing(Vault(bao.settings(ca_file="/nowhere.pem"))) as vault,
        pytest.raises(CannotReach, match=r"/nowhere\.pem; is ca_fi"),
    ):
        vault.keep()


def test_without_a_vault_every_question_says_so_and_keeping_is_harmless() -> None:
    vault = Vault(None)
    vault.keep()
    vault.close()

    with pytest.raises(CannotReach, match=r"cannot ask Vault: agent\.yaml names none under systems"):
        perform(vault, vault.entity_disabled(entity_id="x", changed=""))


# When it does not answer ----------------------------------------------------------------------------------------------


def test_a_stopped_server_is_an_error_before_the_verb_is_late(vault: Vault, bao: Bao, stopped: None) -> None:
    began = time.monotonic()

    with pytest.raises(CannotReach, match=rf"Vault at {bao.url} did not answer within \d s"):
        perform(vault, vault.disable_entity(entity_id="x"))

    assert time.monotonic() - began < 9.5


def test_a_sealed_server_is_said_with_its_mend(vault: Vault, bao: Bao) -> None:
    vault.keep()
    bao.seal()
    try:
        with pytest.raises(CannotReach, match="cannot look up the token accessor abc: Vault is sealed; unseal it"):
            vault.knows_token("abc")
    finally:
        bao.unseal()


class Ingress(BaseHTTPRequestHandler):
    """A proxy that finds Vault for a login, and has lost it afterwards."""

    bao: Bao
    heard: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        if self.path.endswith("/lookup-accessor"):
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if self.path == "/elsewhere":
            self.heard.append(self.headers.get("X-Vault-Token", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith("/login"):
            return self._say(404, "text/html", b"<h1>404 Not Found</h1>")
        answer = requests.post(self.bao.url + self.path, data=body, verify=self.bao.cert.as_posix(), timeout=5)
        return self._say(answer.status_code, answer.headers["Content-Type"], answer.content)

    do_GET = do_LIST = do_PUT = do_POST  # noqa: N815 - the names that http.server looks for

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def behind(bao: Bao) -> Iterator[Vault]:
    Ingress.bao = bao
    with ThreadingHTTPServer(("127.0.0.1", 0), Ingress) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with closing(Vault(bao.settings(url=f"http://127.0.0.1:{server.server_port}"))) as vault:
            yield vault
        server.shutdown()
        thread.join()


def test_a_404_that_is_not_vaults_own_does_not_mean_that_there_is_nothing_left(behind: Vault) -> None:
    for one in (behind.prefix_empty("database/creds/app", since=1, of=3), behind.entity_disabled("some-id", "then")):
        with pytest.raises(CannotReach, match="not Vault's; is the url right, or does a proxy answer in its place"):
            perform(behind, one)


def test_the_agents_token_follows_no_redirect_to_another_server(behind: Vault) -> None:
    with pytest.raises(CannotReach, match="sends us to another server"):
        perform(behind, behind.accessors_gone(accessors=("abc",)))

    assert Ingress.heard == []


def test_a_denial_names_the_path_and_no_new_login_is_tried(bao: Bao) -> None:
    told: list[str] = []
    role_id, secret_id, _ = bao.approle("containment", "poor", token_policies="default")
    with closing(Vault(bao.settings(role_id=role_id, secret_id=lambda: secret_id), told.append)) as vault:
        with pytest.raises(CannotReach) as error:
            vault.knows_token("abc")

        lacks = vault.lacks()

    assert str(error.value) == (
        "cannot look up the token accessor abc: Vault denies the agent `update` on auth/token/lookup-accessor;"
        " compare its policy with agent/grants/vault.hcl"
    )
    assert len(told) == 2
    assert "the agent's policy in Vault lacks `list, sudo` on auth/token/accessors" in lacks


# What its answers are worth -------------------------------------------------------------------------------------------


def test_what_vault_does_not_know_is_not_known_whatever_it_answers_to_a_revocation(vault: Vault) -> None:
    assert vault.knows_token("nope") is False
    assert vault.knows_lease("database/creds/app/nope") is False
    assert vault.leases("database/creds/nope") == ()
    with pytest.raises(CannotReach, match="cannot find the entity nobody: Vault knows none with such an id or name"):
        vault.entity("nobody")


def test_an_entity_that_somebody_enabled_meanwhile_is_told_and_left_alone(bao: Bao, vault: Vault) -> None:
    bao.user("mia")
    entity = vault.entity(bao.login("mia")["entity_id"])
    verify = vault.entity_disabled(entity_id=entity.id, changed=entity.changed)
    before = perform(vault, verify)
    perform(vault, vault.disable_entity(entity_id=entity.id))
    during = perform(vault, verify)

    bao.ask("POST", f"identity/entity/id/{entity.id}", {"disabled": False})

    after = perform(vault, verify)
    assert (before, during) == (False, True)
    assert isinstance(after, Holds)
    assert (after.how, after.say.startswith(f"the entity {entity.name} is enabled; it was last changed at 20")) == ("no", True)


def test_an_entity_that_somebody_deleted_is_told_and_undoing_is_harmless(bao: Bao, vault: Vault) -> None:
    bao.user("max")
    entity = vault.entity(bao.login("max")["entity_id"])
    bao.ask("DELETE", f"identity/entity/id/{entity.id}")

    perform(vault, vault.enable_entity(entity_id=entity.id))

    held = perform(vault, vault.entity_disabled(entity_id=entity.id, changed=entity.changed))
    assert held == Holds("no", f"the entity {entity.id} is gone: somebody deleted it, and with it all its tokens")


def test_tokens_of_which_some_are_left_hold_partly(bao: Bao, vault: Vault) -> None:
    bao.user("pat")
    auths = [bao.login("pat") for _ in range(3)]
    accessors = tuple(one["accessor"] for one in auths)
    verify = vault.accessors_gone(accessors=accessors)
    before = perform(vault, verify)
    bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessors[1]})

    partly = perform(vault, verify)
    perform(vault, vault.revoke_accessors(accessors=accessors))
    after = perform(vault, verify)

    assert (before, partly, after) == (False, Holds("partly", "2 of 3 tokens are still valid"), True)


def test_leases_that_become_fewer_are_in_progress_and_new_ones_do_not_count(bao: Bao, vault: Vault) -> None:
    bao.user("ines")
    first, second = bao.login("ines"), bao.login("ines")
    since = vault.health().clock
    verify = vault.prefix_empty(prefix="auth/userpass/login/ines", since=since, of=2)
    with pytest.raises(InProgress, match="2 of 2 leases under auth/userpass/login/ines are left"):
        perform(vault, verify)
    bao.ask("POST", "auth/token/revoke", {"token": first["client_token"]})
    with pytest.raises(InProgress, match="1 of 2 leases"):
        perform(vault, verify)
    bao.ask("POST", "auth/token/revoke", {"token": second["client_token"]})
    while vault.health().clock <= since:
        time.sleep(0.05)

    later = bao.login("ines")

    assert perform(vault, verify) is True
    assert bao.works(later)


def test_native_is_every_request_with_its_body_and_never_a_token(vault: Vault) -> None:
    said = [
        vault.native(vault.disable_entity(entity_id="1-2")),
        vault.native(vault.enable_entity(entity_id="1-2")),
        vault.native(vault.revoke_accessors(accessors=("a", "b"))),
        vault.native(vault.revoke_lease(lease_id="database/creds/app/1")),
        vault.native(vault.revoke_prefix(prefix="auth/userpass/login/o'neil@x.org")),
        vault.native(vault.destroy_secret_id(mount="approle", role_name="web", secret_id_accessor="s")),
    ]

    assert said == [
        'GET /v1/identity/entity/id/1-2\nPOST /v1/identity/entity/id/1-2 {"disabled": true}',
        'GET /v1/identity/entity/id/1-2\nPOST /v1/identity/entity/id/1-2 {"disabled": false}',
        "POST /v1/auth/token/lookup-accessor and POST /v1/auth/token/revoke-accessor, look up, then revoke each of\n"
        '  {"accessor": "a"}\n  {"accessor": "b"}',
        'PUT /v1/sys/leases/lookup {"lease_id": "database/creds/app/1"}\n'
        'PUT /v1/sys/leases/revoke {"lease_id": "database/creds/app/1", "sync": true}',
        "LIST /v1/sys/leases/lookup/auth/userpass/login/o%27neil%40x.org  (and what is under it, to count)\n"
        'PUT /v1/sys/leases/revoke-prefix/auth/userpass/login/o%27neil%40x.org {"sync": false}\n'
        "LIST /v1/sys/leases/lookup/auth/userpass/login/o%27neil%40x.org  (and what is under it, until none is left)",
        'POST /v1/auth/approle/role/web/secret-id-accessor/lookup {"secret_id_accessor": "s"}\n'
        'POST /v1/auth/approle/role/web/secret-id-accessor/destroy {"secret_id_accessor": "s"}',
    ]
