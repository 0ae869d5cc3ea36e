"""What a container and its network look like before they are changed: each part with a cap, and quick enough to wait for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach
from agent.systems.container_api import Docker, inspect
from agent.systems.container_group import Who
from agent.systems.container_netns import inside

if TYPE_CHECKING:
    from docker import APIClient

LINES: Final = 5_000
MOST: Final = 4 << 20
"""Bytes of one piece of evidence: of logs the newest, of all else the first."""
TRICKLE: Final = 4.0
"""Seconds that docker may take to hand over one piece."""
_FRAME: Final = 8
LOOKS: Final = (
    ("ss", "-a", "-n", "-p", "-e", "-t", "-u", "-w"),
    ("ip", "-d", "address", "show"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "neigh", "show"),
    ("nft", "list", "ruleset"),
)
"""What is asked in a container's network."""


def attributes(docker: Docker, who: Who) -> Any:
    """All that docker knows of it."""
    with docker.to(f"inspect {who.name}") as api:
        return _there(inspect(api, who.id), who)


def _there(found: Any, who: Who) -> Any:
    if found is None:
        raise CannotReach(f"cannot inspect {who.name}: the container is gone")
    return found


def processes(docker: Docker, who: Who) -> Any:
    """Its processes, as ps(1) shows them."""
    with docker.to(f"list the processes of {who.name}") as api:
        seen = api.top(who.id)
    return {"titles": seen.get("Titles"), "processes": (seen.get("Processes") or [])[:LINES]}


def usage(docker: Docker, who: Who) -> Any:
    """What it uses at this moment."""
    with docker.to(f"measure {who.name}") as api:
        return api.stats(who.id, stream=False, one_shot=True)


def changed_files(docker: Docker, who: Who) -> bytes:
    """What differs from its image, in docker's own JSON (`Kind` 0 changed, 1 added, 2 deleted); at most the first 4 MiB."""
    with docker.to(f"list the files that {who.name} changed") as api:
        found = b"".join(_first(_body(api, f"containers/{who.id}/changes")))
    return found[:MOST]


def _first(chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for one in chunks:
        yield one
        if (size := size + len(one)) >= MOST:
            return


def logs(docker: Docker, who: Who) -> bytes:
    """What it wrote last, with times: at most 5,000 lines, and of those the last 4 MiB."""
    asked = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": LINES}
    with docker.to(f"read the logs of {who.name}") as api:
        terminal = _there(inspect(api, who.id), who)["Config"].get("Tty")
        chunks = _body(api, f"containers/{who.id}/logs", **asked)
        kept: deque[bytes] = deque()
        size = 0
        for one in chunks if terminal else _lines(chunks):
            kept.append(one)
            size += len(one)
            while size > MOST and len(kept) > 1:
                size -= len(kept.popleft())
    return b"".join(kept)[-MOST:]


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What stdout and stderr said, out of docker's frames: one byte for which, three of nothing, four of length."""
    left = b""
    for one in chunks:
        left += one
        while len(left) >= _FRAME and len(left) >= (end := _FRAME + int.from_bytes(left[4:_FRAME], "big")):
            yield left[_FRAME:end]
            left = left[end:]


def _body(api: APIClient, path: str, **asked: Any) -> Iterator[bytes]:
    """The bytes of an answer as they come. The SDK reads all of it into memory, or waits for the next byte without a limit."""
    until = time.monotonic() + TRICKLE
    with api.get(f"{api.base_url}/v{api.api_version}/{path}", params=asked, stream=True, timeout=TRICKLE) as answer:
        if answer.status_code != 200:
            raise CannotReach(f"cannot read {path}: docker says: {answer.text.strip()[:300]}")
        for one in answer.iter_content(1 << 16):
            yield one
            if time.monotonic() > until:
                return


def network_state(docker: Docker, who: Who) -> dict[str, str]:
    """Sockets, addresses, routes, neighbours and rules in its network, by the command that shows them."""
    with docker.to(f"look into the network of {who.name}") as api:
        attrs = _there(inspect(api, who.id), who)
    with inside(who.id, who.name, attrs["State"]["Pid"]) as running:
        if running is None:
            raise CannotReach(f"cannot look into the network of {who.name}: it does not run")
        return {" ".join(look): running.run(*look)[: MOST // len(LOOKS)] for look in LOOKS}
