"""What scanners found, as events: the same fingerprint from night to night, and never the secret itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.event import Value
from agent.evidence.leaf import write_events
from agent.streams.parser import Said
from agent.streams.scan import FINDING, SCAN
from agent.streams.sender import MOST, BadDocumentError, events
from tests.senders import scans
from tests.senders.documents import made, misfits
from tests.senders.test_any_document import JSON, places, with_other


def read(name: str, document: Any, **options: Any) -> tuple[dict[str, Value], list[dict[str, Value]]]:
    report, *found = made(name, **options).read(document)
    assert report.kind == SCAN.name
    assert {one.kind for one in found} <= {FINDING.name}
    return dict(report.fields), [dict(one.fields) for one in found]


def test_trivy_tells_of_vulnerabilities_secrets_and_failed_checks() -> None:
    document = scans.trivy()
    document["Results"] += [scans.secret(), scans.misconfiguration()]

    report, found = read("trivy", document)

    assert report == {"scanner": "trivy", "target": "shop:1.2", "image": "shop:1.2", "findings": 3}
    assert [(one["kind"], one["id"], one["severity"]) for one in found] == [
        ("vulnerability", "CVE-2024-0001", "high"),
        ("secret", "aws-access-key-id", "critical"),
        ("misconfiguration", "DS002", "high"),
    ]
    assert found[0]["fixed"] == "3.0.15-1"
    assert [one.get("path") for one in found[1:]] == ["/app/config.py:12", "Dockerfile:3"]
    assert "known_exploited" not in found[0]


def test_a_secret_never_stands_in_an_event() -> None:
    document = scans.trivy()
    document["Results"].append(scans.secret())

    said: list[Said] = [*made("trivy").read(document), *made("sarif").read(scans.gitleaks())]

    assert "hunter2" not in repr(said)
    assert "AKIA" not in repr(said)


@pytest.mark.parametrize(("exploited", "told"), [(True, True), (False, False), (None, None)])
def test_grype_says_what_is_being_exploited_also_where_only_the_cve_behind_it_is(exploited: bool, told: bool | None) -> None:
    report, (found,) = read("grype", scans.grype(exploited=exploited))

    assert report["image"] == "shop:1.2"
    assert found.get("known_exploited") is told
    assert (found["package"], found["version"], found["fixed"], found["path"]) == (
        "log4j-core",
        "2.14.1",
        "2.15.0",
        "/app/shop.jar",
    )


def test_grype_names_a_directory_by_a_text() -> None:
    document = scans.grype(target="dir:/srv/shop")
    document["source"]["type"] = "directory"

    report, _ = read("grype", document)

    assert report == {"scanner": "grype", "target": "dir:/srv/shop", "findings": 1}


def test_sarif_takes_failures_alone_and_grades_them_by_their_score() -> None:
    report, (found,) = read("sarif", scans.codeql())

    assert report["target"] == "https://git.example.com/shop"
    assert (found["kind"], found["severity"], found["path"]) == ("code", "high", "shop/cart.py:77")
    assert found["title"] == "SQL query built from user input"


def test_a_secret_scanner_s_results_are_secrets_and_keep_their_mark_when_lines_move() -> None:
    _, (before,) = read("sarif", scans.gitleaks(line=5), target="shop")
    _, (after,) = read("sarif", scans.gitleaks(line=9), target="shop")

    assert before["kind"] == "secret"
    assert before["fingerprint"] == after["fingerprint"]
    assert before["path"] != after["path"]


@pytest.mark.parametrize(("name", "document"), [("trivy", scans.trivy()), ("grype", scans.grype()), ("sarif", scans.codeql())])
def test_the_same_report_has_the_same_fingerprints_and_another_target_has_others(name: str, document: Any) -> None:
    other = copy.deepcopy(document)
    if name == "trivy":
        other["ArtifactName"] = "shop:1.3"
    elif name == "grype":
        other["source"]["target"]["userInput"] = "shop:1.3"
    else:
        other["runs"][0]["versionControlProvenance"][0]["repositoryUri"] = "elsewhere"
    marks = [{one["fingerprint"] for one in read(name, each)[1]} for each in (document, copy.deepcopy(document), other)]

    assert marks[0] == marks[1]
    assert not marks[0] & marks[2]


def test_a_scan_that_found_nothing_says_so() -> None:
    report, found = read("trivy", scans.trivy(Results=None))

    assert (report["findings"], found) == (0, [])


def test_a_finding_that_stands_there_twice_is_one() -> None:
    _, found = read("trivy", scans.trivy(scans.cve("CVE-1"), scans.cve("CVE-1"), scans.cve("CVE-1", package="other")))

    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "document", "said"),
    [
        ("trivy", {"SchemaVersion": 1, "ArtifactName": "x"}, "SchemaVersion: expected 2"),
        ("trivy", {"ClusterName": "prod"}, "report of a cluster"),
        (
            "trivy",
            scans.trivy(Results=[{"Target": "x", "Vulnerabilities": [{}]}]),
            "Results[0].Vulnerabilities[0].Vuln",
        ),
        ("trivy", [], "expected an object"),
        ("grype", {"matches": {}}, "matches: expected a list"),
        ("grype", {"matches": []}, "source.target"),
        ("sarif", {"version": "2.0.0", "runs": []}, "version: expected 2.1.0"),
        ("sarif", {"version": "2.1.0", "runs": [{}]}, "runs[0].tool.driver.name"),
        ("sarif", {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{}]}]}, "results[0].ruleId"),
    ],
)
def test_what_is_no_report_is_refused_with_the_place(name: str, document: Any, said: str) -> None:
    with pytest.raises(BadDocumentError) as refused:
        made(name).read(document)

    assert said in str(refused.value)


def test_more_findings_than_may_come_at_once_are_refused_as_a_whole() -> None:
    many = [scans.cve(f"CVE-{number}") for number in range(MOST + 1)]

    with pytest.raises(BadDocumentError, match="more than 10000 findings of shop"):
        made("trivy").read(scans.trivy(*many))


REAL: dict[str, Callable[[], Any]] = {
    "trivy": lambda: scans.trivy(Results=[*scans.trivy()["Results"], scans.secret(), scans.misconfiguration()]),
    "grype": scans.grype,
    "sarif": scans.codeql,
}


@pytest.mark.parametrize("name", sorted(REAL))
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_stands_in_a_report_it_is_read_or_refused(name: str, data: st.DataObject) -> None:
    document = REAL[name]()
    for _ in range(data.draw(st.integers(1, 3))):
        document = with_other(document, data.draw(st.sampled_from(places(document))), data.draw(JSON))
    sender = made(name)
    try:
        said = sender.read(document)
    except BadDocumentError:
        return
    found = events(said, sender, "drop:x", 1795413700.0)

    assert all(misfits(SCAN if one.kind == SCAN.name else FINDING, one.fields) == [] for one in found)
    assert write_events(found) if found else True
