"""PostgreSQL over a wire: slow, and failed over to its standby while its writes are stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.chaos import subjects
from tests.chaos.ground import Ground
from tests.chaos.scene import POLICY, BrokenError, Scene
from tests.chaos.subjects import Subject
from tests.chaos.wire import Wire
from tests.postgres import Server, met, programs

SLOW = 0.05
"""Seconds that each bundle of bytes is late: a hundred of them are a whole order."""


def played() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """These cells, by their names."""
    for strength in ("soft", "hard"):
        yield f"stop_writes {strength}: PostgreSQL is failed over", partial(failed_over, strength=strength, ttl=20)
    for name in ("stop_writes soft", "stop_writes hard", "lock_role"):
        yield f"{name}: the wire is slow", partial(over_a_slow_wire, name=name, ttl=20)


def over_a_slow_wire(place: Path, name: str, ttl: float) -> None:
    """Everything takes its time, and nothing else changes."""
    with ExitStack() as open_:
        server = _server(open_)
        wire = open_.enter_context(Wire(server.port))
        wire.delay = SLOW
        scene = _scene(open_, place, server, wire, (name, ttl))
        scene.begin()
        scene.put()
        scene.must_hold()
        scene.must_end()


def failed_over(place: Path, strength: str, ttl: float) -> None:
    """The server dies with its writes stopped, and its standby takes its address: it does not write either, until the end."""
    with ExitStack() as open_:
        server = _server(open_)
        wire = open_.enter_context(Wire(server.port))
        scene = _scene(open_, place, server, wire, (f"stop_writes {strength}", ttl))
        standby = open_.enter_context(closing(Server(server.programs, server, max_connections=40)))
        standby.start()
        scene.begin()
        scene.put()
        scene.must_hold()
        server.stop("immediate")
        standby.call("pg_ctl", "promote", "-w", "-t", "20", "-s", "-D", standby.data)
        wire.lead(standby.port)
        scene.subject = _same_on(standby, scene.subject)
        scene.before = ([], [], "")
        scene.must_hold()
        scene.must_end()
        if met(standby, "app"):
            raise BrokenError("the standby that took over cannot be written to after the end")


def _server(open_: ExitStack) -> Server:
    server = open_.enter_context(closing(Server(programs(), max_connections=40)))
    server.start()
    subjects.furnish(server)
    return server


def _scene(open_: ExitStack, place: Path, server: Server, wire: Wire, wanted: tuple[str, float]) -> Scene:
    dsn = server.dsn.replace(f"port={server.port}", f"port={wire.port}")
    ground = Ground(server, dsn=dsn, subjects=subjects.postgres(server))
    subject = ground.subject(wanted[0])
    life = ground.life(place, subject, POLICY % "5s")
    open_.callback(life.kill)
    return Scene(life, subject, wanted[1])


def _same_on(server: Server, subject: Subject) -> Subject:
    """The same subject on another server, whose own settings are no business of ours: a standby's stand beside ours."""

    def world() -> object:
        ours = "name in ('default_transaction_read_only', 'lock_timeout')"
        return (
            server.rows(f"select name, setting from pg_file_settings where {ours} order by 1"),
            server.rows("select gid, owner from pg_prepared_xacts order by 1"),
            met(server, "app"),
        )

    there = next(one for one in subjects.postgres(server) if one.name == subject.name)
    return replace(there, world=world)
