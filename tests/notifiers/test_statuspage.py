"""Statuspage: fixed words, one incident for ours, and whatever people moved there by hand is theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agent.notifiers.statuspage import Statuspage
from agent.notifying.notice import Notice, What
from agent.notifying.notifier import Busy, Refused, Thread, Unsure
from tests.certificates import certificate
from tests.notifiers.api import Api, Asked, Wrong
from tests.notifiers.contract import Mischief, NotifierContract, kept, send_all
from tests.notifiers.notices import WHATS, hostile, notice

KEY = "89a229ce1a8dbcf9ff30430fbe35eb4c0426574bca932061892cefd2138aa4b1"
PAGE = "gytm4qzbx9t6"
WEB, DB = "3xdk5n3lzs1p", "9w0bnnxn7cqm"
_KNOWN = {"name", "status", "body", "deliver_notifications", "metadata", "components", "component_ids", "impact_override"}
_STATUSES = ("investigating", "identified", "monitoring", "resolved")
_STATES = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage", "")


class Page(Api):
    """The API by its documentation. `incidents` are all there ever were; `components` how each is said to be."""

    limited = 420

    def __init__(self, shown: Path) -> None:
        self.incidents: list[dict[str, Any]] = []
        self.components = {WEB: "operational", DB: "operational"}
        super().__init__(shown)

    def shows(self, one: Asked) -> bool:
        return one.method != "GET"

    def answers(self, one: Asked) -> tuple[int, Any]:
        if one.headers["authorization"] != f"OAuth {KEY}":
            return 401, self.complaint("Could not authenticate")
        base = f"/v1/pages/{PAGE}/incidents"
        if (one.method, one.path) == ("GET", f"{base}/unresolved?per_page=100"):
            return 200, [each for each in self.incidents if each["status"] != "resolved"]
        if (one.method, one.path) == ("POST", base):
            made = {"id": f"p31zjtct{len(self.incidents)}jk", "page_id": PAGE, "incident_updates": [], "components": []}
            self._change(made, one.body, {"name"})
            self.incidents.append(made)
            return 201, made
        found = next((each for each in self.incidents if one.path == f"{base}/{each['id']}"), None)
        if one.method == "PATCH" and found is not None:
            self._change(found, one.body, set())
            return 200, found
        return 404, self.complaint("Not found")

    def _change(self, made: dict[str, Any], body: Any, required: set[str]) -> None:
        if set(body) != {"incident"}:
            raise Wrong(400, "incident is missing")
        given = body["incident"]
        _demand(required <= set(given) <= _KNOWN, f"fields: {set(given)}")
        _demand(0 < len(given.get("name", "x")) <= 255, "Name is too long (maximum is 255 characters)")
        _demand(given.get("status", "resolved") in _STATUSES, "status")
        _demand(0 < len(given.get("body", "x")) <= 25_000, "body")
        _demand(all(isinstance(one, dict) for one in given.get("metadata", {}).values()), "metadata: values must be objects")
        _demand(
            set(given.get("components", {})) | set(given.get("component_ids", ())) <= set(self.components), "no such component"
        )
        _demand(all(state in _STATES for state in given.get("components", {}).values()), "component state")
        self.components |= given.get("components", {})
        made |= {name: given[name] for name in ("name", "status", "metadata") if name in given}
        if "body" in given:
            made["incident_updates"].insert(0, {"status": made["status"], "body": given["body"], "id": "u"})
        made["components"] = [{"id": one, "status": self.components[one]} for one in given.get("component_ids", ())] or made[
            "components"
        ]


def _demand(so: bool, what: str) -> None:
    if not so:
        raise Wrong(422, what)


class Vendor:
    secrets = (KEY,)
    mischiefs: frozenset[Mischief] = frozenset({"busy", "nonsense", "error", "lost", "hang", "refused", "gibberish"})
    asks = True
    what: What = "opened"

    def __init__(self, page: Page, channel: Statuspage) -> None:
        self.page, self.channel, self.secret_file = page, channel, channel.key_file

    def next(self, mischief: Mischief) -> None:
        if mischief == "refused":
            self.secret_file.write_text("0" * 64)
        else:
            self.page.next(mischief)

    def seen(self) -> int:
        return len(self.page.incidents)

    def stop(self) -> None:
        self.page.stop()


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("statuspage"), 30)


@pytest.fixture
def page(shown: Path) -> Iterator[Page]:
    made = Page(shown)
    yield made
    made.stop()


@pytest.fixture
def channel(page: Page, shown: Path, tmp_path: Path) -> Statuspage:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    url = f"https://localhost:{page.port}/v1"
    by_policy = {"slow-db": (DB,), "quiet": ()}
    return Statuspage(PAGE, file, (WEB,), by_policy, base_url=url, ca_file=str(shown), within=timedelta(seconds=1.5))


class TestStatuspage(NotifierContract):
    @pytest.fixture
    def vendor(self, page: Page, channel: Statuspage) -> Iterator[Vendor]:
        yield Vendor(page, channel)
        assert page.wrong == []


def _at(phase: str, what: What = "changed", **given: Any) -> Notice:
    return notice(what, phase=phase, **given)


def _repeat(channel: Any, one: Notice, thread: Thread) -> None:
    send_all(channel, one, thread, doubtful=True)


def _tell(channel: Any, thread: Thread, *notices: Notice) -> Thread:
    for one in notices:
        thread = send_all(channel, one, thread)
    return thread


def test_phases_become_statuses_each_with_its_own_words(channel: Statuspage, page: Page) -> None:
    phases = ("contained", "recovering", "resolved", "closed")

    thread = _tell(channel, {}, _at("open", "opened"), *(_at(one) for one in phases))

    (one,) = page.incidents
    assert [each["status"] for each in reversed(one["incident_updates"])] == list(_STATUSES)
    assert len({each["body"] for each in one["incident_updates"]}) == 4
    assert thread == {}
    assert page.wrong == []


@pytest.mark.parametrize(("severity", "state"), [("P0", "major_outage"), ("P1", "partial_outage")])
def test_components_are_marked_while_it_lasts_and_are_well_at_the_end(
    channel: Statuspage, page: Page, severity: Any, state: str
) -> None:
    thread = _tell(channel, {}, _at("open", "opened", severity=severity))
    assert page.components == {WEB: state, DB: "operational"}

    _tell(channel, thread, _at("resolved", "resolved", severity=severity))

    assert page.components == {WEB: "operational", DB: "operational"}


def test_a_severity_that_changes_changes_components_without_a_word_to_subscribers(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, _at("open", "opened"), _at("open", severity="P0"), _at("open", severity="P2"))

    assert page.components[WEB] == "degraded_performance"
    assert len(page.incidents[0]["incident_updates"]) == 1
    assert [one.body["incident"]["deliver_notifications"] for one in page.asked if one.method == "PATCH"] == [False, False]


def test_a_policy_can_have_components_of_its_own(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, _at("open", "opened", policy="slow-db"))
    _tell(channel, {}, _at("open", "opened", policy="quiet", incident="INC-8", key="INC-8/1"))

    assert page.components == {WEB: "operational", DB: "partial_outage"}
    assert len(page.incidents) == 2


def test_a_component_that_another_incident_affects_is_not_called_well(channel: Statuspage, page: Page) -> None:
    first = _tell(channel, {}, _at("open", "opened"))
    _tell(channel, {}, _at("open", "opened", incident="INC-8", key="INC-8/1"))

    _tell(channel, first, _at("resolved", "resolved"))

    assert page.components[WEB] == "partial_outage"
    assert [one["status"] for one in page.incidents] == ["resolved", "investigating"]


def test_nothing_is_sent_where_nothing_has_moved(channel: Statuspage, page: Page) -> None:
    thread = _tell(channel, {}, _at("open", "opened"))

    _tell(channel, thread, _at("open"), _at("open", "escalated"), _at("open", "acknowledged"), _at("open", "noted"))

    assert [one.method for one in page.asked if one.method != "GET"] == ["POST"]


@pytest.mark.parametrize("severity", ["P2", "P3"])
def test_what_is_not_bad_enough_is_not_published(channel: Statuspage, page: Page, severity: Any) -> None:
    _tell(channel, {}, _at("open", "opened", severity=severity), _at("contained", severity=severity), _at("resolved", "resolved"))

    assert page.asked == []


def test_a_dry_run_is_not_published(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, *(notice(what, dry=True) for what in WHATS if what != "test"))

    assert page.asked == []


def test_a_test_looks_and_publishes_nothing(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, notice("test"))

    assert [one.method for one in page.asked] == ["GET"]


def test_what_gets_worse_later_is_published_then(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, _at("open", "opened", severity="P2"), _at("contained", severity="P0"))

    assert [one["status"] for one in page.incidents] == ["identified"]


def test_one_that_goes_on_after_its_end_is_a_new_one(channel: Statuspage, page: Page) -> None:
    _tell(channel, {}, _at("open", "opened"), _at("resolved", "resolved"), _at("open", "reopened"))

    assert [one["status"] for one in page.incidents] == ["resolved", "investigating"]


@pytest.mark.parametrize("theirs", ["resolved", "monitoring"])
def test_what_people_moved_by_hand_is_left_alone(channel: Statuspage, page: Page, theirs: str) -> None:
    thread = _tell(channel, {}, _at("open", "opened"))
    page.incidents[0]["status"] = theirs
    page.incidents[0]["incident_updates"].insert(0, {"status": theirs, "body": "All good, said a person."})

    _tell(channel, thread, _at("contained"), _at("recovering"), _at("resolved", "resolved"))

    assert [one["status"] for one in page.incidents] == [theirs]
    assert [one.method for one in page.asked if one.method != "GET"] == ["POST"]


def test_what_people_deleted_is_not_made_again(channel: Statuspage, page: Page) -> None:
    thread = _tell(channel, {}, _at("open", "opened"))
    page.incidents.clear()

    _tell(channel, thread, _at("contained"), _at("recovering"))

    assert page.incidents == []


def test_a_change_that_was_taken_without_an_answer_is_not_taken_for_a_persons(channel: Statuspage, page: Page) -> None:
    thread = _tell(channel, {}, _at("open", "opened"))
    page.next("lost")
    with pytest.raises(Unsure):
        _tell(channel, thread, _at("contained"))
    assert page.incidents[0]["status"] == "identified"

    _tell(channel, thread, _at("recovering"), _at("resolved", "resolved"))

    assert page.incidents[0]["status"] == "resolved"
    assert len(page.incidents[0]["incident_updates"]) == 4


def test_a_change_that_was_taken_is_not_published_twice(channel: Statuspage, page: Page) -> None:
    thread = _tell(channel, {}, _at("open", "opened"))
    page.next("lost")
    with pytest.raises(Unsure):
        _tell(channel, thread, _at("contained"))

    _repeat(channel, _at("contained"), thread)

    assert [one["status"] for one in page.incidents[0]["incident_updates"]] == ["identified", "investigating"]


def test_a_page_that_cannot_be_asked_has_surely_taken_nothing(channel: Statuspage, page: Page) -> None:
    page.shows = lambda one: True  # type: ignore[method-assign]
    page.next("error")

    with pytest.raises(Busy) as caught:
        _tell(channel, {}, _at("open", "opened"))

    assert not isinstance(caught.value, Unsure)
    assert [one.method for one in page.asked] == ["GET"]


def test_a_component_that_is_not_there_is_said(channel: Statuspage, page: Page) -> None:
    del page.components[WEB]

    with pytest.raises(Refused, match="no such component; look at `component_ids`"):
        _tell(channel, {}, _at("open", "opened"))


def test_ops_can_say_it_in_their_own_words(channel: Statuspage, page: Page) -> None:
    words = {"investigating": "Wir sehen uns ein Problem an."}
    own = Statuspage(
        PAGE, channel.key_file, texts=words, title="Störung", notify=False, base_url=channel.base_url, ca_file=channel.ca_file
    )

    _tell(own, {}, _at("open", "opened"))

    said = page.asked[-1].body["incident"]
    assert (said["name"], said["body"], said["deliver_notifications"]) == ("Störung", words["investigating"], False)
    assert "components" not in said


@pytest.mark.parametrize(
    "given",
    [
        {"texts": {"fixed": "x"}},
        {"texts": {"resolved": " "}},
        {"title": "x" * 256},
        {"component_ids": ("a/b",)},
        {"by_policy": {"x": ("../..",)}},
        {"base_url": "http://api.statuspage.io/v1"},
        {"within": timedelta(seconds=9)},
    ],
)
def test_what_could_not_work_is_refused_at_once(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own sentence
        Statuspage(PAGE, tmp_path / "key", **given)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=hostile())
def test_nothing_that_was_seen_is_ever_published(channel: Statuspage, page: Page, one: Notice) -> None:
    page.asked.clear()
    for phase in ("open", "contained", "recovering", "resolved"):
        thread: Thread = {}
        each = one._replace(phase=phase, severity="P0")
        for part in channel.parts(each):
            thread = kept(channel.send(each, part, thread, doubtful=True))

    assert page.wrong == []
    for asked in page.asked:
        said = asked.body["incident"] if asked.body else {}
        marks = {len(given["mark"]) for given in said.pop("metadata", {}).values()}
        assert marks <= {32}
        assert set(json.dumps(said)) <= set(map(chr, range(32, 127)))
        assert said.get("name", channel.title) == channel.title
        assert "evil" not in json.dumps(said)
        assert set(said.get("components", ())) <= {WEB, DB}
