"""Ops' regular expressions and globs, compiled only where no text can make them slow.

The text they see is a stranger's, and Python's engine backtracks: `(a+)+$` on 40 letters outlives the incident, and while the
engine works no other thread does. So the most that a text can cost is worked out when a policy is read (agent/grammar/
backtracking.py), and what could take more than some milliseconds for the 4 KiB that are matched is refused, with its place.
"""

from __future__ import annotations

import fnmatch
import re
from functools import partial
from typing import Annotated, Final

from pydantic import PlainValidator

from agent.grammar.backtracking import cost

LONGEST: Final = 300
LONGEST_TEXT: Final = 4096
"""Characters of a field that are matched: agent/watching/match.py cuts the rest off."""
LONGEST_BODY: Final = 64 * 1024
"""Characters of a document that are matched: agent/checks/http.py reads no more."""
_MOST: Final = 24_000_000
"""Units of agent.grammar.backtracking; the worst of what is accepted was seen to take 5 ms."""


def regular(text: str, longest: int = LONGEST_TEXT) -> re.Pattern[str]:
    """Compile a regular expression that is searched for in at most `longest` characters of strangers.

    Raises:
        ValueError: it is none, longer than 300 characters, or could be slow; with the reason and a way out.
    """
    _short(text)
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        where = f"; look at character {error.pos + 1}" if isinstance(error, re.error) and error.pos is not None else ""
        raise ValueError(f"bad regular expression: {error.msg if isinstance(error, re.error) else error}{where}") from None
    if cost(compiled, longest, search=True) > _MOST:
        raise ValueError("this expression can be slow on long text; write ^ at its start, {1,64} in place of + or *, or use glob")
    return compiled


def glob(text: str) -> re.Pattern[str]:
    """Compile a glob (`*`, `?`, `[a-z]`); it takes linear time by construction.

    Raises:
        ValueError: it is longer than 300 characters.
    """
    return re.compile(fnmatch.translate(_short(text)))


ForText = Annotated[re.Pattern[str], PlainValidator(regular)]
ForBody = Annotated[re.Pattern[str], PlainValidator(partial(regular, longest=LONGEST_BODY))]
"""Parameters of checks: an expression for LONGEST_TEXT, and one for LONGEST_BODY."""


def _short(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters; split it into several lines of a list")
    return text
