"""OpenSSH's server: who tried to log in, from where, and what came of it.

One attempt makes one event of its kind, whatever else sshd writes about it (seen with OpenSSH 9.2, every way to log in):

    auth.ssh.failure       a secret was refused: `Failed password for U from A port N`; `PAM: Authentication failure for U from A`
    auth.ssh.success       `Accepted M for U from A port N`
    auth.ssh.invalid_user  once per connection, before any failure: `Invalid user U from A`, `User U from A not allowed because …`
    auth.ssh.probe         nothing was guessed: `Failed publickey` (clients offer one key after another), `Failed none`,
                           `Failed keyboard-interactive/pam` (PAM's own line counted it), `Connection closed by authenticating
                           user U`, `maximum authentication attempts exceeded`

Left out, because another line says it already: `pam_unix(…): authentication failure`, `PAM 2 more authentication failures`,
`Connection closed by invalid user U`, `Disconnecting …: Too many authentication failures`.

A user name is the attacker's text and may hold ` from 192.0.2.1 port 22 ssh2`, so every form is read from its right end. Two
things could take that end away, and both were seen: of a message only 500 characters reach syslog, and behind the address of a
key stands its certificate's id, which whoever offers it writes himself (nobody has to trust the certificate for that).

Never run sshd with `-e` or `-E`: a newline in a name is then a newline in the log, and what follows it a line of its own. The
journal's sensor leaves such messages out; in a file they cannot be told from others.
"""

from __future__ import annotations

import re
from typing import Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.join import CUT
from agent.streams.parser import Said, parser, said_once

FAILURE: Final = Kind(
    "auth.ssh.failure",
    "sshd refused a password or another secret.",
    {"src.ip": "address", "user": "text", "method": "text", "port": "port", "reason": "text"},
    forgeable=True,
)
SUCCESS: Final = Kind(
    "auth.ssh.success",
    "Somebody logged in by ssh.",
    {"src.ip": "address", "user": "text", "method": "text", "port": "port"},
    forgeable=True,
)
INVALID_USER: Final = Kind(
    "auth.ssh.invalid_user",
    "A connection asked for a user that does not exist or may not log in by ssh; once per connection.",
    {"src.ip": "address", "user": "text", "port": "port", "reason": "text"},
    forgeable=True,
)
PROBE: Final = Kind(
    "auth.ssh.probe",
    "A connection offered keys that did not fit, or left without logging in; normal in small numbers.",
    {"src.ip": "address", "user": "text", "method": "text", "port": "port", "reason": "text"},
    forgeable=True,
)

_FAILURE, _SUCCESS, _PROBE = FAILURE.name, SUCCESS.name, PROBE.name
_NOTHING_GUESSED: Final = frozenset({"publickey", "none", "keyboard-interactive/pam"})
"""Methods whose refusal is no guess that failed."""
_INVALID_USER: Final = "invalid user"
_WRONG: Final = "wrong secret"
_MOST_REPEATS: Final = 100
_FROM: Final = r"(?P<user>.*) from (?P<ip>[\dA-Fa-f:.]{2,45})"
_PORT: Final = r" port (?P<port>\d{1,5})"
_END: Final = r"(?: \[preauth\])?"

_REPEATED: Final = re.compile(r"message repeated (\d{1,4}) times: \[ (.*)\]")
_FOR: Final = rf"(?:Failed|Accepted) (?P<method>\S+) for (?P<invalid>invalid user )?{_FROM}{_PORT} ssh2"
_TRIED: Final = re.compile(rf"{_FOR}{_END}")
_TRIED_BY_KEY: Final = re.compile(rf"{_FOR}(?:: .*)?")
_TRIES: Final = ("Failed ", "Accepted ")
_BY_KEY: Final = ("Failed publickey ", "Failed hostbased ", "Accepted publickey ", "Accepted hostbased ")
_CUT: Final = 500
"""Characters; what is so long has lost its end on the way to syslog. Names, cut at 100 bytes, do not make a message so long."""
_SHORTENED: Final = CUT.decode().rstrip()
_PAM: Final = re.compile(rf"(?:error: )?PAM: [^:]{{1,80}}? for (?P<invalid>illegal user )?{_FROM}{_END}")
_INVALID: Final = re.compile(rf"Invalid user {_FROM}(?:{_PORT})?{_END}")
_NOT_ALLOWED: Final = re.compile(rf"User {_FROM} not allowed because (?P<reason>.*?){_END}")
_TOO_MANY: Final = re.compile(
    rf"(?:error: )?maximum authentication attempts exceeded for (?:invalid user )?{_FROM}{_PORT} ssh2{_END}"
)
_LEFT: Final = re.compile(
    r"(?:Connection (?:closed|reset) by|Disconnected from) authenticating user "
    rf"(?P<user>.*) (?P<ip>[\dA-Fa-f:.]{{2,45}}){_PORT}{_END}"
)


