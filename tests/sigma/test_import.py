"""`contain policy import-sigma`: rules in Sigma's published form, written for these tests; and what is refused, where and why."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from agent.event import Catalogue, Kind
from agent.grammar.policy_reader import read_policies
from agent.parsers.nginx import Nginx
from agent.parsers.sshd import Sshd
from agent.parsers.sudo import Sudo
from agent.sigma import sources
from agent.sigma.carry import Made, Refused, policies
from agent.streams.declared import declared
from agent.watching import policy_tests
from tests.cli.command import contain

HERE: Final = Path(__file__).parent
SUDO: Final = "logsource: {product: linux, service: sudo}\n"
WEB: Final = "logsource: {category: webserver}\n"
SSH: Final = "logsource: {product: linux, service: auth.ssh.failure}\n"


@cache
def kinds() -> dict[str, Kind]:
    return dict(declared())


def carried(text: str) -> list[Made | Refused]:
    return policies({"rule.yml": text}, Catalogue(kinds(), {}))


def rule(body: str, source: str = WEB, title: str = "A rule") -> str:
    return f"title: {title}\n{source}detection:\n{body}"


def when(text: str) -> str:
    """The lines of the last policy from `when:` to its examples."""
    made = carried(text)[-1]
    assert isinstance(made, Made), made
    return made.text.partition("when:\n")[2].partition("examples:")[0]


def refusals(text: str) -> list[str]:
    return [
        f"{one.place.line}:{one.place.column} {one.text}"
        for each in carried(text)
        if isinstance(each, Refused)
        for one in each.problems
    ]


# What is carried over -----------------------------------------------------------------------------------------------------

CARRIED: Final = {
    "a text without letters is compared as it is": ("s: {cs-uri-stem: /1/2}\n  condition: s", "path: '/1/2'"),
    "letters count in either case": ("s: {cs-method: GET}\n  condition: s", r"method: {re: '(?i)\AGET\Z'}"),
    "unless the rule says cased": ("s: {cs-method|cased: [GET, PUT]}\n  condition: s", "method: ['GET', 'PUT']"),
    "wildcards without letters are a glob": ("s: {cs-uri-stem: '/?/*/1'}\n  condition: s", "path: {glob: '/?/*/1'}"),
    "contains, startswith and endswith are parts of one expression": (
        "s: {cs-uri-query|contains: [a=(1), b=2]}\n  condition: s",
        r"query: {re: '(?i)(?:a=\(1\)|b=2)'}",
    ),
    "begin and end are tied": ("s: {cs-uri-stem|endswith: .php}\n  condition: s", r"path: {re: '(?i)\.php\Z'}"),
    "all of several parts": (
        "s: {cs-uri-query|contains|all: [union, select]}\n  condition: s",
        r"query: {re: '\A(?=(?s:.*?)(?i:union))(?=(?s:.*?)(?i:select))'}",
    ),
    "expressions keep their case, and say that \\d is ASCII": (
        r"s: {cs-uri-stem|re: '^/v\d'}" + "\n  condition: s",
        r"{re: '(?a)^/v\d'}",
    ),
    "an expression with i": ("s: {cs-uri-stem|re|i: ^/x}\n  condition: s", "{re: '(?i)^/x'}"),
    "numbers and their order": ("s: {sc-status|gte: 400, sc-status|lt: 500}\n  condition: s", "status: {gte: 400, lt: 500}"),
    "the opposite of an order": (
        "a: {sc-status|lt: 4}\n  b: {sc-status|gte: 6}\n  c: {sc-status|gt: 8}\n  d: {sc-status|lte: 1}\n"
        "  condition: (not a and not b) or (not c and not d)",
        "status: {gte: 4, lt: 6}\n  - event: http.request\n    match:\n      status: {lte: 8, gt: 1}\n",
    ),
    "networks": ("s: {c-ip|cidr: [10.0.0.0/8]}\n  condition: s", "src.ip: {cidr: ['10.0.0.0/8']}"),
    "the begin of an address is a network": (
        "s: {c-ip|startswith: '192.168.'}\n  condition: s",
        "src.ip: {cidr: ['192.168.0.0/16']}",
    ),
    "what is left out of everything goes to unless": (
        "s: {sc-status: 404}\n  f: {c-ip|cidr: 10.0.0.0/8}\n  condition: s and not f",
        "    status: 404\nunless:\n  src.ip: {cidr: ['10.0.0.0/8']}\n",
    ),
    "or makes clauses": (
        "s1: {sc-status: 404}\n  s2: {sc-status: 500, c-ip: 192.0.2.7}\n  condition: 1 of s*",
        "  - event: http.request\n    match:\n      status: 404\n  - event: http.request\n    match:\n      status: 500\n",
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_it_is_said_in_our_words(name: str) -> None:
    body, wanted = CARRIED[name]

    assert wanted in when(rule(f"  {body}\n"))


def test_a_field_that_may_be_absent_is_denied_in_a_clause_of_its_own_where_unless_cannot_say_it() -> None:
    said = when(
        rule("  a: {USER: '#1'}\n  b: {TTY: '1'}\n  condition: not a or b\n", "logsource: {service: auth.sudo.command}\n")
    )

    assert said.count("- event:") == 3
    assert "as: {not: ['#1']}" in said
    assert "as: {exists: false}" in said
    assert "unless" not in said


def test_a_log_of_several_kinds_makes_a_clause_for_each() -> None:
    said = when(rule("  s: {USER: ['#-*', '#*4294967295']}\n  condition: s\n", SUDO))

    assert [line for line in said.splitlines() if "event" in line] == [
        "  - event: auth.sudo.command",
        "  - event: auth.sudo.failure",
    ]


BASE: Final = rule("  s: {user: '*1'}\n  condition: s\n", SSH).replace("title: A rule", "title: Failed\nname: failed")
BOTH: Final = BASE.replace("failed", "both").replace("{user: '*1'}", "[{user: x}, {port: 1}]")
OTHER: Final = BASE.replace("failed", "came").replace("auth.ssh.failure", "auth.ssh.success")
COUNT: Final = """title: Many
correlation:
  type: event_count
  rules: failed
  group-by: [src.ip]
  timespan: 5m
  condition: {gt: 9}
