"""Trivy's JSON report (`trivy image --format json`, schema version 2; trivy.dev, "Reporting").

What it says of a secret is its rule and its place; never the line it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.streams.document import Object, needed, object_at, whole, wrong
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.scan import FINDING, SCAN, Found, Scanned, at, named, objects, said, word
from agent.streams.sender import BadDocumentError, sender


@sender(kinds=(SCAN, FINDING))
class Trivy:
    """Vulnerabilities, secrets and misconfigurations of an image, a directory or a repository."""

    def read(self, document: Any) -> list[Said]:
        """The report, and what it found. Of a cluster (`trivy k8s`) each workload is scanned by itself instead."""
        report = whole(document)
        if "ClusterName" in report:
            raise BadDocumentError("ClusterName: this is the report of a cluster; scan its images with `trivy image`")
        if report.get("SchemaVersion") != 2 or isinstance(report["SchemaVersion"], bool):
            raise wrong("SchemaVersion", "2", report.get("SchemaVersion"))
        target = text(needed(report, "ArtifactName"))
        image = target if report.get("ArtifactType") == "container_image" else ""
        return said(Scanned("trivy", target, image), _found(report))


def _found(report: Object) -> Iterator[Found]:
    for place, part in objects(report, "Results"):
        path = named(part, "Target", place)
        for inside, one in objects(part, "Vulnerabilities", place):
            yield Found(
                "vulnerability",
                named(one, "VulnerabilityID", inside),
                word(one, "Severity"),
                named(one, "PkgName", inside),
                word(one, "InstalledVersion"),
                word(one, "FixedVersion"),
                word(one, "PkgPath") or path,
                word(one, "Title"),
            )
        for inside, one in objects(part, "Secrets", place):
            rule, line = named(one, "RuleID", inside), one.get("StartLine")
            yield Found("secret", rule, word(one, "Severity"), path=at(path, line), title=word(one, "Title"))
        for inside, one in objects(part, "Misconfigurations", place):
            if one.get("Status", "FAIL") == "FAIL":
                cause = object_at(one, "CauseMetadata", inside)
                line, about = cause.get("StartLine"), word(cause, "Resource")
                yield Found(
                    "misconfiguration",
                    named(one, "ID", inside),
                    word(one, "Severity"),
                    path=at(path, line),
                    title=word(one, "Title"),
                    mark=f"{path}\n{about}" if about else "",  # lines move
                )
