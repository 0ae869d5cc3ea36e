"""Keep secrets out of the journal: the one redactor, at the one place where bytes are about to be hashed and stored.

A secret becomes `[redacted:` and twelve digits of a keyed hash of it: equal secrets still look equal, and nobody without the
key can guess what they were.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from pydantic_core import from_json, to_json

_SHORTEST: Final = 6  # a shorter registered secret would blot out ordinary text

# `pwd` is no name: in sudo's lines it is the working directory. A name counts at the end only, so `token_accessor` stays.
_NAMES: Final = r"passw(?:or)?d|passphrase|secret|token|authorization|cookie|(?:api|access|private|secret)[_-]?key"
_NAME: Final = re.compile(rf"(?:{_NAMES})\Z", re.IGNORECASE | re.ASCII)
_CALL: Final = frozenset({"system", "verb", "args"})
"""A written-down Call stays word for word: what is undone after a restart is what stands there, and calls carry no secrets. A
password that is also somebody's name (postgres), or a user `token:bob`, would make it another call.
"""
_TAG: Final = re.compile(r"\[redacted:[0-9a-f]{12}\]")
_TOKEN: Final = re.compile(
    r"""
      -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z0-9 ]*PRIVATE\ KEY-----|\Z)  # PEM, RFC 7468
    | \bhv[sbr]\.[\w-]{8,}                          # Vault's service, batch and recovery tokens
    | (?<![\w.])(?: [sr]\.[A-Za-z0-9]{24}\b | b\.AAAAAQ[\w-]{20,} )     # the same of OpenBao, and of Vault before 1.10
    | \bA[KS]IA[0-9A-Z]{16}\b                       # AWS access keys, lasting and temporary
    | \bxox[a-z]-[\w-]{8,}                          # Slack
    | (?<=hooks\.slack\.com/services/)[\w/]{16,}    # a Slack webhook's address is its password
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*                # JSON web tokens, RFC 7519
    | (?<=://)[^\s/"'@:]*:[^\s/"']+(?=@)            # user and password in a URL, RFC 3986 §3.2.1
    | (?i:(?<=\bbearer\ ))[\w.~+/=-]{8,}            # RFC 6750
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ASSIGNED: Final = re.compile(
    rf"""
    (?P<before> (?:{_NAMES}) ["'\\]* [ ]? [=:] [ ]? (?:(?:basic|bearer|digest)\ )? )  # password=…  "token": …  Authorization: …
    (?: (?P<quote> \\?["'] ) (?P<quoted> [^"'\\]+ ) | (?P<bare> [^\s"'\\&,;]+ ) )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SQL: Final = re.compile(
    r"""
    (?P<before> password [ \t\r\n]+ )             # ALTER ROLE … PASSWORD '…', which PostgreSQL shows as it was sent
    (?: (?P<open> (?:E|U&)? ' ) (?P<quoted> (?: [^'\\] | '' | \\. ){1,1000}+ )    # also where the statement was cut off in it
      | (?P<tag> \$ (?:[a-z_]\w*)? \$ ) (?P<dollars> .{1,1000}? (?= (?P=tag) ) | .{1,1000} ) )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII | re.DOTALL,
)

# Nearly all bytes hold no secret, and looking properly costs ten times what writing them does. So bytes are first squeezed:
# lower case, `=` and SQL's quotes as `:`, and whatever stands in no needle left out; and only those with a needle are looked at.
# Leaving bytes out can only bring needles together, never part one: each pattern above must hold a needle once squeezed.
# The bracket is left in: it stands between two events, and in no needle.
# The last needle is a pattern, for what is left of the blanks (\n, \t, \r) and of E or U& before a literal of SQL.
_NEEDLES: Final = tuple(
    b"password: passwd: passphrase: secret: token: authorization: cookie: key: "
    b"privatekey hvs. hvb. hvr. akia asia xox slack.com eyj bearer @".split()
)
_SQL_NEEDLE: Final = re.compile(rb"password[ntr]*[eu]?:")
_BAO_NEEDLE: Final = re.compile(rb"\.(?:[A-Za-z0-9]{24}|AAAAAQ)")  # in bytes as they are; with the letter, ten times slower
_KEPT: Final = frozenset(b"".join(_NEEDLES)) | frozenset(b"".join(_NEEDLES).upper()) | frozenset(b"='$]")
_LEFT_OUT: Final = bytes(set(range(256)) - _KEPT)
_SQUEEZED: Final = bytes(range(256)).lower().translate(bytes.maketrans(b"='$", b":::"))


