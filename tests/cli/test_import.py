"""`contain import`: a report is checked here, what is new of it is kept by the agent, and only that is said to be accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.ends import Exit
from tests.cli.command import contain
from tests.running import Running
from tests.senders import scans

POLICY = """\
policy: secrets
severity: P2
when: {event: scan.finding, match: {kind: secret}, by: target}
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("import"), "", POLICY) as made:
        yield made


def left(place: Path, report: Any) -> str:
    file = place / "report.json"
    file.write_text(report if isinstance(report, str) else json.dumps(report))
    return str(file)


def test_a_first_scan_is_new_a_second_is_known_and_a_third_says_what_is_gone(agent: Running, tmp_path: Path) -> None:
    first = scans.trivy(scans.cve("CVE-1"), scans.cve("CVE-2"), Results=None)
    first["Results"] = [*scans.trivy(scans.cve("CVE-1"), scans.cve("CVE-2"))["Results"], scans.secret()]

    said = [agent.contain("import", "trivy", left(tmp_path, one)) for one in (first, first, scans.trivy(scans.cve("CVE-1")))]

    assert [one.returncode for one in said] == [Exit.DONE] * 3, said[0].stderr
    assert [one.stdout.strip() for one in said] == [
        "3 findings: 0 known, 3 new, 0 gone",
        "3 findings: 3 known, 0 new, 0 gone",
        "1 finding: 1 known, 0 new, 2 gone",
    ]
    (incident,) = [one for one in agent.ask("incidents")["items"] if one["target"] == "shop:1.2"]
    assert (incident["policy"], incident["severity"], incident["findings"]) == ("secrets", "P2", 1)


def test_a_report_of_many_parts_is_one_scan_and_outlives_a_kill(agent: Running, tmp_path: Path) -> None:
    many = [scans.cve(f"CVE-{number}", package=f"package-{number}") for number in range(3000)]
    file = left(tmp_path, scans.trivy(*many, target="large"))
    first = agent.contain("import", "trivy", file, "--json")
    agent.kill()
    agent.start()

    again = agent.contain("import", "trivy", file)

    (item,) = json.loads(first.stdout)["items"]
    assert (item["findings"], item["new"], item["known"]) == (3000, 3000, 0)
    assert again.stdout == "3000 findings: 3000 known, 0 new, 0 gone\n"


def test_grype_and_sarif_are_read_from_stdin_too(agent: Running) -> None:
    env = {"CONTAIN_CONFIG": str(agent.config)}

    grype = contain("import", "grype", "-", env=env, stdin=json.dumps(scans.grype()))
    sarif = contain("import", "sarif", "-", "--target", "repository", env=env, stdin=json.dumps(scans.gitleaks()))

    assert grype.out == "1 finding: 0 known, 1 new, 0 gone\n", grype.err
    assert sarif.out == "1 finding: 0 known, 1 new, 0 gone\n", sarif.err
    assert "repository" in {one["target"] for one in agent.ask("incidents")["items"]}


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ('{"SchemaVersion": 1}', "this is no report of trivy: SchemaVersion: expected 2, found 1"),
        ("[" * 200_000, "brackets in brackets without an end"),
        ('{"half', "this is no JSON"),
    ],
)
def test_what_is_no_report_is_refused_before_the_agent_is_asked(report: str, said: str, tmp_path: Path) -> None:
    done = contain("import", "trivy", left(tmp_path, report))

    assert done.code == Exit.USAGE
    assert said in done.err


def test_without_an_agent_nothing_is_said_to_be_accepted(tmp_path: Path) -> None:
    done = contain("import", "trivy", left(tmp_path, scans.trivy()), "--socket", tmp_path / "nobody.sock")

    assert done.code == Exit.UNREACHABLE
    assert done.out == ""


@pytest.mark.parametrize(
    "body",
    [
        {"scan": {"scanner": "t", "target": "x"}, "findings": [{"kind": "secret", "id": "a", "severity": "high"}]},
        {"scan": {"scanner": "t", "target": "x"}, "findings": [], "whole": "zz"},
        {"scan": {"scanner": "t"}, "findings": []},
        {"scan": {"scanner": "t", "target": "x"}, "findings": [], "more": 1},
    ],
)
def test_the_agent_takes_nothing_else_at_its_socket(body: dict[str, Any], agent: Running) -> None:
    assert "problem" in agent.ask("import", **body)
