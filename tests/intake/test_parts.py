"""The parts alone, where time or crowds decide: signatures remembered, buckets, memory, documents on their way."""

from __future__ import annotations

import threading
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.action import CannotReach
from agent.event import Event
from agent.intake.bounds import Bucket, Buckets, Budget
from agent.intake.key_file import KeyFile
from agent.intake.pending import ROOM, Handed, Pending
from agent.intake.replay import Replays
from agent.intake.wire import network_of, plain_address


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_signature_is_remembered_as_long_as_its_time_stamp_could_hold() -> None:
    clock = Clock()
    known = Replays(600, clock)
    assert known.claim(b"a") == "yes"
    assert known.claim(b"a") == "under way"
    known.settle(b"a", taken=True)

    clock.now += 600
    assert known.claim(b"a") == "taken"
    clock.now += 1

    assert known.claim(b"a") == "yes"


def test_a_message_that_was_not_taken_may_come_again() -> None:
    known = Replays(600)
    known.claim(b"a")

    known.settle(b"a", taken=False)

    assert known.claim(b"a") == "yes"


def test_a_bucket_says_how_long_to_wait() -> None:
    clock = Clock()
    bucket = Bucket(2, 0.5, clock)

    assert [bucket.wait() for _ in range(3)] == [0.0, 0.0, 2.0]
    clock.now += 2
    assert bucket.wait() == 0.0


def test_one_who_guesses_a_lot_leaves_room_for_others_and_no_crowd_grows_the_memory() -> None:
    clock = Clock()
    each = Buckets(8, 0.1, Bucket(100, 10, clock), clock)

    assert sum(each.allows("203.0.113.7") for _ in range(10_000)) == 8
    assert each.allows("203.0.113.8")
    assert sum(each.allows(f"name-{n}") for n in range(10_000)) <= 100
    assert len(each._each) <= Buckets.MOST


@given(st.lists(st.integers(0, 100), max_size=50))
def test_a_budget_is_never_overdrawn_and_comes_back_whole(sizes: list[int]) -> None:
    budget = Budget(1000)

    taken = [size for size in sizes if budget.take(size)]

    assert sum(taken) <= 1000
    for size in taken:
        budget.give(size)
    assert budget.take(1000)


def test_documents_beyond_the_room_for_them_are_to_come_again() -> None:
    pending = Pending()
    event = Event("alert", 0.0, {})
    assert pending.hand_in(Handed("a", [event] * (ROOM - 1)))

    assert not pending.hand_in(Handed("a", [event] * 2))
    taken = pending.take(0)
    assert not pending.hand_in(Handed("a", [event] * 2))  # it is still on its way
    pending.settle(taken, "kept")

    assert taken[0].wait(0) == "kept"
    assert pending.hand_in(Handed("a", [event] * 2))


def test_a_document_that_nobody_waits_for_any_more_is_not_told() -> None:
    pending = Pending()
    late = Handed("a", [Event("alert", 0.0, {})])
    pending.hand_in(late)

    pending.withdraw(late)

    assert pending.take(0) == []


def test_at_the_end_everybody_hears_that_it_is_over() -> None:
    pending = Pending()
    sent, waiting = Handed("a", []), Handed("b", [])
    pending.hand_in(sent)
    pending.take(0)
    pending.hand_in(waiting)

    pending.close()
    threading.Timer(0.05, lambda: pending.settle([sent], "kept")).start()
    pending.drain(10)

    assert (sent.wait(0), waiting.wait(0)) == ("kept", "closed")
    assert not pending.hand_in(Handed("c", []))


def test_a_secret_that_can_be_guessed_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    file.chmod(0o600)

    with pytest.raises(CannotReach, match="less than 16 characters"):
        KeyFile(file).secrets()


def test_each_secret_is_learnt_once(tmp_path: Path) -> None:
    file, learnt = tmp_path / "secret", list[str]()
    file.write_text("first-secret-with-room\n")
    file.chmod(0o600)
    keys = KeyFile(file, learnt.append)
    keys.secrets()
    keys.secrets()

    file.write_text("first-secret-with-room\n\nnext-secret-with-room\n")
    keys.secrets()

    assert learnt == ["first-secret-with-room", "next-secret-with-room"]


@given(st.ip_addresses())
def test_an_address_for_limits_is_the_network_that_one_can_have_to_oneself(address: object) -> None:
    name = network_of(str(address))

    if ip_address(str(address)).version == 4:
        assert name == str(address)
        assert plain_address(f"::ffff:{address}") == str(address)
    else:
        assert name.endswith("/64") or ip_address(name).version == 4
