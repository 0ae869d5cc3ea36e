"""The way to Vault: a connection of its own, a login by AppRole that is renewed, and errors as sentences."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.systems.vault_guard import Own

if TYPE_CHECKING:
    from hvac.adapters import JSONAdapter

CONNECT: Final = 3.0
"""Seconds for the connection."""
READ: Final = 8.0
"""Seconds for one answer: less than a verb may take, so that a stopped server is an error in time."""
_REFUSED: Final = 300.0
"""Seconds until a secret id that was refused is tried again: after five refusals Vault locks the role out for 15 minutes."""
_AGAIN: Final = (412, 429, 502, 503, 504)
"""Answers that may be another one in a moment. Not 500: OpenBao 2.7 says that of a role that does not exist."""
NO_WORDS: Final = "nothing more than that it cannot"
"""What stands for Vault's own words where it has none, as for a 404."""
_NOT_VAULT: Final = "something that is not Vault's; is the url right, or does a proxy answer in its place?"
_CAPABILITY: Final = {"GET": "read", "LIST": "list", "POST": "update", "PUT": "update"}


class NoVault(CannotReach):
    """agent.yaml names no Vault, which says nothing about one."""


class Refused(CannotReach):
    """Vault does not do this, or knows no such thing (400, 404, 500): the text is its own."""


class TimedOut(CannotReach):
    """No answer in time. A revocation goes on in the server all the same."""


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """How to reach Vault or OpenBao.

    `secret_id` is asked anew at each login. `protected` are accessors, entity ids and entity names that are never revoked,
    `most` is how many tokens or leases may be enumerated, or revoked by one plan.
    """

    url: str
    role_id: str
    secret_id: Callable[[], str] = field(repr=False)
    mount: str = "approle"
    ca_file: str = ""
    namespace: str = ""
    protected: tuple[str, ...] = ()
    most: int = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to Vault, as the dry run shows it."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.method} /v1/{self.path}{f' {json.dumps(self.body)}' if self.body else ''}"


class Patience:
    """How long a verb may still take, over all of its requests."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; 0 when it is over."""
        return max(0.0, self._until - time.monotonic())


@dataclass(frozen=True, slots=True)
class _Held:
    """The token in use, and by time.monotonic() when to renew it and when it is over."""

    token: str = field(repr=False)
    own: Own
    span: float
    renew: float
    ends: float


