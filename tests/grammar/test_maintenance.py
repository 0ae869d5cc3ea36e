"""`maintenance` in agent.yaml: windows as they are meant, and every mistake told at its place."""

from __future__ import annotations

import pytest

from agent.grammar.config import read_config
from agent.grammar.config_windows import unknown
from agent.grammar.problem import Problem, Problems
from agent.people.maintenance import Window


def windows(text: str) -> tuple[Window, ...]:
    return read_config(f"version: 1\nmaintenance:\n  deploy: {text}\n", "agent.yaml", sensors={}, checks={}).maintenance


def told(text: str) -> Problem:
    with pytest.raises(Problems) as raised:
        windows(text)
    (one,) = raised.value.found
    return one


def test_a_window_is_read_whole() -> None:
    (one,) = windows('{days: [tue, thu], from: "22:30", to: "23:30", policies: [service-down], why: "weekly deploy"}')

    assert one == Window("deploy", 22 * 60 + 30, 60, frozenset({1, 3}), ("service-down",), "weekly deploy")


@pytest.mark.parametrize(
    ("text", "begins", "length"),
    [
        ("{from: 22:30, to: 23:30}", 1350, 60),  # YAML 1.1 would make 1350 of this
        ("{from: 23:00, to: 1:30}", 1380, 150),
        ('{from: "00:00", to: "24:00", days: [sun]}', 0, 1440),
        ("{from: 22:00, to: 22:00, days: [sat, sun]}", 1320, 1440),
    ],
)
def test_hours_are_read_as_they_stand_and_may_lie_around_midnight(text: str, begins: int, length: int) -> None:
    (one,) = windows(text)

    assert (one.begins, one.length) == (begins, length)


@pytest.mark.parametrize(
    ("text", "wanted", "hint"),
    [
        ("{from: 22.30, to: 23:30}", "`22.30` is no time of day", "write hours and minutes, as in 22:30"),
        ("{from: 22:30, to: 25:00}", "`25:00` is no time of day", "write hours and minutes, as in 22:30"),
        ("{from: 24:00, to: 01:00}", "from 24:00 is the next day", 'write from: "00:00"'),
        ("{from: 22:30}", "`to` is missing", "when it shuts, as in 23:30; an earlier hour is the next day's"),
        ("{from: 22:30, for: 1h, to: 23:30}", "unknown key `for`", "write to: and the hour at which it shuts"),
        ("{from: 22:30, to: 22:30}", "to is where it began, every day, so it would never end", "write mode: dry_run"),
        ("{from: 22:30, to: 23:30, days: []}", "days names none, so it would never open", "write days: [tue]"),
        ("{from: 22:30, to: 23:30, days: [tuesday]}", "`tuesday` is not one of mon, tue", "did you mean `tue`?"),
        ("{from: 22:30, to: 23:30, days: tue}", "expected a list, found `tue`", "write [tue]"),
        ("{from: 22:30, to: 23:30, policies: [[a]]}", "expected text, found a list", ""),
    ],
)
def test_a_mistake_is_told_with_its_mend(text: str, wanted: str, hint: str) -> None:
    one = told(text)

    assert one.text.startswith(wanted)
    assert one.hint.startswith(hint)
    assert (one.place.file, one.place.line) == ("agent.yaml", 3)


def test_a_policy_that_does_not_exist_is_told_at_its_place() -> None:
    made = windows("{from: 22:30, to: 23:30, policies: [service-dwon, port-down]}")

    (one,) = unknown(made, ["service-down", "port-down"])

    assert (one.text, one.hint) == ("no policy is called `service-dwon`", "did you mean `service-down`?")
    assert one.place.column == made[0].places["service-dwon"].column
