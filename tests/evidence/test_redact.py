"""No secret gets through the one redactor, wherever it stands; and what is no secret comes through byte for byte."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from agent.evidence.redact import Redactor

KNOWN = 'p/w "quoted" \\ and\nlined é'
SECRETS = {
    "a registered credential": (f"connecting with {KNOWN} now", KNOWN),
    "a registered credential in a URL": (
        "postgresql:///db?x=p%2Fw%20%22quoted%22%20%5C%20and%0Alined%20%C3%A9",
        "p%2Fw%20%22quoted",
    ),
    "a Vault token": ("token hvs.CAESIJ3kd93k-d93kd is used", "hvs.CAESIJ3kd93k-d93kd"),
    "a Vault batch token": ("used hvb.AAAAAQLdkfjdkf", "hvb.AAAAAQLdkfjdkf"),
    "an OpenBao token": ("bao login s.AbCdEfGhIjKlMnOpQrStUvWx now", "s.AbCdEfGhIjKlMnOpQrStUvWx"),
    "an OpenBao batch token": ("used\nb.AAAAAQLdkfjdkf-d93kd_93kd93k", "b.AAAAAQLdkfjdkf-d93kd_93kd93k"),
    "an AWS key": ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "a temporary AWS key": ("key ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
    "a Slack token": ("xoxb-1234567890-abcdef", "xoxb-1234567890-abcdef"),
    "a Slack webhook": ("https://hooks.slack.com/services/T0AAA/B0BBB/c0ffeec0ffee", "T0AAA/B0BBB/c0ffeec0ffee"),
    "a JSON web token": ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_1", "eyJzdWIiOiIxIn0"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc=\n-----END RSA PRIVATE KEY-----\nrest", "MIIEow\nabc="),
    "a private key cut short": ("-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"),
    "a URL with a password": ("postgresql://app:s3cr@t-pw@db/main", "s3cr@t-pw"),
    "a URL with a password alone": ("redis://:s3cr3t-pw@cache/0", "s3cr3t-pw"),
    "a bearer": ("authorization header was bearer abcdef123456", "abcdef123456"),
    "basic authorization": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "a query": ("GET /login?user=bob&password=hunter2&next=/", "hunter2"),
    "a keyword string": ("host=db password='two words' user=x", "two words"),
    "JSON in a log line": ('said {"api_key": "k-123", "n": 1}', "k-123"),
    "JSON in JSON in a log line": (r"said {\"clientSecret\": \"k-123\"}", "k-123"),
    "SQL": ("ALTER ROLE bob PASSWORD 'hunter2' VALID UNTIL 'infinity'", "hunter2"),
    "SQL with quotes and backslashes inside": (r"create user bob password 'a''hunter2\'", r"a''hunter2\'"),
    "SQL with escapes": (r"create user bob password E'a\'hunter2'", r"a\'hunter2"),
    "SQL in other characters": (r"ALTER USER bob ENCRYPTED PASSWORD U&'\0068unter2'", r"\0068unter2"),
    "SQL over lines": ("CREATE USER MAPPING FOR bob SERVER s OPTIONS (password\r\n\t'hunter2')", "hunter2"),
    "SQL in dollars": ("ALTER ROLE bob PASSWORD $pw$hunter2$pw$", "hunter2"),
    "SQL cut off": ("ALTER ROLE bob WITH PASSWORD 'SCRAM-SHA-256$4096:hunt", "SCRAM-SHA-256$4096:hunt"),
    "an environment": ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "wJalrXUtnFEMI"),
}
TAG = re.compile(r"\[redacted:[0-9a-f]{12}\]")


def redactor() -> Redactor:
    made = Redactor(b"k" * 32)
    made.learn(KNOWN)
    return made


def cleaned(value: Any) -> Any:
    (text,) = redactor().clean([to_json(value)])
    return json.loads(text)


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS)
def test_it_is_replaced_in_a_record_however_deep_and_in_a_key(text: str, secret: str) -> None:
    value = {"kind": "finding", "body": {"events": [{"raw": f"line: {text}"}], text: 1}}

    (left,) = redactor().clean([to_json(value)])

    assert to_json(secret)[1:-1] not in left
    assert len(TAG.findall(left.decode())) == 2


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "passwd",
        "key_passphrase",
        "Token",
        "accessToken",
        "client_secret",
        "api-key",
        "Set-Cookie",
        "ssl_private_key",
        "AUTHORIZATION",
    ],
)
def test_a_value_under_a_telling_name_is_replaced(name: str) -> None:
    left = cleaned({name: "v", "deep": [{name: ["a", 7, None, True, {"x": "kept"}]}]})

    assert TAG.fullmatch(left[name])
    first, second, *rest = left["deep"][0][name]
    assert TAG.fullmatch(first)
    assert TAG.fullmatch(second)
    assert rest == [None, True, {"x": "kept"}]


@pytest.mark.parametrize(
    "value",
    [
        {"raw": "Failed password for root from 203.0.113.7 port 51234 ssh2"},
        {"raw": "bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/bin/passwd"},
        {"token_accessor": "abc", "secret_path": "database/creds/app", "password_changed": "2026-01-01", "keys": ["a"]},
        {"mail": "bob@example.com", "url": "https://example.com/a@b", "text": "asia is a continent, and xoxo to all"},
        {"password": "", "token": None},
        {"query": "ALTER ROLE bob PASSWORD NULL"},
        {"query": "select '5' as tokens -- bob's password for $5, a month's"},
        {"file": "chunks.0123456789abcdef01234567.js", "code": "s.a_method_with_a_very_long_name()"},
        {"number": 1.5, "big": 2**70, "text": 'é "quoted" \\ \n\t\x00'},
    ],
)
def test_what_is_no_secret_stays_as_it_is(value: dict[str, Any]) -> None:
    assert cleaned(value) == value


def test_text_without_a_secret_comes_back_as_the_same_bytes_beside_one_with() -> None:
    innocent, guilty = b'{"a":1.50,"b":"x"}', b'{"password":"x"}'

    left = redactor().clean([innocent, guilty, innocent])

    assert left[0] == left[2] == innocent
    assert left[1] != guilty


def test_equal_secrets_look_equal_and_only_to_one_key() -> None:
    mine, theirs = Redactor(b"a" * 32), Redactor(b"b" * 32)
    text = "xoxb-1234567890-abcdef"

    assert mine.text(text) == mine.text(text)
    assert mine.text(text) != theirs.text(text)
    assert mine.text(text) != mine.text(text + "g")


def test_cleaning_twice_is_cleaning_once() -> None:
    value = {"password": "x", "raw": [text for text, _ in SECRETS.values()]}

    once = cleaned(value)

    assert cleaned(once) == once


def test_a_credential_that_is_part_of_another_does_not_leave_the_rest_of_it() -> None:
    made = Redactor(b"k" * 32)
    made.learn("abcdef")
    made.learn("abcdef-and-more")

    assert TAG.fullmatch(made.text("abcdef-and-more"))


def test_a_call_stays_word_for_word_and_the_sentence_beside_it_does_not() -> None:
    made = Redactor(b"k" * 32)
    made.learn("postgres")
    args = {"instance": "main", "role": "postgres", "prefix": "auth/userpass/login/token:bob"}
    undo = {"system": "postgres", "verb": "unlock_role", "args": args}

    (left,) = made.clean([to_json({"describe": "let postgres in", "undo": undo, "event": {**undo, "args": "postgres"}})])

    plain = from_json(left)
    assert plain["undo"] == undo
    assert TAG.search(plain["describe"])
    assert TAG.fullmatch(plain["event"]["args"])


def test_a_word_too_short_to_be_a_secret_is_not_learnt() -> None:
    made = Redactor(b"k" * 32)
    made.learn("root")
    made.learn(" ")

    assert made.text("root logged in") == "root logged in"


_pieces = st.one_of(
    st.sampled_from([text for text, _ in SECRETS.values()]),
    st.sampled_from(
        [
            "token",
            "PassWord",
            "apiKEY",
            "api_key",
            "cookie",
            "secret",
            ":",
            "=",
            " ",
            '"',
            "\\",
            "'",
            "''",
            "E'",
            "$$",
            "$a$",
            "\r\n",
            "\n",
            "\t",
            "@",
            "://",
            "hvs.",
            "s.",
            "AbCdEfGhIjKlMnOpQrStUvWx",
            "ABCDEFGH",
            "é",
            "ſ",
            "K",
        ]
    ),
    st.text(max_size=4),
)
_text = st.lists(_pieces, max_size=7).map("".join)
_json = st.recursive(
    _text | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(_json)
@example({"token\n": "abc"})
@example({"to\u212aen": "abc", "\u017fecret": "abc"})
@example('token\t= abc, "cookie"\n:x')
def test_the_quick_look_never_overlooks_what_a_proper_look_finds(value: Any) -> None:
    quick = cleaned(value)
    (proper, _) = cleaned([value, "password=force"])

    assert quick == proper


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "eyJaaaaaaaa-",
        "://a:",
        "token=",
        "bearer ",
        "-----BEGIN PRIVATE KEY",
        "hvs.aaaaaaa ",
        "password'",
        "password '",
        "password $a$",
        "password $a",
    ],
)
def test_a_line_made_to_be_slow_is_not(piece: str) -> None:
    line = piece * (65536 // len(piece))

    assert from_json(redactor().clean([to_json(line)])[0])


@pytest.mark.parametrize("secret", [text for text, _ in SECRETS.values()], ids=SECRETS)
def test_a_secret_in_one_of_a_thousand_lines_that_are_all_alike_is_found(secret: str) -> None:
    lines = [["auth.ssh.failure", {"src.ip": f"203.0.113.{n % 250}", "user": "root"}, f"sshd[{n}]: Failed"] for n in range(1000)]
    lines[500][2] = secret

    assert redactor().suspects(to_json(lines))


def test_text_that_is_mostly_brackets_is_looked_at_whole() -> None:
    assert redactor().suspects(to_json("]" * 100_000 + " password=hunter2 " + "]" * 100_000))
