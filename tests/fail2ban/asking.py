"""Asks fail2ban and us about the same lines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from agent.fail2ban.filters import WHERE, Filter, load
from agent.fail2ban.judge import Judge, Judged, Line, Verdict
from tests.needs import lacking

NOW = 1795413600.0
SAMPLES = Path("/usr/lib/python3/dist-packages/fail2ban/tests/files/logs")
"""Lines for each filter, in Debian's package; they are read where they are."""
Told = list[Any]


@dataclass(frozen=True)
class Question:
    """Lines for one filter. `alone`: each is the first one that it sees."""

    filter: str
    lines: Sequence[str]
    alone: bool = False
    backend: str = "auto"
    directory: str = str(Path(WHERE).parent)

    def ours(self) -> list[Told]:
        """Our verdicts."""
        one = load(f"{self.directory}/filter.d", self.filter, "journal" if self.backend == "systemd" else "file")
        told, dates, judge = [], one.detector(), Judge(one.rules)
        for line in self.lines:
            if self.alone:
                dates, judge = one.detector(), Judge(one.rules)
            text = line if self.backend == "systemd" else dates.cut(line, NOW)[0]
            told.append(plain(judge.judge(Line(text, line), NOW)))
        return told


def plain(judged: Judged) -> Told:
    """A verdict as the oracle writes it."""
    failed = judged.verdict is Verdict.FAILURE
    return [judged.verdict.value, judged.identity, dict(judged.groups)] if failed else [judged.verdict.value, "", {}]


def same(theirs: Told, ours: Told) -> bool:
    """fail2ban tells only of lines that ignoreregex matched, and not of <F-NOFAIL>, that they are ignored."""
    return theirs == ours or (theirs[0], ours[0]) == ("missed", "ignored")


def both(questions: Iterable[Question]) -> tuple[list[list[Told]], list[list[Told]]]:
    """fail2ban's verdicts, by one process of the system's Python, and ours, worked out meanwhile."""
    need_fail2ban()
    questions = list(questions)
    command = ["/usr/bin/python3", str(Path(__file__).with_name("oracle.py"))]
    with TemporaryFile() as asked, TemporaryFile() as answers, TemporaryFile() as trouble:
        asked.write(json.dumps([vars(one) | {"lines": list(one.lines)} for one in questions]).encode())
        asked.seek(0)
        with subprocess.Popen(command, stdin=asked, stdout=answers, stderr=trouble) as process:
            ours = [one.ours() for one in questions]
            code = process.wait(timeout=100)
        for file in (answers, trouble):
            file.seek(0)
        assert code == 0, trouble.read().decode()
        theirs: list[list[Told]] = json.load(answers)
    return theirs, ours


def need_fail2ban() -> None:
    """Debian's package."""
    if not Path(WHERE, "sshd.conf").exists():
        lacking("fail2ban's filters are missing: apt-get install fail2ban")


@cache
def shipped() -> dict[str, Filter]:
    """Every filter of the package that is one, by name; files that only others include have no failregex."""
    need_fail2ban()
    names = (one.stem for one in sorted(Path(WHERE).glob("*.conf")))
    return {name: load(WHERE, name) for name in names if not name.endswith("-common") and name != "common"}


def specs(name: str) -> list[str]:
    """A filter as it is, and in each of its modes."""
    text = Path(WHERE, f"{name}.conf").read_text()
    modes = [
        mode for mode in ("normal", "ddos", "extra", "aggressive", "auth", "more", "rbl", "errors") if f"mdre-{mode} " in text
    ]
    return [name, *(f"{name}[mode={mode}]" for mode in modes)]


def samples(name: str) -> list[str]:
    """The package's own lines for a filter."""
    path = SAMPLES / name
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [line.rstrip("\r") for line in lines if line and not line.startswith("#")]
