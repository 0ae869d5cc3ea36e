"""A stranger's words for a channel whose markup nobody knows: still readable, and no link, mention or markup in any. Pure."""

from __future__ import annotations

import re
from typing import Final

from agent.visible import visible

_FULL: Final = str.maketrans({one: chr(ord(one) + 0xFEE0) for one in "<>[]*_~`|\\#&"})
"""Each to its wide form, which no markup knows: `<` to `＜`."""
_DOT: Final = re.compile(r"\.(?=[^\W\d_])")
_SCHEME: Final = re.compile(r"(?<![a-z0-9])((?=[a-f0-9+-]{0,20}[g-z])[a-z][a-z0-9+-]{1,20}):(?=\S)", re.IGNORECASE)
"""A word and a colon, as before an address; an address of IPv6 is none."""


def bare(text: str, most: int = 4096) -> str:
    """The text on one line as security people write addresses: `https[:]//evil[.]example`, `bob[@]evil[.]example`."""
    return unlinked(visible(text, most).translate(_FULL))


def unlinked(text: str) -> str:
    """The text where only what looks like an address is taken apart, for a channel that knows links and no other markup."""
    plain = text.replace("@", "[@]").replace("://", "[:]//")
    return _DOT.sub("[.]", _SCHEME.sub(r"\1[:]", plain))
