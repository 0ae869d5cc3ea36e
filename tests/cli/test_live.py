"""What `contain run` writes where no terminal is: log lines with fields."""

from __future__ import annotations

import json
import logging

import pytest

from agent.cli.live import Lines
from agent.cli.show import Show
from agent.record import Record

NOW = 1_700_000_000.0
REFUSED = Record(
    "refused", {"action": "block_ip", "target": "10.0.0.1", "because": "a life-line", "actor": "root (uid 0)"}, "INC-7"
)


def test_a_record_is_a_sentence_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(Show()).told(NOW, REFUSED)

    assert capsys.readouterr().out == (
        "2023-11-14T22:13:20Z warning INC-7 refused block_ip 10.0.0.1: a life-line"
        '  kind=refused incident=INC-7 target=10.0.0.1 action=block_ip actor="root (uid 0)"\n'
    )


def test_journald_gets_the_level_in_its_own_way(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(Show(), journald=True).told(NOW, Record("bug", {"error": "x"}))

    assert capsys.readouterr().out == "<3>the agent has a bug: x  kind=bug\n"


def test_as_json_each_record_is_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(Show(json=True)).told(NOW, REFUSED)

    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["ts"], item["kind"], item["incident"]) == ("2023-11-14T22:13:20.000Z", "refused", "INC-7")


def test_the_programs_own_log_stands_in_the_same_stream_and_is_made_safe(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(Show(), journald=True):
        logging.getLogger("agent.somewhere").warning("evil\x1b[2J\nsecond line")

    assert capsys.readouterr().out == "<4>evil\\x1b[2J\n<4>second line\n"


def test_of_a_burst_the_first_lines_and_every_error_are_printed_and_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Show(), journald=True)

    for _ in range(1000):
        lines.told(NOW, REFUSED)
    lines.told(NOW, Record("bug", {"error": "x"}))
    lines.told(NOW + 1, REFUSED)

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 200 + 1 + 1 + 1
    assert printed[200] == "<4>more happens in this second than is shown here; all of it: contain evidence show"
    assert printed[201].startswith("<3>the agent has a bug")
    assert printed[202] == printed[0]