def telling(name: str) -> bool:
    """Whether what stands under this name is a secret."""
    return _NAME.search(name) is not None


def _different(squeezed: bytes) -> bytes:
    """Each of its parts once: squeezed, the lines of an attack are nearly all the same, and no needle holds a bracket.

    Text that is mostly brackets stays as it is: so many parts would take more room than it does.
    """
    return b"]".join(set(squeezed.split(b"]"))) if 16 < squeezed.count(b"]") < len(squeezed) // 16 else squeezed


class Redactor:
    """Replaces secrets in JSON: registered values, values under a telling name, and what looks like a token."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, bytes] = {}

    def learn(self, secret: str) -> None:
        """Register a credential the agent holds, so that it is replaced wherever it turns up, also inside a URL."""
        spellings = {secret.strip(), quote(secret.strip(), safe="")}
        fresh = {one: to_json(one)[1:-1] for one in spellings if len(one) >= _SHORTEST}
        # One may be part of another, so the longest come first. A new dict: lanes learn while the owner's thread reads.
        self._known = dict(sorted({**self._known, **fresh}.items(), key=lambda known: -len(known[0])))

    def clean(self, texts: Sequence[bytes]) -> list[bytes]:
        """JSON texts without their secrets, in order. One text comes back as it went in, byte for byte, if it has none.

        The texts are compact JSON, as pydantic_core.to_json writes it.
        """
        if not self.suspects(b"\n".join(texts)):
            return list(texts)
        return [to_json(self._plain(from_json(one))) if self.suspects(one) else one for one in texts]

    def suspects(self, data: bytes) -> bool:
        """Whether JSON text may hold a secret. Quick, and sure only when it says no."""
        squeezed = _different(data.translate(_SQUEEZED, _LEFT_OUT))
        if any(needle in squeezed for needle in _NEEDLES) or _SQL_NEEDLE.search(squeezed) or _BAO_NEEDLE.search(data):
            return True
        return any(known in data for known in self._known.values())

    def text(self, text: str) -> str:
        """A text without its secrets, for a line to people."""
        for known in self._known:
            text = text.replace(known, self._tag(known))
        text = _SQL.sub(self._literal, text)
        text = _ASSIGNED.sub(self._assigned, text)
        return _TOKEN.sub(lambda found: self._tag(found[0]), text)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            if value.keys() == _CALL and isinstance(value["args"], dict):
                return value
            return {self.text(k): self._named(v) if _NAME.search(k) else self._plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        return value

    def _named(self, value: Any) -> Any:
        """What stands under a telling name."""
        if isinstance(value, list):
            return [self._named(one) for one in value]
        if isinstance(value, dict):
            return self._plain(value)
        return value if value is None or isinstance(value, bool) or value == "" else self._tag(str(value))

    def _assigned(self, found: re.Match[str]) -> str:
        return found["before"] + (found["quote"] or "") + self._tag(found["quoted"] or found["bare"])

    def _literal(self, found: re.Match[str]) -> str:
        return found["before"] + (found["open"] or found["tag"]) + self._tag(found["quoted"] or found["dollars"])

    def _tag(self, secret: str) -> str:
        if _TAG.fullmatch(secret):
            return secret
        return f"[redacted:{hmac.new(self._key, secret.encode(), 'sha256').hexdigest()[:12]}]"
