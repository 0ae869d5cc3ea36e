"""A long random walk: orders, findings and people's wishes in any order, between every fault there is; measured all the while.

In the first third the agent is killed now and then, at random or at a moment that is told beforehand. From then on one process
lives to the end, so that what it holds can be compared: memory, files, threads.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import click
from psycopg import OperationalError

from tests.chaos.disk import SmallDisk
from tests.chaos.flat import Minute, flat
from tests.chaos.ground import Ground, stopped
from tests.chaos.host_clock import HostClock
from tests.chaos.life import Figures, Life
from tests.chaos.scene import ANSWERED, BrokenError
from tests.chaos.subjects import Subject, contained, table
from tests.network import nft
from tests.running import sshd_lines, wait_for

YARD: Final = "198.18.0"
"""Where offenders live: 240 of them, so that some come again."""
_OURS: Final = re.compile(rf"(?:{re.escape(YARD)}|203\.0\.113)\.\d+")
REST: Final = 40.0
"""Seconds in which all comes to rest in a quiet moment."""
LOG: Final = 8 << 20
"""Bytes of the agent's log that are kept."""
POLICIES: Final = """
policy: guessing
severity: P1
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 3 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 6s x2 up to 12s}
guard: {max: 20000 per 10m, cooldown: 1s}
---
policy: wandering
severity: P3
owner: sre
when: {event: auth.ssh.invalid_user, by: src.ip, count: ">= 2 in 1m"}
then:
  - rate_limit: {ip: $src.ip, rps: 5, ttl: 5s}
  - stop_writes: {strength: fence, ttl: 4s}
guard: {max: 20000 per 10m, cooldown: 1s}
"""


