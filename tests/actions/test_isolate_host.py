"""Isolating this host: what every action promises, what the plan says, and what it refuses to plan."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actions.isolate_host import IsolateHost
from agent import execute
from agent.action import Protected, from_text
from agent.schema import Ttl
from agent.systems.host import Host
from agent.systems.perimeter import Opening, Perimeter, learnt
from tests.contract import ActionContract, Systems
from tests.needs import need_root
from tests.network import SOMEBODY_ELSES, nft, ruleset

HOUR = Ttl(timedelta(hours=1))
OPENINGS = (Opening("192.0.2.0/28", (22,), "in", "never_touch in agent.yaml"), Opening("2001:db8::7", (8200,), "out", "Vault"))


@pytest.fixture
def perimeter(tmp_path: Path) -> Iterator[Perimeter]:
    need_root()
    nft(SOMEBODY_ELSES)
    yield Perimeter(lambda: [*OPENINGS, *learnt(Host(), ())], host=Host(logind=tmp_path, pam=tmp_path))
    for table in ("containment_host", "somebody"):
        subprocess.run(["nft", "delete", "table", "inet", table], check=False, timeout=10, capture_output=True)


class PerimeterContract(ActionContract):
    def world(self, systems: Systems) -> object:
        return re.sub(r" timeout \S+?(?=[\s,}])", "", ruleset())


class TestIsolateAnOpenHost(PerimeterContract):
    action = IsolateHost(ttl=HOUR)


class TestIsolateForLessThanTheTimeToConfirm(PerimeterContract):
    action = IsolateHost(ttl=Ttl(timedelta(minutes=1)))


class TestIsolateUntilItIsLifted(PerimeterContract):
    action = IsolateHost(ttl=Ttl(None), confirm=timedelta(seconds=30))


def planned(perimeter: Perimeter, **given: Any) -> Any:
    (change,) = IsolateHost(**{"ttl": HOUR, **given}).plan(perimeter)
    return change


def test_the_first_step_is_armed_for_the_time_to_confirm_and_no_longer(perimeter: Perimeter) -> None:
    minute = timedelta(minutes=1)

    armed = [
        planned(perimeter).apply.args["ttl"],
        planned(perimeter, confirm=minute).apply.args["ttl"],
        planned(perimeter, ttl=Ttl(minute)).apply.args["ttl"],
        planned(perimeter, ttl=Ttl(None)).apply.args["ttl"],
    ]

    assert armed == [minute * 5, minute, minute, minute * 5]


def test_confirmed_it_stays_for_as_long_as_was_asked(perimeter: Perimeter) -> None:
    change = planned(perimeter)
    assert [one.result for one in execute.apply([[("M-1", change)]], {"perimeter": perimeter})[0]] == ["in_force"]

    perimeter.perform([change.apply.lasting(HOUR.first)])

    assert perimeter.closed(perimeter.openings(), HOUR.first)
    assert IsolateHost(ttl=HOUR).plan(perimeter) == []


def test_the_plan_says_what_stays_open_and_when_it_takes_itself_back(perimeter: Perimeter) -> None:
    said = planned(perimeter).describe

    assert said.startswith("close this host to everything but ")
    assert "from 192.0.2.0/28 to port 22 (never_touch in agent.yaml), " in said
    assert "to 2001:db8::7, port 8200 (Vault)" in said
    assert said.endswith("; it opens again after 5m unless a person says `contain confirm`, and then stays closed for 1h")
    assert planned(perimeter, ttl=Ttl(timedelta(minutes=1))).describe.endswith("; it opens again after 1m")
    assert planned(perimeter, ttl=Ttl(None)).describe.endswith("and then stays closed until it is lifted")


def test_evidence_is_the_ruleset_as_it_was_and_who_was_refused_so_far(perimeter: Perimeter) -> None:
    change = planned(perimeter)

    refused, rules = perimeter.perform(change.capture)

    assert refused.value == []
    assert "table inet somebody" in rules.value
    assert "192.0.2.0/25" not in rules.value  # what sets hold may be a hundred thousand networks
    assert change.touches == ("host",)


def test_a_plan_that_would_lock_everybody_out_is_refused_with_the_mend(perimeter: Perimeter) -> None:
    nobody = Perimeter(lambda: learnt(Host(), ()))

    with pytest.raises(Protected, match=r"name the operators' network under keep_open in agent\.yaml"):
        IsolateHost(ttl=HOUR).plan(nobody)


def test_the_dry_run_is_the_ruleset_that_would_be_loaded(perimeter: Perimeter) -> None:
    change = planned(perimeter)

    said = perimeter.native(change.apply)
    subprocess.run(["sh", "-c", said], check=True, timeout=10)

    (answer,) = perimeter.perform([change.verify])
    assert answer.value is True
    assert perimeter.native(change.undo) == "nft delete table inet containment_host"


def test_a_time_to_confirm_that_nobody_can_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="confirm: "):
        from_text(IsolateHost, {"ttl": "1h", "confirm": "1s"})

    assert from_text(IsolateHost, {"ttl": "1h", "confirm": "90s"}).confirm == timedelta(seconds=90)
