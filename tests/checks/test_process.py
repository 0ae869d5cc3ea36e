"""Process: do as many processes run as should?"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.check import Answer
from agent.checks.process import Process
from agent.grammar.config import read_config
from agent.grammar.pattern import LONGEST_TEXT, regular
from agent.grammar.problem import Problems
from tests.checks.asking import the_answer


@pytest.fixture
def two() -> Iterator[list[subprocess.Popen[bytes]]]:
    with subprocess.Popen(["sleep", "61.25"]) as first, subprocess.Popen(["sleep", "61.25"]) as second:
        yield [first, second]
        first.kill()
        second.kill()


MARK = re.compile(r"^sleep 61\.25$")


def ask(**how: Any) -> Answer:
    return the_answer(Process(**how))


def test_processes_are_found_by_name_and_command_line_and_user(two: list[subprocess.Popen[bytes]]) -> None:
    user = psutil.Process().username()

    answer = ask(name="sleep", cmdline=MARK, user=user, at_least=2)

    assert (answer.state, answer.value, answer.say) == ("good", 2, "2 processes run as sleep")
    assert ask(name="sleep", cmdline=MARK, user="games").value == 0


def test_too_few_and_too_many_are_bad(two: list[subprocess.Popen[bytes]]) -> None:
    few, many = ask(cmdline=MARK, at_least=3), ask(cmdline=MARK, at_most=1)

    assert (few.state, few.say) == ("bad", r"2 processes run as ^sleep 61\.25$, at least 3 should")
    assert (many.state, many.say) == ("bad", r"2 processes run as ^sleep 61\.25$, at most 1 should")


def test_none_is_bad() -> None:
    assert ask(name="no-such-program").say == "0 processes run as no-such-program, at least 1 should"


def test_a_zombie_does_not_count(two: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    path = tmp_path / "service.pid"
    path.write_text(str(two[0].pid))
    two[0].kill()
    os.waitid(os.P_PID, two[0].pid, os.WEXITED | os.WNOWAIT)

    assert ask(name="sleep", pid_file=str(path)).state == "bad"


def test_a_pid_file_names_the_one(two: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    path = tmp_path / "service.pid"
    path.write_text(f"{two[0].pid}\n")

    assert ask(pid_file=str(path)).say == f"1 process runs as {path}"
    assert ask(pid_file=str(path), name="nginx").state == "bad"


@pytest.mark.parametrize("content", [None, "", "soon", "999999999"])
def test_a_pid_file_that_is_missing_empty_or_stale_is_bad(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "service.pid"
    if content is not None:
        path.write_text(content)

    assert ask(pid_file=str(path)).state == "bad"


def test_a_question_about_no_process_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="say which process"):
        Process()


def test_a_pid_file_that_its_service_made_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "service.pid")

    assert ask(pid_file=str(tmp_path / "service.pid")).state == "bad"


def test_an_expression_that_a_command_line_can_make_slow_is_refused_where_it_stands() -> None:
    text = "version: 1\nchecks:\n  shop: {process: {cmdline: '(a+)+$'}, every: 10s}\n"

    with pytest.raises(Problems, match="can be slow"):
        read_config(text, "agent.yaml", sensors={}, checks={"process": Process})


def test_of_a_command_line_only_so_much_is_searched_as_costs_little() -> None:
    with subprocess.Popen(["tail", "-f", "/dev/null", "a" * LONGEST_TEXT, "needle"], stderr=subprocess.DEVNULL) as long:
        answer = ask(cmdline=regular("needle"))
        long.kill()

    assert answer.value == 0
