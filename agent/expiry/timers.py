"""Timers of systemd's that live without the agent: each starts `contain expire` at a moment when something should be over."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Set
from hashlib import sha256
from pathlib import Path
from typing import Final

from agent.action import CannotReach
from agent.expiry import capsule
from agent.expiry.capsule import place_of

GRACE: Final = 2
"""Seconds after its end in which the agent takes a mitigation down itself, before systemd starts anything."""
PATIENCE: Final = 5.0
"""Seconds that systemd has for all that it is told at once; an order takes 10 ms."""
AGAIN: Final = 30.0
"""Seconds in which systemd is left alone after it did not do what it was told: each try would hold up an act."""
LONGEST: Final = 900
"""Seconds that `contain expire` may take in all."""
MOST: Final = 100
"""Timers at once. Each run of `contain expire` has timers made for what is left, so that no end is without one for long."""
STANDING: Final = "containment-expire.timer"
"""The timer of an installed agent: twice a minute it ends what is over. An agent that is no root may have none made."""
INSTALLED: Final = Path("/run/containment-agent/agent.undo")
"""The capsules that it looks after."""
BOOTED: Final = Path("/run/systemd/system")
"""There where systemd is PID 1 (sd_booted(3))."""
_NEXT_START: Final = "by the agent (at its next start, if it is dead then)"


def has_timers() -> bool:
    """Whether this host has timers that outlive the agent: systemd runs it."""
    return BOOTED.is_dir() and shutil.which("systemd-run") is not None


def how() -> str:
    """How what the kernel does not hold ends on this host."""
    return "by the agent, or by a timer of systemd's if it is dead then," if has_timers() else _NEXT_START


def refused(socket: Path) -> str:
    """Why what is over would wait for the agent on this host: systemd starts nothing for this user, or others may write where
    the capsules are. Nothing where all is well. One program that does nothing (true) is started to find out.
    """
    try:
        if _stands(place_of(socket), _Orders()):
            return ""
        if place_of(socket).exists():
            capsule.own(place_of(socket))
        _Orders().give("systemd-run", "--quiet", "--collect", "--wait", "true")
    except CannotReach as error:
        return str(error)
    return ""


class Timers:
    """Timers of systemd's for the capsules of one directory: one for each moment, all that is over then is ended by it."""

    def __init__(self, place: Path) -> None:
        """None is known yet; those of an agent that lived before are found when first needed."""
        self._place = place
        self._prefix = f"containment-undo-{sha256(os.fsencode(place)).hexdigest()[:8]}-"
        self._there: set[int] | None = None
        self._why, self._again = "", 0.0

    def keep(self, ends: Iterable[float], *, stop: bool = True) -> str:
        """Have timers for these ends (Unix seconds), and with `stop` for no others; why that is not so, or nothing."""
        if not has_timers():
            return ""
        if time.monotonic() < self._again:
            return self._why
        try:
            self._keep({math.ceil(one) + GRACE for one in ends}, time.time(), stop=stop)
        except CannotReach as error:
            self._there, self._why, self._again = None, str(error), time.monotonic() + AGAIN
            return self._why
        return ""

    def forget(self) -> None:
        """Look again which there are."""
        self._there = None

    def _keep(self, moments: Set[int], now: float, *, stop: bool) -> None:
        orders = _Orders()
        if _stands(self._place, orders):
            return
        there = self._running(orders) if self._there is None else self._there
        wanted = set(sorted(one for one in moments if one > now)[:MOST])
        for one in sorted(wanted - there):
            self._start(one, orders)
        if stop and (over := {one for one in there - wanted if one > now}):
            orders.give("systemctl", "stop", *(f"{self._prefix}{one}.timer" for one in sorted(over)))
        self._there = wanted

    def _running(self, orders: _Orders) -> set[int]:
        listed = orders.give("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", f"{self._prefix}*.timer")
        return {int(one) for one in re.findall(rf"{self._prefix}(\d+)\.timer", listed)}

    def _start(self, moment: int, orders: _Orders) -> None:
        """systemd-run(1). As the agent's own user: what it may not undo, its timer may not either."""
        user = [f"--uid={os.geteuid()}", f"--gid={os.getegid()}"] if os.geteuid() else []
        when = [f"--on-calendar=@{moment}", "--timer-property=AccuracySec=100ms", "--timer-property=RemainAfterElapse=no"]
        about = ["--description=End what is over, if the agent does not", f"--property=RuntimeMaxSec={LONGEST}"]
        command = [sys.executable, "-I", "-u", "-m", "agent", "expire", str(self._place)]  # -u: said while it is tried, not after
        orders.give("systemd-run", "--quiet", f"--unit={self._prefix}{moment}", *about, *when, *user, "--", *command)


def _stands(place: Path, orders: _Orders) -> bool:
    """Whether the installed timer looks after these capsules, so that none of our own is needed.

    Raises:
        CannotReach: it should, and somebody has stopped it.
    """
    owner = place.stat().st_uid if place.exists() else os.geteuid()
    if not owner or place != INSTALLED:
        return False
    if orders.give("systemctl", "show", "--property=ActiveState", "--value", STANDING).strip() != "active":
        mend = f"systemctl enable --now {STANDING}"
        raise CannotReach(f"cannot have systemd end it if the agent is dead: {STANDING} is not active; {mend}")
    return True


class _Orders:
    """Orders to systemd that may take PATIENCE in all: whoever waits for the last of them is about to act."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PATIENCE

    def give(self, *words: str) -> str:
        """What systemd's program printed.

        Raises:
            CannotReach: it refuses, or does not answer in time.
        """
        left = max(0.0, self._until - time.monotonic())
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=left, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            why = f"no answer within {PATIENCE:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
            raise CannotReach(f"cannot have systemd end it if the agent is dead: {words[0]}: {why}") from error
        if done.returncode and words[1] != "stop":  # a timer that is gone needs no stop
            said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
            mend = "run the agent as root, or let its user do that by a polkit rule"
            raise CannotReach(f"cannot have systemd end it if the agent is dead: {words[0]}: {said}; {mend}")
        return done.stdout
