"""SARIF 2.1.0 (OASIS, docs.oasis-open.org/sarif/sarif/v2.1.0): what most code scanners and secret scanners write.

A result is a finding where it is a failure that is not suppressed and not gone (`baselineState: absent`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from agent.schema import About
from agent.streams.document import Object, object_at, whole, wrong
from agent.streams.fit import text
from agent.streams.parser import Said
from agent.streams.scan import FINDING, SCAN, Found, Scanned, What, at, named, objects, said, word
from agent.streams.sender import MOST, BadDocumentError, sender

_LEVELS: Final = {"error": "high", "warning": "medium", "note": "low", "none": "negligible"}
_SECRETS: Final = frozenset({"gitleaks", "trufflehog", "detect-secrets", "ggshield"})
_TAGGED: Final[Mapping[str, What]] = {
    "secret": "secret",
    "vulnerability": "vulnerability",
    "misconfiguration": "misconfiguration",
}


@sender(kinds=(SCAN, FINDING))
class Sarif:
    """What a scanner found, one run after the other. `target` names what was scanned, where the file does not say it."""

    target: Annotated[str, About("what was scanned, where the file does not say it", "shop:1.4")] = ""

    def read(self, document: Any) -> list[Said]:
        """Each run's report, and what it found."""
        log = whole(document)
        if log.get("version") != "2.1.0":
            raise wrong("version", "2.1.0", log.get("version"))
        if not isinstance(log.get("runs"), list):
            raise wrong("runs", "a list", log.get("runs"))
        runs: dict[Scanned, list[Found]] = {}
        for place, run in objects(log, "runs"):
            driver = object_at(object_at(run, "tool", place), "driver", f"{place}.tool")
            name = named(driver, "name", f"{place}.tool.driver")
            runs.setdefault(Scanned(name.lower(), self.target or _target(run, place)), []).extend(_found(run, driver, place))
        made = [one for scanned, found in runs.items() for one in said(scanned, found)]
        if len(made) > MOST:
            raise BadDocumentError(f"more than {MOST} findings in all runs; import them one by one")
        return made


def _target(run: Object, place: str) -> str:
    """What was scanned: the repository, else what the run calls itself, else `this host`."""
    for _, one in objects(run, "versionControlProvenance", place):
        if repository := word(one, "repositoryUri"):
            return repository
    return word(object_at(run, "automationDetails", place), "id").rstrip("/") or "unnamed"


def _found(run: Object, driver: Object, place: str) -> Iterator[Found]:
    rules = [rule for _, rule in objects(driver, "rules", f"{place}.tool.driver")]
    by_name = {word(rule, "id"): rule for rule in rules}
    secrets = word(driver, "name").lower() in _SECRETS
    for inside, one in objects(run, "results", place):
        if one.get("kind", "fail") != "fail" or one.get("baselineState") == "absent" or _suppressed(one, inside):
            continue
        number = one.get("ruleIndex")
        known = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(rules)
        rule = rules[int(str(number))] if known else by_name.get(word(one, "ruleId"), {})
        name = word(one, "ruleId") or word(object_at(one, "rule", inside), "id") or word(rule, "id")
        if not name:
            raise wrong(f"{inside}.ruleId", "text", one.get("ruleId"))
        kind: What = "secret" if secrets else _kind(rule, inside)
        file, line = _spot(one, inside)
        title, mark = _title(one, rule, inside, secret=kind == "secret"), _mark(one, file, inside)
        yield Found(kind, name, _severity(one, rule, inside), path=at(file, line) if file else "", title=title, mark=mark)


def _suppressed(one: Object, place: str) -> bool:
    return any(word(each, "status") in ("", "accepted") for _, each in objects(one, "suppressions", place))


def _kind(rule: Object, place: str) -> What:
    tags = object_at(rule, "properties", f"{place}.rule").get("tags")
    words = {one.lower() for one in tags[:50] if isinstance(one, str)} if isinstance(tags, list) else set()
    return next((kind for tag, kind in _TAGGED.items() if tag in words), "code")


def _severity(one: Object, rule: Object, place: str) -> str:
    """By the score that GitHub reads (`security-severity`, as CVSS), else by the level."""
    score = text(object_at(rule, "properties", f"{place}.rule").get("security-severity"))
    try:
        number = float(score)
    except ValueError:
        usual = word(object_at(rule, "defaultConfiguration", f"{place}.rule"), "level") or "warning"
        return _LEVELS.get(word(one, "level") or usual, "unknown")
    grades = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
    return next((name for least, name in grades if number >= least), "unknown")


def _title(one: Object, rule: Object, place: str, *, secret: bool) -> str:
    """The rule's short text, else the message; a secret scanner's message may hold the secret."""
    short = word(object_at(rule, "shortDescription", f"{place}.rule"), "text")
    return short if short or secret else word(object_at(one, "message", place), "text")


def _spot(one: Object, place: str) -> tuple[str, Any]:
    """The first file that a result names, and the line in it; an empty name where there is none."""
    for inside, spot in objects(one, "locations", place):
        physical = object_at(spot, "physicalLocation", inside)
        if file := word(object_at(physical, "artifactLocation", inside), "uri"):
            return file, object_at(physical, "region", inside).get("startLine")
    return "", None


def _mark(one: Object, file: str, place: str) -> str:
    """The scanner's own fingerprints, which stay the same when lines move; by name, because there may be several."""
    for name in ("fingerprints", "partialFingerprints"):
        marks = object_at(one, name, place)
        if told := sorted(f"{key}={value}" for key, value in marks.items() if isinstance(value, str) and value):
            return "\n".join((file, *told))
    return ""
