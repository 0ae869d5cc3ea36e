"""The entry point `contain`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    gc.set_threshold(50_000, 20, 20)  # imports leave no garbage: looking for it would be a tenth of a short command
    from agent.cli.line import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
