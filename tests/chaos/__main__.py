"""`make chaos`: the whole matrix of deaths and faults, then a random walk. Root is needed; nothing of this machine is touched.

All of it lives in a network namespace of its own, and ends with this program.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import click

from tests.chaos.ground import everything
from tests.chaos.scene import BrokenError
from tests.chaos.walk import Walk


def main() -> int:
    """Run it; the exit status is 1 where something did not hold, and what that was stands last."""
    options = _options()
    if os.geteuid() != 0:
        click.echo("cannot do that: network namespaces need root; run: sudo make chaos", err=True)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that an end from outside tidies up, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="chaos-") as place, everything() as ground:
        if options.matrix:
            from tests.chaos.matrix import whole

            if not whole(ground, Path(place) / "matrix", seed):
                return 1
        if options.minutes:
            return _walk(Walk(ground, _made(Path(place) / "walk"), seed, options.minutes), seed)
    return 0


def _made(place: Path) -> Path:
    place.mkdir()
    return place


def _walk(walk: Walk, seed: int) -> int:
    begun = time.monotonic()
    try:
        walk.run()
    except BrokenError as error:
        click.echo("\n".join(walk.history))
        click.echo(f"BROKEN after {(time.monotonic() - begun) / 60:.1f} min, seed {seed}: {error}")
        return 1
    click.echo(f"{walk.steps} steps, {walk.quiet} quiet moments, all was over {walk.over} times; nothing broke, seed {seed}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description="Every fault under every action, then all of them at random.")
    parser.add_argument("--minutes", type=float, default=60, help="how long to walk; 0 for the matrix alone")
    parser.add_argument("--seed", type=int, help="walk as that run did, as far as processes allow")
    parser.add_argument("--no-matrix", dest="matrix", action="store_false", help="only walk")
    return parser.parse_args()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
