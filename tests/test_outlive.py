"""Ends that come although the agent is dead: a real agent in a box with a real systemd, killed, robbed of its state, rebooted."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest

from agent.evidence.journal_read import read_only
from agent.record import Record
from tests.running import wait_for
from tests.systemd_box import Box

PYTHON = f"{sys.executable} -I -m agent"
YAML = """
version: 1
host: box1
state: /var/lib/agent
socket: /run/agent/agent.sock
policies: [/etc/agent/policies]
mode: enforce
"""
FILES = {
    "/etc/agent/agent.yaml": YAML,
    "/etc/agent/policies/README": "none\n",
    "/etc/systemd/system/agent.service": f"[Service]\nExecStart={PYTHON} run --config /etc/agent/agent.yaml\n",
    "/usr/lib/systemd/system/shop.service": "[Service]\nExecStart=sleep infinity\n",
    "/usr/lib/systemd/system/blog.service": "[Service]\nExecStart=sleep infinity\n",
}
PLACE = "/run/agent/agent.undo"


class Host:
    """The box with an agent in it, as its administrator sees it."""

    def __init__(self, box: Box) -> None:
        self.box, self.run = box, box.run

    def start(self) -> None:
        self.run("systemctl", "start", "agent.service")
        wait_for(lambda: self.contain("mitigations", "--json", check=False))

    def kill(self) -> None:
        """kill -9, and no systemd that starts it again."""
        self.run("systemctl", "kill", "-s", "KILL", "agent.service")
        wait_for(lambda: self.box.unit("agent.service", "ActiveState") != "active")
        self.run("systemctl", "reset-failed", "agent.service", check=False)

    def contain(self, *words: str, check: bool = True) -> str:
        return self.run(*PYTHON.split(), *words, "--config", "/etc/agent/agent.yaml", check=check)

    def stop_service(self, unit: str, ttl: str) -> float:
        """Have it stopped; the moment when that is over at the latest."""
        said = self.contain("do", "stop_service", f"unit={unit}", f"ttl={ttl}", "--why", "a test", "--yes")
        assert "in force" in said
        return time.time() + float(ttl.removesuffix("s"))

    def stopped(self, unit: str) -> bool:
        return self.box.unit(unit, "ActiveState") != "active" or self.box.unit(unit, "LoadState") == "masked"

    def timers(self) -> list[str]:
        listed = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", "containment-undo-*.timer")
        return [line.split()[0] for line in listed.splitlines()]

    def capsules(self) -> list[str]:
        return self.run("sh", "-c", f"ls -A {PLACE} 2>/dev/null; true").split()

    def until(self, name: str) -> float:
        return float(json.loads(self.run("cat", f"{PLACE}/{name}.json"))["until"])

    def records(self, kind: str) -> list[Record]:
        with read_only(self.box.root / "var/lib/agent/journal.db") as reader:
            return [one.record for one in reader.records(limit=10_000) if one.record.kind == kind]


@pytest.fixture(scope="module")
def booted(make_box: type[Box]) -> Iterator[Box]:
    box = make_box(FILES)
    try:
        yield box.boot()
    finally:
        box.close()


@pytest.fixture
def host(booted: Box) -> Iterator[Host]:
    host = Host(booted)
    host.run("systemctl", "start", "shop.service", "blog.service")
    host.start()
    yield host
    host.run(
        "sh", "-c",
        "systemctl kill -s KILL agent.service; systemctl stop agent.service 'containment-undo-*'; systemctl reset-failed;"
        "rm -rf /run/agent /var/lib/agent /run/systemd/system/*.service; systemctl daemon-reload",
        check=False,
    )  # fmt: skip


def test_killed_and_robbed_of_its_state_the_agent_leaves_nothing_behind(host: Host) -> None:
    ends = host.stop_service("shop.service", "2s")
    held = host.stopped("shop.service")

    host.kill()
    host.run("rm", "-rf", "/var/lib/agent")
    wait_for(lambda: not host.stopped("shop.service"), 15)
    late = time.time() - ends

    assert held
    assert late < 8
    wait_for(lambda: not [one for one in host.capsules() if one.endswith(".json")])
    wait_for(lambda: host.timers() == [])
    assert "M-1: its time was over, and no agent ended it" in host.run("journalctl", "-t", "containment-agent", "-o", "cat")


def test_an_undo_that_fails_is_tried_again_and_the_next_start_knows_what_was_ended_the_last_made_first(host: Host) -> None:
    for unit in ("shop.service", "blog.service"):
        host.stop_service(unit, "3s")
    host.kill()
    host.run("systemctl", "stop", "dbus.socket", "dbus.service")
    wait_for(lambda: "would not go" in host.run("journalctl", "-u", "containment-undo-*", "-o", "cat"))
    host.run("systemctl", "start", "dbus.socket", "dbus.service")
    wait_for(lambda: not host.stopped("shop.service") and not host.stopped("blog.service"), 20)
    wait_for(lambda: host.timers() == [] and host.capsules() == [])

    host.start()

    lifted = host.records("lifted")
    assert [one.mitigation for one in lifted] == ["M-2", "M-1"]
    assert {(one.body["actor"], one.body["how"]) for one in lifted} == {("contain expire", "taken down")}
    assert json.loads(host.contain("mitigations", "--json"))["items"] == []
    assert "The evidence holds" in host.contain("evidence", "verify")


def test_an_extension_moves_the_capsule_and_its_timer_and_a_lift_takes_them_away(host: Host) -> None:
    host.stop_service("shop.service", "60s")
    (first,) = host.timers()
    short = host.until("M-1")

    host.stop_service("shop.service", "120s")
    wait_for(lambda: host.timers() not in ([], [first]))
    longer, timers = host.until("M-1"), host.timers()
    host.contain("undo", "M-1", "--why", "a test")
    wait_for(lambda: host.timers() == [] and host.capsules() == [])

    assert longer > short + 30
    assert len(timers) == 1


def test_a_living_agent_ends_it_and_what_the_timer_would_start_finds_nothing_to_do(host: Host) -> None:
    host.stop_service("shop.service", "2s")

    said = host.contain("expire", PLACE)
    wait_for(lambda: not host.stopped("shop.service"))
    wait_for(lambda: host.capsules() == [] and host.timers() == [])

    assert said == ""
    assert [one.body["because"] for one in host.records("lifted")] == ["its time is over"]


def test_a_hung_agent_does_not_keep_what_is_over(host: Host) -> None:
    ends = host.stop_service("shop.service", "1s")

    host.run("systemctl", "kill", "-s", "STOP", "agent.service")
    wait_for(lambda: not host.stopped("shop.service"), 40)
    late = time.time() - ends
    wait_for(lambda: [one for one in host.capsules() if one.endswith(".done")])
    host.run("systemctl", "kill", "-s", "CONT", "agent.service")

    assert 10 < late < 25
    wait_for(lambda: host.records("lifted"))


def test_timers_that_somebody_stopped_and_capsules_that_somebody_deleted_come_back_at_the_next_start(host: Host) -> None:
    host.stop_service("shop.service", "120s")
    (timer,) = host.timers()
    host.kill()
    host.run("systemctl", "stop", timer)
    host.run("rm", f"{PLACE}/M-1.json")

    host.start()
    wait_for(lambda: host.timers() == [timer])

    assert host.capsules() == ["M-1.json"]
    host.contain("undo", "all", "--why", "a test")


def test_after_a_reboot_the_timers_are_gone_and_the_next_start_ends_what_is_over(host: Host) -> None:
    host.stop_service("shop.service", "3s")
    host.kill()
    host.box.stop()
    host.box.boot()
    bare = (host.timers(), host.capsules())

    host.start()
    wait_for(lambda: not host.stopped("shop.service"))

    assert bare == ([], [])
    assert [one.mitigation for one in host.records("lifted")] == ["M-1"]


def test_where_systemd_refuses_a_timer_the_act_goes_on_it_is_told_and_the_next_start_ends_it(host: Host) -> None:
    host.run("mv", "/usr/bin/systemd-run", "/usr/bin/systemd-run.kept")
    host.run(
        "sh", "-c", "printf '#!/bin/sh\necho Access denied >&2; exit 1\n' > /usr/bin/systemd-run; chmod +x /usr/bin/systemd-run"
    )
    try:
        host.stop_service("shop.service", "3s")
        (told,) = json.loads(host.contain("mitigations", "--json"))["items"]
        doctor = host.contain("doctor", check=False)
        host.kill()
        host.run("rm", "/usr/bin/systemd-run")
        plan = host.contain("do", "stop_service", "unit=blog.service", "ttl=1h", "--dry-run")
        over = host.until("M-1")
        wait_for(lambda: time.time() > over)
        waits = host.stopped("shop.service")
        host.start()
        wait_for(lambda: not host.stopped("shop.service"))
    finally:
        host.run("mv", "/usr/bin/systemd-run.kept", "/usr/bin/systemd-run")

    assert waits
    assert "systemd-run: Access denied" in told["alone"]
    assert "systemd-run: Access denied" in doctor
    assert "by the agent (at its next start, if it is dead then) after 1h" in plan


def test_the_dry_run_and_the_doctor_say_what_is_true_on_this_host(host: Host) -> None:
    plan = host.contain("do", "stop_service", "unit=shop.service", "ttl=1h", "--dry-run")
    doctor = host.contain("doctor", check=False)

    assert "by the agent, or by a timer of systemd's if it is dead then, after 1h" in plan
    assert "all else by a timer of systemd's if the agent is dead then" in doctor
