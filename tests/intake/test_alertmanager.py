"""Debian's own Alertmanager hands its alerts in, over TLS with a token: the whole way from its API to an incident, and back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificate
from tests.intake.sending import SECRET, Intake
from tests.needs import need, need_root
from tests.running import wait_for

POLICY = """
policy: shop-down
title: The shop is down
severity: P1
owner: sre
when:
  event: alert
  match: {name: ShopDown}
  by: instance
recover:
  after: quiet 1s
"""
CONFIG = """
route:
  receiver: agent
  group_by: [alertname, instance]
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 2s
receivers:
  - name: agent
    webhook_configs:
      - url: https://localhost:%s/in/prometheus
        max_alerts: 500
        http_config:
          authorization: {credentials_file: %s}
          tls_config: {ca_file: %s, server_name: localhost}
"""


class Alertmanager:
    """One Alertmanager of our own, on loopback."""

    def __init__(self, place: Path, intake: int, token: Path, ca: Path) -> None:
        program = need("prometheus-alertmanager", "prometheus-alertmanager")
        self.url = f"http://127.0.0.1:{port()}"
        config, self.log = place / "alertmanager.yml", place / "alertmanager.log"
        config.write_text(CONFIG % (intake, token, ca))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, f"--config.file={config}", f"--storage.path={place / 'data'}", *self._options()],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self._ready, 30)

    def _options(self) -> list[str]:
        return [f"--web.listen-address={self.url.removeprefix('http://')}", "--cluster.listen-address=", "--log.level=debug"]

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def fires(self, instance: str, *, minutes: int = 5) -> None:
        """An alert, as Prometheus sends it; with `minutes` below nought it is over."""
        now = datetime.now(UTC)
        one: dict[str, Any] = {"labels": {"alertname": "ShopDown", "instance": instance, "severity": "critical"}}
        one |= {"startsAt": (now - timedelta(minutes=9)).isoformat(), "endsAt": (now + timedelta(minutes=minutes)).isoformat()}
        asked = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps([one]).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 200

    def end(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Intake, Alertmanager]]:
    need_root()
    place = tmp_path_factory.mktemp("alertmanager")
    ca = certificate(place, 90, name="ca")
    shown = certificate(place, 90, name="localhost", issuer=ca)
    key = shown.with_suffix(".key")
    key.chmod(0o600)
    here, token = port(), place / "token"
    token.write_text(SECRET)
    listen = f'  listen: "127.0.0.1:{here}"\n  tls: {{cert_file: {shown}, key_file: {key}}}\n'
    senders = f"    prometheus: {{alertmanager: {{repeats: 10s}}, auth: {{bearer_file: {place}/agent/secret}}}}\n"
    with Intake(place / "agent", senders=senders, listen=listen, policy=POLICY) as intake:
        other = Alertmanager(place, here, token, ca)
        try:
            yield intake, other
        finally:
            other.end()


def incidents(intake: Intake, instance: str) -> list[dict[str, Any]]:
    return [one for one in intake.agent.ask("incidents", ended=True)["items"] if one["target"] == instance]


def told(intake: Intake) -> int:
    return int(next(one["documents"] for one in intake.told()["senders"] if one["name"] == "prometheus"))


def standing(intake: Intake) -> set[str]:
    return {one["instance"] for one in intake.agent.ask("alerts")["items"] if one["ended"] is None}


def test_an_alert_opens_one_incident_however_often_it_is_repeated_and_ends(both: tuple[Intake, Alertmanager]) -> None:
    intake, other = both

    other.fires("shop-1")
    wait_for(lambda: incidents(intake, "shop-1"), 60)
    before = told(intake)
    wait_for(lambda: told(intake) >= before + 2, 60)  # it repeats

    assert len(incidents(intake, "shop-1")) == 1
    assert incidents(intake, "shop-1")[0]["findings"] == 1
    assert "shop-1" in standing(intake)
    other.fires("shop-1", minutes=-1)
    wait_for(lambda: "shop-1" not in standing(intake), 60)
    stored = [one.fields["status"] for one in intake.events("alert") if one.fields["instance"] == "shop-1"]
    assert stored[0] == "firing"
    assert stored[-1] == "resolved"


def test_what_fires_while_the_agent_is_dead_is_told_again_until_it_is_taken(both: tuple[Intake, Alertmanager]) -> None:
    intake, other = both
    intake.agent.kill()

    other.fires("shop-2")
    wait_for(lambda: "connection refused" in other.log.read_text(), 60)
    intake.agent.start()

    wait_for(lambda: incidents(intake, "shop-2"), 60)
    assert len(incidents(intake, "shop-2")) == 1


def test_a_kill_around_the_answer_loses_no_alert(both: tuple[Intake, Alertmanager]) -> None:
    intake, other = both
    names = [f"shop-{number}" for number in range(10, 16)]

    for number, name in enumerate(names):
        other.fires(name)
        if number % 3 == 1:
            intake.agent.kill()
            intake.agent.start()

    wait_for(lambda: all(incidents(intake, name) for name in names), 90)
    assert [len(incidents(intake, name)) for name in names] == [1] * len(names)
    assert len({one.fields["fingerprint"] for one in intake.events("alert")}) >= len(names)
