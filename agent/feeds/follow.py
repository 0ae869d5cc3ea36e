"""Every list of agent.yaml that others keep, ready to be followed; and a person's word that one may be as short as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.feeds.following import Following
from agent.feeds.listing import unknown

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.guard import Lifelines
    from agent.messages import Asked


def follow(config: Config, lines: Callable[[], Lifelines], learn: Callable[[str], None]) -> dict[str, Following]:
    """The lists by name. `lines` gives the life-lines that no stranger can bring about; `learn` hears each key."""
    from agent.feeds.crowdsec import Crowdsec
    from agent.feeds.text import TextFeed

    directory = config.state / "feeds"
    return {
        name: Crowdsec(name, keys, lines, keys.crowdsec, learn) if keys.crowdsec else TextFeed(name, keys, lines, directory)
        for name, keys in config.feeds.items()
    }


def accept(feeds: Mapping[str, Following], asked: Asked) -> dict[str, Any]:
    """The answer to who says that a text which was refused may be used. It counts a moment later."""
    name = asked.body["list"]
    if name not in feeds:
        return {"result": "usage", "error": unknown(name, feeds)}
    before = len(feeds[name].live.networks)
    entries = feeds[name].accept(asked.actor)
    if entries is None:
        return {"result": "nothing", "because": f"no text of {name} waits for a person", "list": name}
    return {"result": "accepted", "list": name, "entries": entries, "before": before}
