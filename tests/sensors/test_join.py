"""Records of several lines: handed over whole, once, in order, and never held for long."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.streams.follow import Follower
from agent.streams.join import CUT, Further, Join, Quoted, Wrapped, unwrapped
from agent.streams.tail import LONGEST_LINE

TABS = Further(re.compile(rb"\t"), patience=0.2)
CSV = Quoted(patience=0.2)
DOCKER = Wrapped(patience=0.2)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def add(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


@pytest.fixture
def followers(log: Path) -> Iterator[list[Follower]]:
    made: list[Follower] = []
    yield made
    for one in made:
        one.close()


def follower(followers: list[Follower], log: Path, join: Join, position: str | None = None) -> Follower:
    made = Follower(log, join)
    made.start(position, from_start=True)
    followers.append(made)
    return made


def at_once(one: Follower) -> bytes:
    """What is handed over without waiting."""
    return b"".join(one.read() for _ in range(6))


def in_time(one: Follower, seconds: float = 5.0) -> bytes:
    """The next that is handed over."""
    until = time.monotonic() + seconds
    while not (found := one.read()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def all_of(one: Follower, size: int) -> bytes:
    """So many bytes, in time."""
    found = b""
    while len(found) < size:
        found += in_time(one)
    return found + at_once(one)


def piece(text: str, stream: str = "stdout") -> bytes:
    return json.dumps({"log": text, "stream": stream, "time": "2026-11-23T06:00:01.1Z"}, separators=(",", ":")).encode() + b"\n"


PARTS = {
    "csv": (CSV, b'1,"a\n', b'b""",x\n', b'2,"c"\n'),
    "tabs": (TABS, b"1 a\n", b"\tb\n", b"2 c\n"),
    "docker": (DOCKER, piece("1 a"), piece("b\n"), piece("2 c\n")),
}


@pytest.mark.parametrize(("join", "first", "second", "third"), PARTS.values(), ids=PARTS)
def test_a_record_is_handed_over_when_it_is_whole_and_the_position_waits_before_it(
    followers: list[Follower], log: Path, join: Join, first: bytes, second: bytes, third: bytes
) -> None:
    add(log, first)
    one = follower(followers, log, join)

    early = at_once(one)
    killed = one.position
    add(log, second + third)
    found = at_once(one) or in_time(one)

    assert early == b""
    assert found.startswith(first + second)
    assert at_once(follower(followers, log, join, killed)).startswith(first + second)


@pytest.mark.parametrize(("join", "first", "second", "third"), PARTS.values(), ids=PARTS)
def test_what_never_becomes_whole_is_handed_over_after_a_while(
    followers: list[Follower], log: Path, join: Join, first: bytes, second: bytes, third: bytes
) -> None:
    add(log, first)
    one = follower(followers, log, join)

    found = in_time(one)
    add(log, b"\n" + third + third)

    assert found.startswith(first)
    assert third in at_once(one)


@pytest.mark.parametrize(("join", "first", "second", "third"), PARTS.values(), ids=PARTS)
def test_records_through_a_rotation_while_nobody_looks_come_whole_and_once(
    followers: list[Follower], log: Path, join: Join, first: bytes, second: bytes, third: bytes
) -> None:
    add(log, third + first)
    one = follower(followers, log, join)
    before = at_once(one)
    position = one.position

    add(log, second)
    log.rename(log.with_name("app.log.1"))
    add(log, third + third)
    after = all_of(follower(followers, log, join, position), len(first + second + third + third))

    assert before == third
    assert after == first + second + third + third


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("newlines", [False, True])
@pytest.mark.parametrize(
    ("join", "begin", "text", "end", "following"),
    [(CSV, b'1,"a', b'x""y,', b'z",1\n', b'2,"b"\n'), (TABS, b"1 a\n", b"\tx y z", b"\n", b"2 b\n3 c\n")],
    ids=["csv", "tabs"],
)
def test_a_record_too_long_is_cut_and_nothing_in_its_rest_passes_for_a_record(
    followers: list[Follower],
    log: Path,
    join: Join,
    begin: bytes,
    text: bytes,
    end: bytes,
    following: bytes,
    newlines: bool,
    restart: bool,
) -> None:
    forged = b'\n9,"forged"\n' if isinstance(join, Quoted) else b"\n\t9 forged\n"
    inner = (text * 997 + (forged if newlines else b"") + (b"\t" if isinstance(join, Further) else b"")) * (
        5 * LONGEST_LINE // len(text * 997)
    )
    add(log, begin + inner)
    one = follower(followers, log, join)
    head = in_time(one)
    rest = at_once(one)
    if restart:
        one = follower(followers, log, join, one.position)

    add(log, inner + end + following)
    after = at_once(one) + rest

    assert head.startswith(begin)
    assert head.endswith(CUT)
    assert len(head) <= LONGEST_LINE + 16
    assert [head[at:to] for at, to in join.records(head)] == [head[:-1]]
    assert after == (following if isinstance(join, Quoted) else b"2 b\n")


@given(st.lists(st.text(st.sampled_from('a",\n1\r'), max_size=12), max_size=8), st.integers(1, 40))
def test_csv_records_are_found_whatever_stands_between_the_quotes(texts: list[str], size: int) -> None:
    records = [b'%d,"%b",x\n' % (at, text.replace('"', '""').encode()) for at, text in enumerate(texts)]
    data = b"".join(records)

    found = [data[start : end + 1] for start, end in CSV.records(data)]
    steps = [CSV.whole(data[:at], late=False) for at in range(0, len(data) + 1, size)]

    assert found == records
    assert all(b"".join(records[: data[:at].count(b'",x\n')]).startswith(data[:at]) for at in steps)


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(max_size=20)), max_size=12), st.randoms())
def test_docker_pieces_of_both_streams_become_the_lines_that_were_written(
    lines: list[tuple[str, str]], chance: random.Random
) -> None:
    lines = [(stream, text.replace("\n", "").replace("\r", "")) for stream, text in lines]
    waiting = {name: [text + "\n" for stream, text in lines if stream == name] for name in ("stdout", "stderr")}
    pieces = []
    left = {name: "".join(texts) for name, texts in waiting.items()}
    while any(left.values()):
        name = chance.choice([one for one, text in left.items() if text])
        size = chance.randint(1, 9)
        part = left[name][:size].partition("\n")
        left[name] = left[name][len(part[0] + part[1]) :]
        pieces.append(piece(part[0] + part[1], name))
    data = b"".join(pieces)

    assert DOCKER.whole(data, late=False) == len(data)
    written = unwrapped(data).decode().split("\n")[:-1]
    assert sorted(written) == sorted(text for _, text in lines)


def test_lines_in_a_dockers_file_that_docker_did_not_write_are_left_out() -> None:
    data = piece("a\n") + b'garbage\n{"log":5}\n[1]\n' + b"[" * 2000 + b"\n" + piece("b\n")

    assert unwrapped(data) == b"a\nb\n"


def test_a_text_that_ends_with_a_backslash_and_an_n_is_no_end_of_a_line() -> None:
    data = piece("a\\n") + piece("b\n")

    assert DOCKER.whole(piece("a\\n"), late=False) == 0
    assert unwrapped(data) == b"a\\nb\n"


def test_an_open_record_does_not_hold_up_the_whole_ones_before_it(followers: list[Follower], log: Path) -> None:
    one = follower(followers, log, CSV)
    add(log, b'1,"a"\n2,"b\n')

    assert at_once(one) == b'1,"a"\n'
    assert json.loads(one.position)["files"][0]["offset"] == 6
