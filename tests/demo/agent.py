"""The agent of the demo: `contain run` with the shipped policies, its records as they are made, and an operator's terminal."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from agent.evidence.journal_file import CannotUseJournal
from agent.evidence.journal_read import Reader, read_only
from agent.record import Stored
from agent.say import sentence
from tests.cli.command import CONTAIN, ROOT, Said, Terminal, environment
from tests.demo.story import Story

_CONFIG: Final = """\
version: 1
host: db1
state: "{place}/state"
socket: "{place}/agent.sock"
policies: ["{policies}"]
mode: enforce
canary: off
lists: {{office: [], monitoring: []}}

# Where operators log in; whoever is connected there is never blocked. This throw-away host has no logind to tell an operator
# from a guesser who is merely connected, so the operators' sshd has a port of its own here. With logind, 22 is right.
ssh_ports: [2222]

sensors:    # the logs begin with the demo, so they are read from their start
  auth: {{logfile: {{path: "{place}/auth.log", parsers: [sshd], from_start: true}}}}
  web: {{logfile: {{path: "{place}/access.log", parsers: [nginx], from_start: true}}}}
{checks}"""

CHECKS: Final = """
checks:
  shop: {http: {url: http://192.0.2.10/}, every: 2s, timeout: 1s}
"""
_ENDS: Final = {"in_force": "is in force", "would": "is in the record", "lifted": "is lifted"}
QUIET: Final = frozenset({"sensor", "phase"})
"""Kinds of records that the story can do without."""


class Agent:
    """One agent with its state under `place`. Use as a context; whatever happens, it does not go on running."""

    def __init__(self, place: Path, story: Story, *, checks: str = "") -> None:
        self.place, self.story = place, story
        self.config = place / "agent.yaml"
        self.config.write_text(_CONFIG.format(place=place, policies=ROOT / "policies", checks=checks))
        self.records: list[Stored] = []
        self._closing = ExitStack()
        for name in ("auth.log", "access.log"):
            (place / name).touch()

    def start(self, *options: str) -> Self:
        """Start it, and hear it say that its policies are live."""
        with (self.place / "agent.log").open("wb") as log:
            command = [*CONTAIN, "run", "--config", str(self.config), *options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        self._closing.callback(self._kill)
        self._reader = self._closing.enter_context(self.story.awaited("the agent starts", self._journal, 15))
        self.story.awaited("its policies are live", lambda: self._alive() and self.hear("policies"), 15)
        self.story.awaited("it answers", lambda: (self.place / "agent.sock").exists() or None, 5)
        return self

    def _alive(self) -> bool:
        """Whether it runs; an agent that ended has said why, and the play is over."""
        if self._process.poll() is None:
            return True
        self.story.line((self.place / "agent.log").read_text().rstrip())
        raise self.story.over("the agent starts", f"it ended with {self._process.returncode}")

    def _journal(self) -> Reader | None:
        self._alive()
        try:
            return read_only(self.place / "state" / "journal.db")
        except CannotUseJournal:
            return None

    # What it says -----------------------------------------------------------------------------------------------------------

    def hear(self, kind: str, target: str = "") -> Stored | None:
        """Tell the new records, and pick one of this kind, about this target, out of all there were."""
        last = self.records[-1].seq if self.records else -1
        for one in self._reader.records(last):
            self.records.append(one)
            if one.record.kind not in QUIET:
                self.story.tell("agent", sentence(one.record), one.ts)
        mine = {one.record.mitigation for one in self.records if one.record.body.get("target") == target} - {""}
        fitting = [one for one in self.records if one.record.kind == kind]
        return next((one for one in fitting if not target or one.record.mitigation in mine), None)

    def wait(self, kind: str, target: str, seconds: float, progress: Callable[[], str] | None = None) -> Stored:
        """The record of this kind about a mitigation of this target, as soon as it is there.

        Raises:
            CannotGoOn: it did not come.
        """
        claim = f"a mitigation of {target} {_ENDS.get(kind, kind)}"
        return self.story.awaited(claim, lambda: self.hear(kind, target), seconds, progress)

    # What it is asked -------------------------------------------------------------------------------------------------------

    def contain(self, *words: str) -> Said:
        """A command that an operator types at a terminal, shown with its answer; files are named as from `place`."""
        env = {"CONTAIN_CONFIG": str(self.config)} | ({} if self.story.show.colour else {"NO_COLOR": "1"})
        said = Terminal(*words, env=env, cwd=self.place, columns=self.story.columns).end()
        self.story.screen(f"contain {shlex.join(words)}", said.out)
        return said

    def packets(self, target: str) -> int:
        """How many packets of a target were stopped, as the agent reads it from the kernel."""
        done = subprocess.run(
            [*CONTAIN, "mitigations", "--json", "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=environment(),
        )
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return sum(one["packets"] or 0 for one in items if one["target"] == target)

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        os.kill(self._process.pid, signal.SIGTERM)
        status = self._process.wait(timeout=15)
        self.hear("stopped")
        return status

    def __enter__(self) -> Self:
        """Nothing yet; see start."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it if it still runs."""
        self._closing.close()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)


def kernel_holds(address: str) -> str:
    """The set and the element that the kernel holds for an address, as nft prints it; empty where there is none."""
    words = ["nft", "list", "table", "inet", "containment"]
    text = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stdout
    name = ""
    for line in text.splitlines():
        if found := re.match(r"\s*set (\S+) ", line):
            name = found[1]
        elif found := re.search(rf"(?<![\d.]){re.escape(address)} [^,}}]*", line):
            return f"set {name}: {found[0].strip()}"
    return ""
