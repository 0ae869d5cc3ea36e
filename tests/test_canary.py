"""The canary's rounds: the whole way, every station where one can end, and that nobody is bothered while all is well."""

from __future__ import annotations

import resource
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import canary, view
from agent.canary import IP, LARGEST, PATIENCE, Canary, policies
from agent.evidence.journal_read import read_only
from agent.grammar.config import read_config
from agent.grammar.problem import Problems
from agent.messages import Message, Seen
from agent.parsers.canary import CANARY
from agent.policy import LOST_ROUND, ROUND, Limits, Rate
from agent.streams.follow import Follower
from agent.streams.parser import Scan, discover_parsers
from tests.needs import need, need_root
from tests.running import Running, wait_for
from tests.stories import Shut, Story, policy

EVERY = 300.0


class Rounds(Story):
    """A story with a canary in virtual time. Its line is read by a real follower and a real parser when the test says so."""

    def __init__(self, place: Path, *others: Any, **more: Any) -> None:
        self.file = place / "canary.log"
        super().__init__(*others, *policies(Shut, self.file), **more)
        self.follower = Follower(self.file)
        self.follower.start(None, from_start=True)
        self.heard = 0
        self.canary = Canary(self.agent, self.file, EVERY, lambda _: self.follower.position, clock=lambda: self.now)

    def read(self) -> None:
        """What the sensor does."""
        scan = Scan.of([discover_parsers()["canary"]], f"file:{self.file}")
        if events := scan.events(self.follower.read(), self.now):
            self.tell(Seen(events))
        self.follow()

    def follow(self) -> None:
        """What the daemon does after each turn."""
        for _, record in self.records[self.heard :]:
            self.canary.heard(record)
        self.heard = len(self.records)

    def come_round(self, seconds: float, *, reading: bool = True) -> None:
        """Pass time in steps of five seconds."""
        for _ in range(int(seconds / 5)):
            self.pass_by(5)
            told: list[Message] = []
            self.canary.turn(self.now, told.append)
            for one in told:
                self.tell(one)
            if reading:
                self.read()
            self.follow()

    @property
    def result(self) -> Any:
        return self.canary.status()["result"]

    def shown(self) -> Any:
        """What `contain status` counts."""
        status = view.status(self.agent, self.now, {})
        return status["incidents"]["total"], status["mitigations"]["total"]

    def lost(self) -> list[str]:
        """The incidents about lost canaries."""
        return [one.target for one in self.agent.state.incidents.values() if one.policy == LOST_ROUND]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def test_a_round_goes_from_the_line_to_the_world_and_ends_by_itself(place: Path) -> None:
    story = Rounds(place, policy())

    story.come_round(10)
    held = set(story.gate.shut)
    story.come_round(60)

    assert (story.result, held) == ("in_force", {IP})
    assert not story.gate.shut
    assert story.lost() == []


def test_while_all_is_well_nobody_sees_it_unless_all_is_asked_for(place: Path) -> None:
    story = Rounds(place, policy())

    story.come_round(10)

    assert story.shown() == (0, 0)
    assert [one["policy"] for one in view.policies(story.agent)["items"]] == ["guessing"]
    assert view.status(story.agent, story.now, {})["modes"] == {"enforce": 1, "dry_run": 0, "off": 0}
    assert view.incidents(story.agent, story.now, ended=True)["total"] == 1
    assert [one["target"] for one in view.mitigations(story.agent, story.now, {}, ended=True)["items"]] == [IP]


def test_the_limits_of_others_do_not_count_it(place: Path) -> None:
    story = Rounds(place, policy())

    story.come_round(EVERY)

    assert "" not in story.agent.state.active
    assert "" not in story.agent.state.done


def test_a_limit_that_is_used_up_stops_a_round_at_the_guard_and_that_is_no_alarm(place: Path) -> None:
    story = Rounds(place, policy(), limits=Limits(max=Rate(1, timedelta(hours=1))))
    story.come_round(5)
    story.logins(3)

    story.come_round(EVERY + 90)

    assert story.result in ("refused", "in_force")
    assert story.lost() == []


def test_rounds_without_end_leave_one_incident_and_push_nothing_out_of_the_listings(place: Path) -> None:
    story = Rounds(place, policy())
    story.logins(3)

    for _ in range(40):
        story.come_round(EVERY)

    ours = [one for one in story.agent.state.incidents.values() if one.policy == ROUND]
    assert (len(ours), ours[0].findings) == (1, 40)
    assert [one.policy for one in story.agent.state.mitigations.values() if one.policy == ROUND] == []
    assert len(story.agent.state.ended) <= 2