@parser(
    kinds=(FAILURE, SUCCESS, INVALID_USER, PROBE),
    programs=("sshd", "sshd-session", "sshd-auth"),
    hint=rb"sshd(?:-session|-auth)?\[\d{1,10}\]: (?:Failed |Accepted |Invalid user |User \S+ from |message repeated "
    rb"|Connection (?:closed|reset) by auth|Disconnected from auth|(?:error: )?(?:PAM: |maximum auth))",
)
class Sshd:
    """Logins and attempts to log in, from OpenSSH's messages; newer versions write them as sshd-session or sshd-auth."""

    def read(self, text: str) -> Said | None:
        """One message without its syslog head."""
        if text.startswith(_TRIES) and len(text) < _CUT:  # nearly every line of an attack
            return _tried(text)
        repeated = _REPEATED.fullmatch(text) if text.startswith("message ") else None  # rsyslog's $RepeatedMsgReduction
        if repeated is None:
            return _read(text)
        said = _read(repeated[2])
        return said and said._replace(times=min(int(repeated[1]), _MOST_REPEATS))


def _read(text: str) -> Said | None:
    word = text.partition(" ")[0]
    if len(text) > _CUT or (len(text) == _CUT and not text.startswith(_BY_KEY)):
        return None
    if word in ("Failed", "Accepted"):
        return _tried(text)
    if word == "Invalid":
        return _said(INVALID_USER, _INVALID.fullmatch(text), reason="unknown")
    if word == "User":
        return _said(INVALID_USER, _NOT_ALLOWED.fullmatch(text))
    if word in ("Connection", "Disconnected"):
        return _said(PROBE, _LEFT.fullmatch(text), method="", reason="left without login")
    if "PAM: " in text[:12]:
        found = _PAM.fullmatch(text)
        return _said(FAILURE, found, method="keyboard-interactive/pam", reason=_why(found))
    return _said(PROBE, _TOO_MANY.fullmatch(text), method="", reason="too many attempts")


def _tried(text: str) -> Said | None:
    """A password or a key that was tried. It is flat, because an attack is made of these."""
    found = _by_key(text) if text.startswith(_BY_KEY) else _TRIED.fullmatch(text)
    if found is None:
        return None
    method, invalid, user, address, port = found.groups()
    ip = canonical(address)
    if ip is None:
        return None
    fields: dict[str, Value] = {"src.ip": ip, "user": user, "port": int(port), "method": method}
    if text[0] == "A":
        return said_once(_SUCCESS, fields)
    if method in _NOTHING_GUESSED:
        fields["reason"] = "refused"
        return said_once(_PROBE, fields)
    fields["reason"] = _INVALID_USER if invalid else _WRONG
    return said_once(_FAILURE, fields)


def _by_key(text: str) -> re.Match[str] | None:
    """What stands behind the address may be its owner's text, and cut: believed only if nothing looks like an address twice."""
    if text.count(" ssh2") != 1 or text.endswith(_SHORTENED):  # then the only address may be one in a name
        return None
    return _TRIED_BY_KEY.fullmatch(text)


def _why(found: re.Match[str] | None) -> str:
    return _INVALID_USER if found and found["invalid"] else _WRONG


def _said(kind: Kind, found: re.Match[str] | None, **more: str) -> Said | None:
    parts = found.groupdict() if found else {}
    ip = canonical(parts["ip"]) if parts else None
    if ip is None:
        return None
    fields: dict[str, Value] = {"src.ip": ip, "user": parts["user"], **more}
    port = parts.get("port")
    if port:
        fields["port"] = int(port)
    for name in ("method", "reason"):
        if name in parts and name not in more:
            fields[name] = parts[name]
    return Said(kind.name, fields)
