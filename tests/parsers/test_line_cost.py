"""No line can cost a parser five milliseconds: a bound worked out from its expressions, for lines as long as it ever looks at.

How long the worst lines really take is measured by `make bench`; a test that looks at a clock says more about its neighbours.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import streams
from agent.grammar.backtracking import cost, power
from agent.streams.parser import discover_parsers
from agent.streams.tail import TURN

MOST = 8_000_000
"""Units of agent.grammar.backtracking; seen to be 4 ms at most on a slow machine."""
SHORTER = {"sshd._REPEATED": 4096, "sshd": 500, "vault_audit._LOGIN": 600, "postgres": 65536, "nginx._TIME": 512}
"""Characters that an expression, or all of a parser's, are really given, where that is less than the parser's longest line."""
PARSERS = discover_parsers()
FOLDERS = [Path(next(iter(streams.__path__))), Path(next(iter(streams.__path__))).parent / "parsers"]
FILES = sorted(file for folder in FOLDERS for file in folder.glob("*.py"))


def patterns_in(value: Any, name: str) -> Iterator[tuple[str, re.Pattern[Any]]]:
    if isinstance(value, re.Pattern):
        yield name, value
    for at, one in enumerate(value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else ()):
        yield from patterns_in(one, f"{name}[{at}]")


def patterns_of(file: Path) -> Iterator[tuple[str, re.Pattern[Any]]]:
    module = importlib.import_module(f"agent.{file.parent.name}.{file.stem}")
    for name, value in vars(module).items():
        yield from patterns_in(value, f"{file.stem}.{name}")


MATCHED = [(name, found) for file in FILES for name, found in patterns_of(file) if "._COUNT" not in name]
SEARCHED = [(name, found) for file in FILES for name, found in patterns_of(file) if "._COUNT" in name]
SEARCHED += [(f"{name}'s hint", one.hint) for name, one in PARSERS.items() if one.hint]


def longest_for(name: str) -> int:
    file = name.partition(".")[0]
    known = PARSERS[file].longest if file in PARSERS else max(one.longest for one in PARSERS.values())
    return SHORTER.get(name, SHORTER.get(file, known))


@pytest.mark.parametrize(("name", "pattern"), MATCHED, ids=[name for name, _ in MATCHED])
def test_no_line_makes_an_expression_work_for_five_milliseconds(name: str, pattern: re.Pattern[Any]) -> None:
    longest = longest_for(name)

    assert cost(pattern, longest, search=False) < MOST
    assert cost(pattern, longest, search=False, whole=True) < MOST


@pytest.mark.parametrize(("name", "pattern"), SEARCHED, ids=[name for name, _ in SEARCHED])
def test_what_is_searched_for_in_whole_chunks_takes_linear_time(name: str, pattern: re.Pattern[Any]) -> None:
    assert power(pattern) < 1.05
    assert cost(pattern, TURN, search=True) < 2 * MOST


@pytest.mark.parametrize(
    "file", [one for one in FILES if one.stem != "follow"], ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_every_expression_stands_at_the_top_of_its_file_where_it_is_looked_at(file: Path) -> None:
    """`follow` alone makes one as it goes, for the names of rotated files."""
    functions = [one for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.FunctionDef | ast.Lambda)]
    used = [ast.unparse(call) for one in functions for call in ast.walk(one) if isinstance(call, ast.Call)]

    assert [call for call in used if call.startswith("re.") and call != "re.compile(hint)"] == []


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_no_parser_looks_at_lines_longer_than_a_quarter_mebibyte(name: str) -> None:
    assert PARSERS[name].longest <= TURN
