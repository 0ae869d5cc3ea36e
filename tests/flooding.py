"""A real nginx on this host, real clients in other machines, and the shipped policies that look at what sensors say of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agent import wiring
from agent.event import Event
from agent.grammar.policy_reader import read_policies
from agent.policy import Policy
from agent.streams.parser import Scan, discover_parsers
from agent.watching.watch import Watch
from tests.needs import need
from tests.running import wait_for

SHELF = Path(__file__).parent.parent / "policies"
FLOODS = ("syn_flood", "udp_flood", "http_flood", "http_flood_site", "http_errors", "conn_exhaustion")
PORT = 8088

_NGINX = """\
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log {place}/access.log combined;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen 0.0.0.0:{port} backlog=1024;
    location / {{ default_type text/html; return 200 "open\\n"; }}
  }}
}}
"""


def shipped(*names: str) -> tuple[Policy, ...]:
    """Shipped policies by their files' names, as they stand."""
    catalogue = wiring.catalogue(None)
    return read_policies({f"{name}.yaml": (SHELF / f"{name}.yaml").read_text() for name in names}, catalogue, wiring.parse)[0]


class Eyes:
    """The shipped policies for floods, and who was found by them."""

    def __init__(self) -> None:
        self.watch = Watch(shipped(*FLOODS), wiring.STAND_INS)

    def found(self, events: Sequence[Event]) -> list[tuple[str, tuple[object, ...]]]:
        """Each policy that fires with these events, and its key; events in the order that they were seen."""
        return [(hit.policy.name, hit.key) for event in events for hit in self.watch.feed(event, event.seen)]


class Web:
    """The server, and its log from where it was last read."""

    def __init__(self, place: Path) -> None:
        self.log, self.at = place / "access.log", 0

    def lines(self) -> bytes:
        """What was written since, whole lines only."""
        with self.log.open("rb") as log:
            log.seek(self.at)
            chunk = log.read()
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self.at += len(whole)
        return whole


@contextmanager
def nginx(place: Path) -> Iterator[Web]:
    """Debian's nginx with a configuration of its own, on every address of this host."""
    program = need("nginx", "nginx")
    config = place / "nginx.conf"
    config.write_text(_NGINX.format(place=place, port=PORT))
    process = subprocess.Popen([program, "-c", str(config), "-e", str(place / "error.log")], stdin=subprocess.DEVNULL)
    try:
        web = Web(place)
        wait_for(lambda: (place / "nginx.pid").exists() and (place / "nginx.pid").read_text().strip())
        yield web
    finally:
        process.terminate()
        process.wait(timeout=10)


def scan(every: float, *kinds: str) -> Scan:
    """The log sensor's way from lines to events, with rates as often as that."""
    return Scan.of([discover_parsers()["nginx"]], "file:access.log", frozenset(kinds), every)


@contextmanager
def inside(machine: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A program on another machine, ended afterwards."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", machine, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=10)


def python(script: str, *words: object) -> tuple[str, ...]:
    """The words that run a script."""
    return (sys.executable, "-c", script, *map(str, words))


CROWD = """
import socket, struct, sys
from concurrent.futures import ThreadPoolExecutor

address, port, begin, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def ask(number):
    try:
        with socket.socket() as one:
            one.settimeout(1)
            one.bind((socket.inet_ntoa(struct.pack(">I", 0x0C000000 + number)), 0))
            one.connect((address, port))
            one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            return bool(one.recv(64))
    except OSError:
        return False
with ThreadPoolExecutor(64) as threads:
    print(sum(threads.map(ask, range(begin, begin + count))))
"""
"""One request from each of so many addresses of 12.0.0.0/8, which the machine takes for its own; how many were answered."""

VISITORS = """
import socket, sys, threading, time

address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
end = time.monotonic() + seconds
def asks(pause, slowly=False):
    with socket.create_connection((address, port), timeout=5) as one:
        while time.monotonic() < end:
            request = b"GET /page HTTP/1.1\\r\\nHost: shop\\r\\n\\r\\n"
            for piece in [request[at:at + 4] for at in range(0, len(request), 4)] if slowly else [request]:
                one.sendall(piece)
                time.sleep(0.05 if slowly else 0)
            one.recv(4096)
            time.sleep(pause)
people = [threading.Thread(target=asks, args=given) for given in [(0.5,)] * 12 + [(0.3, True)] * 4 + [(0.1,)]]
for one in people:
    one.start()
for one in people:
    one.join()
"""
"""A dozen visitors on kept connections, four slow ones, and a crawler with ten pages per second."""

HOLDS = """
import socket, sys, time

held = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) for _ in range(int(sys.argv[3]))]
time.sleep(60)
"""
"""So many connections, held until it is ended."""
