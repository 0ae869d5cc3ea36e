"""Debian's Postfix and Dovecot, whose names and passwords Dovecot knows; both log through one /dev/log of the test's own."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.needs import need
from tests.parsers.own_syslog import OwnSyslog

_ports = itertools.count(15022)
_MAIN: Final = """\
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.example
mydestination = mail.example
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {place}/auth
smtpd_tls_security_level = none
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 3
smtpd_hard_error_limit = 4
"""
_MASTER: Final = """\
{smtp} inet n - n - - smtpd
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
"""
_DOVECOT: Final = """\
base_dir = {place}/run
state_dir = {place}/state
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{place}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {place}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={place}/mail
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {place}/auth {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


class MailServers:
    """Both, and what they say."""

    def __init__(self) -> None:
        programs = need("dovecot", "dovecot-imapd dovecot-pop3d"), need("/usr/lib/postfix/sbin/master", "postfix")
        self._place = Path(tempfile.mkdtemp(prefix="mail-"))
        self._place.chmod(0o755)
        self.ports = {"smtp": next(_ports), "imap": next(_ports), "pop3": next(_ports)}
        self._write(Path(programs[1]).parent)
        self.syslog = OwnSyslog(self._place)
        self._running: list[subprocess.Popen[bytes]] = []
        try:
            self._run(programs[0], "-c", str(self._place / "dovecot.conf"), "-F")
            self._run(programs[1], "-c", str(self._place / "etc"), "-d")
            self._wait()
        except BaseException:
            self.close()
            raise

    def _write(self, daemons: Path) -> None:
        place, known = self._place, {"place": self._place, "daemons": daemons, **self.ports}
        for one in ("etc", "queue", "data", "mail"):
            (place / one).mkdir()
        shutil.chown(place / "data", "postfix")
        (place / "users").write_text("bob:{PLAIN}right\n")
        for name, text in (("etc/main.cf", _MAIN), ("etc/master.cf", _MASTER), ("dovecot.conf", _DOVECOT)):
            (place / name).write_text(text.format(**known))
        check = ["postfix", "-c", str(place / "etc"), "check"]
        subprocess.run(check, check=True, capture_output=True, timeout=30)  # which makes its directories

    def _run(self, *command: str) -> None:
        """Both tell /dev/log, and end with their children."""
        self._running.append(
            subprocess.Popen(
                self.syslog.alone(*command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def _wait(self) -> None:
        until = time.monotonic() + 30
        for port in self.ports.values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    assert time.monotonic() < until, f"nobody listens on {port}: {[one.poll() for one in self._running]}"
                    time.sleep(0.05)
                else:
                    break

    def talk(self, service: str, source: str, lines: Sequence[bytes]) -> list[bytes]:
        """The answers to lines; fewer where the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.ports[service]), timeout=30, source_address=(source, 0)) as client:
            said = [client.recv(4096)]
            for line in lines:
                if not said[-1]:
                    break
                with suppress(ConnectionError):  # it hung up on what it had not read yet
                    client.sendall(line + b"\r\n")
                    said.append(client.recv(4096))
                    continue
                break
        return said

    def close(self) -> None:
        for one in self._running:
            one.terminate()
        for one in self._running:
            try:
                one.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait(timeout=10)
        self.syslog.close()
        shutil.rmtree(self._place, ignore_errors=True)


def plain(user: bytes, password: bytes) -> bytes:
    """SASL PLAIN (RFC 4616)."""
    return base64.b64encode(b"\0" + user + b"\0" + password)
