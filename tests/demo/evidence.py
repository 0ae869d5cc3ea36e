"""The last act of both plays: the record holds, and a record that was tampered with is noticed."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from typing import NamedTuple

from tests.cli.command import ROOT
from tests.demo.agent import Agent
from tests.demo.machines import GUESSER
from tests.demo.story import Story


class Proven(NamedTuple):
    """What the check of the evidence counted."""

    records: int
    checkpoints: int


def check_evidence(agent: Agent, story: Story) -> Proven:
    """Check the journal, and a copy in which another address stands."""
    good = agent.contain("evidence", "verify")
    found = re.search(r"(\d+) records, .* under (\d+) signed", good.out)
    story.fact("the evidence holds", good.code == 0 and found, f"exit status {good.code}")
    state, copy = agent.place / "state", agent.place / "tampered.db"
    with closing(sqlite3.connect(state / "journal.db")) as journal, closing(sqlite3.connect(copy)) as other:
        journal.backup(other)
        other.execute("drop trigger record_is_final")  # whoever can write the file can do that
        changed = other.execute(_TAMPER, (GUESSER,)).rowcount
        other.commit()
    story.tell("tamper", f"a copy of the journal, in which {changed} records name another address than {GUESSER}")
    bad = agent.contain("evidence", "verify", "--db", copy.name, "--vkey", "state/signing.vkey")
    story.fact("the check finds it", changed and bad.code == 1 and "does not hold" in bad.out, f"exit status {bad.code}")
    write_report(agent, story)
    return Proven(int(found[1]), int(found[2])) if found else Proven(0, 0)


def write_report(agent: Agent, story: Story) -> None:
    """The report of the first incident, into var/, where a person can open it after the demo."""
    made = agent.contain("postmortem", "INC-1", "-o", "INC-1.html")
    page = agent.place / "INC-1.html"
    strict = page.exists() and "default-src 'none'" in page.read_text("utf-8")
    story.fact("its report is one page that needs no network", made.code == 0 and strict, f"exit status {made.code}")
    try:
        (ROOT / "var").mkdir(exist_ok=True)
        shutil.copyfile(page, ROOT / "var" / "demo-INC-1.html")
        story.tell("report", "var/demo-INC-1.html is the report of the first incident: open it in a browser, or print it")
    except OSError as error:  # nobody's checkout
        story.tell("report", f"it could not be left in var/: {error.strerror}")


_TAMPER = """update record set leaf = cast(replace(cast(leaf as text), ?1, '192.0.2.99') as blob)
    where instr(cast(leaf as text), ?1)"""
