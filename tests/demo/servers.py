"""The host's servers: Debian's sshd and nginx with configurations of their own, and the logs they have on any host."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.demo.machines import GUESSER, HOST

FAILED: Final = re.compile(rf"Failed password .* from {re.escape(GUESSER)} ")

_SSHD: Final = """\
Port 22
ListenAddress {host}
HostKey {place}/host_key
PidFile none
UsePAM no
PasswordAuthentication yes
PermitRootLogin yes
LogLevel INFO
"""

_NGINX: Final = """\
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log {place}/access.log combined;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen {host}:80 backlog=1024;
    location / {{ default_type text/html; return 200 "<h1>The shop is open</h1>\\n"; }}
  }}
}}
"""


def syslog_line(text: str, pid: int) -> str:
    """A message of sshd as rsyslog writes it in Debian 12's auth.log."""
    return f"{time.strftime('%b %e %H:%M:%S')} db1 sshd[{pid}]: {text}\n"


class Sshd:
    """A real sshd on port 22. `failures` are the moments (Unix seconds) at which a wrong password of the guesser was logged."""

    def __init__(self, place: Path, arrives: Callable[[str], None]) -> None:
        self.log, self.failures = place / "auth.log", list[float]()
        self._arrives = arrives
        config = place / "sshd_config"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host_key"], check=True, timeout=10)
        config.write_text(_SSHD.format(host=HOST, place=place))
        Path("/run/sshd").mkdir(mode=0o755)  # sshd insists on it; /run is this demo's own
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config), *_without_penalties(config)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._keep_log, name="rsyslog", daemon=True).start()

    def _keep_log(self) -> None:
        """What rsyslog does: a head before each message, and the line goes to auth.log at once."""
        assert self._process.stderr is not None
        with self.log.open("a", buffering=1) as log:
            for message in self._process.stderr:
                text = message.strip()
                failed = FAILED.match(text)
                if failed:
                    self.failures.append(time.time())
                log.write(syslog_line(text, self._process.pid))
                if failed:
                    self._arrives(text)


def _without_penalties(config: Path) -> list[str]:
    """OpenSSH 9.8 and later make guessers wait by themselves; here the agent is to be seen. Older ones do not know the option."""
    option = ["-o", "PerSourcePenalties=no"]
    known = subprocess.run(["/usr/sbin/sshd", "-t", "-f", config, *option], check=False, timeout=10, capture_output=True)
    return option if known.returncode == 0 else []


class Nginx:
    """A real nginx with one page, on port 80."""

    def __init__(self, place: Path) -> None:
        self.log, config = place / "access.log", place / "nginx.conf"
        config.write_text(_NGINX.format(host=HOST, place=place))
        self.log.touch()
        self._process = subprocess.Popen(["nginx", "-c", config, "-e", place / "error.log"], stdin=subprocess.DEVNULL)
