"""docs/reference/records.md: every kind of record of the journal, with the sentence that people read."""

from __future__ import annotations

from typing import Final

from agent.reference.keys import MADE
from agent.reference.words import code, table
from agent.say import SENTENCES

_HEAD: Final = """\
Every step of the agent is a record in its journal, chained and signed. A record has a number, a time, a kind, the incident and
the mitigation that it is about (`INC-7`, `M-41`, or none), and a body. `contain evidence show` prints the sentences, with
`--json` the whole.

In the sentences, `{…}` is a value of the body, or is made of it. Kinds are only ever added, and a record never changes.
"""


def records() -> str:
    """The whole page."""
    rows = ((code(kind), code(sentence)) for kind, sentence in sorted(SENTENCES.items()))
    return f"# Records\n\n{MADE}\n{_HEAD}\n" + table(("kind", "sentence"), rows)
