"""Capsules as files, and what a start and `contain expire` make of them; systemd and a dead agent stand in test_outlive.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.action import CannotReach, Change
from agent.expiry import capsule, timers
from agent.expiry.capsule import Capsule
from agent.expiry.expire import expire
from agent.expiry.expired import mark, take_over
from agent.expiry.outlive import Outlive, stray
from agent.fold import fold
from agent.record import Record
from agent.schema import address
from agent.state import State
from agent.systems.firewall import Firewall
from agent.systems.units import Units
from agent.turn import Agent, Settings
from agent.watching.watch import Watch
from tests.running import contain

TYPES = {"units": Units, "firewall": Firewall}
UNITS = Units()
PAST, LATER = 1_700_000_000.0, 4_000_000_000.0


def stopping(unit: str = "shop.service") -> Change:
    return Change(
        describe=f"stop {unit}",
        apply=UNITS.hold_down(unit=unit, triggers=(), link=False),
        undo=UNITS.let_up(unit=unit, running=(unit,)),
        verify=UNITS.is_held_down(unit=unit, triggers=(), running=(unit,)),
    )


def blocking(ip: str) -> Change:
    firewall, network = Firewall(), address(ip)
    return Change(
        "block", firewall.block(ip=network, ttl=timedelta(hours=1)), firewall.unblock(ip=network), firewall.is_blocked(ip=network)
    )


def made(place: Path, name: str = "M-41", until: float = LATER, unit: str = "shop.service") -> Capsule:
    socket = place / "agent.sock"
    return Capsule("db1", name, "INC-7", "stop_service", unit, "alice", until, place / "agent.yaml", socket, stopping(unit))


def written(place: Path, **more: Any) -> Path:
    one = made(place, **more)
    capsule.write(capsule.place_of(one.socket), one, known=False)
    return capsule.file_of(capsule.place_of(one.socket), one.mitigation)


def intent(name: str, change: Change, until: float | None = LATER) -> Record:
    body = {"policy": "", "action": "stop_service", "target": "shop.service", "actor": "alice", "because": "a test"}
    return Record("intent", {**body, "change": change, "until": until}, "", name)


def agent(*records: Record) -> Agent:
    state = State(TYPES)
    for one in records:
        fold(state, one, PAST)
    return Agent(Settings("db1"), state, Watch((), {}))


class Book:
    """A journal in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def commit(self, now: float, records: Any, /) -> None:
        self.records += records


# Files --------------------------------------------------------------------------------------------------------------------


def test_a_capsule_comes_back_as_it_was_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = written(tmp_path)

    assert capsule.read(file, TYPES) == made(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in file.parent.iterdir()] == ["M-41.json"]


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _newer(file: Path) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 2}))


def _of_unknown_verb(file: Path) -> None:
    file.write_text(file.read_text().replace("let_up", "let_go"))


def _without_undo(file: Path) -> None:
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "change": {**plain["change"], "undo": None}}))


def _a_list(file: Path) -> None:
    file.write_text("[]")


def _named_strangely(file: Path) -> None:
    file.write_text(file.read_text().replace('"M-41"', '"../../M-41"'))


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_truncated, "it is damaged"),
    "of a newer agent": (_newer, "it has version 2, and this agent knows 1"),
    "with a verb that nobody knows": (_of_unknown_verb, "cannot call units.let_go"),
    "without an undo": (_without_undo, "its change has no undo"),
    "no object": (_a_list, "it holds no JSON object"),
    "with a name that is a path": (_named_strangely, "it is damaged"),
    "a link": (_linked, "Too many levels of symbolic links"),
    "writable for its group": (lambda file: file.chmod(0o620), "others may write it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_capsule_is_said_and_nothing_is_undone_by_it(wrong: str, tmp_path: Path) -> None:
    spoil, says = WRONG[wrong]
    file = written(tmp_path, until=PAST)
    spoil(file)

    with pytest.raises(CannotReach, match=says):
        capsule.read(file, TYPES)
    said = contain("expire", str(file.parent))

    assert said.returncode == 1
    assert f"cannot use the capsule {file}: " in said.stdout
    assert says in said.stdout
    assert file.exists()


def test_a_directory_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.parent.chmod(0o777)

    said = contain("expire", str(file.parent))

    assert said.returncode == 1
    assert "others may write it" in said.stderr
    with pytest.raises(CannotReach, match="others may write it"):
        written(tmp_path)


def test_expire_leaves_alone_what_is_not_over(tmp_path: Path) -> None:
    file = written(tmp_path)

    said = contain("expire", str(file.parent))

    assert (said.returncode, said.stdout) == (0, "")
    assert file.exists()


def test_where_the_clock_was_set_a_living_agent_has_time_to_move_the_end(tmp_path: Path) -> None:
    place, asked, said = written(tmp_path, until=PAST).parent, list[Path](), list[str]()

    def alive(socket: Path) -> bool:
        asked.append(socket)
        capsule.write(place, made(tmp_path), known=True)
        return True

    ended = expire(place, alive, said.append)

    assert ended
    assert len(asked) == 1
    assert said == ["the agent is running and ends it"]
    assert capsule.read(place / "M-41.json", TYPES).until == LATER


def test_of_two_that_are_the_same_in_the_world_the_longer_one_goes_on(tmp_path: Path) -> None:
    over, longer = written(tmp_path, until=PAST), written(tmp_path, name="M-42")

    said = contain("expire", str(over.parent))

    assert said.returncode == 0
    assert (over.exists(), longer.exists()) == (False, True)


def test_expire_is_documented_and_stands_in_nobodys_way() -> None:
    about, everything = contain("expire", "--help").stdout, contain("--help").stdout

    assert "End what is over and not yet ended, without the agent" in about
    assert "expire" not in everything


def test_there_is_nothing_to_expire_where_there_never_was_anything(tmp_path: Path) -> None:
    assert contain("expire", str(tmp_path / "agent.undo")).returncode == 0


# At a start -----------------------------------------------------------------------------------------------------------------


def test_what_the_state_does_not_know_is_offered_for_adoption_in_the_order_it_was_made(tmp_path: Path) -> None:
    for name, unit in (("M-10", "c.service"), ("M-9", "b.service"), ("M-1", "a.service")):
        written(tmp_path, name=name, unit=unit)
    known = agent(intent("M-1", stopping("a.service")))

    found = stray(tmp_path / "agent.sock", known.state)

    assert [(one.mitigation, one.target, one.until) for one in found] == [
        ("M-9", "b.service", LATER),
        ("M-10", "c.service", LATER),
    ]
    assert found[0].change == stopping("b.service")


def test_what_is_adopted_under_another_name_is_not_offered_again(tmp_path: Path) -> None:
    written(tmp_path)
    known = agent(intent("M-1", stopping()), Record("in_force", {"until": LATER}, "", "M-1"))

    assert stray(tmp_path / "agent.sock", known.state) == []


def test_a_capsule_of_before_the_journal_was_lost_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path, unit="old.service")

    written(tmp_path, unit="new.service")

    found = stray(tmp_path / "agent.sock", State(TYPES))
    assert sorted(one.target for one in found) == ["new.service", "old.service"]


