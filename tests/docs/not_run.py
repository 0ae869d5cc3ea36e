"""The blocks of documents that are shown and not run, by their first line, each with the reason. Keep it short."""

from __future__ import annotations

from typing import Final

NOT_RUN: Final[dict[str, str]] = {
    "make run     # watch this host in dry run: it changes nothing, and shows what it sees and would do": (
        "CI runs both, as they stand"
    ),
    "make deb                                            # prints where the package is: dist/containment-agent_…_amd64.deb": (
        "built for the box"
    ),
    "apt install make python3-venv        # on the machine that builds": "the network; the package is built for the box",
    "systemctl stop containment-agent": "there is no version before; see tests/test_upgrade.py",
}
