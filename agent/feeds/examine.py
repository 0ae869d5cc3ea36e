"""What `contain doctor` says of lists that others keep. No server is asked for a list: that is the agent's, and not too often."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from agent.action import CannotReach
from agent.grammar.config import hidden
from agent.grammar.config_feeds import FeedKeys

Said = tuple[str, bool | None, str, str]
"""What was looked at, whether it is well (None where that cannot be said), what there is to say, and the mend."""


def examine(feeds: Mapping[str, FeedKeys]) -> Iterator[Said]:
    """One finding for each list."""
    for name, one in feeds.items():
        yield f"list {name}", *_look(one)


def _look(one: FeedKeys) -> tuple[bool | None, str, str]:
    if one.file is not None:
        if not one.file.exists():
            return None, f"{one.file} does not exist yet; it is waited for", "is the path in agent.yaml right?"
        ok = one.file.is_file() and os.access(one.file, os.R_OK)
        return (
            ok,
            f"{one.file} can{'' if ok else 'not'} be read",
            "" if ok else f"let the agent's user read it: chmod o+r {one.file}",
        )
    if one.crowdsec is not None:
        try:
            hidden(one.crowdsec.key_file, "CrowdSec")
        except CannotReach as error:
            return False, str(error), f"cscli bouncers add containment-agent -o raw > {one.crowdsec.key_file}"
        return True, f"the key for {one.crowdsec.url} can be read", ""
    return None, f"is fetched from {one.source}", "contain list show tells whether that works"
