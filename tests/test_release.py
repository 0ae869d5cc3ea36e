"""Letting go step by step, told in virtual time: a gate that is shut, narrowed, watched, and shut again when it must be."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from actions.block_ip import BlockIp
from agent import rounds, view
from agent.event import Event
from agent.messages import Apply, Counted, Effect, Heal, Message, Seen, Tick
from agent.policy import Clause, Count, Part, Policy
from agent.recovery.releases import Releases
from agent.recovery.rungs import Ladder, Recover, Shares
from agent.schema import Ttl, address, spoken
from agent.snapshot import restore, snapshot
from tests.stories import T0, Gate, Shut, Story, login, policy, shut

HOUR, MINUTE = 3600.0, 60.0
IP = "203.0.113.7"
LADDER = Ladder(timedelta(minutes=10), 20, timedelta(minutes=10))


def ladder(ttl: str = "1h x2 up to 7d", watch: int | None = 60, **more: Any) -> Policy:
    release = more.pop("release", LADDER)
    recover = Recover(release=release, watch=timedelta(minutes=watch) if watch else None, **more)
    return policy(then=[shut(ttl)], recover=recover)


class Kernel(Story):
    """The story with a gate that lets go by itself, as the kernel does, and a clock that stops at whatever is due."""

    def __init__(self, *policies: Policy, **more: Any) -> None:
        super().__init__(*(policies or (ladder(),)), **more)
        self.ends: dict[tuple[str, str], float] = {}

    def lane(self, effect: Effect) -> Message | None:
        answer = super().lane(effect)
        for _, change in effect.jobs if isinstance(effect, Apply | Heal) else ():
            kind, args = {"close": "shut", "narrow": "narrowed"}.get(change.apply.verb), change.apply.args
            if kind and args["ttl"] is not None and spoken(args["ip"]) in getattr(self.gate, kind):
                self.ends[kind, spoken(args["ip"])] = self.now + args["ttl"].total_seconds()
        return answer

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            due = rounds.next_due(self.agent, self.now) if not self.dead else until
            self.now = min(until, max(self.now + 0.5, due))
            for (kind, ip), end in list(self.ends.items()):
                if end <= self.now:
                    getattr(self.gate, kind).pop(ip, None)
                    del self.ends[kind, ip]
            if not self.dead:
                self.tell(Tick())

    def comes(self, ip: str = IP) -> None:
        """A finding: three logins within a second."""
        self.tell(Seen([login(ip, self.now) for _ in range(3)]))

    def sleep_until(self, minutes: float) -> None:
        self.pass_by(T0 + minutes * MINUTE - self.now)

    @property
    def phase(self) -> str:
        return self.agent.state.incidents["INC-1"].phase

    def world(self, ip: str = IP) -> str:
        return "shut" if ip in self.gate.shut else "narrow" if ip in self.gate.narrowed else "open"

    def rungs(self) -> list[str]:
        return [record.body["rung"] for record in self.said("released")]


# Down ---------------------------------------------------------------------------------------------------------------------


def test_a_block_is_let_go_rung_by_rung() -> None:
    story = Kernel()
    story.comes()

    seen = []
    for minutes in (59, 61, 69, 71, 79, 81, 139, 141):
        story.sleep_until(minutes)
        seen.append((minutes, story.world(), story.phase))

    assert seen == [
        (59, "shut", "contained"),
        (61, "narrow", "recovering"),
        (69, "narrow", "recovering"),
        (71, "open", "recovering"),
        (79, "open", "recovering"),
        (81, "open", "recovering"),
        (139, "open", "recovering"),
        (141, "open", "resolved"),
    ]
    assert story.rungs() == ["limited", "observed", "watched", "off"]


def test_the_limit_is_in_force_before_the_block_goes() -> None:
    story = Kernel()
    story.comes()

    story.pass_by(HOUR - 5)

    assert (list(story.gate.shut), story.gate.narrowed) == ([IP], {IP: 20})


def test_where_the_limit_cannot_be_put_in_place_the_block_ends_all_the_same() -> None:
    story = Kernel()
    story.gate.broken = "will not narrow"
    story.comes()

    story.sleep_until(61)

    assert (story.world(), story.rungs(), story.phase) == ("open", ["observed"], "recovering")
    assert story.agent.state.releases.down["M-1"].until == pytest.approx(T0 + 80 * MINUTE, abs=5)
    assert any("the gate is open or shut" in record.body["error"] for record in story.said("failed"))


def test_either_rung_may_be_left_out() -> None:
    limit, observe = Ladder(limit=timedelta(minutes=10)), Ladder(observe=timedelta(minutes=10))
    limited, observed = (Kernel(ladder(release=one, watch=None)) for one in (limit, observe))
    for story in (limited, observed):
        story.comes()
        story.sleep_until(61)

    assert (limited.world(), observed.world()) == ("narrow", "open")
    for story in (limited, observed):
        story.sleep_until(72)
    assert (limited.phase, observed.phase) == ("resolved", "resolved")


def test_a_rung_takes_no_room_in_limits_and_is_no_repeat() -> None:
    story = Kernel()
    story.comes()

    story.sleep_until(61)

    assert (story.agent.state.active[""], len(story.agent.state.done[""])) == (0, 1)
    assert story.agent.state.repeats.keys() == {f"stories {IP}"}


def test_a_dry_run_has_no_rungs() -> None:
    story = Kernel(mode="dry_run")
    story.comes()

    story.sleep_until(75)

    assert (story.world(), story.rungs()) == ("open", [])


def test_people_see_what_is_to_come() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(61)

    shown = view.incidents(story.agent, story.now)["items"][0]

    assert [one["rung"] for one in shown["recovering"]] == ["limited", "observed", "watched"]
    assert [round((one["until"] - T0) / MINUTE) for one in shown["recovering"]] == [70, 80, 140]
    assert shown["frozen"] is None


def test_a_pause_lets_go_without_putting_anything_in_place() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(50)
    story.ask("pause", seconds=HOUR, why="deploy")

    story.sleep_until(61)

    assert (story.world(), story.rungs()) == ("open", ["observed"])


def test_the_rung_below_a_block_is_about_the_same_address_and_ports() -> None:
    block = BlockIp(address("203.0.113.0/24"), Ttl.read("1h x2 up to 7d"), (80, 443))

    below = block.milder(20, timedelta(minutes=10))

    assert (below.ip, below.ports, below.rps, below.ttl) == (block.ip, block.ports, 20, Ttl(timedelta(minutes=10)))


# Up -----------------------------------------------------------------------------------------------------------------------


def test_what_comes_again_while_limited_is_blocked_at_once_and_for_longer() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(64)

    story.comes()

    assert (story.world(), story.phase) == ("shut", "contained")
    assert story.ends["shut", IP] == pytest.approx(story.now + 2 * HOUR)
    assert story.said("recurred")[0].body["because"] == "recurred 4 min after M-1 was eased to a limit"
    assert [one.body["phase"] for one in story.said("phase")][-2:] == ["recovering", "open"]
    assert "recurred 4 min after M-1 was eased to a limit" in story.agent.state.incidents["INC-1"].told


def test_what_comes_again_while_observed_is_limited_first_and_then_blocked() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(75)

    story.comes()
    once = story.world()
    story.pass_by(60)
    story.comes()

    assert (once, story.world()) == ("narrow", "shut")


def test_a_limit_that_came_back_holds_longer_and_is_let_go_again() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(75)
    story.comes()

    story.sleep_until(75 + 19)
    still = story.world()
    story.sleep_until(75 + 21)

    assert (still, story.world(), story.rungs()[-1]) == ("narrow", "open", "observed")


def test_what_comes_again_within_the_watch_goes_one_rung_up() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(120)

    story.comes()

    assert story.world() == "narrow"
    assert story.said("recurred")[0].body["because"].startswith("recurred 40 min after M-1 was let go")


def test_what_comes_after_the_watch_is_a_new_story() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(150)

    story.comes()

    assert (story.world(), story.said("recurred")) == ("shut", [])


def test_a_finding_of_another_policy_on_the_same_address_is_a_recurrence() -> None:
    clause = Clause((Part("scan", (), Count(1, timedelta(minutes=2))),), by=("src.ip",))
    story = Kernel(ladder(), Policy("scanning", "P2", (clause,), (shut("5m"),), mode="dry_run"))
    story.comes()
    story.sleep_until(65)

    story.tell(Seen([Event("scan", story.now, {"src.ip": IP}, source="scan", ts=story.now)]))

    assert story.world() == "shut"
    assert story.ends["shut", IP] == pytest.approx(story.now + 2 * HOUR)
    assert story.agent.state.incidents["INC-1"].because.startswith("scanning: 1 × scan from")


def test_a_name_that_looks_like_an_address_brings_nobody_back() -> None:
    clause = Clause((Part("login", (), Count(3, timedelta(minutes=2))),), by=("user",))
    story = Kernel(ladder(), Policy("names", "P2", (clause,), (shut("5m"),), mode="dry_run"))
    story.comes()
    story.sleep_until(65)

    story.tell(Seen([login(f"198.51.100.{one}", story.now, user=IP) for one in range(3)]))

    assert (story.world(), story.said("recurred")) == ("narrow", [])


def flapping() -> Kernel:
    """Three recurrences within half an hour."""
    story = Kernel(ladder("10m x2 up to 7d"))
    story.comes()
    story.sleep_until(11)
    story.comes()  # blocked for 20 min
    story.sleep_until(32)
    story.comes()  # blocked for 40 min
    story.sleep_until(73)
    story.comes()
    return story


def test_a_frozen_release_holds_its_whole_time_without_rungs() -> None:
    story = flapping()

    story.pass_by(80 * MINUTE - 1)
    held = story.world()
    story.pass_by(2)

    assert len(story.said("recurred")) == 3
    assert (held, story.world(), story.rungs()[-1]) == ("shut", "open", "watched")
    assert any("flapping: release is frozen until" in one for one in story.agent.state.incidents["INC-1"].told)


def test_what_recurs_without_a_ladder_freezes_its_early_end() -> None:
    story = Kernel(quietly(watch=timedelta(hours=1)))
    story.comes()
    for _ in range(3):
        story.pass_by(12 * MINUTE)
        assert story.world() == "open"
        story.comes()
        assert story.world() == "shut"

    story.pass_by(4 * HOUR - 60)
    held = story.world()
    story.pass_by(120)

    assert (held, story.world(), len(story.said("release_frozen"))) == ("shut", "open", 1)


def test_a_person_lifts_a_freeze() -> None:
    story = flapping()

    story.ask("undo", what=IP, why="our scanner")

    assert (story.world(), story.phase) == ("open", "resolved")
    assert story.agent.state.releases == Releases()
    story.pass_by(11 * MINUTE)
    story.comes()
    story.pass_by(16 * 10 * MINUTE + 5)
    assert story.world() == "narrow"


# People, crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [30, 61, 75, 100])
@pytest.mark.parametrize("what", [IP, "INC-1", "all"])
def test_undo_at_any_rung_takes_everything_down_and_cools_off(minutes: int, what: str) -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(minutes)

    answer = story.ask("undo", what=what, why="our scanner")
    story.comes()
    story.pass_by(60)

    assert (answer["result"], story.world(), story.phase) == ("lifted", "open", "resolved")
    assert story.agent.state.releases.down == {}


def test_undo_ends_what_is_only_observed_beside_what_is_in_force() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(75)
    story.ask("do", action=Shut(address(IP), Ttl.read("9h")), why="to be sure")
    before = (story.world(), list(story.agent.state.releases.down))

    story.ask("undo", what=IP, why="ours")

    assert before == ("shut", ["M-1"])
    assert (story.world(), story.agent.state.releases.down, story.phase) == ("open", {}, "resolved")


@pytest.mark.parametrize("minutes", [0, 59.9, 59.99, 60.1, 65, 69.99, 70.1, 75, 85])
def test_a_crash_at_any_moment_changes_nothing_about_the_ladder(minutes: float) -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(minutes)

    story.die_and_start_again()

    seen = []
    for later in (59, 61, 69, 72, 79, 81, 139, 141):
        if later > minutes:
            story.sleep_until(later)
            seen.append((story.world(), story.phase))
    whole = [("shut", "contained"), *[("narrow", "recovering")] * 2, *[("open", "recovering")] * 4, ("open", "resolved")]
    assert seen == whole[-len(seen) :]
    assert story.rungs() == ["limited", "observed", "watched", "off"]


def test_a_limit_that_fell_due_while_the_agent_was_dead_is_put_in_place_for_the_rest() -> None:
    story = Kernel()
    story.comes()
    story.dead = True
    story.sleep_until(65)

    story.die_and_start_again()
    story.pass_by(1)

    assert (story.world(), story.rungs()) == ("narrow", ["limited"])
    assert story.ends["narrowed", IP] == pytest.approx(T0 + 70 * MINUTE, abs=5)


def test_rungs_that_are_over_at_a_start_are_left_out() -> None:
    story = Kernel()
    story.comes()
    story.dead = True
    story.sleep_until(200)

    story.die_and_start_again()
    story.pass_by(1)

    assert (story.world(), story.rungs(), story.phase) == ("open", [], "resolved")


def test_a_crash_between_a_recurrence_and_its_block_blocks_at_the_next_start() -> None:
    story = Kernel()
    story.comes()
    story.sleep_until(65)
    story.dead = True
    story.comes()

    story.die_and_start_again()
    story.pass_by(2)

    assert (story.world(), len(story.said("recurred"))) == ("shut", 1)


def test_a_snapshot_knows_every_rung() -> None:
    story = flapping()
    story.comes()
    story.pass_by(81 * MINUTE)

    plain = json.loads(json.dumps(story.agent.state.releases.plain()))
    fresh = Releases()
    fresh.restore(plain)

    assert fresh == story.agent.state.releases
    assert fresh.down


def test_a_snapshot_knows_what_a_ladder_plans_again() -> None:
    story = Kernel()
    story.comes()

    one = restore(snapshot_of(story), {"gate": Gate}).mitigations["M-1"]

    assert one.given == (("ip", IP), ("ttl", "1h")) == story.agent.state.mitigations["M-1"].given


def snapshot_of(story: Story) -> Any:
    return from_json(to_json(snapshot(story.agent.state), timedelta_mode="float"))


# Shares -------------------------------------------------------------------------------------------------------------------


def shares(percent: int = 25, ttl: str = "1h", **more: Any) -> Policy:
    recover = Recover(release=Shares(percent, timedelta(minutes=5)), **more)
    return policy(then=[shut(ttl)], recover=recover)


def burst(story: Kernel, count: int) -> None:
    for number in range(count):
        story.comes(f"198.51.100.{number}")


def test_a_burst_ends_by_shares() -> None:
    story = Kernel(shares())
    burst(story, 10)

    left = []
    for minutes in (59, 61, 66, 71, 76):
        story.sleep_until(minutes)
        left.append(len(story.gate.shut))

    assert left == [10, 7, 4, 1, 0]


def test_the_oldest_of_a_burst_go_first() -> None:
    story = Kernel(shares())
    burst(story, 8)

    story.sleep_until(66)

    assert list(story.gate.shut) == [f"198.51.100.{number}" for number in range(4, 8)]


def test_what_waits_for_its_share_never_holds_longer_than_twice_its_ttl() -> None:
    story = Kernel(shares(1, "10m"))
    burst(story, 10)

    story.sleep_until(21)

    assert story.gate.shut == {}


def test_the_system_is_told_of_later_ends_before_the_old_ones() -> None:
    story = Kernel(shares())
    burst(story, 4)

    story.sleep_until(59.9)

    assert sorted(round((end - T0) / MINUTE) for end in story.ends.values()) == [60, 65, 70, 75]
    assert story.said("healed") == story.said("drifted") == []


def test_a_crash_before_the_system_was_told_of_later_ends_costs_nothing() -> None:
    story = Kernel(shares())
    burst(story, 4)
    story.sleep_until(59.8)
    story.dead = True
    story.now = T0 + HOUR - 9
    story.tell(Tick())

    story.die_and_start_again()
    story.sleep_until(61)

    assert len(story.gate.shut) == 3
    assert story.said("drifted") == []


def test_a_single_one_simply_ends() -> None:
    story = Kernel(shares())
    story.comes()

    story.sleep_until(60.1)

    assert (story.gate.shut, story.said("end_moved")) == ({}, [])


# Quiet --------------------------------------------------------------------------------------------------------------------


def quietly(**more: Any) -> Policy:
    return policy(then=[shut("4h")], recover=Recover("quiet", timedelta(minutes=10), **more))


def test_what_is_quiet_ends_early() -> None:
    story = Kernel(quietly())
    story.comes()

    story.sleep_until(11)

    assert (story.world(), story.phase) == ("open", "resolved")
    assert story.said("end_moved")[0].body["because"] == "nothing came for 10 min"


def test_what_still_comes_holds_on() -> None:
    story = Kernel(quietly())
    story.comes()

    for minutes in range(1, 30):
        story.sleep_until(minutes)
        story.comes()

    assert story.world() == "shut"


def test_what_the_kernel_still_stops_is_not_quiet() -> None:
    story = Kernel(quietly())
    story.comes()
    key = story.agent.state.mitigations["M-1"].key

    for number in range(40):
        story.pass_by(30)
        story.tell(Counted({key: (number + 1, 60)}))
    held = story.world()
    for _ in range(21):
        story.pass_by(30)
        story.tell(Counted({key: (40, 60)}))

    assert (held, story.world()) == ("shut", "open")


def test_an_early_end_goes_down_the_ladder_too() -> None:
    story = Kernel(quietly(release=LADDER))
    story.comes()

    story.sleep_until(11.5)

    assert (story.world(), story.rungs()) == ("narrow", ["limited"])


# Whatever happens ---------------------------------------------------------------------------------------------------------

DOWN = {"shut": 2, "narrow": 1, "open": 0}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1.0, 30.0, 300.0, 900.0, 3600.0])),
        st.tuples(st.just("comes"), st.just(0.0)),
        st.tuples(st.just("crash"), st.sampled_from([0.0, 60.0, 4000.0])),
        st.tuples(st.just("broken"), st.just(0.0)),
        st.tuples(st.just("pause"), st.just(600.0)),
    ),
    max_size=14,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_whatever_happens_everything_ends_and_no_rung_is_left_out(steps: list[tuple[str, float]]) -> None:
    story = Kernel(ladder("10m x2 up to 40m", watch=10))
    for what, seconds in steps:
        before = story.world()
        match what:
            case "pass":
                story.pass_by(seconds)
            case "comes":
                story.comes()
                if story.gate.broken == "" and not story.agent.state.pauses.holding("guessing"):
                    assert DOWN[story.world()] >= DOWN[before]
            case "crash":
                story.dead = True
                story.pass_by(seconds)
                story.die_and_start_again()
            case "broken":
                story.gate.broken = "" if story.gate.broken else "will not narrow"
            case "pause":
                story.ask("pause", seconds=seconds, why="deploy")
        for one in story.agent.state.mitigations.values():
            assert one.until is not None
            assert one.until - one.since <= 80 * MINUTE + 20  # twice the longest limit, or the longest block

    story.pass_by(6 * HOUR)

    assert (story.gate.shut, story.gate.narrowed) == ({}, {})
    assert all(not one.active for one in story.agent.state.mitigations.values())
    assert story.agent.state.releases.down == {}
    assert all(one.phase == "resolved" for one in story.agent.state.incidents.values())
    order = ["limited", "observed", "watched", "off"]
    for name in story.agent.state.mitigations:
        told = [one for _, one in story.records if one.mitigation == name and one.kind in ("released", "recurred")]
        went = [(a.body["rung"], b.body["rung"]) for a, b in itertools.pairwise(told) if b.kind == "released"]
        assert all(order.index(b) > order.index(a) for a, b in went)


def test_while_it_comes_again_and_again_it_is_never_further_down_than_a_limit() -> None:
    story = Kernel(ladder("10m x2 up to 40m"))
    story.comes()

    for _ in range(720):
        story.pass_by(30)
        story.comes()
        assert story.world() == "shut"

    assert set(story.rungs()) == {"limited", "watched"}  # watched: at the end of what was frozen
    assert len(story.said("release_frozen")) > 1


def test_the_longest_limit_is_bounded_by_its_block() -> None:
    story = Kernel(ladder("10m x2 up to 40m"))
    story.comes()
    for _ in range(6):
        story.pass_by(41 * MINUTE + 21 * MINUTE)
        story.comes()

    assert all((one.until or 0) - one.since <= 40 * MINUTE + 15 for one in story.agent.state.mitigations.values())
    assert Ttl.read("10m x2 up to 40m").after(9) == timedelta(minutes=40)


# By a person's word alone -------------------------------------------------------------------------------------------------


def reports(name: str = "on-report", **more: Any) -> Policy:
    return Policy(name, "P1", (Clause((Part("report"),), by=("src.ip",)),), (shut("1h"),), digest="digest", **more)


def test_a_report_alone_puts_nothing_of_another_policy_back_that_was_let_go() -> None:
    story = Kernel(ladder("1h"), reports())
    story.logins(3)
    story.pass_by(HOUR + 15 * MINUTE)
    assert not story.gate.shut
    assert not story.gate.narrowed

    story.ask("report", text="it is them again", ip=IP)
    story.pass_by(MINUTE)

    assert not story.gate.shut
    assert not story.gate.narrowed
    assert "recurred" not in story.kinds()
    assert len(story.agent.state.approvals.waiting) == 1


def test_a_report_again_puts_no_limit_in_place_without_a_yes() -> None:
    story = Kernel(reports(recover=Recover(release=LADDER, watch=timedelta(hours=1))))
    story.ask("report", text="it is them", ip=IP)
    (one,) = story.agent.state.approvals.waiting
    story.ask("approve", what=one.id, plan=one.plan, why="so it is", action=Shut(address(IP), Ttl.read("1h")))
    assert list(story.gate.shut) == [IP]
    story.pass_by(HOUR + 15 * MINUTE)
    assert not story.gate.shut
    assert not story.gate.narrowed

    story.ask("report", text="it is them again", ip=IP)
    story.pass_by(MINUTE)

    assert not story.gate.shut
    assert not story.gate.narrowed
