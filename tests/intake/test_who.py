"""Who may hand in documents, and what everybody else is told: the same, whatever was wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from base64 import b64encode
from urllib.parse import quote

import pytest

from tests.intake.sending import OLDER, SECRET, Answer, Intake, alert, as_user, request, signed

BODY = json.dumps(alert()).encode()
NOBODY = 65534
GUESSER = 54321


@pytest.mark.parametrize("secret", [SECRET, OLDER])
def test_each_secret_of_the_file_lets_in(intake: Intake, secret: str) -> None:
    assert intake.post("/in/bearer", authorization=f"Bearer {secret}").body == {"accepted": 1}
    assert intake.post("/in/basic", authorization=f"Basic {b64encode(secret.encode()).decode()}").status == 202
    assert intake.post(f"/in/path/{quote(secret)}", authorization="").status == 202
    assert intake.post("/in/hmac", BODY, x_containment_signature=signed(_fresh(), secret)).status == 401  # of another body
    body = _fresh()
    assert intake.post("/in/hmac", body, x_containment_signature=signed(body, secret)).status == 202


def _fresh() -> bytes:
    """A body that was not sent before."""
    return json.dumps(alert(str(time.monotonic_ns()))).encode()


def test_several_signatures_are_for_the_exchange_of_secrets(intake: Intake) -> None:
    body = _fresh()
    stamp, _, right = signed(body).partition(",")

    answer = intake.post("/in/hmac", body, x_containment_signature=f"{stamp},v1={'0' * 64},{right}")

    assert answer.status == 202


def test_grafanas_signature_needs_its_time_stamp(intake: Intake) -> None:
    body, stamp = _fresh(), str(int(time.time()))
    right = hmac.new(SECRET.encode(), f"{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    alone = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()

    assert intake.post("/in/grafana", body, x_grafana_alerting_signature=alone).status == 401
    assert intake.post("/in/grafana", body, x_grafana_alerting_signature=right).status == 401
    answer = intake.post("/in/grafana", body, x_grafana_alerting_signature=right, x_grafana_alerting_timestamp=stamp)

    assert answer.status == 202


def test_the_kernel_says_which_user_sends(intake: Intake) -> None:
    assert intake.post("/in/root").status == 202
    assert intake.post("/in/nobody").status == 401
    assert Answer.of(as_user(NOBODY, intake.socket, request("/in/nobody"))).status == 202
    assert Answer.of(as_user(NOBODY, intake.socket, request("/in/root"))).status == 401
    assert Answer.of(as_user(NOBODY, intake.socket, request("/in/open", authorization=""))).status == 202


WRONG = {
    "unknown sender": ("/in/unknown", {}),
    "unknown sender with a secret in the path": (f"/in/unknown/{SECRET}", {}),
    "no token": ("/in/bearer", {"authorization": ""}),
    "wrong token": ("/in/bearer", {"authorization": "Bearer wrong"}),
    "the beginning of a token": ("/in/bearer", {"authorization": f"Bearer {SECRET[:-1]}"}),
    "both lines as one token": ("/in/bearer", {"authorization": f"Bearer {SECRET} {OLDER}"}),
    "a token that is no ASCII": ("/in/bearer", {"authorization": "Bearer \u00e4\u00f6\u00fc"}),
    "another scheme": ("/in/bearer", {"authorization": f"Basic {SECRET}"}),
    "wrong password": ("/in/basic", {"authorization": "Basic d3Jvbmc6d3Jvbmc="}),
    "no base64": ("/in/basic", {"authorization": "Basic ***"}),
    "wrong path": ("/in/path/wrong", {}),
    "no path": ("/in/path", {}),
    "a secret in the path of one that has none": (f"/in/hmac/{SECRET}", {}),
    "no signature": ("/in/hmac", {}),
    "a signature that is none": ("/in/hmac", {"x_containment_signature": "v1=,t="}),
    "an old signature": ("/in/hmac", {"x_containment_signature": signed(BODY, at=time.time() - 400)}),
    "one of tomorrow": ("/in/hmac", {"x_containment_signature": signed(BODY, at=time.time() + 86400)}),
    "one with another secret": ("/in/hmac", {"x_containment_signature": signed(BODY, "another-secret-altogether")}),
    "one of another body": ("/in/hmac", {"x_containment_signature": signed(BODY + b" ")}),
    "another user": ("/in/nobody", {}),
}


def test_everybody_else_is_told_the_same(intake: Intake) -> None:
    answers = {name: intake.post(path, BODY, **headers) for name, (path, headers) in WRONG.items()}

    for name, answer in answers.items():
        assert (name, answer.status, answer.body) == (name, 401, {"error": "refused"})
        assert {**answer.headers, "date": ""} == {**answers["unknown sender"].headers, "date": ""}, name


def test_a_signed_message_is_taken_once(intake: Intake) -> None:
    body = _fresh()
    signature = signed(body)
    first = intake.post("/in/hmac", body, x_containment_signature=signature)

    again = [intake.post("/in/hmac", body, x_containment_signature=signature) for _ in range(3)]
    stamp, right = signature.split(",")
    again.append(intake.post("/in/hmac", body, x_containment_signature=f"{stamp},v1={'f' * 64},{right}"))

    assert first.status == 202
    assert [one.status for one in again] == [401] * 4
    assert sum(one.raw == body.decode() for one in intake.events("alert")) == 1


def test_who_guesses_is_told_of_with_nothing_of_what_was_sent(intake: Intake) -> None:
    guess = f"guess-{os.getpid()}-{time.monotonic_ns()}"

    for path in (f"/in/{guess}/{guess}", "/in/bearer"):
        as_user(GUESSER, intake.socket, request(path, guess.encode() * 3, authorization=f"Bearer {guess}", x_strange=guess))
    intake.post()  # whatever came before it is committed with it

    told = [one.fields for one in intake.events("intake.refused") if one.fields.get("uid") == GUESSER]
    assert {"known": False, "reason": "no such sender", "uid": GUESSER} in told
    assert {"known": True, "reason": "wrong token", "sender": "bearer", "uid": GUESSER} in told
    assert guess.encode() not in intake.everything()


def test_no_secret_is_on_the_disk_though_a_document_quotes_it(intake: Intake) -> None:
    quoting = alert("quoting") | {"groupKey": f"{SECRET} and {OLDER}"}

    answer = intake.post("/in/bearer", quoting)

    assert answer.status == 202
    assert SECRET.encode() not in intake.everything()
    assert OLDER.encode() not in intake.everything()
