"""YAML with places: every value knows where it stands, and every mistake is told where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.grammar.located import DEEPEST, LARGEST, Node, Place, Problem, Problems, did_you_mean, read, scan
from tests.grammar import seeds

LOADERS = [yaml.BaseLoader, yaml.CBaseLoader]


def told(text: str, loader: Any = yaml.CBaseLoader) -> list[str]:
    return [f"{one.place.line}:{one.place.column} {one.text}" for one in scan(text, "f", loader)[1]]


def scalars(node: Node) -> Iterator[Node]:
    if isinstance(node.value, str):
        yield node
    elif isinstance(node.value, list):
        for item in node.value:
            yield from scalars(item)
    else:
        for key, value in node.value.values():
            yield key
            yield from scalars(value)


# Places ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", LOADERS)
def test_every_value_stands_at_its_place(loader: Any) -> None:
    text = "a: one\nb:\n  - two\n  - {c: three, d: [four]}\n---\ne: 'five'\n"

    documents, _ = scan(text, "f", loader)

    for node in (scalar for document in documents for scalar in scalars(document)):
        assert node.place.word.strip("'") == node.value


def test_a_place_is_counted_in_characters_not_in_bytes() -> None:
    (document,) = read("a: {ä: ü, ß: x}\n", "f")

    assert [node.place.column for node in scalars(document)] == [1, 5, 8, 11, 14]


def test_a_value_without_text_stands_at_its_key() -> None:
    (document,) = read("a:\n  b:\n  c: 1\n", "f")

    empty = document.pairs["a"].value.pairs["b"].value
    assert (empty.empty, empty.place.column) == (True, 3)


def test_scalars_stay_text() -> None:
    (document,) = read("[007, 22:30, 1.0, 2026-01-01, true, 0x10]\n", "f")

    assert [node.value for node in scalars(document)] == ["007", "22:30", "1.0", "2026-01-01", "true", "0x10"]


def test_documents_keep_their_own_text_and_their_lines() -> None:
    first, second = read("# head\na: 1\n---\n# two\nb: 2\n", "f")

    assert (first.source, second.source) == ("# head\na: 1", "# two\nb: 2")
    assert second.place.line == 5


def test_empty_documents_are_no_documents() -> None:
    assert read("---\n# nothing\n---\na: 1\n---\n", "f")[0].written == "{a: 1}"
    assert read("", "f") == []


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    (document,) = read("\ufeffa: 1\n", "f")

    assert [(node.value, node.place.column) for node in scalars(document)] == [("a", 1), ("1", 4)]


def test_windows_line_ends_do_not_move_places() -> None:
    assert told("a: 1\r\nb: 2\r\na: 3\r\n") == ["3:1 `a` is given twice"]


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", seeds.files())
def test_both_parsers_find_the_same_in_every_seeded_file(name: str) -> None:
    text = seeds.files()[name]

    assert scan(text, name, yaml.BaseLoader) == scan(text, name, yaml.CBaseLoader)


def test_a_broken_block_does_not_hide_the_mistakes_of_others() -> None:
    text = "a: [1\nb: 1\nc: x: y\nd:\n\te: 1\nb: 2\n"

    assert told(text) == [
        "1:4 the [ that begins here is not closed",
        "3:5 a second colon in one line",
        "5:1 a tab in the indentation",
        "6:1 `b` is given twice",
    ]


def test_what_is_broken_is_there_and_says_so() -> None:
    (document,), _ = scan("a: [1\nb: 1\n", "f")

    assert (document.pairs["a"].value.broken, document.pairs["b"].value.broken) == (True, False)


def test_read_raises_all_problems_in_order() -> None:
    with pytest.raises(Problems) as raised:
        read("b: &x 1\na: *x\na: 2\n", "f")

    assert [one.place.line for one in raised.value.found] == [1, 2, 3]


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    rows = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))

    documents, problems = scan(f"a0: &a0 [x]\n{rows}\n", "f")

    assert len(problems) == 10 + 9 * 9
    assert sum(1 for _ in scalars(documents[0])) < 200


@pytest.mark.parametrize("loader", LOADERS)
def test_a_hundred_thousand_brackets_are_refused(loader: Any) -> None:
    assert told("a: " + "[" * 100_000, loader) == [f"1:{4 + DEEPEST} nested deeper than {DEEPEST} levels"]


def test_a_file_beyond_all_measure_is_not_even_parsed() -> None:
    assert told("a: 1\n" * (LARGEST // 5 + 1)) == ["1:1 the file is larger than 1024 KiB"]
    assert told("[" + "a," * 60_000 + "]")[0].endswith("more than 50000 values in one document")
    assert told("---\n" * 1_200) == ["1001:1 more than 1000 documents in one file"]


@pytest.mark.parametrize(
    ("word", "reads"), [("no", "false"), ("Yes", "true"), ("ON", "true"), ("off", "false"), ("~", "nothing"), ("Null", "nothing")]
)
def test_a_word_that_yaml_reads_otherwise_is_ambiguous_only_without_quotes(word: str, reads: str) -> None:
    plain, quoted = (next(node for node in scalars(read(text, "f")[0])) for text in (f"[{word}]", f"['{word}']"))

    assert plain.ambiguous is not None
    assert plain.ambiguous.text == f"`{word}` is ambiguous: YAML reads it as {reads}"
    assert quoted.ambiguous is None


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:- \n\t[]{},'\"#&*!>|%@`?<~$\\é\u00a0\u200b\U0001f600\x00", max_size=80))
def test_no_text_breaks_the_reader_and_every_problem_lies_in_the_file(text: str) -> None:
    lines = text.replace("\r", "\n").split("\n")

    for loader in LOADERS:
        for one in scan(text, "f", loader)[1]:
            assert 1 <= one.place.line <= len(lines) + 1
            assert 1 <= one.place.column <= max(map(len, lines)) + 1


# Problems, shown --------------------------------------------------------------------------------------------------------


def test_a_problem_shows_its_line_with_the_caret_under_the_word() -> None:
    problem = Problem(Place("ssh.yaml", 4, 10, "  event: auth.ssh.failur", 15), "nothing makes it", "did you mean another?")

    assert str(problem).splitlines() == [
        "ssh.yaml:4:10: error: nothing makes it",
        "    hint: did you mean another?",
        "    4 |   event: auth.ssh.failur",
        "      |          ^^^^^^^^^^^^^^^",
    ]


def test_a_problem_without_a_hint_does_not_mention_one() -> None:
    assert str(Problem(Place("f", 1, 1), "wrong", level="warning")) == "f:1:1: warning: wrong"


def test_the_caret_stands_right_after_tabs_and_in_very_long_lines() -> None:
    tabs = str(Problem(Place("f", 1, 3, "\t\tx: 1"), "wrong")).splitlines()
    long = str(Problem(Place("f", 1, 301, "x" * 300 + "Y" + "x" * 300), "wrong")).splitlines()

    assert tabs[2].endswith("\t\t^")
    assert long[1][long[2].index("^")] == "Y"
    assert len(long[1]) < 130


def test_a_problem_as_json_has_what_an_editor_needs() -> None:
    problem = Problem(Place("f", 4, 10, "line", 2), "wrong", "mend it")

    assert problem.to_json() == {"file": "f", "line": 4, "col": 10, "level": "error", "message": "wrong", "hint": "mend it"}


def test_problems_stand_in_the_order_of_file_line_and_column() -> None:
    places = [("b", 1, 1), ("a", 2, 5), ("a", 2, 1), ("a", 1, 9)]

    problems = Problems(Problem(Place(*place), "wrong") for place in places)

    assert [(one.place.file, one.place.line, one.place.column) for one in problems.found] == sorted(places)


def test_the_text_of_problems_is_what_must_be_mended_and_no_warning() -> None:
    unwise, wrong = Problem(Place("a", 1, 1), "unwise", level="warning"), Problem(Place("b", 1, 1), "wrong")

    problems = Problems([unwise, wrong])

    assert str(problems) == "b:1:1: error: wrong"
    assert problems.found == (unwise, wrong)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("cuont", ["count", "by"], "did you mean `count`?"),
        ("ip", ["src.ip", "user"], "did you mean `src.ip`?"),
        ("src_ip", ["src.ip", "src.port"], "did you mean `src.ip`?"),
        ("Dry-Run", ["enforce", "dry_run"], "did you mean `dry_run`?"),
        ("P5", ["P0", "P1"], "one of P0, P1"),
        ("x", [f"word{n}" for n in range(30)], ""),
        ("x", [], ""),
    ],
)
def test_did_you_mean_guesses_only_what_is_near(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint
