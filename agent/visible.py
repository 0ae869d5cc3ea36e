"""Text from outside made safe to show: nothing in it can move the cursor, hide, reverse or break a line. Pure."""

from __future__ import annotations

from typing import Final

CUT: Final = "…"


def visible(text: object, most: int = 4096) -> str:
    r"""A text on one line, with everything that does not simply print written as `\x1b`, `\n`, `\u202e`.

    That is every control, format, private and unassigned character, lone surrogates, and separators other than the plain
    space; so terminal escapes, bidirectional overrides (CVE-2021-42574) and zero-width characters are seen, not obeyed.
    What goes beyond `most` characters is cut, with `…` in its place.
    """
    shown = str(text)
    if len(shown) > most:
        shown = shown[: most - 1] + CUT
    if shown.isprintable():
        return shown
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in shown)
