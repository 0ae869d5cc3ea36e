"""`feeds` in agent.yaml: what is wrong is told at its place, with its mend; what is unwise in policies is warned of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent.event import Catalogue
from agent.grammar.config import read_config, with_lists
from agent.grammar.config_feeds import STAND_IN, lists_of
from agent.grammar.located import Problems
from agent.grammar.policy_reader import read_policies
from agent.wiring import catalogue

HEAD = "version: 1\nlists: {office: [198.51.100.0/24]}\nfeeds:\n"
GOOD = """\
  drop: {url: "https://www.spamhaus.org/drop/drop_v4.json", every: 12h}
  feodo: {url: "https://feodotracker.abuse.ch/x.csv", format: csv, column: dst_ip}
  ours: {file: bad.txt, private: true, max_entries: 1000, min_prefix: 16}
  crowdsec: {crowdsec: {key_file: key}}
"""


def config(feeds: str) -> Any:
    return read_config(HEAD + feeds, "agent.yaml", sensors={}, checks={})


def problem(feeds: str) -> str:
    with pytest.raises(Problems) as raised:
        config(feeds)
    return "\n".join(f"{one.place}: {one.text} | {one.hint}" for one in raised.value.found)


def test_a_feed_is_read_with_its_defaults() -> None:
    feeds = config(GOOD).feeds

    assert [one.kind for one in feeds.values()] == ["url", "url", "file", "crowdsec"]
    assert [one.period for one in feeds.values()] == [timedelta(hours=12), timedelta(hours=6), timedelta(), timedelta(seconds=10)]
    assert (feeds["drop"].longest, feeds["ours"].longest) == (timedelta(days=7), None)
    assert feeds["crowdsec"].crowdsec.url == "http://127.0.0.1:8080"
    assert (feeds["ours"].bounds.most, feeds["ours"].bounds.widest) == (1000, 16)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ("  office: {file: x}\n", "agent.yaml:4:3: `office` is a list of agent.yaml already | give this one another name"),
        ("  never_touch: {file: x}\n", "`never_touch` is what nobody touches"),
        ("  ../x: {file: x}\n", "`../x` is no name for a list that others keep"),
        ("  a: {file: x}\n  b: {file: x}\n", "agent.yaml:5:3: `b` comes from the same place as `a`"),
        ("  a: {}\n", "this says nowhere to get it from | write one of file: …, url: …, crowdsec: {…}"),
        ("  a: {file: x, url: 'https://a.example.com/'}\n", "file and url are two lists"),
        ("  a: {url: 'http://a.example.com/x'}\n", "whoever is on the way could put anybody on the list"),
        ("  a: {url: 'https://user:hunter2@a.example.com/x'}\n", "is no address of a list"),
        ("  a: {url: 'https://a.example.com/x', every: 10m}\n", "every 10 min would bother others' servers | write at least 1h"),
        ("  a: {file: x, every: 1h}\n", "every is for what is fetched | a file is read when it changes"),
        ("  a: {file: x, format: csv}\n", "column and format: csv go together"),
        ("  a: {file: x, column: 2}\n", "column and format: csv go together"),
        ("  a: {file: x, format: xml}\n", "`xml` is not one of auto, plain, json_lines, csv"),
        ("  a: {file: x, max_entries: 0}\n", "`0` is less than 1"),
        ("  a: {file: x, min_prefix: 33}\n", "`33` is more than 32"),
        ("  a: {crowdsec: {}}\n", "`key_file` is missing"),
        (
            "  a: {crowdsec: {key_file: x, url: 'http://192.0.2.1:8080'}}\n",
            "would be seen by whoever is on the way | write https",
        ),
        ("  a: {crowdsec: {key_file: x, api_key: y}}\n", "put it into a file and name that: key_file"),
        ("  a: {path: x}\n", "write file: …"),
    ],
)
def test_a_mistake_is_told_at_its_place_with_its_mend(feeds: str, said: str) -> None:
    found = problem(feeds)

    assert all(part in found for part in said.split(" | ")), found
    assert "hunter2" not in found


def test_policies_may_name_feeds_and_a_usual_list_that_nobody_keeps_is_there_and_empty() -> None:
    known = with_lists(Catalogue({}, {}), config(GOOD))

    assert known.lists.keys() == {"office", "drop", "feodo", "ours", "crowdsec", "threats"}
    assert known.lists["drop"] == known.lists["threats"] == STAND_IN
    assert lists_of({"office": ()}, ["drop"]) == {"office": (), "threats": ()}
    assert lists_of({}, ["threats"]) == {}


POLICY = """\
policy: p
severity: P2
owner: me
when: {event: auth.ssh.failure, by: src.ip, count: ">= 2 in 1m", match: {src.ip: {list: threats}}}
%s
then: [{block_ip: {ip: $src.ip, ttl: 1h}}]
examples: [{title: a, events: [], expect: []}]
"""


@pytest.mark.parametrize(
    ("leaving", "place"),
    [
        ("guard: {max: 5 per 10m}", ""),
        ("guard: {max: 5 per 10m, never: [threats]}", "p.yaml:5:33"),
        ("guard: {max: 5 per 10m}\nunless: {src.ip: {list: [office, threats]}}", "p.yaml:6:34"),
    ],
)
def test_who_leaves_alone_whom_others_name_is_warned(leaving: str, place: str) -> None:
    _, warnings = read_policies({"p.yaml": POLICY % leaving}, catalogue(None))

    found = [one for one in warnings if "is left alone, and others keep it" in one.text]
    assert [str(one.place) for one in found] == ([place] if place else [])
    assert not any("is empty" in one.text for one in warnings)
