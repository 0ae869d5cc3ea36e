"""What every notifier promises, tested over a real server that stands in for its vendor.

class TestWebhook(NotifierContract):
    @pytest.fixture
    def vendor(self, tmp_path: Path) -> Iterator[Vendor]: ...
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from agent.action import CannotReach
from agent.evidence.redact import telling
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import SECONDS, Busy, Refused, Thread, Unsure
from tests.notifiers.notices import WHATS, notice

Mischief = Literal["busy", "nonsense", "error", "lost", "hang", "refused", "gibberish"]
"""What a vendor does with a request: too many, come again in 7 s; the same with no sense in its Retry-After; an error of its
own; takes it, and breaks off without an answer; says nothing for 15 s; does not know the key; answers what nobody understands."""
AGAIN = 7.0


class Vendor(Protocol):
    """A stand-in for a vendor, and a channel that leads to it.

    Attributes:
        channel: the notifier (`agent.notifying.notifier.Notifier`), its options bound.
        secrets: what must never show, nor any part of it.
        mischiefs: what the vendor can do.
        asks: whether the channel can ask the vendor what has arrived.
        what: the news that is sent in these tests; one that makes exactly one part.
    """

    channel: Any
    secrets: tuple[str, ...]
    mischiefs: frozenset[Mischief]
    asks: bool
    what: What

    @property
    def secret_file(self) -> Path | None:
        """Where the channel reads its secret; None where it has none."""
        ...

    def next(self, mischief: Mischief) -> None:
        """The next request that would show something to people meets this; the vendor is well again after it."""
        ...

    def seen(self) -> int:
        """How many things people have been shown, in all: messages, mails, alerts; not counting edits."""
        ...

    def stop(self) -> None:
        """Nothing listens any more."""
        ...


def send_all(channel: Any, one: Notice, thread: Thread, *, doubtful: bool = False) -> Thread:
    """Every part of a notice, in order, with what the journal would keep between them."""
    for part in channel.parts(one):
        thread = kept(channel.send(one, part, thread, doubtful=doubtful))
    return thread


def kept(thread: Thread) -> Thread:
    """A thread as it comes back from the journal."""
    again: dict[str, str] = json.loads(json.dumps(dict(thread)))
    assert len(again) <= 20
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in again.items())
    assert not [name for name in again if telling(name)]
    return again


def secretless(text: str, secrets: Iterable[str]) -> None:
    """No secret shows in a text, nor a piece of one that is long enough to tell."""
    assert not [one for one in secrets if one in text or (len(one) > 16 and one[-12:] in text)]


class NotifierContract:
    """The tests. A subclass has a fixture `vendor`."""

    @pytest.mark.parametrize("what", WHATS)
    def test_news_of_every_kind_can_be_sent(self, vendor: Vendor, what: What) -> None:
        one = notice(what)
        parts = vendor.channel.parts(one)

        thread = send_all(vendor.channel, one, {})

        assert parts == vendor.channel.parts(one)
        assert len(set(parts)) == len(parts)
        assert all(isinstance(vendor.channel.replaces(part), bool) for part in parts)
        assert vendor.channel.public or not parts or vendor.seen() >= 1
        secretless(json.dumps(dict(thread)), vendor.secrets)

    def test_a_life_from_opened_to_closed_can_be_told(self, vendor: Vendor) -> None:
        thread: Thread = {}
        lives: tuple[What, ...] = ("opened", "acknowledged", "changed", "escalated", "noted", "resolved", "reopened", "closed")

        for number, what in enumerate(lives, 1):
            thread = send_all(vendor.channel, notice(what, key=f"INC-7/{number}"), thread)

        assert vendor.channel.public or vendor.seen() >= 1

    def test_one_that_has_too_much_to_do_is_asked_again_when_it_says(self, vendor: Vendor) -> None:
        error = self._meets(vendor, "busy", Busy)

        assert not isinstance(error, Unsure)
        assert getattr(error, "after", None) == AGAIN
        assert vendor.seen() == 0

    def test_a_wait_that_makes_no_sense_is_survived(self, vendor: Vendor) -> None:
        error = self._meets(vendor, "nonsense", Busy)

        after = getattr(error, "after", None)
        assert after is None or (math.isfinite(after) and 0 <= after <= 86_400)

    def test_an_error_of_the_vendor_is_tried_again(self, vendor: Vendor) -> None:
        self._meets(vendor, "error", Busy)

        self._send(vendor, doubtful=True)

        assert vendor.seen() == 1

    def test_what_was_taken_without_an_answer_does_not_come_twice_where_the_vendor_can_say(self, vendor: Vendor) -> None:
        error = self._meets(vendor, "lost", Busy)
        assert isinstance(error, Unsure)
        assert vendor.seen() == 1

        self._send(vendor, doubtful=True)

        assert vendor.seen() == 1 if vendor.asks else 1 <= vendor.seen() <= 2

    def test_a_vendor_that_says_nothing_holds_nobody_up(self, vendor: Vendor) -> None:
        started = time.monotonic()

        error = self._meets(vendor, "hang", Busy)

        assert isinstance(error, Unsure)
        assert time.monotonic() - started < SECONDS

    def test_a_key_that_is_not_known_is_refused_and_says_how_to_mend_it(self, vendor: Vendor) -> None:
        error = self._meets(vendor, "refused", Refused)

        assert "; " in str(error)
        assert vendor.seen() == 0

    def test_an_answer_that_nobody_understands_may_mean_anything(self, vendor: Vendor) -> None:
        error = self._meets(vendor, "gibberish", Busy)

        assert isinstance(error, Unsure)

    def test_a_vendor_that_is_not_there_has_surely_not_taken_it(self, vendor: Vendor) -> None:
        vendor.stop()

        with pytest.raises(Busy) as caught:
            self._send(vendor)

        assert not isinstance(caught.value, Unsure)
        self._well_said(vendor, caught.value)

    def test_it_says_where_it_leads_and_no_secret(self, vendor: Vendor) -> None:
        said = (vendor.channel.whom(), *vendor.channel.hosts(), repr(vendor.channel))

        assert all(said)
        assert len(said) > 2
        secretless(" ".join(said), vendor.secrets)

    def test_a_secret_that_everybody_can_read_is_not_used(self, vendor: Vendor) -> None:
        if vendor.secret_file is None:
            pytest.skip("it has no secret")
        vendor.secret_file.chmod(0o644)

        with pytest.raises(CannotReach) as caught:
            self._send(vendor)

        self._well_said(vendor, caught.value)
        assert str(vendor.secret_file) in str(caught.value)
        assert vendor.seen() == 0
        secretless(vendor.channel.whom(), vendor.secrets)

    def test_a_secret_that_is_gone_is_said(self, vendor: Vendor) -> None:
        if vendor.secret_file is None:
            pytest.skip("it has no secret")
        vendor.secret_file.unlink()

        with pytest.raises(CannotReach) as caught:
            self._send(vendor)

        self._well_said(vendor, caught.value)
        assert vendor.channel.whom()

    def _send(self, vendor: Vendor, *, doubtful: bool = False) -> Thread:
        return send_all(vendor.channel, notice(vendor.what), {}, doubtful=doubtful)

    def _meets(self, vendor: Vendor, mischief: Mischief, error: type[Exception]) -> Exception:
        if mischief not in vendor.mischiefs:
            pytest.skip(f"its vendor does not do that: {mischief}")
        vendor.next(mischief)
        with pytest.raises(error) as caught:
            self._send(vendor)
        self._well_said(vendor, caught.value)
        return caught.value

    def _well_said(self, vendor: Vendor, error: Exception) -> None:
        assert str(error).startswith("cannot ")
        secretless("".join(traceback.format_exception(error)), vendor.secrets)