def test_what_was_ended_without_a_journal_is_written_down_at_the_next_start_once(tmp_path: Path) -> None:
    one, book = made(tmp_path), Book()
    mark(written(tmp_path), one, "taken down")
    known = agent(intent("M-41", stopping()), Record("in_force", {"until": LATER}, "", "M-41"))

    wrong = [*take_over(one.socket, book, known.state), *take_over(one.socket, book, known.state)]

    (record,) = book.records
    assert wrong == []
    assert (record.kind, record.mitigation, record.body["how"]) == ("lifted", "M-41", "taken down")
    assert known.state.mitigations["M-41"].stage == "lifted"


def test_a_crash_before_its_marker_is_gone_does_not_write_it_down_twice(tmp_path: Path) -> None:
    one, book = made(tmp_path), Book()
    file = written(tmp_path)
    known = agent(intent("M-41", stopping()), Record("in_force", {"until": LATER}, "", "M-41"))

    for _ in range(2):
        mark(file, one, "taken down")
        take_over(one.socket, book, known.state)

    assert [record.kind for record in book.records] == ["lifted"]


def test_orders_to_systemd_have_one_deadline_together() -> None:
    orders = timers._Orders()
    began = time.monotonic()

    with pytest.raises(CannotReach, match="no answer within 5 s"):
        for _ in range(100):
            orders.give("sleep", "0.4")

    assert time.monotonic() - began < timers.PATIENCE + 1


def test_what_was_ended_is_not_taken_for_another_that_has_the_same_number_now(tmp_path: Path) -> None:
    one, book = made(tmp_path), Book()
    mark(written(tmp_path), one, "taken down")
    known = agent(intent("M-41", stopping("other.service")), Record("in_force", {"until": LATER}, "", "M-41"))

    take_over(one.socket, book, known.state)

    assert known.state.mitigations["M-41"].stage == "in_force"
    assert book.records[0].body["was"] == "M-41"


# Before an act --------------------------------------------------------------------------------------------------------------


def test_what_the_kernel_ends_costs_no_file(tmp_path: Path) -> None:
    burst = [(f"M-{n}", blocking(f"11.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}")) for n in range(10_000)]
    keeper = Outlive(agent(), socket=tmp_path / "agent.sock", config=tmp_path / "agent.yaml")

    capsules = keeper.capsules(burst)
    keeper.arm(capsules)

    assert capsules == []
    assert list(tmp_path.iterdir()) == []


def test_what_only_a_person_ends_has_no_capsule(tmp_path: Path) -> None:
    known = agent(intent("M-1", stopping(), until=None), intent("M-2", stopping("blog.service")))
    keeper = Outlive(known, socket=tmp_path / "agent.sock", config=tmp_path / "agent.yaml")

    keeper.arm(keeper.capsules([("M-1", stopping()), ("M-2", stopping("blog.service"))]))

    assert [one.name for one in (tmp_path / "agent.undo").iterdir()] == ["M-2.json"]
    assert known.alone == {}


def test_an_act_goes_on_where_no_capsule_can_be_written_and_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "agent.undo").write_text("in the way")
    known = agent(intent("M-1", stopping()))
    keeper = Outlive(known, socket=tmp_path / "agent.sock", config=tmp_path / "agent.yaml")

    keeper.arm(keeper.capsules([("M-1", stopping())]))

    assert "cannot write the capsule" in known.alone["M-1"]
