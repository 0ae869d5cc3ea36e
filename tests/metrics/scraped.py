"""A running agent with everything that has numbers, and what it says when it is asked as Prometheus asks."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.pages.surfing import free_port
from tests.running import Running, sshd_lines, wait_for

POLICIES = """
policy: guessing
title: Password guessing on SSH from one address
severity: P2
owner: sre
when: {event: auth.ssh.failure, by: src.ip, count: ">= 5 in 2m"}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
---
policy: odd-user
title: A user name that nobody has
severity: P1
owner: sre
mode: dry_run
when: {event: auth.ssh.failure, by: user, count: ">= 3 in 2m", match: {user: nobody-has-this}}
then:
  - block_ip: {ip: $src.ip, ttl: 1h}
"""


class Page(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Page:
    """One request, as Prometheus makes it."""
    there = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        there.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = there.getresponse()
        return Page(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode())
    finally:
        there.close()


class Numbers:
    """Every sample by its name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {one.name: one for one in text_string_to_metric_families(text)}
        samples = [sample for one in self.families.values() for sample in one.samples]
        self.names = {one.name for one in samples}
        self.values = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in samples}
        self.labels = [one.labels for one in samples]

    def __call__(self, name: str, **labels: str) -> float:
        """One number."""
        return self.values[f"containment_{name}", tuple(sorted(labels.items()))]

    def sum(self, name: str) -> float:
        """All of a name."""
        return sum(value for (known, _), value in self.values.items() if known == f"containment_{name}")


class Scraped:
    """The agent, its log and its web server."""

    def __init__(self, place: Path) -> None:
        self.port, self.auth = free_port(), place / "auth.log"
        self.auth.touch()
        (place / "threats.txt").write_text("192.0.2.200\n192.0.2.201\n")
        yaml = "mode: enforce\nssh_ports: [22022]\ncanary: 1m\nnever_touch: [198.51.100.7]\n"
        yaml += f"metrics: {{listen: '127.0.0.1:{self.port}', socket: {place}/metrics.sock}}\n"
        yaml += f"sensors:\n  auth: {{logfile: {{path: {self.auth}, parsers: [sshd], from_start: true}}}}\n"
        yaml += f"feeds: {{threats: {{file: {place}/threats.txt}}}}\n"
        yaml += "checks:\n  shop: {tcp: {host: 127.0.0.1, port: 9}, every: 1h}\n"
        yaml += 'notify:\n  channels: {ops: {webhook: {url: "http://127.0.0.1:9/in"}}}\n  routes: {P0: [ops], P2: [ops]}\n'
        self.agent = Running(place, yaml, POLICIES)

    def __enter__(self) -> Scraped:
        self.agent.start()
        wait_for(lambda: not any(self.agent.ask("status")["metrics"]["listens"].values() or ["no"]))
        wait_for(lambda: ask(self.port, "/healthz").status == 200)  # until its list was read once
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.__exit__()
        subprocess.run(["nft", "delete", "table", "inet", "containment"], check=False, capture_output=True, timeout=10)

    def guess(self, ip: str, times: int = 5, user: str = "root") -> None:
        """Wrong passwords."""
        with self.auth.open("a") as log:
            log.write("".join(sshd_lines(ip, times, user)))

    def now(self) -> Numbers:
        """What `contain metrics` says at this moment."""
        done = self.agent.contain("metrics")
        assert done.returncode == 0, done.stderr
        return Numbers(done.stdout)

    def status(self) -> dict[str, Any]:
        """What `contain status` says."""
        done = self.agent.contain("status", "--json")
        return dict(json.loads(done.stdout)["items"][0])
