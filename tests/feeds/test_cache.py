"""What is kept of a list: the old text or the new one, whole, for nobody else to read, and never believed when damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.feeds.cache import Cache, CacheDamagedError, Kept
from agent.feeds.reading import Layout, Read, read
from agent.watching.networks import network

WRITER = """
import sys
from pathlib import Path
from agent.feeds.cache import Cache, Kept
from agent.feeds.reading import Layout, read
cache = Cache(Path(sys.argv[1]), "drop", "here")
texts = [read((f"{at + 1}.{n >> 8}.{n & 255}.7".encode() for n in range(20_000)), Layout(), 50_000) for at in (0, 1)]
cache.keep(Kept(texts[0], 1e9)); print("ready", flush=True)
while True:
    for text in texts:
        cache.keep(Kept(text, 1e9))
"""


def text(*networks: str) -> Read:
    return read([one.encode() for one in networks], Layout(), 1000)


def words(kept: Kept | None) -> list[str]:
    assert kept is not None
    return [str(network(version, one)) for version, codes in kept.text.codes.items() for one in codes]


def test_what_is_kept_comes_back_with_its_time_and_its_servers_names_for_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "feeds", "drop", "https://lists.example.com/drop.txt")

    cache.keep(Kept(text("198.51.100.0/24", "2001:db8::7"), 1_800_000_000.5, '"abc"', "Mon, 23 Nov 2026 06:00:00 GMT"))
    kept = cache.load(1000)

    assert words(kept) == ["198.51.100.0/24", "2001:db8::7/128"]
    assert kept is not None
    assert (kept.refreshed, kept.etag, kept.modified) == (1_800_000_000.5, '"abc"', "Mon, 23 Nov 2026 06:00:00 GMT")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    os.umask(0o022)

    Cache(tmp_path / "feeds", "drop", "here").keep(Kept(text("198.51.100.7"), 1.0))

    assert (tmp_path / "feeds").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "feeds" / "drop.list").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-3],
        lambda body: body.replace(b"198", b"197"),
        lambda body: b"x" + body,
        lambda body: b"",
        lambda body: b"[]\n",
        lambda body: body + b"203.0.113.9\n",
        lambda body: body.replace(b'"v": 1', b'"v": 2'),
    ],
)
def test_what_was_damaged_is_not_believed(tmp_path: Path, damage: object) -> None:
    cache = Cache(tmp_path, "drop", "here")
    cache.keep(Kept(text("198.51.100.7"), 1.0))
    file = tmp_path / "drop.list"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]

    with pytest.raises(CacheDamagedError):
        cache.load(1000)


def test_a_list_from_elsewhere_under_the_same_name_is_another_list(tmp_path: Path) -> None:
    Cache(tmp_path, "drop", "https://a.example.com/").keep(Kept(text("198.51.100.7"), 1.0))

    assert Cache(tmp_path, "drop", "https://b.example.com/").load(1000) is None


def test_a_kill_in_the_middle_of_an_update_leaves_the_old_one_or_the_new_one_whole(tmp_path: Path) -> None:
    cache, seen = Cache(tmp_path, "drop", "here"), set()
    for wait in (0.0, 0.003, 0.011, 0.019):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(wait)  # at another moment each time; there is nothing to be awaited
            writer.send_signal(signal.SIGKILL)

        kept = cache.load(50_000)

        assert kept is not None
        assert len(kept.text.codes[4]) == 20_000
        assert len({one >> 32 for one in kept.text.codes[4]}) == 1
        seen |= {one >> 32 for one in kept.text.codes[4]}
    cache.keep(Kept(text("198.51.100.7"), 1.0))  # and what it left half done is in nobody's way
    assert words(cache.load(10)) == ["198.51.100.7/32"]
