"""The file audit device of Vault and OpenBao: failed logins, and what was refused to whom.

Each request makes two lines, `request` and `response`, with the same id; only the response is read, so that each counts once.
It says what came of it in one of two ways (seen with OpenBao 2.7.2):

    a wrong password     `"error":"invalid credentials"`
    an unknown user      no `error`: the answer's text is there as an HMAC, and there is no `auth` in the answer. Trouble of a
                         backend (LDAP that does not answer) looks the same, which `reason` says by being empty
    a policy's no        `"error":"1 error occurred:\\n\\t* permission denied\\n\\n"`, `policy_results.allowed` is false
    a dead token, none   the same error, and `auth` names nobody

Tokens and accessors are HMACs unless the device has `hmac_accessor=false`, and an HMAC cannot be revoked: contain by `entity`.
The device's `mode=0640` lets the agent read the file. Requests over a rate limit are not in it at all. `remote_address` is the
load balancer behind a load balancer, unless the listener has `x_forwarded_for_authorized_addrs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.event import Kind, Value
from agent.schema import canonical
from agent.streams.json_line import loaded, part_at, text_at
from agent.streams.parser import Said, parser
from agent.streams.syslog import exact_time

AUTH_FAILURE: Final = Kind(
    "vault.auth.failure",
    "A login to Vault failed. An empty reason is an unknown user or role, or a backend that does not answer.",
    {"src.ip": "address", "mount": "text", "method": "text", "user": "text", "path": "text", "reason": "text"},
    forgeable=True,
)
DENIED: Final = Kind(
    "vault.denied",
    "Vault's policies refused a request of a token that works: Vault itself says whose it is. "
    "The accessor is there only if the audit device has hmac_accessor=false.",
    {
        "src.ip": "address",
        "path": "text",
        "operation": "text",
        "mount": "text",
        "namespace": "text",
        "entity": "text",
        "display_name": "text",
        "accessor": "text",
    },
)
UNKNOWN: Final = Kind(
    "vault.unknown",
    "Vault refused a request because its token is unknown, ended, missing, or its entity disabled.",
    {"src.ip": "address", "path": "text", "operation": "text", "mount": "text", "namespace": "text"},
    forgeable=True,
)

_MOST: Final = 300
"""Characters of a text that an event keeps."""
_LOGIN: Final = re.compile(r"auth/(?P<mount>.{1,200}?)/(?:login|oidc/callback)(?:/(?P<user>.*))?", re.DOTALL)
_HMAC: Final = "hmac-sha256:"


@parser(kinds=(AUTH_FAILURE, DENIED, UNKNOWN), hint=rb'"error":"', longest=65536)
class VaultAudit:
    """Failed logins and refused requests, from the file audit device of Vault or OpenBao."""

    def read(self, text: str) -> Said | None:
        """One line."""
        line = loaded(text)
        request = part_at(line, "request")
        if line.get("type") != "response" or not request:
            return None
        login = _LOGIN.fullmatch(text_at(request, "path", 2 * _MOST))
        said = _failed(line, request, login) if login else _refused(line, request)
        return said and said._replace(ts=exact_time(text_at(line, "time", 40)))


def _failed(line: Mapping[str, Any], request: Mapping[str, Any], login: re.Match[str]) -> Said | None:
    reasons = _errors(text_at(line, "error"))
    answer = part_at(line, "response")
    unsaid = not reasons and text_at(part_at(answer, "data"), "error") and "auth" not in answer
    reason = next((one for one in ("invalid credentials", "permission denied") if one in reasons), "")
    if not reason and not unsaid:  # the server's own trouble, or a path that is none
        return None
    mount = text_at(request, "mount_point").removeprefix("auth/").rstrip("/") or login["mount"]
    method, user = text_at(request, "mount_type"), login["user"] or ""
    fields = {"mount": mount, "method": method, "user": user, "path": text_at(request, "path"), "reason": reason}
    return Said(AUTH_FAILURE.name, {**_from(request), **_short(fields)})


def _refused(line: Mapping[str, Any], request: Mapping[str, Any]) -> Said | None:
    if "permission denied" not in _errors(text_at(line, "error")):
        return None
    auth = part_at(line, "auth")
    by_policy = part_at(auth, "policy_results").get("allowed") is False
    fields = {
        "path": text_at(request, "path"),
        "operation": text_at(request, "operation"),
        "mount": text_at(request, "mount_point").rstrip("/"),
        "namespace": text_at(part_at(request, "namespace"), "path").rstrip("/"),
    }
    if not by_policy:
        return Said(UNKNOWN.name, {**_from(request), **_short(fields)})
    accessor = text_at(auth, "accessor")
    fields |= {
        "entity": text_at(auth, "entity_id"),
        "display_name": text_at(auth, "display_name"),
        "accessor": "" if accessor.startswith(_HMAC) else accessor,
    }
    return Said(DENIED.name, {**_from(request), **_short(fields)})


def _errors(text: str) -> list[str]:
    """`permission denied`, or Go's list of several: a head, and a line with `*` for each."""
    return [line.strip().removeprefix("* ") for line in text.splitlines() if line.strip()]


def _from(request: Mapping[str, Any]) -> dict[str, Value]:
    ip = canonical(text_at(request, "remote_address"))
    return {"src.ip": ip} if ip else {}


def _short(fields: Mapping[str, str]) -> dict[str, Value]:
    """What is known, cut; `reason` is never missing."""
    return {name: text[:_MOST] for name, text in fields.items() if text or name == "reason"}
