"""A list is followed: what is new counts, what is wrong does not, what is old ends, and a start has what was kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agent.feeds.text import TextFeed
from agent.grammar.config_feeds import FeedKeys
from agent.guard import Lifeline, Lifelines
from agent.schema import address
from tests.feeds.server import Lists, followed, reply, soon

TEN = [f"198.51.100.{at}" for at in range(10)]
AS_KEPT = [f"{one}/32" for one in TEN]


def feed(place: Path, keys: FeedKeys, lines: Callable[[], Lifelines] = Lifelines, name: str = "drop") -> TextFeed:
    made = TextFeed(name, keys, lines, place / "feeds")
    made.restore(time.time())
    return made


def written(file: Path, *networks: str, age: float = 60.0) -> FeedKeys:
    """A file whose writer has finished a while ago."""
    part = file.with_suffix(".new")
    part.write_text("".join(f"{one}\n" for one in networks))
    at = time.time() - age
    os.utime(part, (at, at))
    part.replace(file)
    return FeedKeys(file=file)


# A server's ----------------------------------------------------------------------------------------------------------------


def test_what_a_server_sends_counts_and_each_change_is_told_once(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    with followed(feed(tmp_path, server.keys())) as heard:
        soon(lambda: heard.now == AS_KEPT)

        server.texts(*TEN, "203.0.113.0/24", etag='"2"')
        soon(lambda: len(heard.now) == 11)
        soon(lambda: len(server.asked) >= 4)  # which is told that nothing has changed

    changes = [(one.change.added, one.change.removed, one.change.because) for one in heard.news if one.change]
    assert changes == [(10, 0, "refreshed"), (1, 0, "refreshed")]
    assert heard.well
    assert heard.trouble == ""


def test_a_start_without_network_has_the_last_good_list_and_the_servers_name_for_it(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN, etag='"7"')
    with followed(feed(tmp_path, server.keys())) as heard:
        soon(lambda: heard.now)

    again = TextFeed("drop", server.keys(), Lifelines, tmp_path / "feeds")
    at_start = again.restore(time.time())

    assert [str(one) for one in at_start.networks] == AS_KEPT
    server.asked.clear()
    with followed(again) as heard:
        soon(lambda: server.asked)
    assert server.asked[0][1]["If-None-Match"] == '"7"'
    assert [one.change.because for one in heard.news if one.change] == ["at start, as it was kept"]


def test_a_start_that_comes_again_and_again_does_not_bother_the_server(server: Lists, tmp_path: Path) -> None:
    polite = server.keys(every=timedelta(hours=6))
    server.texts(*TEN)
    with followed(feed(tmp_path, polite)) as heard:
        soon(lambda: heard.now)
    server.say = lambda handler: reply(handler, 500)

    for _ in range(3):
        with followed(feed(tmp_path, polite)) as heard:
            soon(lambda: heard.now == AS_KEPT)

    assert len(server.asked) == 1


def test_a_server_that_sent_nothing_useful_is_left_alone_for_an_hour_over_all_starts(server: Lists, tmp_path: Path) -> None:
    polite = server.keys(every=timedelta(hours=6))
    server.say = lambda handler: reply(handler, 503)
    with followed(feed(tmp_path, polite)) as heard:
        soon(lambda: "503" in heard.trouble)

    with followed(feed(tmp_path, polite)) as heard:
        soon(lambda: "is not asked again yet" in heard.trouble)

    assert len(server.asked) == 1
    assert heard.well is False


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ({"status": 404}, "it answers 404 Not Found"),
        ({"status": 200, "body": b"<html>We will be back soon</html>"}, "it is a page of HTML or XML, and no list"),
        ({"status": 200, "body": b"198.51.100.1\n" * 9, "Content_Length": "900"}, "it was cut after 117 of 900 bytes"),
        (
            {"status": 200, "body": b"".join(b"10.%d.0.1\n" % at for at in range(200))},
            "names more than 100 networks; raise max_entries",
        ),
        ({"status": 200, "body": b"nonsense\n"}, "1 of 1 lines are bad: line 1: `nonsense` is no address and no network"),
        ({"status": 302, "Location": "https://evil.example.com/"}, "it sends us to https://evil.example.com/"),
    ],
)
def test_whatever_else_a_server_sends_the_list_of_before_stays_and_the_trouble_is_told(
    server: Lists, tmp_path: Path, said: dict[str, Any], trouble: str
) -> None:
    server.texts(*TEN)
    with followed(feed(tmp_path, server.keys(max_entries=100))) as heard:
        soon(lambda: heard.now == AS_KEPT)

        server.say = lambda handler: reply(handler, **said)
        soon(lambda: trouble in heard.trouble)
        assert heard.now == AS_KEPT
        assert heard.well

        server.texts(*TEN, etag='"back"')
        soon(lambda: heard.trouble == "")

    assert sum(one.change is not None for one in heard.news) == 1


def test_less_than_half_waits_for_a_person_and_counts_once_accepted(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    made = feed(tmp_path, server.keys())
    with followed(made) as heard:
        soon(lambda: heard.now)
        assert made.accept("alice") is None

        server.texts(*TEN[:4], etag='"2"')
        soon(lambda: "it has 4 networks, and had 10; if that is right: contain list accept drop" in heard.trouble)
        soon(lambda: len(server.asked) >= 5)
        assert heard.now == AS_KEPT
        assert heard.news[-1].listing.offered == 4
        refused = [one.refused for one in heard.news if one.refused]

        assert made.accept("alice (uid 1000)") == 4
        soon(lambda: heard.now == AS_KEPT[:4])
        soon(lambda: heard.trouble == "")

    assert len(refused) == 1
    changes = [one.change for one in heard.news if one.change]
    assert (changes[-1].actor, changes[-1].because, changes[-1].removed) == ("alice (uid 1000)", "a person accepted it", 6)
    assert [str(one) for one in feed(tmp_path, server.keys()).live.networks] == AS_KEPT[:4]


def test_a_server_that_hangs_holds_up_no_other_list(server: Lists, tmp_path: Path) -> None:
    def hang(handler: BaseHTTPRequestHandler) -> None:
        server.over.wait(1)

    server.say = hang
    hung = feed(tmp_path, server.keys(), name="hung")
    with followed(hung) as quiet:
        soon(lambda: server.asked)
        other = feed(tmp_path, written(tmp_path / "bad.txt", *TEN), name="other")
        with followed(other) as heard:
            soon(lambda: heard.now == AS_KEPT)

        assert quiet.news == []


def test_a_list_that_is_not_refreshed_for_too_long_counts_as_empty_until_it_is(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    with followed(feed(tmp_path, server.keys(max_age=timedelta(seconds=1)))) as heard:
        soon(lambda: heard.now)
        server.say = lambda handler: reply(handler, 404)

        soon(lambda: heard.now == [])
        assert heard.trouble.startswith("not refreshed for 1 s, so it counts as empty: cannot fetch ")
        soon(lambda: heard.well is False)
        aged = heard.news[-1].change

        server.texts(*TEN)
        soon(lambda: heard.now == AS_KEPT)
        soon(lambda: heard.well)

    assert aged is not None or any(one.change and one.change.because == "it was not refreshed for too long" for one in heard.news)


def test_what_was_kept_too_long_ago_does_not_count_at_a_start(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    with followed(feed(tmp_path, server.keys())) as heard:
        soon(lambda: heard.now)
    long_ago = time.time() - 8 * 86400
    os.utime(tmp_path / "feeds" / "drop.list", (long_ago, long_ago))

    listing = TextFeed("drop", server.keys(), Lifelines, tmp_path / "feeds").restore(time.time())

    assert len(listing.networks) == 0
    assert listing.trouble == "not refreshed for 7 d, so it counts as empty"


def test_a_damaged_file_of_what_was_kept_is_ignored_and_told(
    server: Lists, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.texts(*TEN)
    with followed(feed(tmp_path, server.keys())) as heard:
        soon(lambda: heard.now)
    with (tmp_path / "feeds" / "drop.list").open("ab") as file:
        file.write(b"203.0.113.1\n")

    again = feed(tmp_path, server.keys())

    assert len(again.live.networks) == 0
    assert "list drop: what was kept of it is not used: its text is not what its first line says" in caplog.text


def test_a_list_that_can_not_be_kept_still_counts_and_that_is_told(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    made = feed(tmp_path, server.keys())
    (tmp_path / "feeds").write_text("a file where the directory should be")

    with followed(made) as heard:
        soon(lambda: heard.now == AS_KEPT)

    assert "a start without network would have an older list" in heard.trouble


def test_who_meets_a_life_line_is_not_on_it_and_the_record_of_the_text_is(server: Lists, tmp_path: Path) -> None:
    server.texts(*TEN)
    lines = Lifelines([Lifeline(address("198.51.100.4"), "an ssh login")])

    with followed(feed(tmp_path, server.keys(), lambda: lines)) as heard:
        soon(lambda: heard.now)

    assert "198.51.100.4/32" not in heard.now
    assert heard.news[-1].listing.left_out == "left out: 1 that meet life-lines (198.51.100.4)"
    assert "198.51.100.4" in (tmp_path / "feeds" / "drop.list").read_text()  # once that is over, it is on it again


# A file --------------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_again_when_it_changes_and_one_that_is_missing_leaves_the_list(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    with followed(feed(tmp_path, written(file, *TEN))) as heard:
        soon(lambda: heard.now == AS_KEPT)

        written(file, *TEN, "203.0.113.9")
        soon(lambda: len(heard.now) == 11)
        file.unlink()
        soon(lambda: f"cannot read {file}: No such file or directory; what it was before still counts" in heard.trouble)
        soon(lambda: heard.well is False)
        assert len(heard.now) == 11

        written(file, *TEN, "203.0.113.9")
        soon(lambda: heard.trouble == "")
        soon(lambda: heard.well)


def test_a_file_is_not_read_while_somebody_writes_it(tmp_path: Path) -> None:
    file, stop = tmp_path / "bad.txt", threading.Event()
    keys = written(file, *TEN)
    with followed(feed(tmp_path, keys)) as heard:
        soon(lambda: heard.now)

        with file.open("w") as half:
            for at in range(20):
                half.write(f"203.0.113.{at}\n203.0.113.1")
                half.flush()
                half.seek(half.tell() - len("203.0.113.1"))
                stop.wait(0.1)
            half.truncate()
        soon(lambda: len(heard.now) == 20)

    sizes = {len(one.listing.networks) for one in heard.news}
    assert sizes == {10, 20}


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.txt"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()

    with followed(feed(tmp_path, FeedKeys(file=path))) as heard:
        soon(lambda: f"cannot read {path}: " in heard.trouble)


def test_the_age_of_a_file_counts_where_agent_yaml_says_so(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    written(file, *TEN, age=7200)

    with followed(feed(tmp_path, FeedKeys(file=file, max_age=timedelta(hours=1)))) as heard:
        soon(lambda: "not refreshed for 1 h, so it counts as empty" in heard.trouble)
        assert heard.now == []

        written(file, *TEN, age=60)
        soon(lambda: heard.now == AS_KEPT)
