"""An agent with an intake, and requests to it as bytes, since what is tested is what proper clients never send."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from agent.event import Event
from agent.evidence.journal_read import read_only
from tests.running import Running, wait_for

SECRET = "a-secret-of-thirty-two-characters"
OLDER = "another-one-that-is-still-taken-x"
POLICY = """
policy: alert
title: Somebody else says that something is wrong
severity: P2
owner: sre
when:
  event: alert
  by: fingerprint
---
policy: bad-input
title: A sender writes what cannot be read
severity: P3
owner: sre
when:
  event: agent.bad_input
  by: sender
  count: ">= 1000 in 1m"
---
policy: guessing
title: Somebody tries to hand in alerts
severity: P3
owner: sre
when:
  event: intake.refused
  count: ">= 1000 in 1m"
"""


class Answer(NamedTuple):
    """The status, the headers by small letters, and the JSON (or the text where it is none)."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @classmethod
    def of(cls, raw: bytes) -> Answer:
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        text = body[: int(headers.get("content-length", len(body)))].decode()
        with suppress(ValueError):
            return cls(int(first.split()[1]), headers, json.loads(text))
        return cls(int(first.split()[1]), headers, text)


def alert(fingerprint: str = "1", status: str = "firing") -> dict[str, Any]:
    """A notification of Alertmanager's with one alert."""
    one = {"status": status, "labels": {"alertname": "Down"}, "annotations": {}, "startsAt": "2026-11-23T10:00:00Z"}
    one |= {"endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": fingerprint}
    return {"version": "4", "receiver": "r", "status": status, "alerts": [one], "groupKey": "", "truncatedAlerts": 0}


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """Our own signature of a body."""
    stamp = str(int(time.time() if at is None else at))
    return f"t={stamp},v1={hmac.new(secret.encode(), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


class Intake:
    """One agent that takes alerts in every way there is. `listen` adds a TCP address, with TLS where `tls` says so."""

    def __init__(self, place: Path, *, senders: str = "", listen: str = "", policy: str = POLICY) -> None:
        self.secret = place / "secret"
        place.mkdir(parents=True, exist_ok=True)
        self.secret.write_text(f"{SECRET}\n{OLDER}\n")
        self.secret.chmod(0o600)
        self.socket = place / "intake.sock"
        plain = {
            "bearer": f"{{bearer_file: {self.secret}}}",
            "basic": f"{{basic_file: {self.secret}}}",
            "hmac": f"{{hmac_file: {self.secret}}}",
            "grafana": f"{{hmac_file: {self.secret}, style: grafana}}",
            "path": f"{{path_file: {self.secret}}}",
            "root": "{users: [root]}",
            "nobody": "{users: [nobody]}",
            "open": "none",
        }
        rows = [f"    {name}: {{alertmanager: {{}}, auth: {way}, rate: 5000 per 1s}}\n" for name, way in plain.items()]
        yaml = f"intake:\n{listen}  senders:\n{''.join(rows)}{senders}"
        self.agent = Running(place, yaml, policy)

    def talk(self, raw: bytes, *, within: float = 30.0) -> bytes:
        """Everything that is answered to these bytes, until the other end hangs up or is silent for a while."""
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(within)
            there.connect(str(self.socket))
            with suppress(BrokenPipeError, ConnectionResetError):
                there.sendall(raw)
            return heard(there)

    def post(self, path: str = "/in/bearer", body: Any = None, **headers: str) -> Answer:
        """One request in proper form; `authorization` is right unless said otherwise, and an empty header is left out."""
        return Answer.of(self.talk(request(path, body, **headers)))

    def events(self, kind: str = "") -> list[Event]:
        """What is stored."""
        with read_only(self.agent.place / "state" / "journal.db") as reader:
            return [one for one in reader.events(limit=100_000) if not kind or one.kind == kind]

    def everything(self) -> bytes:
        """Every byte the agent has on the disk, and what it printed."""
        files = [one for one in (self.agent.place / "state").rglob("*") if one.is_file()]
        return b"".join(one.read_bytes() for one in [*files, self.agent.log])

    def told(self) -> Any:
        """What it says of the intake."""
        return self.agent.ask("status")["intake"]

    def rss(self) -> float:
        """Resident memory in MiB."""
        assert self.agent.process is not None
        status = Path(f"/proc/{self.agent.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024

    def __enter__(self) -> Intake:
        self.agent.start()
        wait_for(lambda: self.told()["listens"] and not any(self.told()["listens"].values()), 30)
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.__exit__()


def request(path: str = "/in/bearer", body: Any = None, **headers: str) -> bytes:
    """The bytes of a request."""
    text = body if isinstance(body, bytes) else json.dumps(alert() if body is None else body).encode()
    given = {"host": "db1", "content-length": str(len(text)), "authorization": f"Bearer {SECRET}", "connection": "close"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + text


def heard(there: socket.socket) -> bytes:
    """Everything until the other end hangs up."""
    found = b""
    with suppress(ConnectionResetError, BrokenPipeError):
        while piece := there.recv(1 << 16):
            found += piece
    return found


def as_user(uid: int, path: Path, raw: bytes) -> bytes:
    """The answer to what another user of this host sends."""
    program = (
        "import socket, sys\n"
        "there = socket.socket(socket.AF_UNIX); there.settimeout(30); there.connect(sys.argv[1])\n"
        "there.sendall(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(b''.join(iter(lambda: there.recv(65536), b'')))\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program, str(path)], input=raw, capture_output=True, timeout=60, check=True, user=uid, cwd="/"
    )
    return done.stdout


def over_tls(port: int, raw: bytes, ca: Path, client: Path | None = None) -> bytes:
    """The answer over TLS, whose certificate is verified."""
    context = ssl.create_default_context(cafile=str(ca))
    if client:
        context.load_cert_chain(client, client.with_suffix(".key"))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as there,
    ):
        there.sendall(raw)
        return heard(there)
