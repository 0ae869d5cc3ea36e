"""CrowdSec and its firewall bouncer, as Debian packages them, alone in the world: no hub, no central API, /etc is only read.

The engine takes its parsers from the package's own files, writes to SQLite in WAL mode, as Debian ships it, and keeps whatever a
benchmark puts in. The bouncer asks once a second instead of every ten. Each stage runs in one thread, as shipped: with two it was
slower here, and blocked 28 of 50 offenders.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.bench.contender import Contender, Task
from tests.running import wait_for

_HUB: Final = Path("/usr/share/crowdsec/hub")
_PARSERS: Final = {"s00-raw": "syslog-logs", "s01-parse": "sshd-logs", "s02-enrich": "dateparse-enrich"}
_PORT: Final = 8080
_ENGINE: Final = """\
common: {{daemonize: false, log_media: stdout, log_level: warning, working_dir: .}}
config_paths:
  {{config_dir: {0}/, data_dir: {0}/, simulation_path: {0}/simulation.yaml, hub_dir: {1}/, index_path: {1}/.index.json,
    notification_dir: {0}/none/, plugin_dir: {0}/none/}}
crowdsec_service: {{acquisition_path: {0}/acquis.yaml, parser_routines: 1, buckets_routines: 1, output_routines: 1}}
cscli: {{output: human}}
db_config: {{log_level: error, type: sqlite, db_path: {0}/crowdsec.db, use_wal: true, flush: {{max_items: 1000000, max_age: 7d}}}}
api:
  client: {{credentials_path: {0}/credentials.yaml}}
  server: {{log_level: error, listen_uri: "127.0.0.1:{2}", profiles_path: {0}/profiles.yaml, console_path: {0}/console.yaml}}
prometheus: {{enabled: false}}
"""
_PROFILE: Final = """\
name: ban
filters: ['Alert.Remediation == true && Alert.GetScope() == "Ip"']
decisions: [{type: ban, duration: 1h}]
on_success: break
"""
_SCENARIO: Final = """\
type: leaky
name: bench/ssh-{0}
description: password guessing
filter: "evt.Meta.log_type == 'ssh_failed-auth'"
groupby: evt.Meta.source_ip
capacity: {0}
leakspeed: 600s
labels: {{service: ssh, type: bruteforce, remediation: true}}
"""
_BOUNCER: Final = """\
mode: nftables
pid_dir: {0}/
update_frequency: 1s
daemonize: false
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:{1}/
api_key: {2}
disable_ipv6: true
deny_action: DROP
deny_log: false
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
nftables:
  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}
  ipv6: {{enabled: false}}
prometheus: {{enabled: false}}
"""


class Crowdsec(Contender):
    """The engine, its local API and its bouncer for nftables."""

    name = "CrowdSec"
    wants = (("crowdsec", "crowdsec"), ("crowdsec-firewall-bouncer", "crowdsec-firewall-bouncer"), ("nft", "nftables"))

    def __init__(self, place: Path, task: Task) -> None:
        super().__init__(place, task)
        own = self._own = place / "own"
        shutil.copytree("/etc/crowdsec/patterns", own / "patterns")
        for stage, parser in _PARSERS.items():
            (own / "parsers" / stage).mkdir(parents=True)
            shutil.copy(_HUB / "parsers" / stage / "crowdsecurity" / f"{parser}.yaml", own / "parsers" / stage)
        for empty in ("scenarios", "postoverflows", "none"):
            (own / empty).mkdir()
        for capacity in (task.needed - 1, *(1000 + at for at in range(1, task.same))):  # it overflows when it is more than full
            (own / "scenarios" / f"{capacity}.yaml").write_text(_SCENARIO.format(capacity))
        files = {"config": _ENGINE.format(own, _HUB, _PORT), "profiles": _PROFILE, "simulation": "simulation: false\n"}
        files |= {"acquis": f"filenames: [{self.log.path}]\nlabels: {{type: syslog}}\n", "credentials": ""}
        for name, text in files.items():
            (own / f"{name}.yaml").write_text(text)
        self._client = ("cscli", "-c", str(own / "config.yaml"))
        self._ask("machines", "add", "--auto", "--file", str(own / "credentials.yaml"))
        self._key = self._ask("bouncers", "add", "bench", "-o", "raw").strip()
        (own / "bouncer.yaml").write_text(_BOUNCER.format(own, _PORT, self._key))

    def _ask(self, *words: str) -> str:
        command = [*self._client, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def _start(self) -> None:
        self._begins = len(self._printed())
        self.run("crowdsec", "-c", str(self._own / "config.yaml"))
        self.until(_answers, 30)
        self._bouncer = self.spawn("crowdsec-firewall-bouncer", "-c", str(self._own / "bouncer.yaml"))
        self.until(lambda: "Processing new and deleted decisions" in self._printed()[self._begins :], 30)

    def _stop(self) -> None:
        self._bouncer.terminate()
        self._bouncer.wait(timeout=30)
        self._end()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if bouncer := getattr(self, "_bouncer", None):
            bouncer.wait(timeout=10)

    def resynced(self, whole: int, patience: float) -> None:
        """Its bouncer leaves the kernel's set alone when it stops; back in step is who has fetched all decisions again."""
        wait_for(lambda: sum(map(int, _ADDED.findall(self._printed()[self._begins :]))) >= whole, patience)

    def status(self) -> list[str]:
        return [*self._client, "decisions", "list"]

    def _printed(self) -> str:
        printed = self.place / "printed"
        return printed.read_text(errors="replace") if printed.exists() else ""


_ADDED: Final = re.compile(r"(\d+) decisions? added")


def _answers() -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", _PORT), timeout=1):
        return True
    return False
