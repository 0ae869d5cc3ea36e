"""The real play: two attackers, an operator, and a customer who never notices. Runs as the first process of its namespaces."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.demo.agent import CHECKS, Agent, kernel_holds
from tests.demo.attackers import Flooded, flood, guess_passwords
from tests.demo.evidence import Proven, check_evidence
from tests.demo.machines import CUSTOMER, FLOODER, GUESSER, HOST, PATIENCE, Customer, Kept, Machine, connect_machines, greeting
from tests.demo.servers import Nginx, Sshd
from tests.demo.story import CannotGoOn, Story

_THRESHOLD: Final = 8
"""Wrong passwords: policies/ssh_brute_force.yaml."""
_LIMIT: Final = 20
_BURST: Final = 40
"""New connections per second, and at once: policies/http_flood.yaml."""
_SAMPLE: Final = 5.0
"""Seconds between the samples of request rates; the policy wants 3 of 4 above its limit."""
_FLOODS: Final = (10, 5)
"""Seconds; the second one only where the first did not make three samples, as on a machine that is busy."""
_AGAIN: Final = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that takes part."""

    story: Story
    agent: Agent
    sshd: Sshd
    guesser: Machine
    flooder: Machine
    customer: Customer


def play(place: Path) -> int:
    """The whole attack; the exit status."""
    story = Story()
    story.line("containment-agent: a whole attack in half a minute", "bold")
    story.line(f"The host db1, {HOST}, and three machines, in namespaces of their own that vanish at the end:")
    story.line(f"  {GUESSER:<14} guesses passwords, with ssh")
    story.line(f"  {FLOODER:<14} floods the web server, with wrk")
    story.line(f"  {CUSTOMER:<14} is a customer, who fetches a page twenty times a second all the time")
    with suppress(CannotGoOn), _stage(place, story) as stage:
        _perform(stage)
    return story.end()


@contextmanager
def _stage(place: Path, story: Story) -> Iterator[Stage]:
    story.act("A quiet host: Debian's sshd and nginx, and the agent with the policies it is shipped with")
    guesser, flooder, visitor = connect_machines()
    with Agent(place, story, checks=CHECKS) as agent:
        sshd, _ = Sshd(place, lambda text: story.tell("arrives", text)), Nginx(place)
        story.awaited("sshd and nginx listen", lambda: (_listens(22) and _listens(80)) or None, 5)
        story.tell("host", f"sshd listens on port 22, nginx on port 80; the customer at {CUSTOMER} begins")
        customer = Customer()
        shopping = visitor.does(customer.shop)
        try:
            agent.start()
            yield Stage(story, agent, sshd, guesser, flooder, customer)
        finally:
            customer.leave()
            shopping.result(timeout=10)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE):
        return True
    return False


def _perform(stage: Stage) -> None:
    limited = threading.Event()
    flooding = stage.flooder.does(_flood, stage.story, stage.agent.records[-1].ts + _SAMPLE - 1, limited)
    try:
        delay = _passwords(stage)
        dropped = stage.agent.packets(GUESSER)
        _operator(stage)
        rates = _limit(stage, flooding, limited)
    finally:
        limited.set()
    held = stage.agent.packets(FLOODER)
    proven = _evidence(stage)
    _numbers(stage, delay, (dropped, held), rates, proven)


# The acts -------------------------------------------------------------------------------------------------------------


def _passwords(stage: Stage) -> float:
    """Block who guesses passwords; the seconds from the eighth failure in the log to the block that was read back."""
    story, agent, guesser = stage.story, stage.agent, stage.guesser
    story.act(f"{GUESSER} guesses passwords")
    kept = Kept()
    story.fact(f"{GUESSER} has a connection to the web server open, and pages come over it", guesser.does(kept.fetch).result())
    guesser.does(guess_passwords, agent.place)
    held = agent.wait("in_force", GUESSER, 15)
    _show_kernel(story, GUESSER)
    again, before = guesser.does(greeting, 22), guesser.does(kept.fetch)
    story.fact(f"a new connection of {GUESSER} to port 22 gets no answer", not again.result(), again.result())
    story.fact("the connection that it had open before is dead, too", not before.result(), "a page came")
    _customer(stage)
    return held.ts - stage.sshd.failures[_THRESHOLD - 1]


