"""Strangers choose how many sources, lines and events there are. Nothing of the agent's grows with them, and nobody waits long.

`CONTAIN_SOURCES=1000000` makes the long run of the two floods.
"""

from __future__ import annotations

import gc
import os
import queue
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import flow
from agent.action import System
from agent.event import Event
from agent.findings import SPARED
from agent.fold import fold
from agent.guard import Lifelines
from agent.messages import Disturbed, Effect, Seen, Tick
from agent.policy import Limits, Rate
from agent.policy import Test as Line
from agent.record import Record
from agent.schema import address
from agent.state import REMEMBERED, State
from agent.streams.rates import SOURCE, Meter, Tally
from agent.upkeep import Upkeep
from agent.watching.window import MOST_KEYS
from agent.workers import Job, Lanes
from tests.running import Running, wait_for
from tests.stories import T0, Gate, Story, login, policy

SOURCES = int(os.environ.get("CONTAIN_SOURCES", "300000"))
GROWS = 16
"""MiB that the second half of a flood may add: Python's arenas fray a little. 100,000 sources more would be 40 to 60."""


def resident(pid: int | str = "self") -> float:
    """MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def ip(number: int) -> str:
    return socket.inet_ntoa((0x0B000000 + number).to_bytes(4, "big"))


# A million sources --------------------------------------------------------------------------------------------------------

POLICIES = """
policy: guessing
severity: P2
owner: security
when:
  - {event: auth.ssh.failure, by: src.ip, count: ">= 8 in 2m"}
  - {event: auth.ssh.failure, by: src.ip, distinct: user >= 5 in 1h}
