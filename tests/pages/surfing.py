"""A running agent with pages, and requests to them as bytes: what a browser sends, and what it never would."""

from __future__ import annotations

import html
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.running import Running, sshd_lines, wait_for

POLICIES = """
policy: guessing
title: Password guessing on SSH from one address
severity: P2
owner: sre
runbook: https://wiki.example.com/ssh?a=1&b=%3Cb%3E
incident: {group: alone}
when:
  event: auth.ssh.failure
  by: src.ip
  count: ">= 5 in 2m"
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
---
policy: guessing-hard
title: Somebody guesses root's password again and again
severity: P1
owner: sre
when:
  event: auth.ssh.failure
  by: src.ip
  count: ">= 20 in 2m"
then:
  - block_ip: {ip: $src.ip, ttl: 6h}
    approve: required
---
policy: odd-user
title: A user name that nobody has
severity: P3
owner: sre
when:
  event: auth.ssh.failure
  by: user
  count: ">= 2 in 2m"
---
policy: alert
title: Somebody else says that something is wrong
severity: P3
owner: sre
when:
  event: alert
  by: fingerprint
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port: int = there.getsockname()[1]
        return port


class Page(NamedTuple):
    """An answer: its status, its headers by small letters (of several only the last), and its text."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def form(self) -> str:
        """What the forms of this page bring back."""
        return hidden(self.text, "form")


def hidden(text: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, f"no hidden field {name} in {text[:2000]}"
    return html.unescape(found[1])


class Surfer:
    """One browser without a screen. `headers` go with every request; None takes one away."""

    def __init__(self, port: int, host: str = "") -> None:
        self.port, self.host, self.cookie = port, host or f"127.0.0.1:{port}", ""

    def send(self, raw: bytes) -> bytes:
        """Bytes there and back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as there:
            there.sendall(raw)
            return b"".join(iter(lambda: there.recv(1 << 16), b""))

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> Page:
        """One request, as a browser would send it from a page of the agent's own."""
        given: dict[str, str | None] = {"Host": self.host, "Connection": "close", "Cookie": self.cookie or None}
        if method == "POST":
            given |= {"Origin": f"http://{self.host}", "Sec-Fetch-Site": "same-origin", "Content-Length": str(len(body))}
            given["Content-Type"] = "application/x-www-form-urlencoded"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value is not None)
        head, _, rest = self.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body).partition(b"\r\n\r\n")
        first, *lines_back = head.decode("latin-1").split("\r\n")
        back = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines_back)}
        return Page(int(first.split()[1]), back, rest.decode())

    def get(self, path: str, **headers: str | None) -> Page:
        """A page."""
        return self.ask("GET", path, b"", **headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str | None) -> Page:
        """A form."""
        return self.ask("POST", path, urlencode(fields).encode(), **headers)

    def log_in(self, address: str) -> Page:
        """Press the button of a link."""
        path = "/login/" + address.rpartition("/")[2]
        link = hidden(self.get(path).text, "link")
        page = self.post("/login", {"link": link})
        if page.status == 303:
            self.cookie = page.headers["set-cookie"].partition(";")[0]
        return page

    def order(self, path: str, page: str = "", **fields: str) -> Page:
        """A form of a page (else of Now), filled in and sent; the page that follows."""
        sent = self.post(path, {"form": self.get(page or "/incidents").form, **fields})
        assert sent.status == 303, sent
        return self.get(sent.headers["location"])


class Paged:
    """An agent with pages, a log that it follows, and an intake."""

    def __init__(self, place: Path, pages: str = "", policies: str = POLICIES) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.auth = place / "auth.log"
        self.auth.touch()
        bearer = place / "bearer"
        bearer.write_text("a-secret-of-thirty-two-characters\n")
        bearer.chmod(0o600)
        yaml = "mode: enforce\nssh_ports: [22022]\n"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.auth}, parsers: [sshd], from_start: true}}}}\n"
        yaml += f"intake: {{senders: {{am: {{alertmanager: {{}}, auth: {{bearer_file: {bearer}}}}}}}}}\n"
        yaml += "checks:\n  shop: {tcp: {host: 127.0.0.1, port: 9}, every: 1h}\n"
        yaml += 'notify:\n  channels: {ops: {webhook: {url: "http://127.0.0.1:9/in"}}}\n  routes: {P0: [ops]}\n'
        yaml += pages or f'pages: {{listen: "127.0.0.1:{self.port}"}}\n'
        self.agent = Running(place, yaml.replace("PORT", str(self.port)), policies)

    def __enter__(self) -> Paged:
        self.agent.start()
        wait_for(lambda: not any(self.agent.ask("status")["pages"]["listens"].values() or ["no"]))
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.__exit__()
        for table in ("containment", "containment_host"):  # a living agent would put them back
            subprocess.run(["nft", "delete", "table", "inet", table], check=False, capture_output=True, timeout=10)

    def surfer(self) -> Surfer:
        """A browser that is not logged in."""
        return Surfer(self.port)

    def link(self, **body: Any) -> str:
        """A link for root."""
        answer = self.agent.ask("web", **body)
        assert answer["result"] == "made", answer
        return str(answer["address"])

    def person(self, **body: Any) -> Surfer:
        """A browser that is logged in."""
        surfer = self.surfer()
        assert surfer.log_in(self.link(**body)).status == 303
        return surfer

    def guess(self, ip: str, times: int, user: str = "root") -> None:
        """Wrong passwords."""
        with self.auth.open("a") as log:
            log.write("".join(sshd_lines(ip, times, user)))

    def incident(self, policy: str, target: str) -> dict[str, Any]:
        """The incident of a policy about a target, once there is one."""
        return dict(wait_for(lambda: self._incident(policy, target)))

    def _incident(self, policy: str, target: str) -> dict[str, Any]:
        items = self.agent.ask("incidents", ended=True)["items"]
        return next((one for one in items if (one["policy"], one["target"]) == (policy, target)), {})

    def blocked(self, ip: str) -> list[dict[str, Any]]:
        """What the agent says holds against an address."""
        return [one for one in self.agent.in_force() if one["target"] == ip]
