"""FileDescriptors: are they running out?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from agent.checks.file_descriptors import FileDescriptors
from tests.checks.asking import the_answer

HOLD = "ulimit -n 20; exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null 8</dev/null 9</dev/null; echo up; read _"


def test_the_whole_host_answers() -> None:
    good = the_answer(FileDescriptors())
    bad = the_answer(FileDescriptors(used_limit=0))

    assert (good.state, bad.state) == ("good", "bad")
    assert good.say.startswith("this host uses ")


def test_the_process_nearest_to_its_own_limit_is_bad_and_is_named(tmp_path: Path) -> None:
    shell = shutil.copy("/bin/sh", tmp_path / "fd-holder")
    with (
        subprocess.Popen([shell, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        subprocess.Popen([shell, "-c", "read _"], stdin=subprocess.PIPE) as other,
    ):
        assert holder.stdout
        holder.stdout.readline()

        bad = the_answer(FileDescriptors(process="fd-holder", used_limit=50))
        good = the_answer(FileDescriptors(process="fd-holder"))
        holder.kill()
        other.kill()

    assert (bad.state, good.state) == ("bad", "good")
    assert bad.say == f"fd-holder (process {holder.pid}) uses 10 of 20 file descriptors (50 %)"


def test_a_process_that_does_not_run_is_unknown() -> None:
    answer = the_answer(FileDescriptors(process="no-such-program"))

    assert answer.state == "unknown"
