"""The JSON Schema for editors: it accepts whatever the reader accepts, and shows the mistakes of structure at their line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from agent.grammar.located import Node, scan
from agent.grammar.policy_reader import read_policies
from agent.grammar.policy_schema import schema
from agent.grammar.problem import Problems
from tests.catalogue import CATALOGUE
from tests.grammar import seeds

SCHEMA = schema(CATALOGUE)
VALIDATOR = Draft7Validator(SCHEMA)
NOT_YAML = ("yaml.yaml", "unseen.yaml")
STRUCTURE = re.compile(r"unknown (key|operator|step option)|.* is not one of |.* is missing|`\w+` needs `|.* not supported yet")


# As an editor sees it -------------------------------------------------------------------------------------------------


def plain(node: Node) -> Any:
    """The value by YAML 1.2's core schema, which is what yaml-language-server reads."""
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {name: plain(pair.value) for name, pair in node.value.items()}
    return core(node.value) if node.plain else node.value


def core(text: str) -> Any:
    if text.lower() in ("", "~", "null"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?\d+", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", text):
        return float(text)
    return text


def lines(root: Node, errors: Iterable[ValidationError]) -> Iterator[int]:
    """The lines that the schema's errors are about."""
    for error in errors:
        if error.context:
            yield from lines(root, error.context)
        node, key = root, root
        for step in error.absolute_path:
            if isinstance(node.value, list):
                node = key = node.value[int(step)]
            else:
                key, node = node.pairs[str(step)]
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        if error.validator == "additionalProperties":
            yield from (pair.key.place.line for name, pair in node.pairs.items() if name not in known)
        yield key.place.line
        yield node.place.line


# Refused ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in seeds.files() if name not in NOT_YAML])
def test_a_seeded_mistake_of_structure_is_shown_in_the_editor_at_its_line(name: str) -> None:
    text = seeds.files()[name]
    wanted = {seed.line: seed.text for seed in seeds.seeds(name, text) if seed.structural}

    shown = {line for root in scan(text, name)[0] for line in lines(root, VALIDATOR.iter_errors(plain(root)))}

    assert {line: said for line, said in wanted.items() if line not in shown} == {}


def test_every_seeded_mistake_of_structure_is_announced_as_one() -> None:
    announced = [seed for name, text in seeds.files().items() if name not in NOT_YAML for seed in seeds.seeds(name, text)]

    unannounced = [str(seed) for seed in announced if STRUCTURE.match(seed.text) and not seed.structural]

    assert [one for one in unannounced if "recover" not in one] == []
    assert sum(seed.structural for seed in announced) >= 50


def test_a_key_that_comes_later_is_not_offered() -> None:
    assert "if" not in SCHEMA["properties"]["when"]["properties"]
    assert SCHEMA["properties"]["recover"]["properties"].keys() == {"after", "release", "verify", "watch"}


# Accepted ---------------------------------------------------------------------------------------------------------------


WORDS = st.sampled_from(
    ["root", "007", '"no"', "1", "true", "0.5", '""', "203.0.113.7", "10.0.0.0/8", "file:x", "22:30", '"5"', "a b"]
)
FIELDS = st.sampled_from(["src.ip", "user", "port", "invalid_user", "rps", "requests", "name", "ok", "unit", "source"])
OPERATORS = st.sampled_from(["is", "not", "in", "gt", "gte", "lt", "re", "has", "glob", "exists", "cidr"])
KINDS = st.sampled_from(sorted(CATALOGUE.kinds))
TIMES = st.sampled_from(["1h", "90s", "1.5d", "250ms"])


def flow(pairs: Iterable[tuple[str, str]]) -> str:
    return f"{{{', '.join(f'{name}: {value}' for name, value in dict(pairs).items())}}}"


