"""The systems that a run has: each with what agent.yaml says of it, and the subjects on it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import subjects
from tests.chaos.life import BoxedLife, Life
from tests.chaos.subjects import Subject
from tests.docker_daemon import Dockerd
from tests.openbao import Bao
from tests.postgres import Server, programs
from tests.services import ServiceBox, booted
from tests.systemd_box import Box

LOOSE = "mode: enforce\nlimits: {max_active: 100000, max: 100000 per 10m, cooldown: 1s, max_share: 100%}\n"
LOOSE += "keep_open: {office: {address: 198.51.100.0/24, ports: [22022]}}\n"
_SENSOR = "sensors: {auth: {logfile: {path: %s, parsers: [sshd], from_start: true}}}\n"


@dataclass
class Ground:
    """What there is. `dsn` where the agent reaches PostgreSQL another way."""

    server: Server | None = None
    bao: Bao | None = None
    docker: Dockerd | None = None
    box: ServiceBox | None = None
    dsn: str = ""
    subjects: list[Subject] = field(default_factory=list)

    def yaml(self, place: Path) -> str:
        """agent.yaml for an agent that lives there: all that there is, and a log of sshd's that it follows."""
        place.mkdir(parents=True, exist_ok=True)
        (place / "auth.log").touch()
        systems: dict[str, object] = {}
        if self.server:
            systems["postgres"] = {"main": {"dsn": self.dsn or self.server.dsn}}
        if self.bao:
            secret = place / "secret-id"
            secret.write_text(self.bao.settings().secret_id())
            secret.chmod(0o600)
            given = {"url": self.bao.url, "role_id": self.bao.role_id, "mount": "containment", "ca_file": str(self.bao.cert)}
            systems["vault"] = {**given, "secret_id_file": str(secret)}
        if self.docker:
            systems["docker"] = {"socket": self.docker.socket}
        return LOOSE + _SENSOR % (place / "auth.log") + (f"systems: {json.dumps(systems)}\n" if systems else "")

    def life(self, place: Path, subject: Subject, policy: str, **environment: str) -> Life:
        """An agent that can contain the subject; that of a boxed one lives in the box, with a directory of the same name."""
        if not subject.boxed:
            return Life(place, self.yaml(place), policy, **environment)
        assert self.box is not None
        return BoxedLife(self.box.box, place.name, LOOSE)

    def subject(self, name: str) -> Subject:
        return next(one for one in self.subjects if one.name == name)


@contextmanager
def everything() -> Iterator[Ground]:
    """All systems that can be here, in dockerd's own network, where this thread stays meanwhile."""
    with ExitStack() as open_:
        docker = open_.enter_context(closing(Dockerd()))
        docker.start()
        open_.enter_context(docker.entered())
        server = open_.enter_context(closing(Server(programs(), max_connections=40)))
        server.start()
        subjects.furnish(server)
        bao = open_.enter_context(closing(Bao()))
        bao.start()
        box = open_.enter_context(booted(Box))
        found = [*subjects.kernel(), *subjects.postgres(server), *subjects.vault(bao), *subjects.docker(docker)]
        yield Ground(server, bao, docker, box, subjects=[*found, *subjects.services(box)])


# Hung -----------------------------------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process with all that come from it."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                left += [int(child) for child in tasks.read_text().split()]
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A system that hangs: its sockets take connections, and nothing answers."""
    held = family(pid)
    for one in held:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in reversed(held):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)
