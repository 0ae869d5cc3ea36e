"""kill -9 between every two records, and around every call, of an action's life: from its intent until it is lifted."""

from __future__ import annotations

import time

from tests.chaos.scene import BrokenError, Scene


def moments(scene: Scene) -> list[str]:
    """All moments of a whole life that nobody ends, in their order: each is one at which it can die."""
    scene.begin()
    first = len(scene.life.moments())
    answer = scene.put()
    if answer and answer.get("result") not in ("in_force", "partly", "under_way"):
        raise BrokenError(f"it could not be put into force: {answer}")
    if not scene.subject.once:
        scene.must_hold()
    scene.must_end()
    told = scene.life.moments()[first:]
    scene.life.stop()
    return [one for one in told if not one.startswith(("before record stopped", "after record stopped"))]


def die(scene: Scene, moment: str) -> None:
    """Die at a moment, start again, and see that nothing was lost and nothing is left."""
    try:
        scene.begin(moment)
        scene.put()
        if scene.life.dies(max(0.0, scene.left()) + scene.subject.takes):
            scene.life.start()
        scene.must_be_equal()
        if scene.by_policy:
            _not_lost(scene)
        scene.must_end()
    finally:
        scene.life.kill()


def _not_lost(scene: Scene) -> None:
    """What was seen before a death is contained after it."""
    until = time.monotonic() + 10
    while not any(one.kind == "in_force" or one.body.get("holds") for one in scene.records()):
        if time.monotonic() > until:
            raise BrokenError("a finding was forgotten over a death")
        time.sleep(0.1)
