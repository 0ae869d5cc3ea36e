"""Of which version of its grammar a file of people's is: one of before is read as what it meant then, one to come is refused.

To change the grammar: add a step, which turns a document of the version before into one of this, and says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from agent.grammar.located import Node, Problem

KEY: Final = "version"
_NUMBER: Final = re.compile(r"[1-9]\d{0,3}")


class Lifted(NamedTuple):
    """A document as the next version writes it, and what people should write instead, a sentence each."""

    root: Node
    write: tuple[str, ...] = ()


Steps = Sequence[Callable[[Node], Lifted]]
CONFIG: Final[Steps] = ()
"""From version 1 of agent.yaml to 2, from 2 to 3, and so on."""
POLICY: Final[Steps] = ()
"""The same of policy files."""


def lifted(root: Node, steps: Steps, found: list[Problem]) -> Node | None:
    """The document in this version's grammar, with warnings on what to write; None where nothing more can be said of it.

    Without the key it is of version 1.
    """
    pair = root.pairs.get(KEY)
    if pair is None or pair.value.broken:
        return root
    newest, text = len(steps) + 1, pair.value.value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        found.append(Problem(pair.value.place, f"{pair.value.shape} is no version", f"write version: {newest}"))
        return root
    if (version := int(text)) > newest:
        said = f"version {version} is newer than this agent, which reads up to version {newest}"
        hint = f"use the agent that it was written for, or write version: {newest} and only what that knows"
        found.append(Problem(pair.value.place, said, hint))
        return None
    for number, step in enumerate(steps[version - 1 :], version + 1):
        root, write = step(root)
        said = f"version {version} is read as if it were version {number}"
        found += [Problem(pair.value.place, said, one, "warning") for one in (*write, f"then write version: {number}")]
    return root
