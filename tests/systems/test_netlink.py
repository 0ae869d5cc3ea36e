"""The netlink client against the real kernel: elements there and back, transactions, and readable refusals."""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from agent.kernel.netlink import GETSETELEM, SUBSYSTEM, Netlink, Refused
from agent.kernel.netlink_format import Write, attribute, element, interval, settings, text
from agent.systems.firewall_events import Foreign, listen
from tests.needs import need_root
from tests.network import nft


@pytest.fixture
def kernel() -> Iterator[Netlink]:
    need_root()
    nft("""
        table inet trial {
          comment "a trial"
          set few { type ipv4_addr; flags timeout; counter; size 4;
          }
          set many { type ipv4_addr; flags timeout;
          }
          set ranges { type ipv4_addr; flags interval,timeout; counter;
          }
          set joined { type ipv4_addr . inet_service; flags interval,timeout;
          }
          set odd { type nf_proto; flags timeout;
          }
          chain empty {
          }
          chain full { ip saddr @few drop
          }
        }
        table inet trial2 { set few { type ipv4_addr; flags timeout;
          }
        }
    """)
    yield Netlink("trial")
    for table in ("trial", "trial2"):
        subprocess.run(["nft", "delete", "table", "inet", table], check=False, timeout=10, capture_output=True)


def raw(text: str) -> bytes:
    return socket.inet_aton(text)


def test_an_element_comes_back_with_its_time_and_its_counter(kernel: Netlink) -> None:
    kernel.transact([Write("few", True, [element(raw("192.0.2.1"), settings(90_000, (7, 420))), element(raw("192.0.2.2"))])])

    first, second = kernel.get("few", raw("192.0.2.1")), kernel.get("few", raw("192.0.2.2"))

    assert first is not None
    assert first.left == pytest.approx(90, abs=1)
    assert (first.packets, first.size) == (7, 420)
    assert second is not None
    assert (second.left, second.packets) == (None, 0)
    assert kernel.get("few", raw("192.0.2.3")) is None
    assert {one.key: (one.packets, one.size) for one in kernel.dump("few")} == {first.key: (7, 420), second.key: (0, 0)}


def test_an_interval_comes_back_as_its_two_borders_and_a_joined_range_as_one(kernel: Netlink) -> None:
    low, high, port = raw("192.0.2.0"), raw("192.0.3.0"), b"\1\xbb\0\0"
    kernel.transact(
        [
            Write("ranges", True, [interval(low, high), interval(raw("240.0.0.0"), None)]),
            Write("joined", True, [element(low + port, b"", raw("192.0.2.255") + port)]),
        ]
    )

    borders = [(one.key, one.closing) for one in kernel.dump("ranges")]
    joined = [(one.key, one.last) for one in kernel.dump("joined")]

    assert sorted(borders) == [(low, False), (high, True), (raw("240.0.0.0"), False)]
    assert joined == [(low + port, raw("192.0.2.255") + port)]


def test_a_key_shorter_than_its_padding_comes_back_as_it_was(kernel: Netlink) -> None:
    kernel.transact([Write("odd", True, [element(b"\2"), element(b"\n")])])

    assert kernel.keys("odd") == {b"\2", b"\n"}


def test_a_hundred_thousand_elements_are_one_transaction_and_read_back_at_once(kernel: Netlink) -> None:
    wanted = {(0x0B000000 + at).to_bytes(4, "big") for at in range(100_000)}
    before = kernel.generation()

    kernel.transact([Write("many", True, [element(key) for key in wanted])])

    assert kernel.generation() == before + 1
    assert kernel.keys("many") == wanted
    assert {one.key for one in kernel.dump("many")} == wanted


def test_asked_about_some_of_many_elements_it_says_which_of_them_are_there(kernel: Netlink) -> None:
    held = [at.to_bytes(4, "big") for at in range(0x0A000000, 0x0A000000 + 1000)]
    kernel.transact([Write("many", True, [element(key) for key in held])])
    others = [at.to_bytes(4, "big") for at in range(0x0B000000, 0x0B000000 + 300)]

    found = kernel.among("many", [*others[:1], *held[:300], *others])

    assert found == set(held[:300])
    assert kernel.among("many", []) == set()
    assert kernel.among("many", others) == set()
    assert kernel.among("gone", held[:2]) == set()
    assert kernel.keys("many") == set(held)


