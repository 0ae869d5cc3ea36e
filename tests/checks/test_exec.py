"""Exec: what does a plug-in say?"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from agent.check import Answer
from agent.checks.exec import Exec
from tests.checks.asking import the_answer
from tests.running import wait_for


def ask(*command: str, within: float = 5) -> Answer:
    return the_answer(Exec(command, timedelta(seconds=within)))


def script(text: str) -> tuple[str, str, str]:
    return "sh", "-c", text


def test_exit_0_is_good_with_the_first_line_and_its_first_figure() -> None:
    answer = ask(*script("echo \"DISK OK - free space: 52 % | '/'=48%;80;90;0;100 /boot=7%\"; echo more"))

    assert (answer.state, answer.say) == ("good", "DISK OK - free space: 52 %")
    assert (answer.value, answer.limit) == (48, 90)


@pytest.mark.parametrize(("code", "state"), [(1, "bad"), (2, "bad"), (3, "unknown"), (77, "unknown")])
def test_the_exit_status_decides(code: int, state: str) -> None:
    answer = ask(*script(f"echo 'LOAD: 9.5 | load1=9.5s;5'; exit {code}"))

    assert (answer.state, answer.say) == (state, "LOAD: 9.5")


def test_text_without_figures_has_no_value() -> None:
    answer = ask(*script("echo OK"))

    assert (answer.value, answer.limit) == (None, None)


def test_silence_is_said() -> None:
    assert ask(*script("exit 2")).say == "sh ended with 2 and said nothing"


def test_a_slow_one_is_unknown_and_nothing_of_it_stays(tmp_path: Path) -> None:
    started = time.monotonic()

    answer = ask(*script(f"sleep 61.5 & echo $! > {tmp_path}/child; wait"), within=0.3)

    assert (answer.state, time.monotonic() - started < 60) == ("unknown", True)
    assert answer.say == "cannot hear sh: it ran longer than 300 ms and was killed"
    wait_for(lambda: not _runs(int((tmp_path / "child").read_text())))


def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up() -> None:
    started = time.monotonic()

    answer = ask(*script("sleep 20 & echo OK"), within=19)

    assert (answer.say, time.monotonic() - started < 18) == ("OK", True)


def test_endless_output_ends() -> None:
    answer = ask("yes", "x")

    assert (answer.state, answer.say) == ("unknown", "x")


def test_arguments_reach_it_as_they_are() -> None:
    assert ask("echo", "$HOME; `id` | not figures").say == "$HOME; `id`"


def test_the_environment_of_the_agent_stays_with_the_agent() -> None:
    assert set(os.environ) - {"PATH", "LANG", "PWD"}
    assert ask(*script("env | sort | cut -d= -f1 | tr '\\n' ' '")).say.split() == ["LANG", "PATH", "PWD"]


def test_it_runs_with_limits() -> None:
    assert ask(*script("echo $(ulimit -n) files, $(ulimit -c) bytes of core")).say == "256 files, 0 bytes of core"


def test_a_program_that_is_not_there_is_unknown() -> None:
    answer = ask("/usr/lib/nagios/plugins/check_nothing")

    assert (answer.state, answer.say) == ("unknown", "cannot run /usr/lib/nagios/plugins/check_nothing: there is no such program")


def test_an_empty_command_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="command is empty"):
        Exec(())


def _runs(pid: int) -> bool:
    """Whether a process lives; a killed one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
