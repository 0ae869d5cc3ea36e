"""What happens to containers, from docker's own events: a thread that says so when one that is held is touched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.systems.container_api import Docker
from agent.systems.container_group import SHORTEST, Group, Seen, meant, place_of

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

TOLD: Final = ("start", "unpause", "connect", "update")
"""After these a container may talk that should not. It needs no look when it ends, or is made and does not run yet."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
_MOST: Final = 1_000


class Held:
    """The groups that somebody asked about and that were in force then, so that events about all others cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.first = threading.Event()
        """Set once there was any: until then docker's SDK, which costs 10 MiB, is not even loaded."""
        self._groups: dict[str, Group] = {}
        self._joined: dict[str, None] = {}

    def note(self, group: Group, *, holds: bool) -> None:
        """Remember a group that holds, forget one that does not; a thousand at most, the oldest go."""
        with self._lock:
            self._groups.pop(group.key, None)
            if holds:
                self._groups[group.key] = group
                self.first.set()
                while len(self._groups) > _MOST:
                    del self._groups[next(iter(self._groups))]

    def __bool__(self) -> bool:
        return bool(self._groups)

    def meaning(self, one: Seen) -> Group | None:
        """The group that is held and means this container, itself or as the one in a place."""
        with self._lock:
            return next((group for group in self._groups.values() if meant([one], group)), None)

    def named(self, event: Mapping[str, Any]) -> str:
        """The container's name where an event is about one that is held, or about one in its place; else nothing."""
        actor = event.get("Actor") or {}
        about, network = actor.get("Attributes") or {}, event.get("Type") == "network"
        container = str(about.get("container", "") if network else actor.get("ID", ""))
        name, place = ("", "") if network else (about.get("name", ""), place_of(about))
        with self._lock:
            members = [one for group in self._groups.values() for one in group.members]
            known = container in self._joined or any(
                container == one.id or (name and name == one.name) or (place and place == one.place) for one in members
            )
            if not known:
                return ""
            self._joined[container] = None  # network events give no name: the id of whoever took its place is kept
            while len(self._joined) > _MOST:
                del self._joined[next(iter(self._joined))]
        return name or next((one.name for one in members if one.id == container), container[:SHORTEST])


def follow(docker: Docker, held: Held, tell: Callable[[str], None]) -> None:
    """Tell of events about what is held, for ever. A docker that is not there is asked for again, ever more rarely."""
    held.first.wait()
    heard, wait = time.time_ns(), FIRST_WAIT
    while True:
        answered, heard = _listen(docker, held, tell, heard)
        wait = FIRST_WAIT if answered else min(2 * wait, LONGEST_WAIT)
        time.sleep(wait)


def _listen(docker: Docker, held: Held, tell: Callable[[str], None], heard: int) -> tuple[bool, int]:
    """Tell until docker ends the conversation. Returns whether it answered, and the time of its last word in nanoseconds."""
    answered = False
    try:
        with docker.to("follow docker's events") as api, _events(api, heard) as events:
            answered = True
            if held:
                tell("docker: answers again")
            for line in events.iter_lines():
                event = json.loads(line)
                heard = max(heard, int(event.get("timeNano", 0)) + 1)
                if name := held.named(event):
                    tell(f"docker: {event.get('Action')} {name}")
    except (CannotReach, ValueError):  # half an event, where docker was ended in the middle of it
        pass  # whoever needs docker is told by the call that fails; here is nothing to be said
    return answered, heard


def _events(api: APIClient, since: int) -> Response:
    """The answer that does not end, to be closed by whoever has it: the SDK's own leaves its socket open."""
    filters = {"type": ["container", "network"], "event": list(TOLD)}
    asked = {"since": f"{since // 10**9}.{since % 10**9:09d}", "filters": json.dumps(filters)}
    answer: Response = api.get(
        f"{api.base_url}/v{api.api_version}/events", params=asked, stream=True, timeout=(api.timeout, None)
    )
    answer.raise_for_status()
    return answer
