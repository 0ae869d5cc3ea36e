"""The daily list: small things that nobody is to be called for, told once a day in one notice. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final

from agent import gathering
from agent.gathering import Picture
from agent.notifying.compose import Saying, compose, listing
from agent.notifying.recipients import Way, way
from agent.policy import ROUND
from agent.turn import Agent, Turn

HOUR: Final = time(8)
"""When the list comes, by the host's clock on the wall."""
STALE: Final = 7 * 86400.0


def next_list(agent: Agent, after: float) -> float:
    """The first time for a list at or after this moment."""
    zone = agent.settings.zone
    day = datetime.fromtimestamp(after, zone).date()
    times = [datetime.combine(day + timedelta(days=ahead), HOUR, zone).timestamp() for ahead in range(3)]
    return next(at for at in times if at >= after)


def tell(turn: Turn, first: Picture, usual: Way) -> None:
    """One notice that names all of which nobody was told; it goes by the name of the one whose time has come."""
    state = turn.agent.state
    listed = [first, *(one for one in _waiting(turn) if one.lead.id != first.lead.id)]
    key = f"{first.lead.id}/{state.tellings.of(first.lead.id).number + 1}"
    made = compose(turn.agent, first, key, turn.now, Saying("opened", "the daily list of what is minor"))
    number = len(listed)
    words = f"{number} minor incidents" if number > 1 else "one minor incident"
    made = made._replace(
        headline=f"P3 {words} on {turn.agent.settings.host} since the last list. Nobody is needed at once.",
        title=f"the daily list: {words}",
        saw=listing(listed, turn.now),
        did=(),
        need=("look at them when there is time", "contain incidents"),
        links=(),
        targets=(),
        many=number,
    )
    told = {"since": first.lead.opened, "once": True, "listed": [one.lead.id for one in listed[1:]]}
    turn.note("notice", {"notice": made._asdict(), "to": list(usual.to), "told": told}, incident=first.lead.id)


def _waiting(turn: Turn) -> list[Picture]:
    agent, state = turn.agent, turn.agent.state
    found = []
    for one in state.incidents.values():
        told = state.tellings.of(one.id)
        if one.lead or one.policy == ROUND or told.number or turn.now - one.opened > STALE:
            continue
        seen = gathering.picture(state, one.id)
        if seen and way(agent, seen, told).daily and not one.false and not state.silences.about(one, turn.now):
            found.append(seen)
    return found
