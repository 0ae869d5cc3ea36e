"""docs/reference/ and the man pages say what the code says, and the code says something of everything."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import pytest

import actions
from agent import checks, grammar
from agent.action import discover
from agent.brings import brings
from agent.grammar.located import scan
from agent.grammar.policy_match import MEANINGS, OPERATORS
from agent.grammar.typed import Key, read, supported
from agent.notifying.notifier import discover_notifiers
from agent.reference import agent_page, policy_page
from agent.reference.everything import pages
from agent.reference.lines import LINES
from agent.reference.words import example, kind
from agent.streams.declared import declared
from agent.streams.parser import Scan, discover_parsers
from agent.streams.sender import discover_senders
from tests.docs.document import ROOT
from tests.needs import need

DOCS = ROOT / "docs"
MADE = pages(ROOT / "policies", ROOT / "systemd")
MEND = "run: make docs"


def _shelves() -> Iterator[type[Any]]:
    for found in (
        discover(actions),
        discover(checks, mark="ask"),
        agent_page.sensors(),
        discover_senders(),
        discover_notifiers(),
    ):
        yield from found.values()


def _classes() -> Iterator[type[Any]]:
    """Every class that a map of people's files is read as."""
    yield from _shelves()
    yield from policy_page.TEST_FILES
    for info in pkgutil.iter_modules(grammar.__path__):
        module = importlib.import_module(f"agent.grammar.{info.name}")
        yield from (
            one
            for one in vars(module).values()
            if is_dataclass(one) and isinstance(one, type) and one.__module__ == module.__name__ and hasattr(one, "__doc__")
            if one.__name__.endswith(("Keys", "Options", "Table"))
        )


KEYS = [(made, key) for made in dict.fromkeys(_classes()) for key in supported(made).values()]


@pytest.mark.parametrize("name", MADE)
def test_what_is_checked_in_is_what_the_code_says(name: str) -> None:
    file = DOCS / name

    assert file.exists(), MEND
    assert file.read_text(encoding="utf-8") == MADE[name], MEND


def test_nothing_else_lies_among_what_is_made() -> None:
    found = {f"{folder}/{file.name}" for folder in ("reference", "man") for file in (DOCS / folder).iterdir()}

    assert found == set(MADE), MEND


@pytest.mark.parametrize(("made", "key"), KEYS, ids=[f"{made.__name__}.{key.name}" for made, key in KEYS])
def test_every_key_has_a_meaning_a_type_and_an_example_that_can_be_read(made: type[Any], key: Key) -> None:
    assert key.about, f"say what {key.name} is: Annotated[…, About(…)]"
    assert example(key), f"give {key.name} an example: About(…, example)"
    assert kind(key)

    documents, found = scan(f"{key.name}: {example(key)}\n", "an example")
    if not found:
        read(documents[0].pairs[key.name].value, key.hint, found)

    assert not found


def test_every_class_of_keys_has_its_place_on_a_page() -> None:
    shown = {one.cls for one in (*policy_page.SECTIONS, *agent_page.SECTIONS)}
    shown |= {*policy_page.TEST_FILES, *_shelves()}

    assert {made.__name__ for made, _ in KEYS if made not in shown} <= {"CheckOptions"}


def test_every_operator_is_explained() -> None:
    assert set(MEANINGS) == set(OPERATORS)


def test_something_brings_every_kind_of_event() -> None:
    assert set(brings()) == set(declared())


@pytest.mark.parametrize("name", LINES)
def test_the_line_of_a_kind_is_read_as_that_kind(name: str) -> None:
    parser, line = LINES[name]

    (event,) = Scan.of([discover_parsers()[parser]], "an example").events(f"{line}\n".encode(), time.time())

    assert event.kind == name


def test_every_kind_that_a_parser_makes_has_its_line() -> None:
    parsed = {one.name for parser in discover_parsers().values() for one in parser.kinds if not one.state}

    assert parsed == set(LINES)


@pytest.mark.parametrize("name", [name for name in MADE if name.startswith("man/")])
def test_a_man_page_is_set_without_a_warning(name: str) -> None:
    need("groff", "groff-base")

    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-rLL=100n"],
        input=MADE[name],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "contain" in done.stdout


def test_options_can_be_copied_from_the_man_page() -> None:
    need("man", "man-db")
    page = DOCS / "man/contain.1"
    environment = {"MANWIDTH": "120", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}

    shown = subprocess.run(
        ["man", "--warnings", "-l", str(page)], env=environment, capture_output=True, text=True, timeout=20, check=True
    )

    assert shown.stderr == ""
    assert "contain status --exit-code --json" in shown.stdout
    assert 'contain note INC-1 "the pool of' in shown.stdout


def test_the_page_of_actions_shows_the_very_calls() -> None:
    page = MADE["reference/actions.md"]

    for text in (
        "apply   nft add element inet containment hosts4 { 203.0.113.7 timeout 1h }",
        "ALTER ROLE",
        "POST /v1/identity/entity/id/ENTITY_ID",
        "systemctl restart nginx.service",
        "docker pause",
    ):
        assert text in page
