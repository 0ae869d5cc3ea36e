"""A nightly scan repeats itself: what is known is no event, what is gone is counted, and a crash changes nothing about that."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from agent import snapshot
from agent.event import Event
from agent.evidence.redact import Redactor
from agent.fold import fold
from agent.messages import Asked, Effect, Note, Reply
from agent.record import Record
from agent.say import sentence
from agent.scans import known
from agent.scans.sift import imported, sift
from agent.state import State
from agent.streams.parser import Said
from agent.streams.scan import FINDING, SCAN, Found, Scanned, said
from agent.streams.sender import discover_senders, events
from agent.turn import Agent, Settings
from agent.watching.watch import Watch

NOW = 1_800_000_000.0


def agent(state: State | None = None) -> Agent:
    return Agent(Settings("db1"), state or State({}), Watch((), {}))


def scan(*names: str, target: str = "shop:1.2") -> list[Event]:
    found = [Found("vulnerability", name, "high", "libssl3", "3.0") for name in names]
    return events(said(Scanned("trivy", target), found), discover_senders()["trivy"](), "drop:x", NOW)


def night(to: Agent, *names: str, target: str = "shop:1.2") -> tuple[list[str], dict[str, Any], list[Record]]:
    """The findings that are told, the counts of the report, and the records."""
    kept, effects = sift(to, scan(*names, target=target), NOW)
    (report,) = [one for one in kept if one.kind == SCAN.name]
    counts = {name: report.get(name) for name in ("findings", "known", "new", "gone")}
    return [str(one.get("id")) for one in kept if one.kind == FINDING.name], counts, records(effects)


def records(effects: list[Effect]) -> list[Record]:
    return [one.record for one in effects if isinstance(one, Note)]


def test_a_finding_is_told_once_and_again_only_after_it_was_gone() -> None:
    to = agent()

    nights = [night(to, *names)[0] for names in (["A", "B"], ["A", "B", "C"], ["B", "C"], ["A", "B", "C"])]

    assert nights == [["A", "B"], ["C"], [], ["A"]]


def test_the_report_counts_what_is_new_known_and_gone() -> None:
    to = agent()
    night(to, "A", "B")

    _, counts, (record,) = night(to, "B", "C", "D")

    assert counts == {"findings": 3, "known": 1, "new": 2, "gone": 1}
    assert sentence(record) == "trivy has scanned shop:1.2: 3 findings, 2 new, 1 gone"


def test_targets_do_not_know_of_each_other() -> None:
    to = agent()
    night(to, "A", target="shop:1.2")

    told, counts, _ = night(to, "A", target="shop:1.3")

    assert told == ["A"]
    assert counts["gone"] == 0
    assert night(to, "A", target="shop:1.2")[0] == []


def test_two_scans_in_one_document_are_told_apart() -> None:
    to = agent()
    night(to, "A", target="one")

    kept, effects = sift(to, [*scan("A", target="one"), *scan("A", "B", target="two")], NOW)

    assert [(one.get("target"), one.get("id")) for one in kept if one.kind == FINDING.name] == [("two", "A"), ("two", "B")]
    assert len(records(effects)) == 2


def test_events_of_other_kinds_pass_untouched() -> None:
    other = [Event("auth.ssh.failure", NOW, {"src.ip": "203.0.113.7"})]

    assert sift(agent(), other, NOW) == (other, [])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), st.lists(st.sampled_from("ABCDE"), max_size=5)), max_size=12))
def test_what_the_journal_holds_is_what_is_known(nights: list[tuple[str, list[str]]]) -> None:
    to, written = agent(), list[Record]()
    for target, names in nights:
        written += night(to, *names, target=target)[2]

    replayed = State({})
    for record in written:
        fold(replayed, Record(**from_json(to_json(record))), NOW)
    restored = snapshot.restore(from_json(to_json(snapshot.snapshot(to.state))), {})

    assert replayed.scans.all == to.state.scans.all == restored.scans.all
    assert all(len(one.marks) <= 5 for one in replayed.scans.all.values())


def test_fingerprints_are_no_secrets_to_the_redactor() -> None:
    to = agent()
    (record,) = night(to, *(f"CVE-{number}" for number in range(300)))[2]
    text = to_json(record.body)

    (clean,) = Redactor(b"k" * 32).clean([text])

    assert clean == text


def test_of_too_many_the_target_scanned_longest_ago_is_forgotten_and_counted() -> None:
    book = known.Scans()
    for number in range(12):
        marks = " ".join(f"{number:04x}{mark:012x}" for mark in range(9_999))
        book.fold(Record("scanned", {"scanner": "t", "target": f"{number}", "findings": 9_999, "new": marks, "gone": ""}), NOW)

    assert ("t", "0") not in book.all
    assert ("t", "11") in book.all
    assert book.forgotten == 2


# Over the control socket ---------------------------------------------------------------------------------------------------


def finding(number: int) -> dict[str, Any]:
    return {"kind": "secret", "id": f"rule-{number}", "severity": "high", "fingerprint": f"{number:016x}"}


def part(to: Agent, *numbers: int, **more: Any) -> tuple[list[Event], dict[str, Any]]:
    body = {"scan": {"scanner": "trivy", "target": "shop"}, "findings": [finding(one) for one in numbers], **more}
    made, effects = imported(to, Asked("import", body, "alice (uid 1000)"), NOW)
    (reply,) = [one for one in effects if isinstance(one, Reply)]
    return made, dict(reply.body)


def test_a_scan_in_parts_is_one_scan() -> None:
    to = agent()
    part(to, 1, 2, 3, whole=" ".join(f"{one:016x}" for one in (1, 2, 3)))

    first, one = part(to, 2, 3, 4)
    second, two = part(to, 5)
    last, end = part(to, whole=" ".join(f"{one:016x}" for one in (2, 3, 4, 5)), new=2)

    assert [(said["known"], said["new"], said["gone"]) for said in (one, two, end)] == [(2, 1, 0), (0, 1, 0), (0, 0, 1)]
    assert [event.get("id") for event in (*first, *second)] == ["rule-4", "rule-5"]
    (report,) = last
    assert {name: report.get(name) for name in ("findings", "new", "known", "gone")} == {
        "findings": 4,
        "new": 2,
        "known": 2,
        "gone": 1,
    }


def test_an_import_that_was_cut_off_and_begun_anew_tells_nothing_twice() -> None:
    to = agent()
    part(to, 1, 2)

    made, said = part(to, 1, 2, 3, whole=" ".join(f"{one:016x}" for one in (1, 2, 3)), new=0)

    assert (said["known"], said["new"]) == (2, 1)
    assert [one.get("id") for one in made if one.kind == FINDING.name] == ["rule-3"]


def test_said_has_the_report_first() -> None:
    made: list[Said] = said(Scanned("t", "x"), [Found("secret", "a", "HIGH")])

    assert [one.kind for one in made] == [SCAN.name, FINDING.name]