def test_an_answer_left_over_from_an_earlier_question_is_nobodys(kernel: Netlink) -> None:
    there, gone = raw("192.0.2.1"), raw("192.0.2.2")
    kernel.transact([Write("many", True, [element(there)])])
    kernel._send(
        kernel._message(SUBSYSTEM << 8 | GETSETELEM, 0, kernel._table + text(2, "many") + attribute(0x8003, element(there)))
    )

    assert kernel.among("many", [gone]) == set()
    assert kernel.among("many", [there]) == {there}


def test_numbers_that_begin_anew_confuse_no_answers(kernel: Netlink) -> None:
    held = [at.to_bytes(4, "big") for at in range(0x0A000000, 0x0A000000 + 40)]
    kernel.transact([Write("many", True, [element(key) for key in held])])
    kernel._number = 0x7FFFFFFF - 20

    assert kernel.among("many", held) == set(held)


def test_one_bad_element_leaves_everything_as_it_was_and_is_named(kernel: Netlink) -> None:
    good = [element(raw(f"192.0.2.{at}")) for at in range(4)]
    before = kernel.generation()

    with pytest.raises(Refused, match="the set is full") as refused:
        kernel.transact([Write("many", True, good), Write("few", True, [*good, element(raw("192.0.2.9"))])])

    assert refused.value.culprit == (1, 4)
    assert refused.value.code == errno.ENFILE
    assert kernel.generation() == before
    assert kernel.keys("many") == set()


def test_the_culprit_is_found_behind_the_first_message_too(kernel: Netlink) -> None:
    many = [element((0x0B000000 + at).to_bytes(4, "big")) for at in range(20_000)]
    kernel.transact([Write("many", True, many[:15_000])])

    with pytest.raises(Refused) as refused:
        kernel.transact([Write("few", True, many[:1]), Write("many", False, many)])

    assert refused.value.culprit == (1, 15_000)
    assert refused.value.outdated


def test_deleting_nothing_by_name_empties_the_set(kernel: Netlink) -> None:
    kernel.transact([Write("few", True, [element(raw("192.0.2.1"))])])

    kernel.transact([Write("few", False, [])])

    assert kernel.keys("few") == set()


def test_a_write_tied_to_a_generation_that_is_over_is_refused(kernel: Netlink) -> None:
    seen = kernel.generation()
    nft("add element inet trial many { 192.0.2.7 }")

    with pytest.raises(Refused, match="somebody else changed the ruleset") as refused:
        kernel.transact([Write("few", True, [element(raw("192.0.2.1"))])], seen)
    kernel.transact([Write("few", True, [element(raw("192.0.2.2"))])], kernel.generation())

    assert refused.value.outdated
    assert kernel.keys("few") == {raw("192.0.2.2")}


def test_after_a_refusal_the_next_answer_is_not_the_old_one(kernel: Netlink) -> None:
    for _ in range(3):
        with pytest.raises(Refused, match="no such table, set or element"):
            kernel.transact([Write("nowhere", True, [element(raw("192.0.2.1"))])])

        assert kernel.table() == (0, "a trial")


def test_it_sees_its_own_table_only(kernel: Netlink) -> None:
    assert kernel.sets() == ["few", "many", "ranges", "joined", "odd"]
    assert kernel.chains() == ["empty", "full"]
    assert len(kernel.rules()) == 1
    assert Netlink("nowhere").table() is None
    assert Netlink("nowhere").rules() == []


def test_the_rules_read_the_same_until_somebody_changes_them(kernel: Netlink) -> None:
    before = kernel.rules()
    nft("add element inet trial few { 192.0.2.7 }")
    unchanged = kernel.rules()

    nft("insert rule inet trial full accept")

    assert unchanged == before
    assert kernel.rules() != before


def test_every_transaction_is_heard_with_its_maker_and_none_is_lost_behind_large_ones(kernel: Netlink) -> None:
    heard: list[Foreign] = []
    wanted = kernel.generation() + 6
    done = threading.Event()

    def hear(one: Foreign) -> None:
        heard.append(one)
        if one.generation == wanted:
            done.set()

    listen(hear)
    for at in range(5):
        kernel.transact([Write("many", True, [element((at << 24 | low).to_bytes(4, "big")) for low in range(20_000)])])
    nft("add element inet trial few { 192.0.2.7 }")

    assert done.wait(5)
    assert [one.generation for one in heard] == list(range(wanted - 5, wanted + 1))
    assert heard[-1].comm == "nft"
    assert 0 not in {one.pid for one in heard}
