"""Ops' regular expressions and globs, compiled only where no text can make them slow.

The text they see is a stranger's, and Python's engine backtracks: `(a+)+$` on 40 letters outlives the incident. So we look
at the parsed expression and refuse what can take more than quadratic time; 4 KiB of text then cost milliseconds.
"""

from __future__ import annotations

import fnmatch
import importlib
import math
import re
from collections.abc import Iterable
from typing import Any, Final

LONGEST: Final = 300
_OFTEN: Final = 16
"""From so many possible repeats on, a repeat counts as unbounded."""
_MOST_WAYS: Final = 4000
"""In so many ways a text may fit, beside the unbounded repeats; a search tries them all at each character."""
_PARSER: Final[Any] = importlib.import_module("re._parser")  # the engine's own parser, so that we see what it sees


def regular(text: str) -> re.Pattern[str]:
    """Compile a regular expression that is searched for in text of strangers.

    Raises:
        ValueError: it is none, longer than 300 characters, or could be slow; with the reason and a way out.
    """
    _short(text)
    try:
        tree = _PARSER.parse(text)
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        where = f"; look at character {error.pos + 1}" if isinstance(error, re.error) and error.pos is not None else ""
        raise ValueError(f"bad regular expression: {error.msg if isinstance(error, re.error) else error}{where}") from None
    power = _repeats(tree) + (0 if _anchored(tree) else 1)
    if power > 2 or _ways(tree) > (_MOST_WAYS if power < 2 else _MOST_WAYS // 100):
        raise ValueError("this expression can be slow on long text; write ^ at its start, fewer repeats, or use glob")
    return compiled


def glob(text: str) -> re.Pattern[str]:
    """Compile a glob (`*`, `?`, `[a-z]`); it takes linear time by construction.

    Raises:
        ValueError: it is longer than 300 characters.
    """
    return re.compile(fnmatch.translate(_short(text)))


def _short(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters; split it into several lines of a list")
    return text


def _anchored(tree: Any) -> bool:
    return len(tree) > 0 and str(tree[0][0]) == "AT" and str(tree[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")


def _repeats(tree: Any) -> int:
    """How many unbounded repeats can share one stretch of text: the power by which time grows."""
    return sum(_repeats_of(str(operation), detail) for operation, detail in tree)


def _repeats_of(operation: str, detail: Any) -> int:
    if operation in ("GROUPREF", "GROUPREF_EXISTS"):
        raise ValueError("back-references can be slow; write the text out, or use two lines")
    if operation == "BRANCH":
        return max(_repeats(branch) for branch in detail[1])
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _repeat(*detail)
    return sum(_repeats(part) for part in _parts(detail))


def _repeat(least: Any, most: Any, body: Any) -> int:
    inner = _repeats(body)
    if int(most) > 1 and (inner or _ways(body) ** min(int(most), 32) > _OFTEN * _OFTEN):
        raise ValueError("a repeat inside a repeat, or alternatives inside one, can be slow; write it as one repeat, or use glob")
    return inner + _is_many(int(least), int(most))


def _is_many(least: int, most: int) -> bool:
    return most > _OFTEN and most != least


def _ways(tree: Any) -> int:
    """In how many ways one text can fit, beside the unbounded repeats."""
    return math.prod(_ways_of(str(operation), detail) for operation, detail in tree)


def _ways_of(operation: str, detail: Any) -> int:
    if operation == "BRANCH":
        return sum(_ways(branch) for branch in detail[1])
    if not operation.endswith("_REPEAT"):
        return math.prod(_ways(part) for part in _parts(detail))
    least, most, body = int(detail[0]), int(detail[1]), detail[2]
    if _is_many(least, most):
        return 1
    return int(_ways(body) ** min(most, 32)) * (most - least + 1)


def _parts(detail: Any) -> Iterable[Any]:
    """The expressions inside a group, a look-around or a repeat."""
    pieces = detail if isinstance(detail, tuple | list) else (detail,)
    return [piece for piece in pieces if isinstance(piece, _PARSER.SubPattern)]
