"""Rotation at full speed and kill -9 in between: every line is delivered exactly once."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from tests.sensors.follower_process import SCHEMA

LINE = "Nov 23 06:00:01 db1 sshd[812]: Failed password for {number} from 203.0.113.7 port 22 ssh2\n"
ENTRY = (
    '2026-11-23 06:00:01.123 UTC,"{number}","shop",1,"203.0.113.7:1",x,1,"",2026-11-23 06:00:01 UTC,3/1,0,FATAL,28P01,'
    '"password authentication failed for user ""{number}""","Role ""{number}"" does not exist.\n'
    'Connection matched pg_hba.conf line 5",,,,,,,,"","client backend",,0\n'
)
Way = Literal["rename", "copytruncate"]


class Writer:
    """Writes numbered lines as fast as it can, rotating as logrotate does."""

    def __init__(self, log: Path, line: str = LINE) -> None:
        self.log, self.line, self.number = log, line, 0
        self._open()

    def _open(self) -> None:
        self._file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            lines = [self.line.format(number=self.number + n) for n in range(7)]
            self.number += len(lines)
            text = "".join(lines).encode()
            os.write(self._file, text[:200])  # a partial line, as a buffered writer leaves it
            os.write(self._file, text[200:])
            time.sleep(0.0001)  # without it the reader is right too, but behind for a minute

    def rotate(self, way: Way) -> None:
        for number in range(30, 0, -1):
            rotated = self.log.with_name(f"{self.log.name}.{number}")
            if rotated.exists():
                rotated.rename(self.log.with_name(f"{self.log.name}.{number + 1}"))
        first = self.log.with_name(f"{self.log.name}.1")
        if way == "rename":
            self.log.rename(first)
            self.write(0.02)  # still into the old file: writers reopen late
            os.close(self._file)
            self._open()
        else:
            shutil.copyfile(self.log, first)
            os.truncate(self.log, 0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = tmp_path / "log"
    directory.mkdir()
    return directory / "auth.log"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "seen.sqlite"
    with sqlite3.connect(path) as store:
        store.executescript(SCHEMA)
    store.close()
    return path


def follow(log: Path, database: Path, parser: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.sensors.follower_process", str(log), str(database), parser])


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


def wait_for(database: Path, count: int) -> Counter[str]:
    """Everything delivered, once there is so much of it; after 20 s, what there is."""
    store = sqlite3.connect(database)
    end = time.monotonic() + 20
    while time.monotonic() < end and store.execute("select count(*) from seen").fetchone()[0] < count:
        time.sleep(0.02)  # another process commits; SQLite has nothing to wait on
    found = Counter(line for (line,) in store.execute("select line from seen"))
    store.close()
    return found


BOTH: tuple[Way, ...] = ("rename", "copytruncate", "copytruncate", "rename", "rename", "copytruncate")


@pytest.mark.parametrize(
    ("ways", "parser", "line"),
    [
        (("rename",) * 6, "sshd", LINE),
        (("copytruncate",) * 6, "sshd", LINE),
        (BOTH, "sshd", LINE),
        (BOTH, "postgres_csv", ENTRY),
    ],
    ids=["rename", "copytruncate", "both", "entries of several lines"],
)
def test_every_line_is_delivered_once_through_rotations_and_kills(
    log: Path, database: Path, ways: tuple[Way, ...], parser: str, line: str
) -> None:
    writer = Writer(log, line)
    writer.write(0.05)
    process = follow(log, database, parser)
    wait_for(database, 1)

    for turn, way in enumerate(ways):
        writer.write(0.15)
        writer.rotate(way)
        if turn in (1, 3):
            kill(process)
            writer.write(0.1)
            writer.rotate(way)  # while nobody looks
            writer.write(0.1)
            process = follow(log, database, parser)
    writer.write(0.2)
    found = wait_for(database, writer.number)
    kill(process)

    expected = {str(number) for number in range(writer.number)}
    lost, twice = expected - set(found), [one for one, times in found.items() if times > 1]
    assert (len(lost), twice, len(found)) == (0, [], writer.number)
