"""Pressure: does work wait?"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from agent.checks.pressure import Pressure, avg10
from tests.checks.asking import answers
from tests.needs import lacking


@pytest.fixture(autouse=True)
def pressure_figures() -> None:
    try:
        Path("/proc/pressure/cpu").read_text()
    except OSError as error:
        lacking(f"this kernel has no pressure figures: {error}")


def test_each_resource_has_its_answer() -> None:
    found = answers(Pressure(cpu_limit=101, memory_limit=101, io_limit=101))

    assert [(one.target, one.state) for one in found] == [("cpu", "good"), ("memory", "good"), ("io", "good")]


def test_a_processor_that_everybody_wants_is_bad() -> None:
    burners = [subprocess.Popen(["nice", "sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        until, state = time.monotonic() + 15, ""
        while state != "bad":
            assert time.monotonic() < until
            answer = answers(Pressure(cpu_limit=1))[0]
            state = answer.state
            time.sleep(0.1)
    finally:
        for one in burners:
            one.kill()
            one.wait()

    assert answer.say.startswith("some work waited for a processor ")


def test_the_line_that_is_asked_for_is_read() -> None:
    text = "some avg10=1.50 avg60=0.40 avg300=0.09 total=27116\nfull avg10=0.25 avg60=0.10 avg300=0.02 total=19038\n"

    assert (avg10(text, "some"), avg10(text, "full")) == (1.5, 0.25)
