"""The playbooks of the incident response plan, as the shipped policy files have them: from the first event to the closed
report, in virtual time, with a person who says yes, recovery, and what happens when it comes again.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent import gathering
from agent.action import from_text
from agent.backtest.replay import Replay, acting
from agent.event import Event
from agent.evidence.journal_read import read_only
from agent.gathering import Picture
from agent.grammar.policy_reader import read_policies
from agent.guard import Lifelines
from agent.incident import Incident
from agent.messages import Asked, Reply
from agent.notifying.routes import Channel, Routes
from agent.people import writing
from agent.proving.grounds import ground
from agent.record import Record
from agent.report import write
from agent.report.read import gather
from agent.report.tell import story as tell
from agent.state import State
from agent.turn import Settings
from agent.wiring import catalogue, parse
from tests.evidence.journals import opened
from tests.report.journalled import whole_notes

SHELF = Path(__file__).parent.parent / "policies"
T0 = 1_800_000_000.0
SECOND, MINUTE, HOUR = 1.0, 60.0, 3600.0
CHECKS = {
    "shop": "http",
    "main": "postgres_reachable",
    "conns": "postgres_connections",
    "locks": "postgres_locks",
    "sums": "postgres_checksums",
}
ROUTES = Routes({"ops": Channel("ops", "webhook")}, {"P0": ("ops",), "P1": ("ops",), "P2": ("ops",), "P3": ("ops",)})
ALICE = "alice (uid 1000)"


class Playbook(Replay):
    """Shipped policies at work, all in enforce, and a person at the shell."""

    def __init__(self, *files: str) -> None:
        known = catalogue(None)
        read, _ = read_policies({name: (SHELF / f"{name}.yaml").read_text() for name in files}, known, parse)
        live = acting([replace(one, mode=None) for one in read], "enforce")
        settings = Settings("db1", "enforce", lists=known.lists, checks=CHECKS, hooks={"rollback-shop": ("shop",)}, routes=ROUTES)
        self.actions, self.records, self.answers = known.actions, list[tuple[float, Record]](), list[Reply]()
        self.at = T0
        world = (Lifelines(()), State({}))
        super().__init__(live, settings, world, ground(None, known), lambda at, one: self.records.append((at, one)))
        self.begin(T0)

    # The world ------------------------------------------------------------------------------------------------------------

    def pass_by(self, seconds: float) -> None:
        self.at += seconds
        self.end(self.at)

    def sees(self, kind: str, times: int = 1, every: float = 0.0, **fields: Any) -> None:
        named = {name.replace("__", "."): value for name, value in fields.items()}
        source = str(named.pop("source", "test"))
        for _ in range(times):
            self.pass_by(every)
            self.feed(Event(kind, self.at, dict(named), source, self.at))

    def check(self, name: str, *answers: bool, target: str = "main", every: float = 10.0) -> None:
        for ok in answers:
            said: dict[str, Any] = {"ok": ok, "state": "good" if ok else "bad", "say": "it answers" if ok else "no answer"}
            fields: dict[str, Any] = {"name": name, "check": CHECKS[name], "target": target, "about": "", **said}
            self.sees("check", every=every, source=f"check:{name}", **fields)

    # The person -----------------------------------------------------------------------------------------------------------

    def asks(self, verb: str, **body: Any) -> None:
        self._tell(Asked(verb, {"why": "seen to", **body}, ALICE, 1), self.at)

    def approve(self, number: int) -> str:
        one = self.agent.state.approvals.all[f"A-{number}"]
        given = dict(word.partition("=")[::2] for word in one.order)
        action = from_text(self.actions[one.action], given)
        self.asks("approve", what=one.id, action=action)
        return one.action

    # What came of it ------------------------------------------------------------------------------------------------------

    @property
    def incident(self) -> Incident:
        return self.agent.state.incidents["INC-1"]

    def picture(self, incident: str) -> Picture:
        seen = gathering.picture(self.agent.state, incident)
        assert seen is not None
        return seen

    def did(self) -> list[str]:
        """What was begun, in order."""
        return [one.body["action"] for _, one in self.records if one.kind == "intent"]

    def kinds(self, kind: str) -> list[Record]:
        return [one for _, one in self.records if one.kind == kind]

    def in_force(self) -> list[str]:
        return [one.action for one in self.agent.state.in_force()]

    def phases(self, incident: str = "INC-1") -> list[str]:
        seen = ["open"]
        for _, one in self.records:
            if one.incident == incident and (one.kind == "phase" or one.body.get("contains")):
                seen.append(one.body.get("phase", "contained"))
        return seen


def test_data_breach() -> None:
    book = Playbook("data_breach")
    leak: dict[str, Any] = {
        "name": "DLP bulk download",
        "status": "firing",
        "severity": "critical",
        "src__ip": "203.0.113.7",
        "user": "bob",
    }

    book.sees("alert", sender="siem", fingerprint="a1", **leak)
    at_once = book.did()
    waits = [one.action for one in book.agent.state.approvals.waiting]
    said = [book.approve(number) for number in (1, 2)]
    cut_off = book.in_force()
    book.asks("confirm", what=_named(book, "isolate_host"))
    contained = book.incident.phase

    assert (book.incident.severity, book.incident.about) == ("P0", "security")
    assert (at_once, waits, said) == (["snapshot", "block_ip"], ["lock_user", "isolate_host"], ["lock_user", "isolate_host"])
    assert (sorted(cut_off), contained) == (["block_ip", "isolate_host", "lock_user"], "contained")

    book.sees("alert", sender="siem", fingerprint="a1", **{**leak, "status": "resolved"})
    book.asks("undo", what="INC-1", why="keys rotated")
    book.pass_by(MINUTE)

    assert (book.in_force(), book.incident.phase) == ([], "resolved")
    ended(book)

    book.pass_by(2 * HOUR)
    book.sees("alert", sender="siem", fingerprint="a2", **leak)
    again = book.picture("INC-2").lead
    assert (again.before, again.over, again.acked) == ("INC-1", False, None)
    assert book.did()[-2:] == ["snapshot", "block_ip"]


def test_a_breach_that_people_tell_of_does_nothing_without_a_yes() -> None:
    book = Playbook("data_breach_reported")

    book.asks("report", text="our customer table was leaked", severity="P0", service="shop")

    found = [one for one in book.agent.state.incidents.values() if one.policy == "data-breach-reported"]
    assert [one.severity for one in found] == ["P0"]
    assert book.did() == []
    assert [one.action for one in book.agent.state.approvals.waiting] == ["snapshot", "isolate_host"]


def test_ddos() -> None:
    book = Playbook("http_flood")
    flood: dict[str, Any] = {"src__ip": "203.0.113.7", "rps": 180.0, "requests": 900, "error_ratio": 0.0}

    book.sees("http.source", times=3, every=5, **flood)
    limited = book.did()
    book.sees("http.source", times=20, every=5, **flood)
    blocked = (book.did(), book.incident.phase)

    assert limited == ["rate_limit"]
    assert blocked == (["rate_limit", "block_ip"], "contained")
    assert book.incident.about == "availability"

    book.pass_by(15 * MINUTE)
    easing = (book.in_force(), book.incident.phase)
    book.sees("http.source", times=4, every=5, **flood)
    again = (book.kinds("recurred")[0].body["rung"], book.incident.phase, sorted(set(book.in_force())))

    assert (set(easing[0]), easing[1]) == ({"rate_limit"}, "recovering")
    assert again[0] == "in force"
    assert "block_ip" in again[2]

    book.pass_by(5 * HOUR)
    assert (book.in_force(), book.incident.phase) == ([], "resolved")
    ended(book)


def test_unauthorized_access() -> None:
    book = Playbook("unauthorized_access", "ssh_guessed_password")
    rule: dict[str, Any] = {"rule": "Read sensitive file untrusted", "priority": "Warning", "container__id": "", "user": "alice"}

    book.sees("auth.ssh.failure", times=6, every=5, src__ip="203.0.113.8", user="alice", source="sshd")
    book.sees("auth.ssh.success", every=5, src__ip="203.0.113.8", user="alice", method="password", source="sshd")
    book.sees("falco.alert", every=30, source="falco", **rule)

    assert book.did() == ["block_ip", "snapshot", "lock_user"]
    assert {one.phase for one in book.agent.state.incidents.values()} == {"contained"}

    book.pass_by(24 * HOUR + 10)
    assert book.in_force() == []
    book.pass_by(HOUR)
    assert {one.phase for one in book.agent.state.incidents.values()} == {"resolved"}
    ended(book, "INC-2")


def test_service_outage() -> None:
    book = Playbook("service_down", "service_rollback")
    url = "http://127.0.0.1/"
    book.check("shop", *[True] * 6, target=url)

    book.check("shop", *[False] * 4, target=url)
    told = [(one.policy, one.phase, one.lead) for one in book.agent.state.incidents.values()]
    before = book.did()
    hook = book.approve(1)

    assert told == [("service-down", "open", ""), ("service-rollback", "open", "INC-1")]
    assert (before, hook, book.did()) == (["snapshot"], "run_hook", ["snapshot", "run_hook"])
    assert book.agent.state.incidents["INC-2"].phase == "contained"

    book.check("shop", *[True] * 200, target=url)
    assert {one.phase for one in book.agent.state.incidents.values()} == {"resolved"}
    assert book.did() == ["snapshot", "run_hook"]
    ended(book, "INC-2")


def test_an_outage_that_the_rollback_did_not_mend_is_never_resolved_by_the_clock() -> None:
    book = Playbook("service_down", "service_rollback")
    url = "http://127.0.0.1/"
    book.check("shop", *[False] * 6, target=url)
    book.approve(1)

    for _ in range(30):
        book.sees(
            "check", every=120, name="shop", check="http", target=url, about="", state="unknown", say="it could not be asked"
        )

    assert {one.phase for one in book.agent.state.incidents.values() if one.policy == "service-down"} == {"open"}
    assert "resolved" not in book.phases("INC-2")


def test_database_connection_failure() -> None:
    book = Playbook("postgres_connections", "postgres_down")

    book.check("conns", *[False] * 3)
    book.check("main", *[False] * 3)
    policies = {one.policy: (one.severity, one.about) for one in book.agent.state.incidents.values()}

    assert policies == {"postgres-connections": ("P1", "data"), "postgres-down": ("P0", "data")}
    assert book.did() == ["snapshot"]

    for _ in range(200):
        book.check("conns", True)
        book.check("main", True, every=0)
    assert {one.phase for one in book.agent.state.incidents.values()} == {"resolved"}
    ended(book)


def test_slow_queries() -> None:
    book = Playbook("postgres_slow")

    book.check("locks", *[False] * 60)
    kept = book.did()
    book.check("locks", *[True] * 200)
    ended(book)
    book.check("locks", *[False] * 3)

    assert kept == ["snapshot"]
    assert book.picture("INC-2").lead.before == "INC-1"
    assert book.did() == ["snapshot", "snapshot"]


def test_corruption() -> None:
    book = Playbook("postgres_corruption")

    book.check("sums", False)
    stopped = (book.in_force(), book.incident.phase)
    book.pass_by(48 * HOUR)
    held = book.in_force()

    assert stopped == (["stop_writes"], "contained")
    assert held == ["stop_writes"]

    book.asks("undo", what="INC-1", why="restored and verified")
    book.pass_by(10)
    waits = book.incident.phase
    book.check("sums", True, True, True)
    book.pass_by(10)

    assert (book.in_force(), waits, book.incident.phase) == ([], "recovering", "resolved")
    ended(book)


def test_corruption_that_is_still_there_after_writes_were_let_go_is_open_again() -> None:
    book = Playbook("postgres_corruption")
    book.check("sums", False)
    book.asks("undo", what="INC-1", why="I think that it is mended")
    book.pass_by(10)

    for _ in range(100):
        book.sees("check", every=10, name="sums", check=CHECKS["sums"], target="main", about="", state="unknown", say="no answer")

    assert book.phases()[-2:] == ["recovering", "open"]
    assert "everything was let go, and it is not well: sums: no answer" in book.kinds("phase")[-1].body["because"]


def ended(book: Playbook, incident: str = "INC-1") -> None:
    """What people do behind it: they have acknowledged it, write what they have learnt, and close it; its report has it all."""
    seen = gathering.picture(book.agent.state, incident)
    assert seen is not None
    lead = seen.lead
    assert seen.phase == "resolved"
    assert lead.resolved is not None
    assert lead.opened <= lead.resolved
    assert book.agent.state.approvals.for_incident(incident) == []

    book.asks("acknowledge", what=incident)
    if seen.severity in ("P0", "P1"):
        book.asks("close", what=incident, missing=writing.missing(book.agent.state, incident))
        assert book.picture(incident).phase == "resolved"  # not before the report is written
    book.asks("report_notes", what=incident, text=whole_notes("The pool was too small."), after=0)
    book.asks("close", what=incident, missing=writing.missing(book.agent.state, incident))

    assert book.picture(incident).phase == "closed"
    book.pass_by(10 * MINUTE)
    _told(book, lead.id)
    _reported(book, incident)


def _told(book: Playbook, lead: str) -> None:
    """People heard of its beginning, and of its end, each under a key of its own, in lines that stand alone."""
    notices = [one.body["notice"] for one in book.kinds("notice") if one.incident == lead]
    keys = [one["key"] for one in notices]
    assert len(keys) == len(set(keys))
    assert notices[0]["what"] == "opened"
    assert {"resolved", "closed"} & {one["what"] for one in notices}
    assert all(one["severity"] in one["headline"] for one in notices)


def _reported(book: Playbook, incident: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "journal.db"
        with closing(opened(path)) as made:
            for at, record in book.records:
                made.commit(at, [record])
            made.checkpoint(book.at)
        with read_only(path) as reader:
            raw = gather(reader, incident)
    assert raw is not None
    told = tell(raw, book.at)
    page = write.html(told, lambda at: datetime.fromtimestamp(at, UTC))
    assert told.missing == ()
    for heading in ("Executive summary", "Timeline", "Root cause", "Lessons", "Action items"):
        assert heading.casefold() in page.casefold()
    assert page.count("The pool was too small.") >= 5
    assert "<script" not in page


def _named(book: Playbook, action: str) -> str:
    return next(one.id for one in book.agent.state.in_force() if one.action == action)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHELF.glob("*.yaml")))
def test_every_shipped_policy_can_be_played_alone(name: str) -> None:
    assert Playbook(name).wants
