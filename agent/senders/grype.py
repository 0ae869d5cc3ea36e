"""Grype's JSON report (`grype -o json`; oss.anchore.com, "Understanding Grype results").

A distribution's advisory often lacks what the CVE behind it says: that it is exploited counts wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.streams.document import Object, object_at, whole, wrong
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.scan import FINDING, SCAN, Found, Scanned, named, objects, said, word
from agent.streams.sender import sender


@sender(kinds=(SCAN, FINDING))
class Grype:
    """Vulnerabilities of an image, a directory or a list of packages."""

    def read(self, document: Any) -> list[Said]:
        """The report, and what it found."""
        report = whole(document)
        if not isinstance(report.get("matches"), list):
            raise wrong("matches", "a list", report.get("matches"))
        source = object_at(report, "source")
        return said(_scanned(source), _found(report))


def _scanned(source: Object) -> Scanned:
    told = source.get("target")
    name = named(told, "userInput", "source.target") if isinstance(told, dict) else text(told)
    if not name:
        raise wrong("source.target", "a name, or an object with `userInput`", told)
    return Scanned("grype", name, name if source.get("type") == "image" else "")


def _found(report: Object) -> Iterator[Found]:
    for place, one in objects(report, "matches"):
        what, package = object_at(one, "vulnerability", place), object_at(one, "artifact", place)
        inside = f"{place}.artifact"
        versions = object_at(what, "fix", f"{place}.vulnerability").get("versions")
        where = [word(spot, "path") for _, spot in objects(package, "locations", inside)]
        records = [what, *(related for _, related in objects(one, "relatedVulnerabilities", place))]
        yield Found(
            "vulnerability",
            named(what, "id", f"{place}.vulnerability"),
            word(what, "severity"),
            named(package, "name", inside),
            word(package, "version"),
            ", ".join(filter(None, map(text, versions[:10]))) if isinstance(versions, list) else "",
            min(filter(None, where), default=""),
            word(what, "description")[:200],
            _exploited(records),
        )


def _exploited(records: list[Object]) -> bool | None:
    """Whether any record says so; None where Grype's database knows nothing of exploits at all."""
    told = [one["knownExploited"] for one in records if "knownExploited" in one]
    if any(isinstance(one, list) and one for one in told):
        return True
    return False if told else None