then: [{block_ip: {ip: $src.ip, ttl: 1h}}]
guard: {max: 100 per 10m}
"""


def failures(first: int, last: int) -> str:
    stamp = time.strftime("%b %e %H:%M:%S")
    return "".join(f"{stamp} db1 sshd[812]: Failed password for root from {ip(n)} port 40001 ssh2\n" for n in range(first, last))


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[tuple[Running, Path]]:
    """A running agent that reads a log."""
    log = tmp_path / "auth.log"
    log.touch()
    yaml = f"sensors: {{auth: {{logfile: {{path: {log}, parsers: [sshd], from_start: true}}}}}}\n"
    with Running(tmp_path, yaml, POLICIES) as agent:
        yield agent, log


def test_memory_stays_flat_under_a_flood_of_sources_that_each_come_once(reading: tuple[Running, Path]) -> None:
    agent, log = reading
    assert agent.process is not None

    def flood(first: int, last: int) -> float:
        assert agent.process is not None
        for at in range(first, last, 20_000):
            with log.open("a") as file:
                file.write(failures(at, min(at + 20_000, last)))
        wait_for(lambda: agent.ask("status")["lines"] >= last, 300)
        return resident(agent.process.pid)

    half = flood(0, SOURCES // 2)
    whole = flood(SOURCES // 2, SOURCES)
    status = agent.ask("status")
    shown = agent.contain("status", "--json").stdout

    assert whole - half < GROWS, f"{half:.0f} MiB at half, {whole:.0f} MiB at the end"
    assert status["evictions"]["windows"] >= 2 * (SOURCES - 2 * MOST_KEYS)
    assert '"windows"' in shown


def test_a_flood_of_findings_fills_no_table(tmp_path: Path) -> None:
    story = Story(policy(least=1, guard=Limits(max=Rate(100, policy().when[0].parts[0].window.span))))  # type: ignore[union-attr]
    agent, batch = story.agent, 1000

    def work(effects: list[Effect]) -> None:
        for one in effects:
            if (answer := story.lane(one)) is not None:
                work(flow.step(agent, answer, story.now))

    sizes = []
    for at in range(0, SOURCES, batch):
        story.now += 0.01
        work(flow.step(agent, Seen([login(ip(n), story.now) for n in range(at, at + batch)]), story.now))
        work(flow.step(agent, Tick(), story.now))
        if at + batch in (SOURCES // 2, SOURCES):
            sizes.append((resident(), tables(agent)))

    (half, _), (whole, after) = sizes
    assert whole - half < GROWS, f"{half:.0f} MiB at half, {whole:.0f} MiB at the end"
    assert {name: size for name, size in after.items() if size > 5000} == {}
    assert agent.watch.evictions >= SOURCES - MOST_KEYS


def tables(agent: Any) -> dict[str, int]:
    """How much each table of the agent and of its state holds."""
    held = {**vars(agent), **vars(agent.state)}
    return {name: len(one) for name, one in held.items() if isinstance(one, dict | list | set) or type(one).__name__ == "deque"}


def test_sources_of_a_listed_network_are_named_as_left_alone_a_thousand_times_and_then_counted() -> None:
    story = Story(policy(least=1, unless=(Line("src.ip", "cidr", (address("11.0.0.0/8"),), "11.0.0.0/8"),)))

    for number in range(3 * SPARED):
        story.tell(Seen([login(ip(number), story.now)]))

    assert len(story.said("left_alone")) == SPARED
    assert story.agent.state.evictions == {"spared": 2 * SPARED}


def test_of_too_many_targets_the_state_forgets_the_oldest_and_counts_it() -> None:
    state = State({"gate": Gate})
    body = {"policy": "p", "severity": "P2", "title": "t", "because": "b", "event": {}, "source": "s", "steps": 0, "later": 1}

    for number in range(REMEMBERED + 10):
        fold(state, Record("finding", body | {"target": str(number)}, incident=f"INC-{number}"), T0)

    assert len(state.put_off) == REMEMBERED
    assert state.evictions == {"put_off": 10}


def test_of_too_many_clients_the_busiest_are_told_of_and_the_others_counted() -> None:
    meter = Meter("nginx", 1.0, {SOURCE.name})
    meter.tick(0.5)

    for number in range(100):
        hits = {(ip(1000 * number + n).encode(), b"-", b"200"): 1 for n in range(1000)}
        meter.add(Tally(hits | {(b"203.0.113.7", b"-", b"200"): 50}, 0, 0))  # type: ignore[arg-type]
    events = meter.tick(2.0)

    assert [one.fields["src.ip"] for one in events] == ["203.0.113.7"]
    assert 80_000 <= meter.forgotten <= 100_000


# What waits -----------------------------------------------------------------------------------------------------------------


def test_a_persons_order_is_answered_while_a_long_log_is_read(reading: tuple[Running, Path]) -> None:
    agent, log = reading
    whole = 100_000
    log.write_text(failures(0, whole))

    answer = agent.ask("do", action="block_ip", params={"ip": "203.0.113.7", "ttl": "1m"}, why="now", dry=True)
    read = agent.ask("status")["lines"]
    wait_for(lambda: agent.ask("status")["lines"] >= whole, 60)

    assert answer["result"] == "would"
    assert read < whole


class Watched(System):
    """A system whose changes by others are told of."""

    name = "firewall"

    def watch(self, tell: Callable[[str], None]) -> None:
        self.tell = tell


def test_however_often_others_change_a_system_one_word_about_it_waits() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    system, story = Watched(), Story()
    upkeep = Upkeep({"firewall": system}, Lifelines, story.agent, Lanes(mailbox), mailbox)
    upkeep._watch("firewall", system)

    for number in range(100_000):
        system.tell(f"somebody's script (pid {number})")
    waiting = mailbox.qsize()
    taken = upkeep.disturbed(mailbox.get())
    system.tell("another one")

    assert waiting == 2  # the filter, and the isolation of the host that lives beside it
    assert taken == Disturbed("firewall", "somebody's script (pid 99999)")
    assert mailbox.qsize() == 2


def test_what_was_given_up_on_leaves_nothing_behind_in_a_lane_that_hangs() -> None:
    mailbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lanes, hung = Lanes(mailbox), threading.Event()
    lanes.start("firewall", Job("hang", hung.wait, str, 60.0), 0.0)
    left = []
    for _ in range(1000):
        work = Work()
        left.append(weakref.ref(work))
        lanes.start("firewall", Job("look", work, str, 1.0), 0.0)
    del work

    given_up = lanes.late(2.0)
    gc.collect()
    hung.set()

    assert len(given_up) == 1000
    assert [one for one in left if one() is not None] == []


class Work:
    """Something that can be looked for."""

    def __call__(self) -> list[Event]:
        return []