class Login:
    """One server, asked with the agent's own token. Any number of threads may ask at once."""

    def __init__(self, settings: VaultSettings, learn: Callable[[str], None]) -> None:
        self.settings = settings
        self._learn = learn
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._made: JSONAdapter | None = None
        self._refused = "", 0.0

    def close(self) -> None:
        """Drop the connections; the token ends by itself."""
        if self._made is not None:
            self._made.close()

    # Asking ---------------------------------------------------------------------------------------------------------

    def ask(self, what: str, request: Request, patience: Patience) -> dict[str, Any]:
        """What Vault answers; empty where it says no more than yes. `what` completes the sentence `cannot …`.

        A token that has died in the meantime is replaced once.

        Raises:
            Refused: Vault says that it cannot, or knows no such thing.
            TimedOut: no answer in time.
            CannotReach: the connection or the login fails, Vault is sealed, or the agent's policy lacks a line.
        """
        held = self._ready(patience)
        for _ in range(2):
            try:
                return self._send(what, request, held.token, patience)
            except _Forbidden:
                if self._lives(held, patience):
                    break
            held = self._ready(patience, instead_of=held)
        raise CannotReach(
            f"cannot {what}: Vault denies the agent `{_CAPABILITY[request.method]}` on {request.path};"
            " compare its policy with agent/grants/vault.hcl"
        )

    def ask_openly(self, what: str, request: Request, patience: Patience) -> dict[str, Any]:
        """What Vault answers to anybody, without a token.

        Raises:
            CannotReach: as in `ask`.
        """
        try:
            return self._send(what, request, "", patience)
        except _Forbidden as error:
            raise CannotReach(f"cannot {what}: {error}") from error

    def own(self, patience: Patience) -> Own:
        """Who the agent is there.

        Raises:
            CannotReach: it cannot log in.
        """
        return self._ready(patience).own

    def _send(self, what: str, request: Request, token: str, patience: Patience) -> dict[str, Any]:
        import requests
        from hvac import exceptions

        left = min(READ, patience.left)
        if left <= 0:
            raise TimedOut(f"cannot {what}: the time for it is over")
        began = time.monotonic()
        try:
            answer = self._adapter().request(
                request.method,
                f"/v1/{request.path}",
                headers={"X-Vault-Token": token} if token else None,
                json=request.body,
                timeout=(min(CONNECT, left), left),
            )
        except requests.ReadTimeout as error:
            waited = time.monotonic() - began
            raise TimedOut(f"cannot {what}: Vault at {self.settings.url} did not answer within {waited:.0f} s") from error
        except requests.TooManyRedirects as error:  # of which none is followed: it would take the token to another server
            mend = "name the active server, or what stands before it, in agent.yaml"
            raise CannotReach(f"cannot {what}: Vault at {self.settings.url} sends us to another server; {mend}") from error
        except OSError as error:  # requests' own are some, a ca_file that is not there is one
            raise CannotReach(f"cannot {what}: Vault at {self.settings.url} cannot be reached: {_why(error)}") from error
        except exceptions.Forbidden as error:
            if "invalid accessor" in _said(error):  # there is no such token: 400 in OpenBao 2.7, 403 in some versions of Vault
                raise _refusal(what, error) from error
            raise _Forbidden(_said(error)) from error
        except exceptions.VaultError as error:
            raise _refusal(what, error) from error
        return answer if isinstance(answer, dict) else {}

    def _adapter(self) -> JSONAdapter:
        """hvac's adapter alone: its Client also reads VAULT_TOKEN, ~/.vault-token and VAULT_CLIENT_CERT."""
        import requests
        from hvac.adapters import JSONAdapter
        from urllib3.util import Retry

        if self._made is None:
            retry = Retry(2, connect=0, read=False, status=2, backoff_factor=0.2, status_forcelist=_AGAIN, allowed_methods=None)
            retry = retry.new(raise_on_status=False, respect_retry_after_header=False)  # a quota asks for up to a minute
            session = requests.Session()
            session.max_redirects = 0
            session.trust_env = False  # no proxy, no .netrc and no other issuers by way of the environment
            session.verify = self.settings.ca_file or True  # the session's own counts, whatever the adapter is told
            for scheme in ("http://", "https://"):
                session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry, pool_maxsize=4))
            namespace = self.settings.namespace or None
            self._made = JSONAdapter(base_uri=self.settings.url, token="", session=session, namespace=namespace)
        return self._made

    # The token ------------------------------------------------------------------------------------------------------

    def _ready(self, patience: Patience, instead_of: _Held | None = None) -> _Held:
        """The token to use: renewed when half its life is over, replaced when it is dead."""
        held = self._held
        if held is not None and held is not instead_of and time.monotonic() < held.renew:
            return held
        with self._alone(patience):
            held = self._held  # another thread may have seen to it
            if held is not None and held is not instead_of and time.monotonic() < held.renew:
                return held
            usable = held is not None and held is not instead_of and time.monotonic() < held.ends
            self._held = (self._renewed(held, patience) if held and usable else None) or self._logged_in(patience)
            return self._held

    @contextmanager
    def _alone(self, patience: Patience) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(0.001, patience.left)):
            raise TimedOut(f"cannot log in to Vault at {self.settings.url}: another login is still waiting for its answer")
        try:
            yield
        finally:
            self._lock.release()

    def _logged_in(self, patience: Patience) -> _Held:
        secret_id, mount = self._secret_id(), self.settings.mount
        body = {"role_id": self.settings.role_id, "secret_id": secret_id}
        try:
            answer = self._send("log in to Vault", Request("POST", f"auth/{mount}/login", body), "", patience)
        except _Forbidden as error:
            mend = f"is the AppRole at auth/{mount} bound to other addresses?"
            raise CannotReach(f"cannot log in to Vault: {error}; {mend}") from error
        except Refused:
            self._refused = secret_id, time.monotonic()
            raise
        auth = answer.get("auth")
        if not auth:
            raise CannotReach(f"cannot log in to Vault: {self.settings.url} does not answer as Vault does; is the url right?")
        self._learn(auth["client_token"])
        own = Own(auth["accessor"], auth["entity_id"], mount, (auth["metadata"] or {}).get("role_name", ""))
        return _held(auth["client_token"], own, float(auth["lease_duration"]), None)

    def _secret_id(self) -> str:
        try:
            secret_id = self.settings.secret_id()
        except OSError as error:
            raise CannotReach(f"cannot log in to Vault: the secret id cannot be read: {error}") from error
        refused, when = self._refused
        if refused == secret_id and time.monotonic() - when < _REFUSED:
            raise CannotReach("cannot log in to Vault: it has just refused this secret id; put a new one in its place")
        self._learn(secret_id)
        return secret_id

    def _renewed(self, held: _Held, patience: Patience) -> _Held | None:
        """The same token with more life, or None where it must be replaced."""
        try:
            answer = self._send("renew the agent's token", Request("POST", "auth/token/renew-self"), held.token, patience)
        except (_Forbidden, Refused):
            return None
        got = float((answer.get("auth") or {}).get("lease_duration", 0))
        return _held(held.token, held.own, got, held.span) if got >= held.span / 2 else None  # its longest life ends soon

    def _lives(self, held: _Held, patience: Patience) -> bool:
        """Whether the token itself is good: then a 403 means what it says."""
        try:
            self._send("look up the agent's token", Request("GET", "auth/token/lookup-self"), held.token, patience)
        except _Forbidden:
            return False
        return True


