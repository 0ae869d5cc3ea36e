"""`make demo` shows what it promises, cleans up after itself, and plays in dry run for somebody without root."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.command import ROOT
from tests.demo.story import CannotGoOn, Story
from tests.needs import need, need_root

DEMO = (sys.executable, "-m", "tests.demo")
# Nobody who may look into every directory: the checkout and its Python may lie below /root.
AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"


class Playing:
    """A demo that has begun, with a directory of its own for whatever it leaves behind."""

    def __init__(self, place: Path, *before: str) -> None:
        self.place = place
        place.chmod(0o777)
        environment = {**os.environ, "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*before, *DEMO], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)
        self.said = ""

    def until(self, text: str) -> None:
        """Read until a line with this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        self.end()
        raise AssertionError(f"it ended without `{text}`:\n{self.said}")

    def end(self) -> int:
        """Its exit status; all it said is in `said` then."""
        out, err = self.process.communicate(timeout=60)
        self.said += out + err
        return self.process.returncode

    def left_behind(self) -> list[str]:
        """Files in its directory, and processes that name it."""
        words = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
        return [str(one) for one in self.place.iterdir()] + [one for one in words if str(self.place) in one]


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Playing | None, Playing]]:
    """The real play (None without root) and the one of nobody, at the same time, since each takes 20 s."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as reachable:  # pytest's own directories are closed to nobody
        real = Playing(tmp_path_factory.mktemp("real")) if root else None
        dry = Playing(Path(reachable), *(AS_NOBODY.split() if root else ()))
        yield real, dry
        for one in filter(None, (real, dry)):
            one.process.terminate()
            one.process.communicate(timeout=10)


def need_programs() -> None:
    need_root()
    for program, package in (("wrk", "wrk"), ("nginx", "nginx-light"), ("sshd", "openssh-server"), ("ssh", "openssh-client")):
        need(program, package)


def test_the_real_play_sees_every_fact_that_it_claims(plays: tuple[Playing | None, Playing]) -> None:
    need_programs()
    real = plays[0]
    assert real is not None

    status = real.end()

    assert status == 0, real.said
    assert "MISSED" not in real.said
    for claim in (
        "a new connection of 203.0.113.7 to port 22 gets no answer",
        "the connection that it had open before is dead, too",
        "203.0.113.7 gets in again: SSH-2.0-OpenSSH",
        "the status shows the limit in force",
        "the evidence holds",
        "the check finds it",
        "the customer never noticed anything",
    ):
        assert f"seen     {claim}" in real.said
    assert re.search(r"set hosts4: 203\.0\.113\.7 counter packets \d+ .*expires", real.said)
    before, after = re.findall(r"^  flood +([\d,]+) → ([\d,]+) pages/s$", real.said, re.MULTILINE)[0]
    assert int(before.replace(",", "")) > 10 * int(after.replace(",", ""))
    assert re.search(r"^  customer +\d+ ok, 0 failed", real.said, re.MULTILINE)
    assert real.left_behind() == []


def test_without_root_it_says_what_it_lacks_and_plays_in_dry_run(plays: tuple[Playing | None, Playing]) -> None:
    dry = plays[1]

    status = dry.end()

    assert status == 0, dry.said
    assert "root, for network namespaces and nftables of its own: sudo make demo" in dry.said
    assert "dry run: M-1 would drop every packet from and to 203.0.113.7 for 1h" in dry.said
    assert "dry run: M-2 would let through 20 new connections per second from 198.51.100.23" in dry.said
    assert "apply   nft add element inet containment hosts4 { 203.0.113.7 timeout 1h }" in dry.said
    assert "seen     the status shows a block and a limit that would be, and nothing in force" in dry.said
    assert "in force until" not in dry.said
    assert dry.left_behind() == []


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose name leaves room for a socket's, which has 107 bytes in all, wherever $TMPDIR is."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_play_leaves_nothing_behind(short: Path, number: signal.Signals) -> None:
    need_programs()
    real = Playing(short)
    real.until("Failed password")

    real.process.send_signal(number)

    assert real.end() == 130
    assert "Interrupted; nothing of it is left." in real.said
    assert real.left_behind() == []


def test_a_fact_that_was_not_seen_fails_the_play_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    story.fact("water is wet", held=True)
    story.fact("pigs fly", held=False, instead="they walk")

    status = story.end()

    assert status == 1
    assert capsys.readouterr().out.endswith("1 of the facts above did not hold:\n  pigs fly\n")


def test_a_play_whose_ground_is_missing_does_not_go_on() -> None:
    story = Story()

    with pytest.raises(CannotGoOn):
        story.awaited("somebody comes", lambda: None, 0.02)

    assert story.missed == ["somebody comes"]
