"""The matrix: every subject dies with its agent at every moment of its life, and lives through every fault that it can meet."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from tests.chaos import failover
from tests.chaos.deaths import die, moments
from tests.chaos.faults import FAULTS, Fault, Stage
from tests.chaos.ground import Ground
from tests.chaos.scene import POLICY, Scene
from tests.chaos.subjects import Subject

TTL = 5.0
HARD_TTL = 9.0
"""Seconds that a mitigation lasts which is to be looked at before it is over; what asks its whole server needs more."""


class Cell(NamedTuple):
    """One subject under one fault."""

    fault: Fault
    subject: Subject

    def play(self, ground: Ground, place: Path) -> None:
        """Into force, the fault, and then: status is what the system says, the evidence holds, and nothing is left."""
        with ExitStack() as open_:
            clock, disk, needed = self.fault.stage(ground, place)
            open_.enter_context(needed)
            life = ground.life(place, self.subject, POLICY % f"{TTL:g}s", **(clock.environment if clock else {}))
            open_.callback(life.kill)
            scene = Scene(life, self.subject, self.fault.ttl)
            scene.begin()
            scene.put()
            scene.must_hold()
            self.fault.strike(Stage(scene, ground, clock, disk))
            scene.must_be_equal()
            if scene.left() > 2:
                scene.must_hold()
            scene.must_end()


def cells(ground: Ground) -> list[Cell]:
    """All cells that can be played here, the faults by turns."""
    return [Cell(fault, one) for fault in FAULTS for one in ground.subjects if one.name in fault.of]


def ttl_of(subject: Subject) -> float:
    """How long it lasts in a life that ends in the midst."""
    return HARD_TTL if subject.name in ("stop_writes hard", "stop_writes fence", "isolate_container") else TTL


def whole(ground: Ground, place: Path, seed: int) -> bool:
    """Play all of it, in an order by the seed; whether everything held. What broke is told, and the rest goes on."""
    order, broken, begun = random.Random(seed), 0, time.monotonic()
    all_ = [one for one in ground.subjects if not one.name.endswith("as kept")]  # it is the same one, seen otherwise
    todo: Sequence[Subject] = order.sample(all_, len(all_))
    for subject in todo:
        for name, wrong in _deaths(ground, subject, place):
            broken += _tell(f"{subject.name}: dies {name}", wrong)
    for number, cell in enumerate(order.sample(cells(ground), len(cells(ground)))):
        wrong = _why(partial(cell.play, ground, place / f"cell-{number}"))
        broken += _tell(f"{cell.subject.name}: {cell.fault.name}", wrong)
    for number, (name, play) in enumerate(failover.played()):
        broken += _tell(name, _why(partial(play, place / f"failover-{number}")))
    click.echo(f"matrix: {broken} cells broke, {(time.monotonic() - begun) / 60:.1f} min")
    return not broken


def _deaths(ground: Ground, subject: Subject, place: Path) -> Iterator[tuple[str, str]]:
    life = ground.life(place / subject.name.replace(" ", "-"), subject, POLICY % f"{TTL:g}s")
    known: list[str] = []
    wrong = _why(lambda: known.extend(moments(Scene(life, subject, ttl_of(subject)))))
    life.kill()
    yield "never", wrong
    for one in known:
        yield one, _why(partial(die, Scene(life, subject, ttl_of(subject)), one))


def _why(play: Callable[[], object]) -> str:
    try:
        play()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _tell(what: str, wrong: str) -> int:
    click.echo(f"{'BROKEN' if wrong else 'holds '}  {what}{': ' + wrong if wrong else ''}")
    return bool(wrong)
