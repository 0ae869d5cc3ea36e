"""The line that costs each parser most: a bounded search for it, as somebody would make it who wants to burn our CPU.

python -m tests.bench.worst_line [TRIES]
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from agent.streams.parser import Parser, Scan, discover_parsers
from tests.parsers.forged import corpus_of

LIMIT: Final = 5.0
"""Milliseconds of CPU that no line may cost."""
_FILLINGS: Final = (
    *[b"a", b"1", b" ", b".", b":", b'"', b"\\", b"[", b"]", b"{", b",", b";", b"(", b"\xff", b"\xc3(", b"\0", b"\t", b"\x1b"],
    *[b" from ", b" from 1.1.1.1", b" from 1.1.1.1 port 1 ssh2", b" for ", b" ssh2", b" not allowed because ", b": A B", b"%"],
    *[b'" "', b"] ", b' "-"', b"[x] ", b"1.1.1.1 ", b" ; USER=a", b"COMMAND=", b" : ", b"/login/", b"/", b"\\u0000", b'\\"'],
    *[b"[],", b"{},", b'"a",', b"1e9,", b"1,", b"-1.5e300,", b"null,", b'["a"],', b'{"a":[1]},', b"true,", b"9" * 400 + b","],
    *[b"sshd[1]: Failed ", b"sudo: a : ", b'"error":"', b'"remote_addr":"1.1.1.1"', b"message repeated 9 times: [ "],
)
_MARK: Final = re.compile("\u2039\\d*\u203a".encode())


@dataclass(frozen=True, order=True)
class Worst:
    """What one line costs one parser: milliseconds of CPU, the best of several."""

    milliseconds: float
    parser: str
    line: bytes
    tried: int


def worst_lines(tries: int = 600, seed: int = 1) -> list[Worst]:
    """For each parser the worst that so many tries found; the same seed tries the same lines."""
    return [_search(name, parser, random.Random(f"{seed} {name}"), tries) for name, parser in sorted(discover_parsers().items())]


def _search(name: str, parser: Parser, chance: random.Random, tries: int) -> Worst:
    """Forms full of one filling; then the worst of them, changed at random."""
    corpus = corpus_of(name)
    lines = [form.line for form in corpus.forms] + [line for line, _ in corpus.lines]
    found: list[tuple[float, bytes]] = []
    for number in range(tries):
        early = number < tries // 2
        line = _filled(chance.choice(lines), parser.longest, chance) if early else chance.choice(found)[1]
        line = line if early else _changed(line, parser.longest, chance)
        found = sorted([*found, (_cost(parser, line), line)], reverse=True)[:12]
    return max(Worst(min(_cost(parser, line) for _ in range(7)), name, line, tries) for _, line in found)


def _filled(line: bytes, longest: int, chance: random.Random) -> bytes:
    """One of a stranger's texts, or one list more in an object, is as long as it can be."""
    filling = chance.choice(_FILLINGS)
    long = filling * max(1, (longest - len(line) - 20) // len(filling))
    if line.endswith(b"}") and chance.random() < 0.4:
        return (_MARK.sub(b"x", line)[:-1] + b',"x":[' + long + b"1]}")[:longest]
    at = chance.randrange(len(_MARK.findall(line)) or 1)
    counted = iter(range(99))
    return _MARK.sub(lambda _: long if next(counted) == at else b"x", line)[:longest]


def _changed(line: bytes, longest: int, chance: random.Random) -> bytes:
    filling, begin = chance.choice(_FILLINGS), chance.randrange(len(line) + 1)
    end = chance.choice([begin, chance.randrange(begin, len(line) + 1)])
    more = filling * chance.choice([1, 10, max(1, (longest - len(line) + end - begin) // len(filling))])
    return re.sub(rb"[\n]", b" ", line[:begin] + more + line[end:])[:longest]


def _cost(parser: Parser, line: bytes) -> float:
    """Of everything between the bytes of a file and its events."""
    scan, chunk = Scan.of([parser], "file:x"), line + b"\n"
    began = time.process_time()
    scan.events(chunk, 1795413700.0)
    return 1000 * (time.process_time() - began)


def text(found: Sequence[Worst]) -> str:
    """As a table."""
    lines = [f"the worst line that {found[0].tried:,} tries found for each parser: CPU, \u2264 {LIMIT:g} ms"]
    for one in found:
        shown = one.line[:60].decode("utf-8", "replace").translate(dict.fromkeys(range(32), "�"))
        met = "met" if one.milliseconds <= LIMIT else "missed"
        lines.append(f"{one.parser:<12} {one.milliseconds:6.3f} ms  {met}  {len(one.line):>7,} bytes  {shown}\u2026")
    return "\n".join(lines)


def plain(found: Sequence[Worst]) -> list[dict[str, object]]:
    """The same for machines."""
    return [{"parser": one.parser, "ms": one.milliseconds, "bytes": len(one.line), "tried": one.tried} for one in found]


if __name__ == "__main__":
    click.echo(text(worst_lines(int(sys.argv[1]) if sys.argv[1:] else 600)))
