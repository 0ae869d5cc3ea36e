"""What this host cannot be without, beside what it is itself: servers by their names, PostgreSQL's replicas, docker's gateways.

Life-lines and what stays open when the host is isolated are made from the same answers, so that they cannot disagree. A source
that does not answer any more keeps the last answer it gave: an attack that silences a server must not lay it open as well.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from agent.action import CannotReach, System
from agent.guard import Lifeline
from agent.schema import address, spoken

if TYPE_CHECKING:
    from agent.grammar.config import Config
    from agent.grammar.config_keys import PostgresKeys
    from agent.systems.containers import Containers
    from agent.systems.perimeter import Opening
    from agent.systems.postgres import Postgres

WAIT: Final = 2.0
"""Seconds that all sources together may hold up whoever wants to know now."""
MOST: Final = 64
"""Addresses that one source may bring: a name that answers with more is not one server."""
Question = Callable[[], Iterable[Any]]


class Server(NamedTuple):
    """A server that this host talks to: its name or address, its port, and what it is."""

    host: str
    port: int
    what: str


class Remembered:
    """The last answers of sources that may be slow or silent. Each is asked in a thread of its own, and by one at a time."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[Any, ...]] = {}
        self._silent: set[Hashable] = set()
        self._out: set[Hashable] = set()
        self._changed = threading.Condition()

    def ask(self, questions: Mapping[Hashable, Question], wait: float) -> None:
        """Ask them all at once, and wait so many seconds for the answers; later ones are kept when they come."""
        until = time.monotonic() + wait
        with self._changed:
            for key in [key for key in questions if key not in self._out]:
                self._out.add(key)
                threading.Thread(target=self._take, args=(key, questions[key]), name=f"ask {key}", daemon=True).start()
            while (out := self._out & questions.keys()) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._silent |= out

    def _take(self, key: Hashable, question: Question) -> None:
        found: tuple[Any, ...] | None = None
        try:
            found = tuple(question())[:MOST]
        except (CannotReach, OSError, UnicodeError):  # it is silent
            pass
        finally:  # also where that was a bug: it is told by the thread, and asked again
            with self._changed:
                self._out.discard(key)
                if found is None:
                    self._silent.add(key)
                else:
                    self._answers[key] = found
                    self._silent.discard(key)
                self._changed.notify_all()

    def knows(self, key: Hashable) -> bool:
        """Whether it was ever asked."""
        with self._changed:
            return key in self._answers or key in self._silent

    def last(self, key: Hashable, silent: str) -> tuple[tuple[Any, ...], str]:
        """The last answer; with the note `silent` where the source has not answered since."""
        with self._changed:
            return self._answers.get(key, ()), silent if key in self._silent else ""


class Needs(System):
    """Asked again every now and then (`keep`), in a lane of its own; between, what was found last is at hand at once."""

    name = "needs"

    def __init__(self, live: Callable[[], Config], postgres: Postgres, containers: Containers) -> None:
        self._live, self._postgres, self._containers = live, postgres, containers
        self._known = Remembered()

    def keep(self) -> None:
        """Ask every source again."""
        self._known.ask(self._questions(), WAIT)

    def lines(self) -> list[Lifeline]:
        """All of it as life-lines. Asks only what was never asked before, and then for WAIT seconds at most."""
        new = {key: question for key, question in self._questions().items() if not self._known.knows(key)}
        if new:
            self._known.ask(new, WAIT)
        found = [(address(one.network), one.why) for one in self._openings()]
        found += [(address(gateway), why) for gateway, why in self._gateways()]
        first = dict(reversed(found))
        return [Lifeline(network, why) for network, why in first.items()]

    def openings(self) -> list[Opening]:
        """What of it stays open when the host is isolated, asked now."""
        self.keep()
        return list(self._openings())

    def _questions(self) -> dict[Hashable, Question]:
        """What has to be asked, by what agent.yaml names at this moment."""
        config = self._live()
        asked: dict[Hashable, Question] = {}
        for host in {one.host for one in _servers(config) if not _plain(one.host)}:
            asked["name", host] = partial(_resolved, host)
        for name in config.postgres:
            asked["replicas", name] = partial(self._replicas, name)
        if config.docker:
            asked["gateways", ""] = self._containers.gateways
        return asked

    def _openings(self) -> Iterator[Opening]:
        from agent.systems.perimeter import Opening

        config = self._live()
        for name, one in config.keep_open.items():
            yield Opening(spoken(one.address), one.ports, "in", f"keep_open {name} in agent.yaml")
            yield Opening(spoken(one.address), one.ports, "out", f"keep_open {name} in agent.yaml")
        for server in _servers(config):
            note = "; the name does not resolve now, and this is its last address"
            found, old = ((server.host,), "") if _plain(server.host) else self._known.last(("name", server.host), note)
            for text in found:
                yield Opening(text, (server.port,), "out", f"{server.what}{old}")
        for name in config.postgres:
            note = "; the server does not answer now, and this is what it said last"
            rows, old = self._known.last(("replicas", name), note)
            for row in (one for one in rows if _plain(one.there)):  # a name of hexadecimal letters looks like an address
                yield Opening(row.there, (row.port,), row.way, f"replication of PostgreSQL {name}{old}")

    def _gateways(self) -> Iterator[tuple[str, str]]:
        if not self._live().docker:
            return
        found, old = self._known.last(("gateways", ""), "; docker does not answer now")
        for gateway, network in (one for one in found if _plain(one[0])):
            yield gateway, f"the gateway of docker's network {network}, which speaks for clients of its containers{old}"

    def _replicas(self, name: str) -> list[Any]:
        """Who replicates from a server, and from whom it replicates."""
        return self._postgres.rows(
            """
            select distinct host(client_addr) as there, current_setting('port')::int as port, 'in' as way
            from pg_stat_replication where client_addr is not null
            union select distinct sender_host, sender_port, 'out' from pg_stat_wal_receiver where sender_host ~ '^[0-9a-f.:]+$'
            """,
            instance=name,
        )


def _servers(config: Config) -> Iterator[Server]:
    """The servers that agent.yaml names; those on a socket of this host are none."""
    if config.vault:
        yield from _at(config.vault.url)
    yield from _channels(config)
    for name, one in config.postgres.items():
        given = _given(one)
        hosts = (given.get("hostaddr") or given.get("host") or "").split(",")  # libpq takes several of each
        ports = (given.get("port") or "5432").split(",")
        for at, host in enumerate(hosts):
            port = ports[min(at, len(ports) - 1)] or "5432"
            if host and host[0] not in "/@" and port.isdecimal():
                yield Server(host, int(port), f"PostgreSQL {name}, in agent.yaml")


def _channels(config: Config) -> Iterator[Server]:
    """Those that people are told by: an isolated host must still be able to say so."""
    from agent.notifying.servers import servers

    for name, one in config.notifiers.items():
        for host, port in servers(one):
            yield Server(host, port, f"channel {name} to people, in agent.yaml")


def _at(url: str) -> Iterator[Server]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # a port that is none: whoever connects there says so
        return
    if parts.hostname:
        yield Server(parts.hostname, port, "Vault, in agent.yaml")


def _given(one: PostgresKeys) -> dict[str, str]:
    if not one.dsn:
        return {"host": one.host, "port": str(one.port or "")}
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return {key: str(value) for key, value in conninfo_to_dict(one.dsn).items()}
    except ProgrammingError:  # whoever connects there says so
        return {}


def _plain(host: str) -> bool:
    """Whether that is an address, and needs nobody to resolve it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(one[4][0]).partition("%")[0] for one in found})
