"""CrowdSec's real local API: its decisions are a list that follows within seconds, and events of what this host decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.event import Event
from agent.feeds.crowdsec import Crowdsec, _seconds
from agent.feeds.decision import DECISION
from agent.grammar.config_feeds import CrowdsecKeys, FeedKeys
from agent.guard import Lifelines
from tests.feeds.lapi import Lapi, lapi
from tests.feeds.server import Heard, Lists, followed, reply, soon

NAMES = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lapi]:
    with lapi(tmp_path_factory.mktemp("crowdsec")) as made:
        yield made


@pytest.fixture
def crowdsec(running: Lapi) -> Lapi:
    """Without decisions, and with a key that nobody has asked with."""
    running.forget("--all")
    running.another_key(f"agent-{next(NAMES)}")
    return running


def feed(one: Lapi, learn: Any = lambda _: None, url: str = "", **more: Any) -> Crowdsec:
    lapi_keys = CrowdsecKeys(one.key_file, url or one.url, more.pop("origins", ()), more.pop("scenarios", ()))
    keys = FeedKeys(crowdsec=lapi_keys, every=timedelta(seconds=0.1), **more)
    made = Crowdsec("crowdsec", keys, Lifelines, lapi_keys, learn)
    made.quiet = 0.0  # type: ignore[misc]
    return made


def events(heard: Heard) -> list[Event]:
    return [event for one in heard.batches for event in one.events if event.kind == DECISION.name]


def positions(heard: Heard) -> list[str]:
    return [one.position for one in heard.batches if one.position]


def test_decisions_are_on_the_list_until_they_are_deleted_or_over(crowdsec: Lapi) -> None:
    crowdsec.decide("--ip", "203.0.113.7")
    with followed(feed(crowdsec)) as heard:
        soon(lambda: heard.now == ["203.0.113.7/32"])

        crowdsec.decide("--range", "198.51.100.0/24")
        crowdsec.decide("--ip", "2001:db8::7", "--type", "captcha")
        crowdsec.decide("--scope", "Country", "--value", "XX")
        soon(lambda: heard.now == ["198.51.100.0/24", "203.0.113.7/32", "2001:db8::7/128"])
        crowdsec.forget("--ip", "203.0.113.7")
        soon(lambda: heard.now == ["198.51.100.0/24", "2001:db8::7/128"])
        crowdsec.decide("--ip", "203.0.113.8", lasting="1500ms")
        soon(lambda: "203.0.113.8/32" in heard.now)
        soon(lambda: "203.0.113.8/32" not in heard.now)

    assert heard.well
    assert heard.trouble == ""


def test_of_two_decisions_about_one_address_the_other_still_counts_when_the_longer_goes(crowdsec: Lapi) -> None:
    crowdsec.decide("--ip", "203.0.113.7", why="short")
    crowdsec.decide("--ip", "203.0.113.7", lasting="5h", why="long")
    with followed(feed(crowdsec)) as heard:
        soon(lambda: heard.now)
        longer = next(one["decisions"][0]["id"] for one in crowdsec.known() if one["decisions"][0]["scenario"] == "long")
        crowdsec.decide("--ip", "203.0.113.9")
        soon(lambda: len(heard.now) == 2)

        crowdsec.forget("--id", str(longer))
        crowdsec.forget("--ip", "203.0.113.9")
        soon(lambda: len(heard.now) == 1)
        assert heard.now == ["203.0.113.7/32"]

        crowdsec.forget("--ip", "203.0.113.7")
        soon(lambda: heard.now == [])


def test_only_what_this_host_decides_from_now_on_is_an_event_and_each_once_over_all_starts(
    crowdsec: Lapi, tmp_path: Path
) -> None:
    crowdsec.decide("--ip", "203.0.113.1", why="before the agent came")
    with followed(feed(crowdsec)) as heard:
        soon(lambda: heard.now)
        imported = tmp_path / "imported.csv"
        imported.write_text("duration,scope,value,reason\n24h,Ip,192.0.2.9,imported\n")
        crowdsec("decisions", "import", "-i", str(imported))
        crowdsec.decide("--ip", "203.0.113.2", why="crowdsecurity/ssh-bf")
        soon(lambda: events(heard))
        position = positions(heard)[-1]
    crowdsec.decide("--range", "198.51.100.0/28", why="while it was away")

    with followed(feed(crowdsec), position) as again:
        soon(lambda: events(again))

    (first,), (second,) = events(heard), events(again)
    assert {**first.fields, "duration": 0} == {
        "src.ip": "203.0.113.2",
        "scenario": "crowdsecurity/ssh-bf",
        "origin": "cscli",
        "type": "ban",
        "duration": 0,
    }
    assert 3500 < float(first.fields["duration"] or 0) <= 3600
    assert second.fields["src.ip"] == "198.51.100.0/28"
    assert set(again.now) == {"203.0.113.1/32", "203.0.113.2/32", "192.0.2.9/32", "198.51.100.0/28"}


def test_another_key_is_another_api_and_what_it_knows_already_is_no_news(crowdsec: Lapi) -> None:
    crowdsec.decide("--ip", "203.0.113.1")
    with followed(feed(crowdsec), "ffffffffffff:999999") as heard:
        soon(lambda: positions(heard))
        crowdsec.decide("--ip", "203.0.113.2")
        soon(lambda: events(heard))

    assert [one.fields["src.ip"] for one in events(heard)] == ["203.0.113.2"]
    assert not positions(heard)[0].startswith("ffffffffffff")


def test_origins_and_scenarios_choose_what_is_on_the_list(crowdsec: Lapi) -> None:
    crowdsec.decide("--ip", "203.0.113.1", why="crowdsecurity/ssh-bf")
    crowdsec.decide("--ip", "203.0.113.2", why="crowdsecurity/http-probing")

    with followed(feed(crowdsec, origins=("cscli",), scenarios=("ssh",))) as chosen:
        soon(lambda: chosen.now == ["203.0.113.1/32"])
    with followed(feed(crowdsec, origins=("CAPI", "lists"))) as others:
        soon(lambda: others.well)
        assert others.now == []


def test_more_decisions_than_may_be_are_told_and_not_used(crowdsec: Lapi) -> None:
    for at in range(3):
        crowdsec.decide("--ip", f"203.0.113.{at}")

    with followed(feed(crowdsec, max_entries=2)) as heard:
        soon(lambda: heard.trouble == "1 decisions beyond 2 are not used; raise max_entries")

    assert len(heard.now) == 2


def test_while_it_is_away_its_decisions_count_to_their_ends_and_afterwards_nothing_is_missing(crowdsec: Lapi) -> None:
    crowdsec.decide("--ip", "203.0.113.1", lasting="2h")
    crowdsec.decide("--ip", "203.0.113.2", lasting="3s")
    with followed(feed(crowdsec)) as heard:
        soon(lambda: len(heard.now) == 2)
        crowdsec.stop()
        try:
            soon(lambda: heard.well is False)
            soon(lambda: heard.now == ["203.0.113.1/32"])
            assert "cannot fetch" in heard.trouble
        finally:
            crowdsec.start()

        crowdsec.decide("--ip", "203.0.113.3")
        soon(lambda: heard.now == ["203.0.113.1/32", "203.0.113.3/32"])
        soon(lambda: heard.well)

    assert heard.trouble == ""


@pytest.mark.parametrize(
    ("mode", "text", "said"), [(0o600, "wrong", "cscli bouncers add"), (0o644, "x", "chmod o="), (0o600, "", "no key")]
)
def test_a_key_that_is_wrong_open_or_empty_is_told_with_its_mend(crowdsec: Lapi, mode: int, text: str, said: str) -> None:
    crowdsec.key_file.write_text(text)
    crowdsec.key_file.chmod(mode)
    try:
        with followed(feed(crowdsec)) as heard:
            soon(lambda: said in heard.trouble)
            assert heard.well is False
    finally:
        crowdsec.key_file.chmod(0o600)


def test_the_key_is_known_to_the_redactor_before_it_is_used(crowdsec: Lapi) -> None:
    heard: list[str] = []

    with followed(feed(crowdsec, heard.append)) as said:
        soon(lambda: said.well)

    assert heard == [crowdsec.key_file.read_text().strip()]


# What no version that is here says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_not_its_own_is_told_and_survived(crowdsec: Lapi, server: Lists, body: bytes) -> None:
    server.say = lambda handler: reply(handler, 200, body)

    with followed(feed(crowdsec, url=server.url.rpartition("/")[0], ca_file=server.issuer)) as heard:
        soon(lambda: "is it CrowdSec's local API?" in heard.trouble)


def test_rows_that_make_no_sense_are_passed_over_and_simulated_ones_too(crowdsec: Lapi, server: Lists) -> None:
    good = b'{"id": 7, "scope": "Ip", "value": "203.0.113.7", "duration": "1h", "origin": "crowdsec", "type": "ban"}'
    rows = [b"null", b"7", b"{}", b'{"id": "x"}', good.replace(b"7,", b"8,").replace(b"1h", b"-2s"), good]
    rows += [good.replace(b'"id": 7', b'"simulated": true, "id": 9').replace(b"203.0.113.7", b"203.0.113.9")]
    rows += [good.replace(b'"id": 7', b'"id": 10').replace(b"203.0.113.7", b"not-an-address")]
    server.say = lambda handler: reply(handler, 200, b'{"new": [%s], "deleted": null}' % b",".join(rows))

    with followed(feed(crowdsec, url=server.url.rpartition("/")[0], ca_file=server.issuer)) as heard:
        soon(lambda: heard.now == ["203.0.113.7/32"])


def test_a_version_that_does_not_know_our_words_is_asked_without_them(crowdsec: Lapi, server: Lists) -> None:
    server.say = lambda handler: (
        reply(handler, 500) if "dedup" in handler.path else reply(handler, 200, b'{"new": null, "deleted": null}')
    )

    with followed(feed(crowdsec, url=server.url.rpartition("/")[0], ca_file=server.issuer)) as heard:
        soon(lambda: heard.well)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h51m57.36s", 13917.36), ("-14.61539ms", -0.01461539), ("1m0s", 60.0), ("250µs", 0.00025), ("0s", 0.0)],
)
def test_gos_times_are_read(text: str, seconds: float) -> None:
    assert _seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-", "1", "1h2", "x", None, "1h-2s"])
def test_what_is_no_time_of_gos_is_none(text: object) -> None:
    assert _seconds(text) is None