class Walk:
    """One run, by its seed."""

    def __init__(self, ground: Ground, place: Path, seed: int, minutes: float) -> None:
        assert ground.server is not None
        assert ground.bao is not None
        assert ground.docker is not None
        self.dice = random.Random(seed)
        self.subjects = [one for one in ground.subjects if not (one.boxed or one.name.endswith("as kept"))]
        self.server, self.bao, self.docker = ground.server, ground.bao, ground.docker
        self.clock, self.disk = HostClock(place), SmallDisk(place / "agent" / "state")
        tools = place / "bin"
        tools.mkdir()
        self._hung_nft = place / "nft-hangs"
        hangs = f"while [ -e {self._hung_nft} ]; do sleep 0.1; done"
        (tools / "nft").write_text(f'#!/bin/sh\n{hangs}\nexec {shutil.which("nft")} "$@"\n')
        (tools / "nft").chmod(0o755)
        path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.life = Life(place / "agent", ground.yaml(place / "agent"), POLICIES, PATH=path, **self.clock.environment)
        self.begun, self.length = time.monotonic(), minutes * 60
        self.history: deque[str] = deque(maxlen=25)
        self.base: dict[str, object] = {}
        self.moments: list[str] = []
        self.steps = self.quiet = self.over = 0
        self.minutes: list[Minute] = []
        self.settled: list[Figures] = []
        self._doomed = False

    # The run ----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Walk to the end.

        Raises:
            BrokenError: something did not hold.
        """
        with ExitStack() as open_:
            open_.callback(self.life.kill)
            open_.enter_context(self.disk)
            self._first_of_all()
            next_quiet, next_line = time.monotonic() + 8, time.monotonic() + 60
            while (now := time.monotonic()) - self.begun < self.length:
                self._step()
                if now >= next_quiet:
                    self._quiet_moment()
                    next_quiet = time.monotonic() + self.dice.uniform(5, 15)
                if now >= next_line and not self._doomed:  # which may die at any moment, as it is meant to
                    next_line = now + 60
                    self._line()
                time.sleep(self.dice.uniform(0.05, 0.6))
            self._all_over()
            self._line()
            self.life.stop()
            click.echo(flat(self.settled))

    def _first_of_all(self) -> None:
        self.life.start()
        self.life.calm()
        for one in self.subjects:
            one.ready()
            self.base[one.name] = one.world()

    def _step(self) -> None:
        """One thing that happens, by its weight."""
        self.steps += 1
        happens = self.dice.choices([one for one, _ in self._all], [weight for _, weight in self._all])[0]
        self.history.append(f"{time.monotonic() - self.begun:8.1f} s  {happens.__name__.strip('_')}")
        try:
            happens()
        except OperationalError:  # it asked a server that is on its way down or up
            pass
        except (OSError, ValueError) as error:  # half an answer is no JSON
            if not self._doomed:
                raise BrokenError(f"the agent does not answer: {error}\n{self._log()}") from error
        if self._doomed and not self.life.alive():
            self._revive()

    @property
    def _all(self) -> list[tuple[Callable[[], None], int]]:
        mild = [
            (self._order, 8), (self._guesses, 8), (self._wanders, 1), (self._undo, 4), (self._pause, 1), (self._resume, 2),
            (self._list, 2), (self._silence, 1), (self._reload, 1), (self._answer, 2), (self._ask, 3), (self._mode, 1),
        ]  # fmt: skip
        hard = [
            (self._hang, 2), (self._hang_nft, 1), (self._flush, 2), (self._set_clock, 2), (self._restart_postgres, 1),
            (self._seal, 1), (self._fill_disk, 1),
        ]  # fmt: skip
        deaths = [(self._kill, 3), (self._doom, 3)] if time.monotonic() - self.begun < self.length / 3 else []
        return [*mild, *hard, *deaths]

    # What people and attackers do -------------------------------------------------------------------------------------

    def _ttl(self) -> str:
        return f"{self.dice.randint(3, 12)}s"

    def _order(self) -> None:
        one = self.dice.choice(self.subjects)
        if one.once:
            one.ready()
        answer = self.life.ask("do", **one.order(self._ttl()))
        self.history[-1] += f" {one.name}: {answer.get('result', answer)} {answer.get('because', answer.get('error', ''))!s:.100}"

    def _address(self) -> str:
        return f"{YARD}.{self.dice.randint(10, 249)}"

    def _write(self, lines: list[str]) -> None:
        with (self.life.place / "auth.log").open("a") as log:
            log.write("".join(lines))

    def _guesses(self) -> None:
        for _ in range(self.dice.choice((1, 1, 1, 2, 20))):
            self._write(list(sshd_lines(self._address(), self.dice.randint(1, 6))))

    def _wanders(self) -> None:
        line = sshd_lines(self._address(), 1)[0].replace("Failed password for root from", "Invalid user eve from")
        self._write([line.replace(" ssh2", "")] * 3)

    def _undo(self) -> None:
        held = self.life.ask("mitigations")["items"]
        what = "all" if self.dice.random() < 0.15 or not held else self.dice.choice(held)["id"]
        self.life.ask("undo", what=what, why="chaos")

    def _pause(self) -> None:
        self.life.ask("pause", seconds=float(self.dice.randint(2, 8)), why="chaos")

    def _resume(self) -> None:
        self.life.ask("resume", what="all")

    def _list(self) -> None:
        verb = self.dice.choice(("list_add", "list_remove"))
        body: dict[str, Any] = {"list": "never_touch", "address": self._address(), "why": "chaos"}
        self.life.ask(verb, **body, **({"seconds": float(self.dice.randint(2, 10))} if verb == "list_add" else {}))

    def _silence(self) -> None:
        self.life.ask("silence", seconds=5.0, why="chaos", policy="guessing")

    def _reload(self) -> None:
        if not self._doomed:
            self.life.hangup()

    def _answer(self) -> None:
        waiting = [one for one in self.life.ask("approvals")["items"] if not one.get("over")]
        if waiting:
            one = self.dice.choice(waiting)
            self.life.ask(self.dice.choice(("approve", "deny")), what=one["id"], why="chaos")

    def _ask(self) -> None:
        self.life.ask(self.dice.choice(("status", "incidents", "policies", "lists", "checks", "pauses")))

    def _mode(self) -> None:
        self.life.ask("mode", policy="guessing", mode=self.dice.choice(("enforce", "enforce", "dry_run")))

    # What fails -------------------------------------------------------------------------------------------------------

    def _hang(self) -> None:
        which = self.dice.choice(("postgres", "vault", "docker"))
        self.history[-1] += f" {which}"
        pid = {"postgres": self.server.postmaster, "vault": self.bao.pid}
        with stopped(pid[which]) if which in pid else self.docker.hung():
            self._under_way()
            self._answers_in_time()

    def _hang_nft(self) -> None:
        self._hung_nft.touch()
        try:
            self._under_way()
            self._answers_in_time()
        finally:
            self._hung_nft.unlink()

    def _under_way(self) -> None:
        """Something is asked for while a system hangs: a finding, since people would wait for the answer."""
        self._guesses()
        time.sleep(self.dice.uniform(0.2, 4))

    def _flush(self) -> None:
        """What somebody does to our tables; a flush of all would take docker's rules, too, which nobody puts back."""
        there = [one for one in ("containment", "containment_host") if table(one)]
        if there:
            nft(f"{self.dice.choice(('flush', 'delete'))} table inet {self.dice.choice(there)}")

    def _set_clock(self) -> None:
        self.clock.set(self.dice.choice((-7200, -3600, 0, 0, 3600, 7200)))
        self.history[-1] += f" {self.clock.by:+d} s"

    def _restart_postgres(self) -> None:
        how = self.dice.choice(("immediate", "fast"))
        self.server.stop(how)
        time.sleep(self.dice.uniform(0, 1))
        self.server.start()

    def _seal(self) -> None:
        self.bao.seal()
        time.sleep(self.dice.uniform(0, 2))
        self.bao.unseal()

    def _fill_disk(self) -> None:
        with self.disk.full():
            self._under_way()

    def _kill(self) -> None:
        self.life.kill()
        self._revive()

    def _doom(self) -> None:
        """From now on it dies at a moment that is chosen of those that came before."""
        self.moments = sorted({*self.moments, *(one for one in self.life.moments() if one.endswith(("#1", "#2")))})
        self.life.kill()
        self._doomed = True
        death = self.dice.choice(self.moments) if self.moments else ""
        self.history[-1] += f" {death}"
        self.life.spawn(death)
        self._await_start()

    def _await_start(self) -> None:
        with suppress(AssertionError):
            wait_for(lambda: not self.life.alive() or (self.life.socket.exists() and self.life.ask("ping")))
        if not self.life.alive():
            self._revive()

    def _revive(self) -> None:
        self._doomed = False
        self.life.kill()
        self.life.start()

    # What must hold ---------------------------------------------------------------------------------------------------

    def _answers_in_time(self) -> None:
        begun = time.monotonic()
        self.life.ask("status")
        if (took := time.monotonic() - begun) > ANSWERED:
            raise BrokenError(f"it took {took:.1f} s to answer\n{self._log()}")

    def _quiet_moment(self) -> None:
        """Nobody does anything for a moment: status is what the systems say, and the evidence holds."""
        self.quiet += 1
        if self._doomed:
            self._revive()
        self._answers_in_time()
        self._until("nothing in doubt", lambda: self.life.ask("mitigations")["unsettled"] == 0)
        self._until("status equal to the systems", lambda: not self._differences(), lambda: str(self._differences()))
        if self.quiet % 4 == 0:
            self._all_over()

    def _all_over(self) -> None:
        """All that was in force ends, and nothing of it is left."""
        self.life.ask("resume", what="all")
        for one in self.life.ask("approvals")["items"]:
            if not one.get("over"):
                self.life.ask("deny", what=one["id"], why="chaos")
        self._until("the end of all", lambda: not self.life.ask("mitigations")["items"])
        self._until("the world as it was", lambda: not self._changed(), lambda: str(self._changed()))
        self._until("no capsule", lambda: not self.life.capsules())
        self._until("no program", lambda: self.life.figures().children == 0)
        if wrong := self.life.wrong_evidence():
            raise BrokenError(f"the evidence: {wrong}")
        if found := self.life.litter():
            raise BrokenError(f"files are left: {found}")
        self.over += 1
        if time.monotonic() - self.begun > self.length / 3:  # the process that lives to the end
            self.settled.append(self.life.figures())
        for one in self.subjects:
            one.again()

    def _differences(self) -> list[str]:
        """Where the agent's word and the system's own part."""
        items = [one for one in self.life.ask("mitigations")["items"] if one["stage"] == "in_force"]
        told = {one["target"] for one in items if one["action"] in ("block_ip", "block_egress", "rate_limit")}
        seen = _blocked()
        wrong = [f"the kernel holds {sorted(seen - told)} and the agent does not say so"] if seen - told else []
        wrong += [f"the agent says {sorted(told - seen)} and the kernel does not hold it"] if told - seen else []
        for one in self.subjects:
            if one.once or one.action in ("block_ip", "block_egress", "rate_limit"):
                continue
            says = any(each["action"] == one.action for each in items)
            if says == (one.world() == self.base[one.name]):
                wrong.append(f"{one.name}: the agent says {says}, and the world is {one.world()!s:.600}")
        return wrong

    def _changed(self) -> list[str]:
        return [f"{one.name}: {one.world()!s:.600}" for one in self.subjects if not self._as_it_was(one)]

    def _as_it_was(self, one: Subject) -> bool:
        if one.action in ("block_ip", "block_egress", "rate_limit"):
            return not _blocked()
        return one.once or one.world() == self.base[one.name]

    def _until(self, what: str, true: Callable[[], bool], why: Callable[[], str] = str) -> None:
        until = time.monotonic() + REST
        while True:
            try:
                if true():
                    return
            except OperationalError:  # the server is on its way down or up, for a fence or its end
                pass
            except (OSError, ValueError) as error:
                raise BrokenError(f"the agent does not answer: {error}\n{self._log()}") from error
            if time.monotonic() > until:
                with suppress(OperationalError):
                    what = f"{what}: {why()}"
                raise BrokenError(f"not within {REST:g} s: {what}\n{self._log()}")
            time.sleep(0.1)

    def _log(self) -> str:
        return "\n".join(line[:250] for line in self.life.log.read_text(errors="replace").splitlines()[-15:])

    # What is told -----------------------------------------------------------------------------------------------------

    def _line(self) -> None:
        status = self.life.ask("status")
        size = (self.life.place / "state" / "journal.db").stat().st_size
        minute = Minute(status["records"], status["mitigations"]["total"], self.life.figures(), size, self.steps)
        self.minutes.append(minute)
        click.echo(f"{(time.monotonic() - self.begun) / 60:5.1f} min  {minute}")
        if self.life.log.stat().st_size > LOG:
            self.life.log.write_bytes(b"")


def _blocked() -> set[str]:
    """Who is blocked or limited, as the kernel's sets say."""
    return set(_OURS.findall(contained()))