def test_a_round_costs_six_records_and_two_in_a_dry_run(place: Path) -> None:
    real, dry = Rounds(place, policy()), Rounds(place / "..", policy(), mode="dry_run")

    real.come_round(EVERY - 5)
    dry.come_round(EVERY - 5)

    assert real.kinds() == ["finding", "intent", "in_force", "lifting", "lifted", "phase"]
    assert dry.kinds() == ["finding", "would"]


def test_where_nobody_else_acts_it_only_would(place: Path) -> None:
    story = Rounds(place, policy(), mode="dry_run")

    story.come_round(10)

    assert (story.result, story.gate.shut) == ("would", {})
    assert story.shown() == (0, 0)


def test_it_acts_from_the_next_round_on_when_another_policy_does(place: Path) -> None:
    story = Rounds(place, policy(), mode="dry_run")
    story.come_round(EVERY)

    story.ask("mode", policy="guessing", mode="enforce")
    story.come_round(EVERY)

    assert story.result == "in_force"


# Lost on its way ----------------------------------------------------------------------------------------------------------


def test_a_line_that_no_sensor_reads_opens_an_incident_that_says_so(place: Path) -> None:
    story = Rounds(place, policy())

    story.come_round(PATIENCE + 15, reading=False)

    assert story.lost() == ["the line was written, and no sensor read it"]
    assert story.shown() == (1, 0)
    (incident,) = view.incidents(story.agent, story.now)["items"]
    assert (incident["severity"], incident["policy"]) == ("P1", LOST_ROUND)
    assert story.canary.status()["say"] == "the line was written, and no sensor read it"


def test_a_line_that_no_policy_finds_says_so(place: Path) -> None:
    story = Rounds(place, policy())
    story.come_round(5, reading=False)
    story.agent.watch = type(story.agent.watch)([one for one in story.policies if one.name != ROUND], {})

    story.come_round(PATIENCE + 15)

    assert story.lost() == ["the line was read, and no policy found it"]


@pytest.mark.parametrize(
    ("broken", "say"),
    [
        ("silent", "its intent was written down, and the system did not answer"),
        ("refuses", "the block failed: the gate is stuck"),
        ("lies", "the block failed: the call succeeded, yet this does not hold: close the gate to 198.51.100.254"),
    ],
)
def test_a_block_that_does_not_hold_says_why(place: Path, broken: str, say: str) -> None:
    story = Rounds(place, policy())
    story.gate.broken = broken

    story.come_round(PATIENCE + 15)

    assert story.lost() == [say]


def test_a_block_that_does_not_end_is_an_alarm_and_not_the_end_of_all_rounds(place: Path) -> None:
    story = Rounds(place, policy())
    story.come_round(10)
    story.gate.broken = "silent"

    story.come_round(3 * EVERY)

    assert story.lost() == [f"the block of {IP} by the round before did not end"]


def test_after_a_lost_one_the_next_round_goes_the_whole_way_again(place: Path) -> None:
    story = Rounds(place, policy())
    story.come_round(PATIENCE + 15, reading=False)

    story.come_round(EVERY)

    assert story.result == "in_force"


# What is no alarm ---------------------------------------------------------------------------------------------------------


def test_a_person_who_takes_it_down_has_peace_and_no_alarm(place: Path) -> None:
    story = Rounds(place, policy())
    story.come_round(10)

    story.ask("undo", what="all", why="stop everything")
    story.come_round(EVERY + 120)

    assert story.lost() == []
    assert "took" in story.canary.status()["say"]


def test_a_canary_that_is_switched_off_says_so_and_sings_no_more(place: Path) -> None:
    story = Rounds(place, policy())

    story.ask("mode", policy=ROUND, mode="off")
    story.come_round(EVERY)

    assert story.file.read_text() == "# no round just now\n"
    assert story.canary.status()["say"].startswith("switched off")


def test_a_file_that_cannot_be_written_is_said_and_the_agent_goes_on(place: Path) -> None:
    story = Rounds(place, policy())
    story.file.unlink()
    story.file.mkdir()

    story.come_round(EVERY, reading=False)

    assert story.canary.status()["say"] == f"cannot write {story.file}: Is a directory"
    assert story.lost() == []


