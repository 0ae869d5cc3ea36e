"""The ways to show who one is. Each compares in constant time, and answers with a reason that holds nothing of what was sent."""

from __future__ import annotations

import hashlib
import hmac
import pwd
import re
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from agent.action import CannotReach
from agent.intake.key_file import KeyFile, Learn
from agent.intake.replay import Replays
from agent.intake.settings import GRAFANA_SIGNATURE, PAGERDUTY_SIGNATURE, SIGNATURE, Auth, Style

WINDOW: Final = 300
"""Seconds that a signature's time stamp may be off."""
REPEATS: Final = 48 * 3600
"""Seconds for which PagerDuty repeats a webhook (developer.pagerduty.com, "Webhooks: Behavior")."""
_TIMESTAMP: Final = re.compile(r"\d{1,12}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end, as the kernel and TLS say: `address` is empty on the unix socket, `uid` None elsewhere.

    `names` are those of a client certificate that was verified. `segment` is what stands in the path behind the sender's name.
    """

    address: str
    uid: int | None
    names: frozenset[str]
    headers: Mapping[str, str]
    segment: str = ""

    @property
    def peer(self) -> str:
        """Who it is, for limits."""
        return self.address or f"uid {self.uid}"


class Busy(Exception):  # noqa: N818 - no error: it is to come again
    """It cannot be told yet whether this is who it says; the text says why."""


class Shown(NamedTuple):
    """Why it is not who it says, empty where it is. `settle` is to be told whether the message that was let in was taken.

    `again`: it was taken before, by a sender that repeats what it is not sure of; it is told so, and nothing else comes of it.
    """

    why: str = ""
    settle: Callable[[bool], None] = lambda _: None
    again: bool = False


class Way(Protocol):
    """One sender's way. All raise CannotReach where our own part of it, as a secret's file, is not what it must be."""

    def ready(self) -> None:
        """Whether anybody could be let in."""
        ...

    def head(self, caller: Caller) -> str:
        """The reason against it by the head of the request alone."""
        ...

    def whole(self, caller: Caller, body: bytes | bytearray) -> Shown:
        """The same with the body, for one whose head was good.

        Raises:
            Busy: the same message is being taken just now.
        """
        ...


def way(auth: Auth, learn: Learn) -> Way:
    """The way that agent.yaml names."""
    if auth.way == "hmac":
        return Signed(auth, KeyFile(_file(auth), learn))
    if auth.way in _BY_SECRET:
        file = KeyFile(_file(auth), learn)
        return ByHead(partial(_BY_SECRET[auth.way], file), file.secrets)
    if auth.way == "users":
        return ByHead(partial(_users, auth), partial(_known_users, auth))
    return ByHead(partial(_client_names, auth) if auth.way == "client_names" else lambda _: "")


def _file(auth: Auth) -> Path:
    if auth.file is None:
        raise TypeError(f"{auth} has no file")
    return auth.file


class ByHead:
    """A way for which the head of the request is enough."""

    def __init__(self, check: Callable[[Caller], str], ready: Callable[[], object] = lambda: None) -> None:
        """`check` gives the reason against it, or ''."""
        self._check, self._ready = check, ready

    def ready(self) -> None:
        """Whether anybody could be let in."""
        self._ready()

    def head(self, caller: Caller) -> str:
        """By the head of the request."""
        return self._check(caller)

    def whole(self, caller: Caller, body: bytes | bytearray) -> Shown:  # noqa: ARG002
        """All is said by the head."""
        return Shown()


def stranger() -> Way:
    """For names that agent.yaml does not know: as much work as for one that it does, and never let in."""
    nobody = hashlib.sha256(b"nobody").digest()

    def check(caller: Caller) -> str:
        _is_one_of(_said(caller, "bearer") or caller.segment.encode("utf-8", "replace"), [nobody])
        return "no such sender"

    return ByHead(check)


def _is_one_of(given: bytes, known: Sequence[bytes]) -> bool:
    """In constant time, whatever the lengths."""
    digest = hashlib.sha256(given).digest()
    return any([hmac.compare_digest(digest, hashlib.sha256(one).digest()) for one in known])  # noqa: C419 - all of them


def _said(caller: Caller, scheme: str) -> bytes:
    """The credentials of the Authorization header, empty where it has none of this scheme."""
    given, _, rest = caller.headers.get("authorization", "").partition(" ")
    return rest.strip().encode("latin-1", "replace") if given.lower() == scheme else b""


# By the head --------------------------------------------------------------------------------------------------------------


def _users(auth: Auth, caller: Caller) -> str:
    if caller.uid is None:
        return "not over the unix socket"
    return "" if caller.uid in map(uid_of, auth.names) else "another user"


def _known_users(auth: Auth) -> None:
    for one in auth.names:
        if uid_of(one) is None:
            raise CannotReach(f"cannot let `{one}` in: there is no such user on this host")


def uid_of(user: str) -> int | None:
    """The uid of a user's name or number; None where there is no such user."""
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _client_names(auth: Auth, caller: Caller) -> str:
    if not caller.names:
        return "no client certificate"
    return "" if caller.names & set(auth.names) else "another client certificate"


def _bearer(file: KeyFile, caller: Caller) -> str:
    given, known = _said(caller, "bearer"), file.secrets()
    return "" if _is_one_of(given, known) else "wrong token" if given else "no token"


def _basic(file: KeyFile, caller: Caller) -> str:
    known = file.secrets()
    try:
        given = b64decode(_said(caller, "basic"), validate=True)
    except NotBase64:
        given = b""
    return "" if _is_one_of(given, known) else "wrong password" if given else "no password"


def _path(file: KeyFile, caller: Caller) -> str:
    given, known = caller.segment.encode("utf-8", "replace"), file.secrets()
    return "" if _is_one_of(given, known) else "wrong path" if given else "no secret in the path"


_BY_SECRET: Final[Mapping[str, Callable[[KeyFile, Caller], str]]] = {"bearer": _bearer, "basic": _basic, "path": _path}


# By the body --------------------------------------------------------------------------------------------------------------


class Signed:
    """An HMAC-SHA256 over a time stamp and the body.

    Ours is `X-Containment-Signature: t=<unix seconds>,v1=<hex>` over `<t>.<body>`, with several `v1` while secrets are
    exchanged; Grafana's is hex alone over `<t>:<body>`, with the time stamp in a header of its own, which is demanded here.
    PagerDuty's is `v1=<hex>`, several with commas, over the body alone. It may come twice, and whoever answers PagerDuty with a
    refusal three times gets nothing for a day; the time of what happened stands in the body, and its sender heeds it.
    """

    def __init__(self, auth: Auth, file: KeyFile, now: Callable[[], float] = time.time) -> None:
        """No signature is known yet."""
        self._auth, self._file, self._now = auth, file, now
        self._timed = auth.style != "pagerduty"
        self._replays = Replays(2 * WINDOW if self._timed else REPEATS)

    def ready(self) -> None:
        """Whether anybody could be let in."""
        self._file.secrets()

    def head(self, caller: Caller) -> str:
        """Whether there is a signature at all, and of this time; before a body is read for it."""
        self._file.secrets()
        stamp, given = self._signature(caller)
        if not given or (self._timed and not stamp):
            return "no signature"
        if self._timed and abs(self._now() - int(stamp)) > WINDOW:
            return "old signature"
        return ""

    def whole(self, caller: Caller, body: bytes | bytearray) -> Shown:
        """Whether one of our secrets signed it, and for the first time."""
        stamp, given = self._signature(caller)
        signed = stamp.encode() + _BETWEEN[self._auth.style]
        digests = [_digest(secret, signed, body) for secret in self._file.secrets()]
        if not any([hmac.compare_digest(one, ours) for one in given for ours in digests]):  # noqa: C419 - all of them
            return Shown("wrong signature")
        message = hashlib.sha256(signed)
        message.update(body)
        mark = message.digest()  # whatever secret signed it
        claimed = self._replays.claim(mark)
        if claimed == "taken":
            return Shown("signature taken before") if self._timed else Shown(again=True)
        if claimed != "yes":
            raise Busy("the same message is being taken" if claimed == "under way" else "too many signatures are remembered")
        return Shown("", lambda taken: self._replays.settle(mark, taken=taken))

    def _signature(self, caller: Caller) -> tuple[str, list[bytes]]:
        """The time stamp and the signatures; empty where they are missing or not well formed."""
        if self._auth.style == "grafana":
            stamp = caller.headers.get(self._auth.timestamp_header.lower(), "")
            given = [caller.headers.get(GRAFANA_SIGNATURE.lower(), "")]
        else:
            header = SIGNATURE if self._timed else PAGERDUTY_SIGNATURE
            parts = [part.strip().partition("=") for part in caller.headers.get(header.lower(), "").split(",", 8)]
            stamp = next((value for name, _, value in parts if name == "t"), "") if self._timed else ""
            given = [value for name, _, value in parts if name == "v1"]
        if self._timed and not _TIMESTAMP.fullmatch(stamp):
            return "", []
        return stamp, [one.encode() for one in given if _DIGEST.fullmatch(one)]


_BETWEEN: Final[Mapping[Style, bytes]] = {"containment": b".", "grafana": b":", "pagerduty": b""}
"""What stands between the time stamp and the body where they are signed."""


def _digest(secret: bytes, signed: bytes, body: bytes | bytearray) -> bytes:
    made = hmac.new(secret, signed, hashlib.sha256)
    made.update(body)
    return made.hexdigest().encode()
