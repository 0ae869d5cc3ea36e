"""Docker's API through its SDK: one short conversation at a time, with a limit, and errors as sentences."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.action import CannotReach

if TYPE_CHECKING:
    from docker import APIClient

WITHIN: Final = timedelta(seconds=5)
"""What dockerd may take for one request. One that hangs is found out by the first, and a verb has ten in all."""
_ANY: Final = "1.41"
"""A version of the API to ask with for the right one; that question itself has none."""
RUNS: Final = ("running", "paused")
"""The states in which a container has a process."""


class NoSuchContainer(CannotReach):
    """Docker knows no container of that name or id, or more than one."""


class NotAllowed(CannotReach):
    """The agent may not use docker's socket, which says nothing about docker."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Where dockerd listens, and how many seconds it may take for an answer."""

    socket: str
    within: float

    @contextmanager
    def to(self, what: str) -> Iterator[APIClient]:
        """A conversation `to` do something; every error of the SDK and of HTTP becomes `cannot <what>: <why>`.

        Raises:
            NotAllowed: the agent has no right to ask.
            CannotReach: dockerd is not there, does not answer, or says no.
        """
        import requests
        from docker.errors import DockerException
        from urllib3.exceptions import HTTPError

        self._knock(what)
        try:
            with self._speaking(_ANY) as api:
                answer = api.get(f"{api.base_url}/_ping", timeout=self.within)  # `auto` takes five times as long to find out
                spoken = answer.headers.get("Api-Version", _ANY)
            with self._speaking(spoken) as api:
                yield api
        except (DockerException, requests.RequestException, HTTPError) as error:
            said = str(getattr(error, "explanation", None) or error).strip()
            why = f"docker says: {(said.splitlines() or ['nothing'])[0][:300]}"
            raise CannotReach(f"cannot {what}: {self._hangs if 'timed out' in said.lower() else why}") from error

    def _speaking(self, version: str) -> closing[APIClient]:
        from docker import APIClient

        return closing(APIClient(base_url=f"unix://{self.socket}", version=version, timeout=self.within))

    def _knock(self, what: str) -> None:
        """The SDK leaves a socket open that could not be connected, and knows no better word for it than its repr."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(self.within)
            try:
                knock.connect(self.socket)
            except PermissionError:
                raise NotAllowed(f"cannot {what}: no right to use {self.socket}; run the agent as root") from None
            except (TimeoutError, BlockingIOError):  # so many wait already that there is no more room
                raise CannotReach(f"cannot {what}: {self._hangs}") from None
            except OSError as error:
                why = f"docker does not listen at {self.socket} ({error.strerror})"
                raise CannotReach(f"cannot {what}: {why}; is it running (systemctl status docker), is the path right?") from None

    @property
    def _hangs(self) -> str:
        return f"docker gave no answer within {self.within:g} s; does dockerd hang (systemctl status docker)?"


def inspect(api: APIClient, container: str) -> Mapping[str, Any] | None:
    """All that docker knows of a container, by id; None where it is gone."""
    from docker.errors import NotFound

    try:
        found: Mapping[str, Any] = api.inspect_container(container)
    except NotFound:
        return None
    return found
