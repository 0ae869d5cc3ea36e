"""Debian's Apache and nginx as somebody meets them who guesses passwords, is limited, or may not come in."""

from __future__ import annotations

import base64
import itertools
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.needs import need

_ports = itertools.count(14922)
APACHE: Final = """\
ServerRoot {place}
DefaultRuntimeDir {place}
PidFile {place}/pid
Listen 127.0.0.1:{port}
ServerName shop.example
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
User www-data
Group www-data
StartServers 1
DocumentRoot {place}/www
ErrorLog {place}/error.log
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" vhost_combined
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
CustomLog {place}/common.log common
CustomLog {place}/combined.log combined
CustomLog {place}/vhost_combined.log vhost_combined
<Location /auth>
AuthType Basic
AuthName x
AuthUserFile {place}/htpasswd
Require user alice
</Location>
<Location /deny>
Require all denied
</Location>
"""
NGINX: Final = """\
daemon off;
pid {place}/pid;
error_log syslog:server=unix:{place}/log,nohostname warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
  server {{
    listen 127.0.0.1:{port}; server_name shop; root {place}/www;
    location /auth {{ auth_basic x; auth_basic_user_file {place}/htpasswd; }}
    location /limit {{ limit_req zone=one; try_files /none =404; }}
    location /deny {{ deny all; }}
  }}
}}
"""


class WebServer:
    """One of them in the foreground; alice's password is `right`."""

    def __init__(self, place: Path, config: str, command: Callable[[Path], list[str]]) -> None:
        self.place, self.port = place, next(_ports)
        (place / "www").mkdir()
        (place / "htpasswd").write_text("alice:{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ=\nbob:{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ=\n")
        for one in (place, place / "www", place / "htpasswd", *place.parents[:-2]):
            one.chmod(one.stat().st_mode | 0o055)  # it reads as another user
        modules = Path(need("/usr/lib/apache2/modules/mod_mpm_event.so", "apache2-bin")).parent if "LoadModule" in config else ""
        (place / "conf").write_text(config.format(place=place, port=self.port, modules=modules))
        self._process = subprocess.Popen(command(place / "conf"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < until, f"it does not listen: {self._process.poll()}"
                time.sleep(0.02)
            else:
                return

    def ask(self, source: str, path: bytes, *headers: bytes, user: bytes | None = None, password: bytes = b"wrong") -> int:
        """The status of the answer."""
        named = [b"Authorization: Basic " + base64.b64encode(user + b":" + password)] if user is not None else []
        with socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(source, 0)) as client:
            lines = [b"GET " + path + b" HTTP/1.1", b"Host: shop", b"Connection: close", *named, *headers, b"", b""]
            client.sendall(b"\r\n".join(lines))
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def apache(place: Path) -> WebServer:
    """Its logs are files beside its configuration."""
    program = need("apache2", "apache2-bin")
    return WebServer(place, APACHE, lambda config: [program, "-f", str(config), "-DFOREGROUND"])


def nginx(place: Path) -> WebServer:
    """Its error log goes to a socket called `log` beside its configuration."""
    program = need("nginx", "nginx-light")
    return WebServer(place, NGINX, lambda config: [program, "-c", str(config), "-e", "stderr"])