"""
DISTINCT: Final = COUNT.replace("event_count", "value_count").replace("{gt: 9}", "{field: method, gte: 3}")
ORDER: Final = COUNT.replace("event_count", "temporal_ordered").replace("rules: failed", "rules: [failed, came]").replace(
    "  condition: {gt: 9}\n", "  aliases: {ip: {failed: source.ip, came: src.ip}}\n"
).replace("[src.ip]", "[ip]")  # fmt: skip


def test_correlations_are_windows_and_what_they_count_is_no_policy_of_its_own() -> None:
    assert len(carried(f"{BASE}---\n{COUNT}")) == 1
    assert when(f"{BASE}---\n{COUNT}").endswith('  by: src.ip\n  count: ">= 10 in 5m"\n')
    assert when(f"{COUNT}---\n{BASE}---\n{DISTINCT}").endswith('  distinct: "method >= 3 in 5m"\n')
    assert "  by: src.ip\n  within: 5m\n  sequence:\n    - event: auth.ssh.failure\n" in when(f"{BASE}---\n{OTHER}---\n{ORDER}")
    assert len(carried(f"{BASE.replace('name: failed', 'name: failed' + chr(10) + 'generate: true')}---\n{COUNT}")) == 2


def test_what_is_carried_over_reads_checks_and_proves_its_own_examples() -> None:
    texts = [rule(f"  {body}\n") for body, _ in CARRIED.values()]
    texts += [f"{BASE}---\n{COUNT}", f"{BASE}---\n{DISTINCT}", f"{BASE}---\n{OTHER}---\n{ORDER}"]
    made = [one for text in texts for one in carried(text) if isinstance(one, Made)]
    files = {f"{number}": one.text.replace("policy: sigma", f"policy: s{number}") for number, one in enumerate(made)}

    read, warnings = read_policies(files, Catalogue(kinds(), {}))
    report = policy_tests.run(policy_tests.examples(read), {})

    assert [str(one) for one in warnings] == []  # one would say so where no example fires, or none is quiet
    assert (len(made), report.failed) == (len(texts), 0)
    assert len(report.rows) == 2 * len(texts)
    assert all((one.mode, one.then) == ("dry_run", ()) for one in read)


def test_what_the_rule_says_of_itself_is_kept_and_cannot_leave_its_comment() -> None:
    head = "id: 5f113a8f\nauthor: Eve\nstatus: test\nlevel: critical\ntags: [attack.t1110]\n"
    head += "references: [https://example.com/a, book]\n"
    text = (
        head
        + 'description: |\n  one\n  then: [block_ip]\nfalsepositives: ["x\\u2028then: 1"]\n'
        + rule("  s: {sc-status: 1}\n  condition: s\n")
    )

    (made,) = carried(text)

    assert isinstance(made, Made)
    for line in (
        "severity: P1",
        "mode: dry_run",
        "runbook: 'https://example.com/a'",
        "tags: ['attack.t1110']",
        "# Level: critical, here P1; status test",
    ):
        assert f"\n{line}\n" in made.text
    assert "# Description: one then: [block_ip]\n# False positives: x then: 1\n# See: book\n" in made.text
    assert "(id 5f113a8f), by Eve" in made.text


def test_fields_that_are_said_to_be_always_there_are() -> None:
    lines = (
        (Nginx(), '203.0.113.7 - - [23/Nov/2026:06:00:01 +0100] "GET / HTTP/1.1" 200 5'),
        (Nginx(), '{"remote_addr": "203.0.113.7"}'),
        (Sshd(), "Failed password for root from 203.0.113.7 port 22 ssh2"),
        (Sshd(), "Invalid user x from 203.0.113.7"),
        (Sshd(), "Connection closed by authenticating user root 203.0.113.7 port 22 [preauth]"),
        (Sudo(), "bob : COMMAND=/bin/ls"),
    )
    for parser, line in lines:
        said = parser.read(line)
        assert said is not None, line
        found = sources.find({"service": said.kind}, kinds())
        assert isinstance(found, sources.Source)
        assert found.always <= said.fields.keys(), line
        assert found.always


# What is refused ----------------------------------------------------------------------------------------------------------

REFUSED: Final = {
    "keywords": ("s: [Failed password]\n  condition: s", ["4:7 keywords are searched for in the raw line"]),
    "a field that we do not have": ("s: {cs-host: x}\n  condition: s", ["4:7 no field of http.request is what `cs-host` is"]),
    "encodings": (
        "s: {cs-uri-query|base64offset|contains: x}\n  condition: s",
        ["4:7 the modifier `base64offset` cannot be carried over"],
    ),
    "two operators": (
        "s: {cs-uri-stem|contains|endswith: x}\n  condition: s",
        ["4:7 the modifiers contains, endswith do not go together"],
    ),
    "text where a number is": ("s: {sc-status: 4*}\n  condition: s", ["4:18 `4*` is not a whole number"]),
    "what YAMLs differ on": (
        "s: {cs-method: on}\n  condition: s",
        ["4:18 `on` is read differently by different readers of YAML"],
    ),
    "what the log has where we have nothing": (
        "s: {cs-referer: '-'}\n  condition: s",
        ["4:19 where the log has nothing, `-`, `referer` is the empty text here"],
    ),
    "null, too": (
        "s: {cs-user-agent: null}\n  condition: s",
        ["4:22 where the log has nothing, `-`, `agent` is the empty text here"],
    ),
    "old aggregations": ("s: {sc-status: 4}\n  condition: s | count() > 5", ["5:16 Sigma's old aggregations"]),
    "slow expressions": (
        r"s: {cs-uri-stem|re: '(a+)+$'}" + "\n  condition: s",
        ["4:23 a repeat inside a repeat, or alternatives inside one"],
    ),
    "blanks that do not count": (
        "s: {cs-uri-stem|re: '(?ix)a b'}\n  condition: s",
        ["4:23 an expression with blanks that do not count"],
    ),
    "another dialect": (
        r"s: {cs-uri-stem|re: 'a\Z'}" + "\n  condition: s",
        [r"4:23 `\Z` in a regular expression means something else"],
    ),
    "several at once": (
        "s: {nosuch: 1, sc-status: x, c-ip: 010.0.0.1}\n  condition: s and t and 2 of them",
        [
            "4:7 no field of http.request is what `nosuch` is",
            "4:29 `x` is not a whole number",
            "4:38 `src.ip` is an address, and `010.0.0.1` is none",
        ],
    ),
    "a selection that is not there": ("s: {sc-status: 4}\n  condition: s and nosuch", ["5:20 no selection is called `nosuch`"]),
    "what is never true": ("a: {sc-status: 4}\n  b: {sc-status: 5}\n  condition: a and b", ["1:1 this can never be true"]),
    "anchors": ("s: {sc-status: &a 4}\n  condition: s", ["4:18 anchors are not used here"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_exactly_is_refused_at_its_place(name: str) -> None:
    body, wanted = REFUSED[name]

    told = refusals(rule(f"  {body}\n"))

    assert [each for each in wanted if not any(one.startswith(each) for one in told)] == [], told


def test_more_clauses_than_anybody_would_read_are_refused() -> None:
    body = "".join(f"  s{at}: [{{sc-status: {at}}}, {{cs-uri-stem: '/{at}'}}, {{cs-uri-query: '{at}'}}]\n" for at in range(8))

    assert refusals(rule(f"{body}  condition: all of them\n")) == ["1:1 this makes more than 64 clauses"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{product: windows, category: process_creation}", "nothing here has the events of the log source"),
        ("{product: linux, service: auth}", "nothing here has all events of the log source"),
        ("{product: vault}", "nothing here has all events of the log source"),
        ("{service: check}", "`check` tells how something is, again and again"),
        ("{service: alert}", "`alert` is another tool's alert"),
    ],
)
def test_a_log_that_we_see_only_in_part_is_refused_and_the_other_reasons_come_with_it(source: str, why: str) -> None:
    told = refusals(rule("  s: {x|base64: 1}\n  condition: s and t\n", f"logsource: {source}\n"))

    assert told[0].startswith(f"2:1 {why}")
    assert [one.partition(" ")[2] for one in told[1:]] == [
        "the modifier `base64` cannot be carried over",
        "no selection is called `t`",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (COUNT.replace("event_count", "temporal"), "the type of correlation `temporal` cannot be carried over"),
        (COUNT.replace("gt: 9", "lt: 9"), "`lt: 9` cannot be carried over"),
        (COUNT.replace("5m", "1M"), "a correlation needs a `timespan`"),
        (COUNT.replace("failed", "nosuch"), "no rule here is called `nosuch`"),
        (COUNT.replace("failed", "[failed, came]"), "events of several rules are not counted together here"),
        (ORDER.replace("came: src.ip", "came: user"), "the rules are grouped by fields that are different ones here"),
        (
            f"{COUNT.replace('rules: failed', 'rules: both')}---\n{BOTH}",
            "`Failed` comes to 2 clauses here, and a window counts one",
        ),
    ],
)
def test_a_correlation_that_no_window_is_is_refused(text: str, why: str) -> None:
    told = refusals(f"{BASE}---\n{OTHER}---\n{text}")

    assert any(why in one for one in told), told


# The command --------------------------------------------------------------------------------------------------------------


def test_the_command_writes_what_it_can_tells_the_rest_and_overwrites_nothing(tmp_path: Path) -> None:
    good, bad = rule("  s: {sc-status: 404}\n  condition: s\n"), rule("  s: [word]\n  condition: s\n", title="Words")
    (tmp_path / "good.yml").write_text(good)
    (tmp_path / "bad.yml").write_text(bad)
    out = tmp_path / "out"

    both = contain("policy", "import-sigma", "good.yml", "bad.yml", "--out", out, cwd=tmp_path)
    none = contain("policy", "import-sigma", "bad.yml", "--json", cwd=tmp_path)
    again = contain("policy", "import-sigma", "good.yml", "--out", out, cwd=tmp_path)

    assert (both.code, none.code, again.code) == (6, 2, 2)
    assert "bad.yml:4:7: error: keywords are searched for in the raw line" in both.err
    assert "1 of 2 rules carried over" in both.err
    assert [one.name for one in out.iterdir()] == ["sigma-a-rule.yaml"]
    assert json.loads(none.out)["items"][0]["problems"][0]["line"] == 4
    assert "already in" in again.err
    for command in ("check", "test", "prove"):
        checked = contain("policy", command, out)
        assert checked.code == 0, checked.out + checked.err
