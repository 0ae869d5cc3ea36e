"""Texts of lists, as their keepers write them and as they break."""

from __future__ import annotations

import pytest

from agent.feeds.reading import Layout, NotUsed, Read, read
from agent.watching.networks import Networks

FIREHOL = b"""#
# firehol_level1
# Maintainer URL : https://iplists.firehol.org/
1.10.16.0/20
198.51.100.7
198.51.100.7
"""
OLD_SPAMHAUS = b"; Spamhaus DROP List 2026/11/23\n; Expires: Mon\n1.10.16.0/20 ; SBL256894\n1.19.0.0/16 ; SBL434604\n"
NEW_SPAMHAUS = b"""{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}
{"cidr":"2001:db8:bad::/48","sblid":"SBL1","rir":"apnic"}
{"type":"metadata","timestamp":1763900000,"size":100,"records":2,"copyright":"(c) Spamhaus"}
"""
TOR = b"198.51.100.7\r\n2001:db8::7\r\n::ffff:203.0.113.9\r\n"
FEODO = b"""# Feodo Tracker\r
"first_seen_utc","dst_ip","dst_port"\r
"2026-11-01 10:00:00","198.51.100.7","443"\r
"2026-11-01 10:00:00","203.0.113.9","8"\r
"""
AUTO = Layout()


def taken(text: bytes, layout: Layout = AUTO, most: int = 100) -> list[str]:
    return [str(one) for one in Networks.of(whole(text, layout, most).codes)]


def whole(text: bytes, layout: Layout = AUTO, most: int = 100) -> Read:
    return read(text.splitlines(keepends=True), layout, most)


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        (FIREHOL, Layout(), ["1.10.16.0/20", "198.51.100.7/32"]),
        (OLD_SPAMHAUS, Layout(), ["1.10.16.0/20", "1.19.0.0/16"]),
        (NEW_SPAMHAUS, Layout(), ["1.10.16.0/20", "2001:db8:bad::/48"]),
        (TOR, Layout(), ["198.51.100.7/32", "203.0.113.9/32", "2001:db8::7/128"]),
        (FEODO, Layout("csv", "dst_ip"), ["198.51.100.7/32", "203.0.113.9/32"]),
        (FEODO, Layout("csv", "2"), ["198.51.100.7/32", "203.0.113.9/32"]),
        (b'{"ip": "198.51.100.7"}\n', Layout("json_lines", "ip"), ["198.51.100.7/32"]),
        (b"\xef\xbb\xbf198.51.100.7 comment", Layout(), ["198.51.100.7/32"]),
        (b"", Layout(), []),
        (b"# nobody today\n\n", Layout(), []),
    ],
)
def test_a_list_is_read_as_its_keeper_writes_it(text: bytes, layout: Layout, expected: list[str]) -> None:
    assert taken(text, layout) == expected


@pytest.mark.parametrize(
    ("text", "layout", "said"),
    [
        (b"<!DOCTYPE html>\n<html>Sorry</html>\n", Layout(), "it is a page of HTML or XML, and no list: `<!DOCTYPE html>`"),
        (b"\n  <?xml version='1.0'?>", Layout(), "it is a page of HTML or XML"),
        (b"\x1f\x8b\x08\0\0\0\0\0", Layout(), "it is binary, and no list"),
        (b"1" * 5000, Layout(), "longer than 4 KiB"),
        (b"404 page not found\n", Layout(), "1 of 1 lines are bad: line 1: `404` is no address and no network"),
        (NEW_SPAMHAUS.replace(b'"records":2', b'"records":1500'), Layout(), "it says that it has 1,500 records, and has 2"),
        (b"not json\n{}\n", Layout("json_lines"), "2 of 2 lines are bad: line 1: `not json`"),
        (FEODO, Layout("csv", "ip"), "its first row has no column `ip`, but first_seen_utc, dst_ip, dst_port"),
        (FEODO, Layout("csv", "9"), "lines are bad"),
        (b"10.0.0.1\n10.0.0.2\n10.0.0.3\n", Layout(), "it names more than 2 networks; raise max_entries"),
    ],
)
def test_what_is_no_list_is_not_used_at_all(text: bytes, layout: Layout, said: str) -> None:
    with pytest.raises(NotUsed) as raised:
        taken(text, layout, most=2)

    assert said in str(raised.value)


@pytest.mark.parametrize(
    "bad",
    [
        "198.51.100.7/24",
        "198.51.100.256",
        "1.2.3",
        "1.2.3.4/33",
        "::1/129",
        "fe80::1%eth0",
        "example.org",
        "1.2.3.4-1.2.3.9",
        "01.2.3.4",
        "1.2.3.4/+8",
        "1.2.3.4/",
        "1.2.3.4/255.255.255.0",
        "\x1b[2J",
        "１.2.3.4",
        "/8",
        "1.2.3.4/٨",
    ],
)
def test_one_bad_line_in_twenty_is_left_out_and_told_with_its_number(bad: str) -> None:
    good = [f"10.1.{at}.1" for at in range(19)]
    text = "\n".join([*good[:7], bad, *good[7:]]).encode()

    result = whole(text)

    assert len(result.codes[4]) == 19
    assert result.said.startswith("1 of 20 lines are bad: line 8: `")
    assert "\x1b" not in result.said


def test_more_bad_lines_than_one_in_twenty_spoil_the_whole() -> None:
    text = "\n".join([*[f"10.1.{at}.1" for at in range(18)], "x", "y"]).encode()

    with pytest.raises(NotUsed, match=r"^2 of 20 lines are bad: line 19: `x`"):
        taken(text)


def test_a_million_bad_lines_are_not_all_told() -> None:
    with pytest.raises(NotUsed) as raised:
        taken(b"x\n" * 1_000)

    assert str(raised.value).endswith("line 3: `x` is no address and no network and 997 more")