def one_or_list(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return one | st.lists(one, min_size=1, max_size=2).map(lambda several: f"[{', '.join(several)}]")


def maps(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.fixed_dictionaries(required, optional=optional).map(lambda made: flow(made.items()))


LISTED = one_or_list(st.sampled_from(["office", "monitoring"])).map(lambda name: f"{{list: {name}}}")
OPERANDS = one_or_list(WORDS) | LISTED | st.lists(st.tuples(OPERATORS, one_or_list(WORDS)), min_size=1, max_size=2).map(flow)
MATCHES = st.lists(st.tuples(FIELDS, OPERANDS), min_size=1, max_size=2).map(flow)
COUNTS = {"count": TIMES.map(lambda time: f'">= 3 in {time}"'), "distinct": TIMES.map(lambda time: f"user >= 3 in {time}")}
PARTS = maps({"event": KINDS}, {"match": MATCHES, "count": COUNTS["count"]})
CLAUSES = st.one_of(
    maps({"event": KINDS}, {"match": MATCHES, "by": one_or_list(FIELDS)}),
    maps({"event": KINDS, "count": COUNTS["count"]}, {"by": FIELDS}),
    maps({"event": KINDS, "distinct": COUNTS["distinct"]}, {"by": FIELDS}),
    maps({"event": KINDS, "for": st.sampled_from(["3 of 5", "2m"])}, {"by": FIELDS}),
    maps({"within": TIMES, "sequence": st.lists(PARTS, min_size=2, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")}, {}),
)
VALUES = WORDS | FIELDS.map(lambda name: f"$\x00{name}".replace("\x00", ""))
TTLS = TIMES | st.just("1h x2 up to 7d")
ACTIONS = {
    "block_ip": maps({"ip": VALUES, "ttl": TTLS}, {"ports": st.just('[80, "443"]'), "note": VALUES}),
    "rate_limit": maps({"port": VALUES, "rps": VALUES, "ttl": TTLS}, {"protocol": st.just("udp"), "log": VALUES, "burst": WORDS}),
    "restart_service": maps({"unit": VALUES}, {"grace": TIMES}),
}
OPTIONS = {
    "optional": st.sampled_from(["true", '"false"']),
    "on_error": st.just("continue"),
    "after": TIMES,
    "approve": st.sampled_from(["never", "required"]),
}
STEPS = st.one_of(*(maps({name: made}, OPTIONS) for name, made in ACTIONS.items()))
EVENTS = maps({"event": KINDS}, {"at": TIMES, "repeat": st.just("3 every 1s"), "user": WORDS, "src.ip": WORDS, "port": WORDS})
SEVERAL = {
    "then": st.lists(STEPS, max_size=2).map(lambda steps: f"[{', '.join(steps)}]") | st.just(""),
    "unless": MATCHES,
    "mode": st.sampled_from(["off", "enforce", "dry_run"]),
    "tags": st.just("[ssh, 22]"),
    "owner": WORDS,
    "guard": maps({}, {"max": st.just("20 per 10m"), "max_active": st.sampled_from(["5", '"5"']), "never": st.just("[office]")}),
    "recover": st.sampled_from(
        [
            "{after: ttl}",
            "{after: manual}",
            "{}",
            "{after: quiet 10m, watch: 1h}",
            "{release: 25% every 5m}",
            "{release: limit 10m at 20/s then observe 10m}",
            '{release: "limit 10m, observe 10m"}',
            "{release: observe 90s}",
        ]
    ),
    "examples": EVENTS.map(lambda event: f"[{{title: 1, events: [{event}], expect: [finding]}}]"),
}
POLICIES = st.fixed_dictionaries({"severity": st.just("P2"), "when": one_or_list(CLAUSES)}, optional=SEVERAL)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POLICIES)
def test_whatever_the_reader_accepts_the_schema_accepts(made: dict[str, str]) -> None:
    text = "policy: p\n" + "".join(f"{name}: {value}\n" for name, value in made.items())
    (root,), _ = scan(text, "f")

    try:
        read_policies({"f": text}, CATALOGUE)
    except Problems:
        return  # the schema may be looser, never stricter

    assert [error.message for error in VALIDATOR.iter_errors(plain(root))] == []


def test_the_strategy_makes_policies_that_are_accepted() -> None:
    """A test of the test: an implication proves nothing where its first half is never true."""
    accepted = 0

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(POLICIES)
    def count(made: dict[str, str]) -> None:
        nonlocal accepted
        try:
            read_policies({"f": "policy: p\n" + "".join(f"{name}: {value}\n" for name, value in made.items())}, CATALOGUE)
            accepted += 1
        except Problems:
            pass

    count()
    assert accepted >= 10


@pytest.mark.parametrize(
    "step",
    [
        'rate_limit: {port: "22", rps: "5", ttl: 1h, log: "true"}',
        "rate_limit: {port: $port, rps: $port, ttl: 1h, log: $invalid_user}",
        "rate_limit: {port: 22, rps: 5, ttl: forever, log: true}",
        "block_ip: {ip: $src.ip, ttl: 1h x2 up to 7d, ports: [22, '80'], note: $user}",
        "block_ip: {ip: 203.0.113.7, ttl: 1h, note: 007}",
    ],
)
def test_numbers_may_stand_in_quotes_and_fields_in_the_place_of_values(step: str) -> None:
    head = "policy: p\nseverity: P2\nwhen: {event: auth.ssh.failure, by: src.ip}\nrecover: {after: manual}\n"
    text = f"{head}then:\n  - {step}\n"

    made, _ = read_policies({"f": text}, CATALOGUE)
    (root,), _ = scan(text, "f")

    assert len(made[0].then) == 1
    assert [error.message for error in VALIDATOR.iter_errors(plain(root))] == []


def test_the_policies_that_are_only_unwise_are_accepted() -> None:
    text = seeds.files()["unwise.yaml"]

    shown = [error.message for root in scan(text, "f")[0] for error in VALIDATOR.iter_errors(plain(root))]

    assert shown == []


# For people --------------------------------------------------------------------------------------------------------------


def test_the_schema_is_a_schema_and_can_be_written_as_json() -> None:
    Draft7Validator.check_schema(SCHEMA)

    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_an_editor_can_say_what_each_key_means() -> None:
    silent = [name for name, made in SCHEMA["properties"].items() if not made.get("description")]

    assert silent == []
    assert SCHEMA["properties"]["then"]["items"]["properties"]["block_ip"]["description"].startswith("Drop every packet")
    assert "auth.ssh.failure" in SCHEMA["properties"]["when"]["properties"]["event"]["enum"]
