"""The same play where real packets cannot be had: lines that sshd and nginx wrote in a real one, and an agent in dry run."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.demo.agent import Agent
from tests.demo.evidence import check_evidence
from tests.demo.machines import CUSTOMER, FLOODER, GUESSER
from tests.demo.servers import syslog_line
from tests.demo.story import CannotGoOn, Story

_RECORDED: Final = tuple(
    f"Failed password for {user} from {GUESSER} port {port} ssh2"
    for user, port in (
        ("root", 33610),
        ("invalid user admin", 33624),
        ("invalid user oracle", 33636),
        ("invalid user git", 33652),
    )
    for _ in range(2)
)
_PAGE: Final = '{client} - - [{time}] "GET / HTTP/1.1" 200 25 "-" "-"\n'
_PER_SECOND: Final = 400


def play(place: Path, lacking: Sequence[str]) -> int:
    """The attack as it was recorded; the exit status."""
    story = Story()
    story.line("containment-agent: a whole attack in half a minute, in dry run", "bold")
    story.line("For real packets this demo needs, and does not find:", "yellow")
    for one in lacking:
        story.line(f"  {one}")
    story.line("So lines that sshd and nginx wrote in a real attack arrive, and the agent says what it would do.")
    with suppress(CannotGoOn), Agent(place, story) as agent:
        _perform(agent, story)
    return story.end()


def _perform(agent: Agent, story: Story) -> None:
    story.act("The agent starts, in dry run, with the policies it is shipped with")
    agent.start("--dry-run")
    enough = threading.Event()
    flooding = threading.Thread(target=_flood, args=(agent.place / "access.log", enough), name="nginx", daemon=True)
    flooding.start()
    try:
        delay = _passwords(agent, story)
        _limit(agent, story)
    finally:
        enough.set()
        flooding.join(timeout=5)
    story.act("What it did can be proven")
    status = agent.stop()
    story.fact("it stopped cleanly", status == 0, f"exit status {status}")
    proven = check_evidence(agent, story)
    story.numbers(
        [
            ("8th failure in the log → decided", f"{delay * 1000:.1f} ms, with the decision on disk"),
            ("evidence", f"{proven.records} records under {proven.checkpoints} signed checkpoints"),
        ]
    )


def _passwords(agent: Agent, story: Story) -> float:
    """The seconds from the eighth failure to the decision."""
    story.act(f"{GUESSER} guesses passwords")
    written: list[float] = []
    with (agent.place / "auth.log").open("a", buffering=1) as log:
        for text in _RECORDED:
            written.append(time.time())
            log.write(syslog_line(text, 812))
            story.tell("arrives", text)
            time.sleep(0.1)  # sshd needs about so long for each
    would = agent.wait("would", GUESSER, 10)
    shown = agent.contain("block", GUESSER, "--for", "1h", "--dry-run")
    story.fact("the dry run shows the very command that it would run", f"hosts4 {{ {GUESSER} timeout 1h }}" in shown.out)
    agent.contain("why", GUESSER)
    return would.ts - written[-1]


def _limit(agent: Agent, story: Story) -> None:
    story.act(f"{FLOODER} floods the web server; a flood is 3 samples of 4, one every 5 s")
    story.tell("arrives", f"{_PER_SECOND} lines per second of {FLOODER} in nginx's access log, and a few of {CUSTOMER}")
    log = agent.place / "access.log"
    agent.wait("would", FLOODER, 25, lambda: f"nginx's log has {log.stat().st_size:,} bytes")
    seen = agent.contain("status")
    story.fact(
        "the status shows a block and a limit that would be, and nothing in force",
        "0 mitigations in force, 2 would be" in seen.out,
    )
    targets = {one.record.body.get("target") for one in agent.records}
    story.fact("the customer is in no finding", CUSTOMER not in targets)


def _flood(path: Path, enough: threading.Event) -> None:
    """What nginx wrote, with the time of now; four times a second."""
    with path.open("a") as log:
        while not enough.wait(0.25):
            now = time.strftime("%d/%b/%Y:%H:%M:%S %z")
            lines = [_PAGE.format(client=FLOODER, time=now)] * (_PER_SECOND // 4) + [_PAGE.format(client=CUSTOMER, time=now)] * 5
            log.write("".join(lines))
            log.flush()
