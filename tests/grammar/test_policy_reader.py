"""Policy files: every seeded mistake is found where it is, nothing else is, and what is right becomes typed policies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.event import Catalogue, Event
from agent.grammar.pattern import regular
from agent.grammar.policy_reader import read_policies
from agent.grammar.problem import Problem, Problems
from agent.policy import Count, Distinct, Held, Limits, Of, Policy, Rate
from agent.schema import Ttl
from tests.catalogue import CATALOGUE, BlockIp
from tests.grammar import seeds

HEAD = "policy: p\nseverity: P2\nowner: sre\n"
SSH = "when: {event: auth.ssh.failure, by: src.ip}\n"


def parse(parser: str, line: str) -> Sequence[Event]:
    """A parser that knows one kind of line: `failure of <user>`."""
    if parser != "sshd":
        raise LookupError("did you mean `sshd`?")
    user = line.partition("failure of ")[2]
    return [Event("auth.ssh.failure", 0.0, {"user": user}, forgeable=True)] if user else []


def policy(text: str) -> Policy:
    (made,), _ = read_policies({"f.yaml": text}, CATALOGUE, parse)
    return made


def told(text: str) -> list[Problem]:
    try:
        return read_policies({"f.yaml": text}, CATALOGUE, parse)[1]
    except Problems as problems:
        return list(problems.found)


# The seeded mistakes ----------------------------------------------------------------------------------------------------


def everything_told() -> list[Problem]:
    with pytest.raises(Problems) as raised:
        read_policies(seeds.files(), CATALOGUE, parse)
    return list(raised.value.found)


def test_every_seeded_mistake_is_found_at_its_place_and_nothing_else_is() -> None:
    wanted = [seed for name, text in seeds.files().items() for seed in seeds.seeds(name, text)]

    found = everything_told()

    places = [f"{one.place}: {one.level}: {one.text}" for one in found]
    assert [told for told in places if not any(told.startswith(str(seed)) for seed in wanted)] == []
    assert [str(seed) for seed in wanted if not any(told.startswith(str(seed)) for told in places)] == []
    assert len(found) == len(wanted) >= 200


def test_every_seeded_mistake_has_the_hint_that_its_comment_shows() -> None:
    wanted = {str(seed): seed.hint for name, text in seeds.files().items() for seed in seeds.seeds(name, text)}

    found = {f"{one.place}: {one.level}: {one.text}": one.hint for one in everything_told()}

    assert found == wanted


def test_the_reader_of_seeds_sees_what_is_missing() -> None:
    """A test of the test: a comment that announces nothing real must not pass."""
    text = "a: 1\n#  ^ error: one\n#    hint: two\n#< warning!: three\n"

    first, second = seeds.seeds("f", text)

    assert (str(first), first.hint) == ("f:1:4: error: one", "two")
    assert (str(second), second.structural) == ("f:1:1: warning: three", True)


# What is right ------------------------------------------------------------------------------------------------------------


def test_a_whole_policy_becomes_typed_data() -> None:
    made = policy(
        HEAD
        + "title: Guessing\nmode: off\ntags: [ssh]\nrunbook: https://example.com\n"
        + "when:\n  event: auth.ssh.failure\n  by: src.ip\n  count: '>= 8 in 2m'\n"
        + "then:\n  - block_ip: {ip: $src.ip, ttl: 1h x2 up to 7d}\n    on_error: continue\n    after: 60s\n"
        + "guard: {max: 20 per 10m, max_active: 2000, cooldown: 5m, never: [office]}\nrecover: {after: ttl}\n"
    )

    assert (made.name, made.severity, made.mode, made.owner, made.tags) == ("p", "P2", "off", "sre", ("ssh",))
    assert made.guard == Limits(Rate(20, timedelta(minutes=10)), 2000, timedelta(minutes=5), ("office",))
    assert made.when[0].parts[0].window == Count(8, timedelta(minutes=2))
    (step,) = made.then
    assert (step.action, step.on_error, step.after) == (BlockIp, "continue", timedelta(seconds=60))
    assert (step.literal, step.variable) == ({"ttl": Ttl.read("1h x2 up to 7d")}, {"ip": "src.ip"})


def test_a_step_binds_the_field_of_the_event() -> None:
    made = policy(HEAD + SSH + "then:\n  - block_ip: {ip: $src.ip, ttl: 1h}\n")

    bound = made.then[0].bind(Event("auth.ssh.failure", 0.0, {"src.ip": "203.0.113.7"}))

    assert bound == BlockIp(ip_network("203.0.113.7"), Ttl.read("1h"))


def test_a_list_of_clauses_and_a_sequence_are_read_in_order() -> None:
    made = policy(
        HEAD
        + "when:\n"
        + "  - {event: check, match: {name: shop, ok: false}, for: 3 of 5}\n"
        + "  - {event: http.source, for: 2m, by: [src.ip, source]}\n"
        + "  - {event: auth.ssh.failure, distinct: user >= 5 in 1h}\n"
        + "  - by: src.ip\n    within: 10m\n"
        + "    sequence: [{event: auth.ssh.failure, count: '>= 5 in 5m'}, {event: auth.ssh.success}]\n"
    )

    assert [clause.parts[0].window for clause in made.when] == [
        Of(3, 5),
        Held(timedelta(minutes=2)),
        Distinct("user", 5, timedelta(hours=1)),
        Count(5, timedelta(minutes=5)),
    ]
    assert made.when[1].by == ("src.ip", "source")
    assert (made.when[3].within, len(made.when[3].parts)) == (timedelta(minutes=10), 2)


@pytest.mark.parametrize(
    ("line", "operator", "operand"),
    [
        ("user: root", "is", "root"),
        ("user: 007", "is", "007"),
        ('user: "no"', "is", "no"),
        ("user: 22:30", "is", "22:30"),
        ("port: 0022", "is", 22),
        ("invalid_user: true", "is", True),
        ("user: [a, b]", "in", frozenset({"a", "b"})),
        ("user: {not: root}", "not", frozenset({"root"})),
        ('user: {not: [a, ""]}', "not", frozenset({"a", ""})),
        ("src.ip: ::ffff:203.0.113.7", "is", "203.0.113.7"),
        ("src.ip: 2001:DB8:0:0::1", "is", "2001:db8::1"),
        ("src.ip: {cidr: 10.0.0.0/8}", "cidr", (ip_network("10.0.0.0/8"),)),
        ("src.ip: {list: [office, monitoring]}", "list", ("office", "monitoring")),
        ("port: {lte: 1024}", "lte", 1024),
        ("user: {exists: false}", "exists", False),
        ("user: {has: adm}", "has", "adm"),
    ],
)
def test_an_operand_has_the_type_of_its_field(line: str, operator: str, operand: object) -> None:
    made = policy(HEAD + f"when:\n  event: auth.ssh.failure\n  match:\n    {line}\n")

    (test,) = made.when[0].parts[0].match
    assert (test.operator, test.operand) == (operator, operand)
    assert type(test.operand) is type(operand)


def test_patterns_are_compiled_and_two_operators_make_two_tests() -> None:
    made = policy(HEAD + "when:\n  event: auth.ssh.failure\n  match: {user: {re: ^adm, glob: '*n'}, port: {gt: 1, lt: 9}}\n")

    expression, glob, *bounds = made.when[0].parts[0].match
    assert expression.operand.search("admin")
    assert glob.operand.match("admin")
    assert not glob.operand.match("admins")
    assert [(one.operator, one.operand, one.written) for one in bounds] == [("gt", 1, "1"), ("lt", 9, "9")]


def test_a_policy_without_steps_only_opens_an_incident() -> None:
    assert policy(HEAD + SSH).then == policy(HEAD + SSH + "then:\n").then == policy(HEAD + SSH + "then: []\n").then == ()


def test_a_parameter_may_stay_empty_and_an_action_without_parameters_needs_no_braces() -> None:
    made = policy(HEAD + "when: {event: unit.failed}\nthen:\n  - restart_service: {unit: $unit}\n    approve: never\n")

    assert (made.then[0].literal, made.then[0].variable) == ({}, {"unit": "unit"})


def test_a_sequence_binds_a_field_of_any_of_its_parts() -> None:
    made = policy(
        HEAD
        + "when:\n  by: src.ip\n  within: 10m\n  sequence: [{event: auth.ssh.failure}, {event: auth.ssh.success}]\n"
        + "then:\n  - rate_limit: {port: $port, rps: 1, ttl: 1h}\n"
    )

    assert made.then[0].variable == {"port": "port"}


def test_forever_is_taken_where_a_person_ends_it() -> None:
    made = policy(HEAD + SSH + "then:\n  - block_ip: {ip: $src.ip, ttl: forever}\nrecover: {after: manual}\n")

    assert (made.recover.after, made.then[0].literal["ttl"].first) == ("manual", None)


def test_the_digest_is_that_of_the_documents_own_text() -> None:
    one, other = HEAD + SSH, HEAD.replace("policy: p", "policy: q") + SSH

    made, _ = read_policies({"f.yaml": f"# two\n---\n{one}---\n{other}"}, CATALOGUE)

    assert [each.digest for each in made] == [hashlib.sha256(text.strip().encode()).hexdigest() for text in (one, other)]
    assert [each.place for each in made] == ["f.yaml:3", "f.yaml:8"]


def test_policies_stand_in_the_order_of_their_files_names() -> None:
    files = {name: HEAD.replace("policy: p", f"policy: {name[0]}") + SSH for name in ("b.yaml", "a.yaml")}

    made, _ = read_policies(files, CATALOGUE)

    assert [one.name for one in made] == ["a", "b"]


# Examples -------------------------------------------------------------------------------------------------------------------

EXAMPLES = HEAD + SSH + "then:\n  - block_ip: {ip: $src.ip, ttl: 1h}\nguard: {max: 1 per 1h}\nexamples:\n"


def test_an_example_repeats_its_events_with_their_number_in_the_place_of_the_hash() -> None:
    made = policy(
        EXAMPLES
        + "  - title: three\n    expect: [finding, 'block_ip(ttl=60m,ip=203.0.113.7)']\n    events:\n"
        + "      - {at: 90s, event: auth.ssh.success, user: last}\n"
        + "      - {repeat: 3 every 10s, event: auth.ssh.failure, src.ip: 203.0.113.7, user: 'u#', port: '22#'}\n"
    )

    (example,) = made.examples
    assert [(at, event.fields["user"], event.fields.get("port")) for at, event in example.events] == [
        (0.0, "u0", 220),
        (10.0, "u1", 221),
        (20.0, "u2", 222),
        (90.0, "last", None),
    ]
    assert example.expect == ("finding", "block_ip(ip=203.0.113.7, ttl=1h)")
    assert example.events[0][1].forgeable


def test_a_hash_is_only_a_hash_where_nothing_is_repeated() -> None:
    made = policy(EXAMPLES + "  - {title: one, events: [{event: auth.ssh.failure, user: 'a#'}], expect: []}\n")

    assert made.examples[0].events[0][1].fields["user"] == "a#"


def test_raw_lines_go_through_the_parser_and_make_nothing_where_there_is_none() -> None:
    text = EXAMPLES + "  - {title: raw, events: [{at: 5s, repeat: 2 every 1s, log: 'failure of u#', parser: sshd}], expect: []}\n"

    with_parser, without = policy(text), read_policies({"f": text}, CATALOGUE)[0][0]

    events = with_parser.examples[0].events
    assert [(at, event.seen, event.fields["user"]) for at, event in events] == [(5.0, 5.0, "u0"), (6.0, 6.0, "u1")]
    assert without.examples[0].events == ()


# Mistakes that need the whole policy ----------------------------------------------------------------------------------------


def test_a_misspelt_kind_is_read_as_the_nearest_so_that_it_is_told_once() -> None:
    text = HEAD + SSH.replace("failure", "failur") + "then:\n  - block_ip: {ip: $src.ip, ttl: 1h}\nunless: {user: root}\n"

    assert [one.text for one in told(text)] == ["nothing here makes `auth.ssh.failur` events"]


def test_a_misspelt_action_is_read_as_the_nearest_so_that_it_is_told_once() -> None:
    text = HEAD + SSH + "then:\n  - blockip: {ip: $user, ttl: 1h}\n"

    assert [one.text for one in told(text)] == [
        "no action is called `blockip`",
        "`$user` is text, and `block_ip.ip` takes an address",
    ]


def test_a_problem_in_one_file_does_not_hide_those_of_another() -> None:
    with pytest.raises(Problems) as raised:
        read_policies({"a": "policy: [", "b": HEAD, "c": HEAD + SSH + "mode: on\n"}, CATALOGUE)

    assert {one.place.file for one in raised.value.found if one.level == "error"} == {"a", "b", "c"}


def test_nothing_to_read_is_no_policy() -> None:
    assert read_policies({"empty.yaml": "", "comment.yaml": "# nothing\n"}, CATALOGUE) == ((), [])


def test_a_good_policy_has_no_warning() -> None:
    text = (
        EXAMPLES
        + "  - {title: yes, events: [{event: auth.ssh.failure, src.ip: 203.0.113.7}], expect: [finding]}\n".replace(
            "yes", "it does"
        )
        + "  - {title: it does not, events: [], expect: []}\n"
    )

    assert told(text) == []


def test_where_there_is_no_list_at_all_the_hint_says_how_to_make_one() -> None:
    with pytest.raises(Problems) as raised:
        read_policies({"f": HEAD + SSH + "unless: {src.ip: {list: office}}\n"}, Catalogue(CATALOGUE.kinds, CATALOGUE.actions))

    assert [one.hint for one in raised.value.found] == ["make it in agent.yaml, even if empty: lists: {office: []}"]


@pytest.mark.parametrize("text", ["a; b", "1h; 2h"])
def test_a_semicolon_in_a_value_stays_in_what_is_told_of_it(text: str) -> None:
    (problem,) = told(HEAD + SSH + f"guard: {{cooldown: '{text}'}}\n")

    assert problem.text == f"`{text}` is not a duration"
    assert problem.hint.startswith("use a number and")


def test_a_key_with_a_character_that_cannot_be_seen_is_told_once() -> None:
    assert len(told(HEAD.replace("severity", "sever\u200bity") + SSH)) == 1


def test_an_example_of_far_too_many_events_is_refused_before_they_are_made() -> None:
    line = "{repeat: 9000 every 1s, event: auth.ssh.failure}"
    text = EXAMPLES + f"  - {{title: many, expect: [], events: [{', '.join([line] * 500)}]}}\n"

    assert [one.text for one in told(text)] == ["more than 10000 events in one example"]


KEYS = ["policy", "severity", "when", "event", "match", "by", "count", "distinct", "for", "within", "sequence", "unless", "then"]
KEYS += ["block_ip", "ip", "ttl", "rate_limit", "optional", "on_error", "guard", "max", "never", "recover", "after", "examples"]
KEYS += [
    "title",
    "events",
    "expect",
    "at",
    "repeat",
    "log",
    "parser",
    "src.ip",
    "user",
    "cidr",
    "list",
    "re",
    "gt",
    "not",
    "in",
    "tll",
]
WORDS = ["p", "P2", "auth.ssh.failure", "src.ip", "$src.ip", "$usr", "1h", "'>= 8 in 2m'", "3 of 5", "office", "10.0.0.0/8", "no"]
WORDS += [
    "",
    "''",
    "ttl",
    "manual",
    "sshd",
    "3 every 1s",
    "block_ip(ip=1.2.3.4, ttl=1h)",
    "finding",
    "user >= 5 in 1h",
    "'(a+)+'",
    "5",
]


def _flow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(children, max_size=3).map(lambda items: f"[{', '.join(item for item in items if item)}]")
    pairs = st.lists(st.tuples(st.sampled_from(KEYS), children), max_size=4)
    return lists | pairs.map(lambda made: f"{{{', '.join(f'{key}: {value}' for key, value in made)}}}")


VALUES = st.recursive(st.sampled_from(WORDS), _flow, max_leaves=8)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=8))
def test_no_shape_of_a_file_breaks_the_reader_and_each_place_is_told_something_else(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in {"policy": "p", "severity": "P2", **dict(pairs)}.items())

    found = told(text)

    assert len({(one.place, one.text) for one in found}) == len(found)
    assert all(one.place.line <= text.count("\n") for one in found)


# Patterns -------------------------------------------------------------------------------------------------------------------

HARMLESS = [r"^/api/.*/admin", r"(\d{1,3}\.){3}\d+", r"\b(?:nc|ncat|socat)\b", r"^(?!health)", r"a.*b", r"(GET|POST) /x"]
DANGEROUS = [r"(a+)+$", r"(a|aa)+$", r"(a?){30}$", r"(.{0,20}){0,20}$", r".*a.*b.*c", r"^.*.*.*x", r"(\w)\1", "x" * 301, "("]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_expression_is_compiled(text: str) -> None:
    assert regular(text).pattern == text


@pytest.mark.parametrize("text", DANGEROUS)
def test_an_expression_that_a_stranger_could_make_slow_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"slow|longer|bad regular"):
        regular(text)
