"""CrowdSec's own local API as a process of its own: a directory, a database and a port of its own, no hub, no central API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.needs import need
from tests.running import wait_for

CONFIG = """\
common: {{daemonize: false, log_media: stdout, log_level: error, working_dir: .}}
config_paths:
  {{config_dir: {0}/, data_dir: {0}/, simulation_path: {0}/simulation.yaml, hub_dir: {0}/hub/, index_path: {0}/hub/.index.json,
    notification_dir: {0}/none/, plugin_dir: {0}/none/}}
crowdsec_service: {{enable: false}}
cscli: {{output: json}}
db_config: {{log_level: error, type: sqlite, db_path: {0}/crowdsec.db, use_wal: true}}
api:
  client: {{credentials_path: {0}/credentials.yaml}}
  server: {{log_level: error, listen_uri: "127.0.0.1:{1}", profiles_path: {0}/profiles.yaml, console_path: {0}/console.yaml}}
prometheus: {{enabled: false}}
"""
PROFILES = 'name: none\nfilters: ["false"]\ndecisions: [{type: ban, duration: 4h}]\non_success: break\n'


class Lapi:
    """One local API; `decide` and `forget` are what people do with cscli."""

    def __init__(self, place: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.key_file, self._config = f"http://127.0.0.1:{self.port}", place / "key", place / "config.yaml"
        self._place, self._cscli, self._program = place, need("cscli", "crowdsec"), need("crowdsec", "crowdsec")
        files = {"config": CONFIG.format(place, self.port), "simulation": "simulation: false\n", "profiles": PROFILES}
        for name, text in files.items():
            (place / f"{name}.yaml").write_text(text)
        (place / "credentials.yaml").touch()
        self("machines", "add", "--auto", "--file", str(place / "credentials.yaml"))
        self.another_key("agent")
        self.start()

    def __call__(self, *words: str) -> str:
        """cscli; its database may be locked for a moment, since we ask it far more often than an agent does."""
        for _ in range(20):
            command = [self._cscli, "-c", str(self._config), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            if "database is locked" not in done.stderr:
                break
        assert done.returncode == 0, done.stderr
        return done.stdout

    def another_key(self, name: str) -> None:
        """Register one more bouncer, and let the agent have its key."""
        made = self("bouncers", "add", name, "-o", "raw").strip()
        self.key_file.touch(0o600)
        self.key_file.write_text(f"{made}\n")

    def start(self) -> None:
        with (self._place / "log").open("ab") as log:
            self.process = subprocess.Popen([self._program, "-c", str(self._config), "-no-cs"], stdout=log, stderr=log)
        wait_for(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._place / "log").read_text()
        try:
            urllib.request.urlopen(f"{self.url}/v1/decisions", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        os.kill(self.process.pid, number)
        self.process.wait(20)

    def decide(self, *what: str, lasting: str = "1h", why: str = "ssh-bf") -> None:
        self("decisions", "add", *what, "--duration", lasting, "--reason", why)

    def forget(self, *what: str) -> None:
        self("decisions", "delete", *what)

    def known(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("decisions", "list", "-o", "json") or "null") or []
        return found


@contextmanager
def lapi(place: Path) -> Iterator[Lapi]:
    made = Lapi(place)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.stop(signal.SIGKILL)
