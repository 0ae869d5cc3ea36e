"""Our own webhook: what a program gets, and that it can prove whom it is from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from agent.intake.key_file import KeyFile
from agent.intake.settings import Auth
from agent.intake.ways import Caller, Signed
from agent.notifiers.webhook import Webhook
from agent.notifying.in_time import in_time
from agent.notifying.notice import Notice, What, read
from agent.notifying.notifier import Busy, Refused, Unsure
from agent.notifying.posting import retry_after
from tests.certificates import certificate, server_context
from tests.notifiers.contract import Mischief, NotifierContract, Vendor, send_all
from tests.notifiers.notices import WHATS, hostile, notice
from tests.notifiers.stand_in import Answer, Asked, StandIn

KEYS = ("a3" * 32, "b7" * 32)
_TEXTS = ("key", "incident", "phase", "headline", "news", "host", "policy", "title", "acked_by", "assigned")
_LISTS = ("saw", "did", "need", "targets")
SCHEMA = {
    "type": "object",
    "properties": {
        "v": {"const": 1},
        "what": {"enum": list(WHATS)},
        "severity": {"enum": ["P0", "P1", "P2", "P3"]},
        "about": {"enum": ["security", "availability", "data", "other"]},
        **{name: {"type": "string"} for name in _TEXTS},
        **{name: {"type": "array", "items": {"type": "string"}} for name in _LISTS},
        "links": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
        **{name: {"type": "number"} for name in ("at", "opened")},
        "many": {"type": "integer"},
        "dry": {"type": "boolean"},
    },
    "additionalProperties": False,
}
SCHEMA["required"] = list(SCHEMA["properties"])  # type: ignore[call-overload]  # every field is always there


class Receiver:
    """A program that takes notices as the docstring of `Webhook` says, and the stand-in that the contract wants."""

    secrets: tuple[str, ...] = KEYS
    mischiefs: frozenset[Mischief] = frozenset({"busy", "nonsense", "error", "lost", "hang", "refused"})
    asks = True
    what: What = "changed"

    def __init__(self, secret_file: Path, ca_file: str = "", shown: Path | None = None) -> None:
        self.taken: dict[str, bytes] = {}
        self.secret_file: Path | None = secret_file
        self.http = StandIn(self._take, tls=server_context(shown) if shown else None)
        self.url = f"{'https' if shown else 'http'}://127.0.0.1:{self.http.port}/hook/s3cr3t"
        self.channel = Webhook(url=self.url, hmac_file=secret_file, ca_file=ca_file, within=timedelta(seconds=0.5))

    def _take(self, asked: Asked) -> Answer:
        wrong = Signed(Auth("hmac"), KeyFile(self.secret_file or Path("/nonexistent"))).whole(_caller(asked), asked.body).why
        if wrong:
            return Answer(401, wrong.encode())
        self.taken[asked.headers["idempotency-key"]] = asked.body
        return Answer(204)

    def next(self, mischief: Mischief) -> None:
        self.http.mischiefs.append(Answer(403) if mischief == "refused" else mischief)

    def seen(self) -> int:
        return len(self.taken)

    def stop(self) -> None:
        self.http.stop()


def _caller(asked: Asked) -> Caller:
    return Caller("127.0.0.1", None, frozenset(), asked.headers)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    made = tmp_path / "hook.key"
    made.write_text("\n".join(KEYS))
    made.chmod(0o600)
    return made


@pytest.fixture
def receiver(key_file: Path) -> Iterator[Receiver]:
    made = Receiver(key_file)
    yield made
    made.stop()


class TestWebhook(NotifierContract):
    @pytest.fixture
    def vendor(self, receiver: Receiver) -> Vendor:
        return receiver


def test_a_program_gets_the_whole_notice_under_its_own_key(receiver: Receiver) -> None:
    one = notice("escalated", acked_by="alice", dry=True)

    send_all(receiver.channel, one, {})

    body = json.loads(receiver.taken["INC-7/2/notice"])
    jsonschema.validate(body, SCHEMA)
    assert read(body) == one


@given(one=hostile())
def test_a_strangers_words_arrive_as_they_are(one: Notice) -> None:
    body = json.loads(json.dumps({"v": 1, **one._asdict()}))

    jsonschema.validate(body, SCHEMA)
    assert read(body) == one


def test_the_signature_is_the_one_that_the_intake_takes_with_any_of_the_keys(receiver: Receiver, key_file: Path) -> None:
    receiver.channel.send(notice(), "notice", {}, doubtful=False)
    asked = receiver.http.asked[0]

    key_file.write_text(KEYS[1])
    by_new = Signed(Auth("hmac"), KeyFile(key_file)).whole(_caller(asked), asked.body)
    forged = Signed(Auth("hmac"), KeyFile(key_file)).whole(_caller(asked), asked.body + b" ")

    assert (by_new.why, forged.why) == ("", "wrong signature")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.http.mischiefs.append(Answer(status, b"", {"Location": f"{receiver.url}/elsewhere"}))

    with pytest.raises(Refused, match="write the address where that ends"):
        send_all(receiver.channel, notice(), {})

    assert len(receiver.http.asked) == 1


@pytest.mark.parametrize(
    ("status", "again", "kind"),
    [
        (409, "", Busy),
        (408, "", Busy),
        (503, "5", Busy),
        (503, "", Unsure),
        (502, "", Unsure),
        (404, "", Refused),
        (422, "", Refused),
    ],
)
def test_each_answer_has_its_meaning(receiver: Receiver, status: int, again: str, kind: type[Exception]) -> None:
    receiver.http.mischiefs.append(Answer(status, b"", {"Retry-After": again} if again else {}))

    with pytest.raises((Busy, Refused)) as caught:
        send_all(receiver.channel, notice(), {})

    assert type(caught.value) is kind


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tmp_path: Path, key_file: Path) -> None:
    shown = certificate(tmp_path, 30, name="localhost")
    receiver = Receiver(key_file, shown=shown)
    try:
        with pytest.raises(Busy, match="cannot trust 127\\.0\\.0\\.1: its certificate does not hold") as caught:
            send_all(receiver.channel, notice(), {})
    finally:
        receiver.stop()

    assert not isinstance(caught.value, Unsure)
    assert receiver.seen() == 0


def test_an_issuer_of_ones_own_can_be_named(tmp_path: Path, key_file: Path) -> None:
    shown = certificate(tmp_path, 30, name="localhost")
    receiver = Receiver(key_file, ca_file=str(shown), shown=shown)
    try:
        send_all(receiver.channel, notice(), {})
    finally:
        receiver.stop()

    assert receiver.seen() == 1


def test_a_server_without_tls_is_this_very_host_or_nobody() -> None:
    with pytest.raises(ValueError, match="http:// is for this very host alone"):
        Webhook(url="http://hooks.example.com/")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999", 3600.0),
        ("", None),
        (None, None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("soon", None),
        ("9" * 400, None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_a_retry_after_of_any_kind_gives_a_bearable_wait_or_none(said: str | None, seconds: float | None) -> None:
    assert retry_after(said) == seconds


def test_a_retry_after_can_be_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=100)

    after = retry_after(format_datetime(then, usegmt=True))

    assert after is not None
    assert 90 < after <= 100


def test_a_call_that_never_ends_is_given_up_on() -> None:
    started = time.monotonic()

    with pytest.raises(Unsure, match="cannot tell whether x took it: no answer within 0\\.1 s"):
        in_time(lambda: time.sleep(2), "x", 0.1)

    assert time.monotonic() - started < 1
