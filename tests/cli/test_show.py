"""How answers are printed, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.cli.show import At, Columns, Ink, Show, portable, span, word

NOW = 1_700_000_000.0
COLUMNS: Columns = {"id": lambda one: one["id"], "state": lambda one: word(one["state"]), "until": lambda one: At(one["until"])}
ROWS: list[dict[str, Any]] = [
    {"id": "M-1", "state": "failed", "until": NOW + 59 * 60},
    {"id": "M-20", "state": "good", "until": None},
]


def person(**given: Any) -> Show:
    return Show(**{"terminal": True, "width": 60, "now": NOW} | given)


def test_a_terminal_gets_aligned_columns_with_a_head_and_relative_times(capsys: pytest.CaptureFixture[str]) -> None:
    person().table("mitigations", ROWS, COLUMNS, "none")

    assert capsys.readouterr().out.splitlines() == ["ID    STATE   UNTIL", "M-1   failed  in 59 min", "M-20  good    -"]


def test_a_pipe_gets_tabs_dates_and_nothing_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500

    Show(now=NOW, width=40).table("mitigations", [{**ROWS[0], "id": long}], COLUMNS, "none")

    assert capsys.readouterr().out == f"{long}\tfailed\t2023-11-14T23:12:20.000Z\n"


def test_the_last_column_is_cut_to_the_width_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    person(width=40).rows([["M-1", "word " * 30]], cut=True)

    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) == 40
    assert line.endswith("…")


def test_what_is_shown_in_full_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    person(width=40).rows([["because", "word " * 30 + "end"]])

    assert capsys.readouterr().out.endswith("word end\n")


def test_no_rows_are_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    Show().rows([])

    assert capsys.readouterr().out == ""


def test_colour_stands_beside_a_word_and_does_not_move_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    person(colour=True).rows([[word("bad"), "x"], [Ink("unknown", "yellow"), "y"]])

    assert capsys.readouterr().out.splitlines() == ["\x1b[31mbad    \x1b[0m  x", "\x1b[33munknown\x1b[0m  y"]


@pytest.mark.parametrize("show", [person(), Show(now=NOW)], ids=["terminal", "pipe"])
def test_what_came_from_outside_cannot_move_the_cursor_or_break_a_row(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    show.rows([["M-1", "evil\x1b[2J\nroot\t\u202e"]])

    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(r"evil\x1b[2J\nroot\t\u202e")


def test_a_document_has_a_version_a_kind_items_and_rfc_3339_times(capsys: pytest.CaptureFixture[str]) -> None:
    Show(json=True).table("mitigations", ROWS, COLUMNS, "none")

    document = json.loads(capsys.readouterr().out)
    assert (document["v"], document["kind"]) == (1, "mitigations")
    assert [one["until"] for one in document["items"]] == ["2023-11-14T23:12:20.000Z", None]


def test_the_fields_of_an_event_are_not_taken_for_our_times() -> None:
    assert portable({"seen": NOW, "fields": {"last": 3.0}}) == {"seen": "2023-11-14T22:13:20.000Z", "fields": {"last": 3.0}}


def test_an_empty_listing_says_so_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    Show().table("mitigations", [], COLUMNS, "nothing is in force")

    assert capsys.readouterr() == ("", "nothing is in force\n")


@pytest.mark.parametrize(
    ("away", "said"),
    [(-1, "1 s ago"), (-200, "3 min ago"), (7200, "in 2 h"), (90_000, "2023-11-15 23:13:20Z"), (-90_000, "2023-11-13 21:13:20Z")],
)
def test_a_time_is_relative_within_a_day(away: float, said: str) -> None:
    assert person().at(NOW + away) == said


def test_utc_is_never_relative() -> None:
    assert person(utc=True).at(NOW - 1) == "2023-11-14 22:13:19Z"


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3600, "1 h"), (12 * 86400, "12 d")])
def test_a_span_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said
