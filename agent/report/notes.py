"""What people write for a report: one text with headings, which part is which, and which are still empty. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

LONGEST: Final = 64 << 10
"""Bytes of one such text."""


class Part(NamedTuple):
    """A part of a report that only people can write. Without a `needed` one, no incident of P0 or P1 is closed."""

    name: str
    heading: str
    hint: str
    needed: bool = True


PARTS: Final = (
    Part(
        "summary",
        "Summary",
        "What happened, who was affected, what stopped it: two to four sentences for somebody who was not there.",
    ),
    Part("impact", "Impact", "Who could not do what, for how long; data, money, promises. What was not affected."),
    Part("root_cause", "Root cause", "The technical cause: why it could happen at all."),
    Part("factors", "Contributing factors", "What made it more likely, worse or longer."),
    Part("prevention", "Prevention", "What keeps this from happening again."),
    Part("went_well", "What went well", "What to keep."),
    Part("could_improve", "What could be better", "What cost time, or was missed."),
    Part("lucky", "Where we were lucky", "What might have gone worse.", needed=False),
    Part("lessons", "Lessons", "What we know now that we did not know then.", needed=False),
    Part("items", "Action items", "Who does what by when, a row each; an owner is one person."),
)
_ITEMS: Final = "| what | owner | due |\n|---|---|---|\n|  |  |  |"
_BY_HEADING: Final = {one.heading.casefold(): one.name for one in PARTS}
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_RULE: Final = re.compile(r"[\s|:-]*")


class Item(NamedTuple):
    """One thing that somebody will do: what, who, by when; each as it was written."""

    what: str
    owner: str = ""
    due: str = ""


class Notes(NamedTuple):
    """The parts by name, without comments; empty ones are left out. `further` is text under headings that we do not know."""

    parts: Mapping[str, str]
    items: tuple[Item, ...] = ()
    further: str = ""


def skeleton(incident: str, title: str = "") -> str:
    """The text that somebody begins with."""
    # The title may be a stranger's words: no newline, and no end of the comment in it.
    about = " ".join(title.split()).replace("--", "-")
    head = f"# {incident}\n\n<!-- {about}\nComments like this one do not go into the report; `none` is an answer, too. -->\n"
    bodies = (f"## {one.heading}\n\n<!-- {one.hint} -->\n\n{_ITEMS if one.name == 'items' else ''}".rstrip() for one in PARTS)
    return f"{head}\n" + "\n\n".join(bodies) + "\n"


def read(text: str) -> Notes:
    """The parts of what was written. A heading that stands twice has both texts; nothing that was written is lost."""
    found: dict[str, list[str]] = {}
    here, fenced = "further", False
    for line in _COMMENT.sub("", text).splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and line.startswith("# "):
            continue
        named = _BY_HEADING.get(line[3:].strip().casefold()) if not fenced and line.startswith("## ") else None
        if named:
            here = named
            continue
        if not fenced and line.startswith("## "):
            here = "further"
        found.setdefault(here, []).append(line)
    parts = {name: body for name, lines in found.items() if (body := "\n".join(lines).strip())}
    further, table = parts.pop("further", ""), parts.pop("items", "")
    items = _items(table)
    return Notes({**parts, "items": table} if items else parts, items, further)


def _items(table: str) -> tuple[Item, ...]:
    """The rows of a table, or the lines of a list: some write `- what (owner, due)`, and it is theirs to."""
    made = []
    for line in table.splitlines():
        if _RULE.fullmatch(line):
            continue
        if not line.lstrip().startswith("|"):
            made.append(Item(line.strip().removeprefix("- ").strip()))
            continue
        cells = [one.strip().replace("\\|", "|") for one in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if [one.casefold() for one in cells[:3]] != ["what", "owner", "due"]:
            made.append(Item(*(*cells[:2], ", ".join(filter(None, cells[2:])))) if len(cells) > 1 else Item(cells[0]))
    return tuple(made)


def unfilled(text: str) -> tuple[str, ...]:
    """The headings of the needed parts that hold nothing yet, in order."""
    written = read(text).parts
    return tuple(one.heading for one in PARTS if one.needed and one.name not in written)


NOTHING: Final = unfilled("")
"""What a report lacks for which nobody has written anything."""