class _Forbidden(Exception):  # noqa: N818
    """403: the token is dead, or the policy lacks a line."""


def _held(token: str, own: Own, life: float, span: float | None) -> _Held:
    life = life or math.inf  # 0: without an end
    now = time.monotonic()
    return _Held(token, own, span or life, now + life / 2, now + life)


def _refusal(what: str, error: Any) -> CannotReach:
    from hvac import exceptions

    if isinstance(error, exceptions.VaultDown):
        return CannotReach(f"cannot {what}: Vault is sealed; unseal it: bao operator unseal, or vault operator unseal")
    if isinstance(error, exceptions.VaultNotInitialized):
        return CannotReach(f"cannot {what}: Vault is not initialised")
    if isinstance(
        error, exceptions.InvalidRequest | exceptions.InvalidPath | exceptions.InternalServerError | exceptions.Forbidden
    ):
        return Refused(f"cannot {what}: {_said(error)}")
    return CannotReach(f"cannot {what}: Vault answers {_said(error)}")


def _said(error: Any) -> str:
    """Vault's own words on one line, without the address that hvac adds."""
    words = error.errors if isinstance(error.errors, list) else [error.errors or ""]
    data = (error.json or {}).get("data") if isinstance(error.json, dict) else None
    # A proxy's 404 must not pass for Vault's, which says that there is no such thing (any more).
    none = NO_WORDS if isinstance(error.json, dict) and error.json.keys() & {"errors", "request_id"} else _NOT_VAULT
    words = words if any(words) else [(data or {}).get("error") or none]
    text = re.sub(r"\d+ errors? occurred:", "", " ".join(map(str, words)))
    return " ".join(text.replace("*", " ").split())[:300]


def _why(error: Exception) -> str:
    import requests

    if not isinstance(error, requests.RequestException):
        return f"{error}; is ca_file right?"
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate or TLS is not accepted: {_last(error)}; name its issuers as ca_file"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    return f"{_last(error)}; is it running?"


def _last(error: Exception) -> str:
    """The innermost reason that urllib3 wraps."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return re.sub(r"\[Errno \d+\] ", "", str(reason)).rpartition(": ")[2].strip("'\")( ") or type(error).__name__
