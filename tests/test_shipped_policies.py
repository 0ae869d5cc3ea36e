"""The policies we ship load without a word of complaint, against the real kinds and actions, and their examples pass."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

import actions
import agent.parsers
import agent.sensors
from agent import wiring
from agent.action import discover
from agent.event import Catalogue, Event, gather
from agent.grammar.config_feeds import STAND_IN, USUAL
from agent.grammar.located import Problem
from agent.grammar.policy_reader import read_policies
from agent.grammar.policy_schema import schema
from agent.policy import Policy
from agent.schema import address
from agent.streams import rates, sensor
from agent.streams.parser import Scan, discover_parsers
from agent.watching.policy_tests import Report, examples, run
from agent.watching.watch import Watch

SHELF = Path(__file__).parent.parent / "policies"
FILES = {path.name: path.read_text() for path in sorted(SHELF.glob("*.yaml"))}
LISTS = {"office": (address("198.51.100.0/24"),), "monitoring": (address("192.0.2.10"),), **dict.fromkeys(USUAL, STAND_IN)}
THREATS = {
    "alert-firing",
    "conn-exhaustion",
    "container-compromise",
    "data-breach",
    "data-breach-reported",
    "disk-full",
    "file-changed",
    "file-changed-access",
    "http-errors",
    "http-flood",
    "http-password-guessing",
    "intake-bad-input",
    "intake-refused",
    "listed-probe",
    "http-flood-site",
    "mail-password-guessing",
    "postgres-connections",
    "postgres-corruption",
    "postgres-down",
    "postgres-password-guessing",
    "postgres-slow",
    "scan-findings",
    "sensor-blind",
    "sensor-silent",
    "service-down",
    "service-rollback",
    "ssh-brute-force",
    "ssh-guessed-password",
    "syn-flood",
    "udp-flood",
    "udp-flood-elsewhere",
    "unauthorized-access",
    "vault-probing",
}


def modules(package: ModuleType) -> list[ModuleType]:
    return [importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)]


def parse(parser: str, line: str) -> Sequence[Event]:
    return Scan.of([discover_parsers()[parser]], "example").events(line.encode() + b"\n", 0.0)


@pytest.fixture(scope="module")
def loaded() -> tuple[tuple[Policy, ...], list[Problem]]:
    kinds = gather([*modules(agent.parsers), *modules(agent.sensors), rates, sensor])
    return read_policies(FILES, Catalogue(kinds, discover(actions), LISTS), parse)


@pytest.fixture(scope="module")
def report(loaded: tuple[tuple[Policy, ...], list[Problem]]) -> Report:
    return run(examples(loaded[0]), LISTS)


def test_every_threat_has_its_file_and_nothing_about_it_is_wrong_or_unwise(
    loaded: tuple[tuple[Policy, ...], list[Problem]],
) -> None:
    policies, problems = loaded

    assert {one.name for one in policies} == THREATS
    assert {one.name.replace("-", "_") + ".yaml" for one in policies} == set(FILES)
    assert [f"{one.place}: {one.text}" for one in problems] == []


def test_every_example_comes_out_as_it_says(report: Report) -> None:
    assert [str(row) for row in report.rows if row.because] == []
    assert len(report.rows) >= 2 * len(FILES)


def test_every_clause_fires_in_some_example(report: Report) -> None:
    assert report.coverage == f"{len(THREATS)} of {len(THREATS)} policies fired in some test"


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_tells_the_editor_its_schema_in_the_first_line(name: str) -> None:
    assert FILES[name].splitlines()[0] == "# yaml-language-server: $schema=policy.schema.json"


def test_what_a_shipped_step_loses_waits_for_a_person_and_what_disrupts_needs_what_a_stranger_cannot_forge(
    loaded: tuple[tuple[Policy, ...], list[Problem]],
) -> None:
    steps = {(one.name, step.action.name, step.impact) for one in loaded[0] for step in one.then if step.impact != "mild"}

    assert steps == {
        ("container-compromise", "isolate_container", "disruptive"),
        ("data-breach", "isolate_host", "destructive"),
        ("data-breach", "lock_user", "disruptive"),
        ("data-breach-reported", "isolate_host", "destructive"),
        ("postgres-corruption", "stop_writes", "disruptive"),
        ("service-rollback", "run_hook", "destructive"),
        ("unauthorized-access", "lock_user", "disruptive"),
        ("vault-probing", "revoke_credentials", "disruptive"),
    }


def test_every_step_that_is_destructive_says_that_a_person_must_say_yes(
    loaded: tuple[tuple[Policy, ...], list[Problem]],
) -> None:
    assert all(step.asks for one in loaded[0] for step in one.then if step.impact == "destructive")


def test_every_policy_says_what_it_is_about_and_its_runbook_is_there(loaded: tuple[tuple[Policy, ...], list[Problem]]) -> None:
    books = {one.name: one.runbook for one in loaded[0]}
    other = {one.name for one in loaded[0] if one.gathering.about == "other"}

    assert other == {"alert-firing", "intake-bad-input", "sensor-blind", "sensor-silent"}
    assert {name for name, book in books.items() if not book} == {"alert-firing"}
    assert {f"runbooks/{one.name}" for one in (SHELF / "runbooks").iterdir()} == {book for book in books.values() if book}


def test_what_disrupts_a_service_is_bounded_to_a_few(loaded: tuple[tuple[Policy, ...], list[Problem]]) -> None:
    hard = [one for one in loaded[0] if any(step.impact != "mild" for step in one.then)]

    assert {one.guard.max.most for one in hard if one.guard.max} <= set(range(1, 6))
    assert all(one.guard.max for one in hard)


def test_no_policy_takes_the_forged_source_of_a_flood_for_an_address(loaded: tuple[tuple[Policy, ...], list[Problem]]) -> None:
    floods = [one for one in loaded[0] if one.kinds() & {"net.syn", "net.udp", "http.stats"}]

    assert {one.name for one in floods} >= {"syn-flood", "udp-flood", "http-flood-site"}
    assert {(step.variable.get("ip"), step.literal.get("ip")) for one in floods for step in one.then} == {(None, None)}


@pytest.mark.parametrize("ip", ["198.51.100.77", "192.0.2.10"])
def test_the_office_and_the_monitoring_are_left_alone(ip: str, loaded: tuple[tuple[Policy, ...], list[Problem]]) -> None:
    watch = Watch(loaded[0], LISTS)
    guesses = [Event("auth.ssh.failure", 0.0, {"src.ip": ip, "user": f"u{one}"}) for one in range(9)]
    flood = [Event("http.source", 0.0, {"src.ip": ip, "rps": 500.0}) for _ in range(5)]

    hits = [hit for at, event in enumerate([*guesses, *flood]) for hit in watch.feed(event, float(at))]

    assert {hit.policy.name for hit in hits} == {"ssh-brute-force", "http-flood"}
    assert all(hit.unless for hit in hits)


def test_events_are_replayed_an_hour_back_so_that_slow_spraying_survives_a_restart(
    loaded: tuple[tuple[Policy, ...], list[Problem]],
) -> None:
    assert Watch(loaded[0], LISTS).longest() == 3600.0


def test_the_schema_beside_the_policies_is_the_one_that_the_code_makes() -> None:
    shipped = (SHELF / "policy.schema.json").read_text()

    made = json.dumps(schema(wiring.catalogue(None)), indent=1) + "\n"

    assert shipped == made, "write it anew: contain policy schema > policies/policy.schema.json"