def _operator(stage: Stage) -> None:
    story, agent = stage.story, stage.agent
    story.act("An operator looks at it, and takes it back")
    known = agent.contain("why", GUESSER)
    story.fact("it says what was found, and what is in force", known.code == 0 and "in_force" in known.out)
    lifted = agent.contain("undo", GUESSER, "--why", "the old backup server; its owner is called")
    agent.hear("lifted")
    story.fact("the undo was done", lifted.code == 0, f"exit status {lifted.code}")
    said = stage.guesser.does(greeting, 22).result()
    story.fact(f"{GUESSER} gets in again: {said}", said, "no answer")
    story.fact("the kernel holds nothing against it any more", not kernel_holds(GUESSER), kernel_holds(GUESSER))


def _limit(stage: Stage, flooding: Future[Flooded], limited: threading.Event) -> tuple[Flooded, Flooded]:
    """Limit who floods; what wrk counted before and after."""
    story, agent = stage.story, stage.agent
    story.act(f"{FLOODER} floods the web server; a flood is 3 samples of 4, one every {_SAMPLE:g} s")
    agent.wait("in_force", FLOODER, 30, lambda: f"the customer has {stage.customer.ok:,} pages, {stage.customer.failed} refused")
    limited.set()
    _show_kernel(story, FLOODER)
    first = flooding.result(timeout=30)
    second = stage.flooder.does(_flood_again, story).result(timeout=30)
    allowed = _LIMIT * (second.seconds + 1) + _BURST
    claim = f"its own wrk counts {first.rate:,.0f} pages/s before and {second.rate:,.0f} pages/s now"
    story.fact(claim, second.requests <= allowed < first.requests, f"{second.requests} pages, and {allowed:.0f} are allowed")
    _customer(stage)
    seen = agent.contain("status")
    story.fact("the status shows the limit in force, as the kernel says at this moment", f"rate_limit  {FLOODER}" in seen.out)
    return first, second


def _evidence(stage: Stage) -> Proven:
    story, agent = stage.story, stage.agent
    story.act("The agent stops, and what it did can be proven")
    status = agent.stop()
    story.fact("it stopped cleanly", status == 0, f"exit status {status}")
    held = kernel_holds(FLOODER)
    story.fact("the kernel goes on limiting without it, and will let go by itself", "expires" in held, held)
    return check_evidence(agent, story)


def _numbers(stage: Stage, delay: float, dropped: tuple[int, int], rates: tuple[Flooded, Flooded], proven: Proven) -> None:
    customer, (first, second) = stage.customer, rates
    stage.story.fact(
        "the customer never noticed anything", customer.ok > 100 and not customer.failed, f"{customer.failed} failed"
    )
    measured = f"{delay * 1000:.1f} ms, with the intent on disk before and the block read back after"
    stage.story.numbers(
        [
            ("8th failure in the log → in force", measured),
            ("packets dropped", f"{dropped[0]:,} of {GUESSER}, {dropped[1]:,} of {FLOODER}"),
            ("flood", f"{first.rate:,.0f} → {second.rate:,.0f} pages/s"),
            ("customer", f"{customer.ok:,} ok, {customer.failed} failed, the slowest took {customer.slowest * 1000:.0f} ms"),
            ("evidence", f"{proven.records} records under {proven.checkpoints} signed checkpoints"),
        ]
    )


# What several acts do -------------------------------------------------------------------------------------------------


def _show_kernel(story: Story, address: str) -> None:
    held = kernel_holds(address)
    story.tell("kernel", held)
    story.fact(f"the kernel holds {address}, with an end of its own", "expires" in held, held or "nothing")


def _customer(stage: Stage) -> None:
    customer = stage.customer
    said = f"the customer goes on: {customer.ok:,} pages, none refused"
    stage.story.fact(said, customer.ok and not customer.failed, f"{customer.failed} refused")


def _flood(story: Story, moment: float, limited: threading.Event) -> Flooded:
    """Flood from shortly before a sample, so that three samples see it; once more where that was not enough."""
    time.sleep(max(0.0, moment - time.time()))
    first: Flooded | None = None
    for seconds in _FLOODS:
        story.tell("arrives", f"wrk from {FLOODER}: as many pages as it can get in {seconds} s, each over a new connection")
        flooded = flood(seconds)
        first = first or flooded
        if limited.wait(2.5):
            break
    assert first is not None
    return first


def _flood_again(story: Story) -> Flooded:
    story.tell("arrives", f"wrk from {FLOODER} once more, for {_AGAIN} s")
    return flood(_AGAIN)
