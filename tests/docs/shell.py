"""Blocks of shell as they are carried out: one script each, with the exit codes that it says, and output that is compared."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import pytest

from tests.docs.document import Block, Document

PRELUDE: Final = """\
set -Eeuo pipefail
wait_for() {
  for _ in $(seq 100); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.2; done
  echo "waited 20 s in vain: $*" >&2; return 1
}
trap 'code=$?; echo "exit $code: $BASH_COMMAND" >&2; exit $code' ERR
"""
_CODES: Final = re.compile(r"^(?P<command>.*\S)\s+#.*?\bexit (?P<codes>\d+(?:\|\d+)*)\b.*$")


class Ended(NamedTuple):
    """How a script ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


class Place(Protocol):
    """Where scripts run."""

    def run(self, script: str, *, attacker: bool = False) -> Ended:
        """Carry out a script of bash."""
        ...

    def write(self, how: str, path: str, text: str) -> None:
        """Write a file there, or add to it."""
        ...


def carry_out(block: Block, place: Place) -> str:
    """Do what the block says; what went wrong, or nothing."""
    if block.target:
        place.write(*block.target, block.text)
        return ""
    if "compared" in block.words:
        return "\n".join(filter(None, (_compare(*one, place) for one in _exchanges(block.text))))
    done = place.run(script(block.text), attacker=block.place == "attacker")
    return f"exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}" if done.returncode else ""


def script(text: str) -> str:
    """The block as a script that ends at the first command with another exit code than it should have."""
    return PRELUDE + "".join(_line(one) for one in text.splitlines())


def _line(line: str) -> str:
    found = _CODES.match(line)
    if not found:
        return f"{line}\n"
    said = shlex.quote(f"{found['command']}: exit $code instead of {found['codes']}")
    wrong = f"echo {said} $code >&2; exit 99"
    return f"code=0; {{ {found['command']}\n}} || code=$?\ncase $code in {found['codes']}) ;; *) {wrong} ;; esac\n"


def _exchanges(text: str) -> list[tuple[str, list[str]]]:
    """Commands behind `$ `, each with the lines that it should print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def _compare(command: str, expected: list[str], place: Place) -> str:
    done = place.run(PRELUDE.replace("set -E", "set +e; set -E") + f"exec 2>&1\n{command} || true\n")
    pattern = "".join(_pattern(one) for one in expected)
    if re.fullmatch(pattern, "".join(f"{one.rstrip()}\n" for one in done.stdout.rstrip("\n").splitlines())):
        return ""
    return f"$ {command}\nprints\n{done.stdout}and the document says\n" + "\n".join(expected)


def _pattern(line: str) -> str:
    """`…` inside a line is anything, alone it is any lines; how much space stands between words does not matter."""
    if line.strip() == "…":
        return r"(?:.*\n)*"
    words = [".*?".join(map(re.escape, one.split("…"))) for one in line.split()]
    return r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n"


def follow(one: Document, blocks: Iterable[Block], place: Place) -> None:
    """Do what the document says, up to the first block that fails: what follows is not worth a look."""
    for block in blocks:
        if failed := carry_out(block, place):
            pytest.fail(f"{one.at(block)}\n{block.text}{failed}", pytrace=False)
