"""Write docs/reference/ and the man pages: `python -m agent.reference`, for `make docs`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent.reference.everything import pages

HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write what differs, take away what is made no more, and say so."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=HERE / "docs", help="the directory that reference/ and man/ are written into")
    out = asked.parse_args().out
    made = pages(HERE / "policies", HERE / "systemd")
    for name, text in made.items():
        file = out / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file}\n")
    for folder in ("reference", "man"):
        for file in sorted((out / folder).glob("*")):
            if f"{folder}/{file.name}" not in made:
                file.unlink()
                sys.stdout.write(f"{file} is no more\n")


if __name__ == "__main__":
    main()
