"""A service fails, a person says yes to the rollback, the agent is killed in the middle: it ran once, and its end is known."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.running import Running, wait_for

POLICY = """policy: outage
severity: P1
owner: sre
when: {event: check, match: {name: shop, ok: false}, for: 2 of 3, by: name}
then:
  - run_hook: {hook: rollback-shop}
guard: {max: 2 per 1h, cooldown: 1h}
"""


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers 500 until it is mended."""

    mended: ClassVar[Path]

    def do_GET(self) -> None:
        self.send_response(200 if self.mended.exists() else 500)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    Shop.mended = tmp_path / "mended"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rollback = tmp_path / "rollback"
    rollback.write_text(
        f"#!/bin/sh\ncd {tmp_path}\necho $1 >> ran\nuntil [ -e go ]; do sleep 0.05; done\ntouch mended\necho the old one\n"
    )
    rollback.chmod(0o755)
    yaml = f"mode: enforce\nchecks: {{shop: {{http: {{url: 'http://127.0.0.1:{server.server_port}/'}}, every: 1s}}}}\n"
    yaml += f"hooks: {{rollback-shop: {{run: [{rollback}, shop], timeout: 60s, verify: [shop]}}}}\n"
    agent = Running(tmp_path, yaml, POLICY)
    yield agent
    agent.kill()
    server.shutdown()
    server.server_close()


def test_a_kill_in_the_middle_neither_repeats_the_rollback_nor_loses_its_end(agent: Running, tmp_path: Path) -> None:
    agent.start()
    plan = wait_for(lambda: agent.ask("approvals")["items"])[0]["plan"]
    said = agent.contain("approve", "A-1", "--plan", plan, "--why", "the release is broken")
    assert "under way (M-1): the hook rollback-shop is running" in said.stdout, said.stdout + said.stderr
    wait_for((tmp_path / "ran").exists)

    agent.kill()
    (tmp_path / "go").touch()
    wait_for((tmp_path / "mended").exists)
    agent.start()
    wait_for(lambda: "ended well" in agent.log.read_text())

    assert (tmp_path / "ran").read_text() == "shop\n"
    assert "run 1 of the hook rollback-shop ended well" in agent.log.read_text()
    assert "it said: the old one" in agent.log.read_text()
