"""Reports as scanners write them, made after their published formats; shortened to what is read, and a little beside it."""

from __future__ import annotations

from typing import Any


def trivy(*vulnerabilities: dict[str, Any], target: str = "shop:1.2", **more: Any) -> dict[str, Any]:
    found = list(vulnerabilities) or [cve("CVE-2024-0001")]
    return {
        "SchemaVersion": 2,
        "CreatedAt": "2026-11-23T06:00:00.5Z",
        "ArtifactName": target,
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "12.8"}, "ImageID": "sha256:0000"},
        "Results": [
            {"Target": f"{target} (debian 12.8)", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": found},
            {"Target": "app/package-lock.json", "Class": "lang-pkgs", "Type": "npm"},
        ],
        **more,
    }


def cve(name: str, package: str = "libssl3", version: str = "3.0.14-1", **more: Any) -> dict[str, Any]:
    given = {"VulnerabilityID": name, "PkgName": package, "InstalledVersion": version, "FixedVersion": "3.0.15-1"}
    return {**given, "Severity": "HIGH", "Title": f"openssl: {name}", "Description": "long " * 100, "CVSS": {}, **more}


def secret(line: int = 12) -> dict[str, Any]:
    """A result of Trivy's secret scanner; Match has stars, and the rest of the line."""
    found = {"RuleID": "aws-access-key-id", "Category": "AWS", "Severity": "CRITICAL", "Title": "AWS Access Key ID"}
    return {
        "Target": "/app/config.py",
        "Class": "secret",
        "Secrets": [{**found, "StartLine": line, "EndLine": line, "Match": "KEY = '********************'  # hunter2"}],
    }


def misconfiguration() -> dict[str, Any]:
    passed = {"Type": "Dockerfile Security Check", "ID": "DS001", "Severity": "LOW", "Title": "no tag", "Status": "PASS"}
    failed = {**passed, "ID": "DS002", "Severity": "HIGH", "Title": "root user", "Status": "FAIL"}
    cause = {"CauseMetadata": {"Provider": "Dockerfile", "StartLine": 3}}
    return {"Target": "Dockerfile", "Class": "config", "Misconfigurations": [passed, {**failed, **cause}]}


def grype(*, exploited: bool | None = True, target: Any = None) -> dict[str, Any]:
    kev = {} if exploited is None else {"knownExploited": [{"cve": "CVE-2021-44228"}] if exploited else []}
    return {
        "matches": [
            {
                "vulnerability": {
                    "id": "GHSA-jfh8-c2jp-5v3q",
                    "severity": "Critical",
                    "description": "Remote code injection in Log4j",
                    "fix": {"versions": ["2.15.0"], "state": "fixed"},
                    "epss": [{"epss": 0.97}],
                },
                "relatedVulnerabilities": [{"id": "CVE-2021-44228", **kev}],
                "matchDetails": [{"type": "exact-direct-match"}],
                "artifact": {
                    "name": "log4j-core",
                    "version": "2.14.1",
                    "purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
                    "locations": [{"path": "/app/shop.jar"}],
                },
            }
        ],
        "source": {"type": "image", "target": target or {"userInput": "shop:1.2", "imageID": "sha256:0000"}},
        "descriptor": {"name": "grype", "version": "0.87.0"},
    }


def gitleaks(line: int = 5, **more: Any) -> dict[str, Any]:
    spot = {"physicalLocation": {"artifactLocation": {"uri": "deploy/.env"}, "region": {"startLine": line}}}
    message = {"text": "aws-access-token has detected secret for file deploy/.env: AKIAEXAMPLE"}
    marks = {"commitSha": "8d1f", "email": "a@example.com"}
    found = {"ruleId": "aws-access-token", "message": message, "locations": [spot], "partialFingerprints": marks, **more}
    driver = {"name": "gitleaks", "semanticVersion": "v8.0.0", "rules": [{"id": "aws-access-token"}]}
    return {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": [found]}]}


def codeql() -> dict[str, Any]:
    properties = {"tags": ["security", "external/cwe/cwe-089"], "security-severity": "8.8"}
    rule = {"id": "py/sql-injection", "shortDescription": {"text": "SQL query built from user input"}, "properties": properties}
    spot = {"physicalLocation": {"artifactLocation": {"uri": "shop/cart.py"}, "region": {"startLine": 77}}}
    marks = {"primaryLocationLineHash": "39fa2ee980eb94b0:1"}
    found = {
        "ruleId": "py/sql-injection",
        "ruleIndex": 0,
        "message": {"text": "It depends on a user."},
        "locations": [spot],
    }
    suppressed = {**found, "suppressions": [{"kind": "inSource"}], "ruleId": "other"}
    run = {
        "tool": {"driver": {"name": "CodeQL", "rules": [rule]}},
        "versionControlProvenance": [{"repositoryUri": "https://git.example.com/shop"}],
        "results": [{**found, "partialFingerprints": marks}, suppressed, {**found, "kind": "pass"}],
    }
    return {"version": "2.1.0", "runs": [run]}