def test_a_line_that_the_disk_cuts_off_is_no_part_of_the_next_one(tmp_path: Path) -> None:
    file, usual = tmp_path / "canary.log", resource.getrlimit(resource.RLIMIT_FSIZE)
    file.write_bytes(b"x" * 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (110, usual[1]))

    try:
        with pytest.raises(OSError, match="No space left"):
            canary._append(file, b"a line of fifty bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    assert file.read_bytes() == b""


def test_a_round_that_a_crash_cut_short_is_taken_up_and_hidden(place: Path) -> None:
    story = Rounds(place, policy())
    story.dead = True
    story.come_round(10)
    story.die_and_start_again()
    again = Canary(story.agent, story.file, EVERY, lambda _: story.follower.position, clock=lambda: story.now)

    story.pass_by(1)
    hidden = [again.heard(one) for _, one in story.records if one.incident]

    assert all(hidden)
    assert story.shown() == (0, 0)


# The line -------------------------------------------------------------------------------------------------------------------


def test_the_file_stays_small_and_its_follower_misses_no_line(place: Path) -> None:
    story = Rounds(place, policy())
    found = 0
    scan = Scan.of([discover_parsers()["canary"]], "canary")

    for number in range(1500):
        story.canary._begin(float(number))
        found += len(scan.events(story.follower.read(), 0.0))

    assert found == 1500
    assert story.file.stat().st_size <= LARGEST
    assert story.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T06:00:00.000+00:00 containment-agent canary: nonce=0123456789abcdef ip=203.0.113.7",
        "2026-11-23T06:00:00.000+00:00 containment-agent canary: nonce=0123456789abcdef ip=198.51.100.7 ip=203.0.113.7",
        "2026-11-23T06:00:00.000+00:00 containment-agent canary: nonce=0123456789abcdef ip=198.51.100.255",
        "2026-11-23T06:00:00.000+00:00 containment-agent canary: nonce=x ip=198.51.100.7",
        "x y containment-agent canary: nonce=0123456789abcdef ip=198.51.100.7",
    ],
)
def test_no_line_makes_it_name_another_address(line: str) -> None:
    assert discover_parsers()["canary"].read(line) is None


def test_a_line_of_another_log_moves_no_round(place: Path) -> None:
    story = Rounds(place, policy())
    line = b"now containment-agent canary: nonce=0123456789abcdef ip=198.51.100.7\n"

    story.tell(Seen(Scan.of([discover_parsers()["canary"]], "file:/var/log/nginx/access.log").events(line, story.now)))

    assert CANARY.name in story.agent.watch.wants()
    assert story.records == []


# agent.yaml -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "every"),
    [("", timedelta(minutes=5)), ("canary: 2m", timedelta(minutes=2)), ("canary: off", timedelta()), ("canary: 0", timedelta())],
)
def test_agent_yaml_says_how_often(text: str, every: timedelta) -> None:
    assert read_config(f"version: 1\n{text}\n", "agent.yaml", sensors={}, checks={}).canary == every


@pytest.mark.parametrize(("text", "says"), [("30s", "30 s is too short"), ("often", "not a duration"), ("[1m]", "found a list")])
def test_a_canary_that_cannot_be_is_refused_with_the_mend(text: str, says: str) -> None:
    with pytest.raises(Problems) as refused:
        read_config(f"version: 1\ncanary: {text}\n", "agent.yaml", sensors={}, checks={})

    assert says in str(refused.value)


# The real one ---------------------------------------------------------------------------------------------------------------

POLICY = """
policy: guessing
severity: P2
owner: security
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then: [{block_ip: {ip: $src.ip, ttl: 1m}}]
guard: {max: 10 per 10m}
"""


def test_the_running_agent_proves_itself_in_the_kernel_and_shows_only_that(tmp_path: Path) -> None:
    need_root()
    need("nft", "nftables")
    with Running(tmp_path, "mode: enforce\ncanary: 1m\n", POLICY) as agent:
        status = wait_for(lambda: (said := agent.ask("status")) and said["canary"]["result"] and said, 30)
        everything = agent.ask("mitigations", ended=True)["items"]
        shown, listed = agent.contain("status").stdout, agent.contain("policy", "list").stdout
        agent.ask("reload")
        wanted = agent.ask("status")["canary"]
        printed = agent.log.read_text()

    assert (status["canary"]["result"], status["incidents"]["total"], status["mitigations"]["total"]) == ("in_force", 0, 0)
    assert [(one["target"], one["stage"], one["policy"]) for one in everything] == [(IP, "in_force", ROUND)]
    assert everything[0]["verified"] is not None
    assert any(line.startswith("canary\tin_force\t") for line in shown.splitlines())
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["guessing"]
    assert wanted["result"] == "in_force"
    assert IP not in printed
    with read_only(tmp_path / "state" / "journal.db") as reader:
        kinds = [one.record.kind for one in reader.records(limit=100) if one.record.incident]
    assert kinds[:3] == ["finding", "intent", "in_force"]
    assert (tmp_path / "state" / "canary.log").stat().st_size < 200


def test_an_agent_without_one_writes_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, "canary: off\n", POLICY) as agent:
        status = agent.ask("status")

    assert status["canary"] is None
    assert not (tmp_path / "state" / "canary.log").exists()
