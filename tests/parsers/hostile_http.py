"""Requests that no browser makes, and Debian's nginx to log them in the combined format and as JSON."""

from __future__ import annotations

import base64
import itertools
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.needs import need

_ports = itertools.count(14822)
_CONFIG: Final = """\
daemon off;
pid {place}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 64; }}
http {{
  log_format as_json escape=json '{{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr","remote_user":"$remote_user",'
    '"request":"$request","request_method":"$request_method","request_uri":"$request_uri","status":"$status",'
    '"body_bytes_sent":"$body_bytes_sent","http_referer":"$http_referer","http_user_agent":"$http_user_agent",'
    '"http_x_forwarded_for":"$http_x_forwarded_for","server_name":"$server_name","host":"$host","request_time":"$request_time"}}';
  access_log {place}/combined.log combined;
  access_log {place}/json.log as_json;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen {host}:{port}; server_name shop;
    location / {{ default_type text/plain; return 200 "hello"; }}
  }}
}}
"""


class Nginx:
    """A server, and its two logs."""

    def __init__(self, place: Path, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, next(_ports)
        self.logs = {"combined": place / "combined.log", "json": place / "json.log"}
        (place / "nginx.conf").write_text(_CONFIG.format(place=place, host=host, port=self.port))
        command = [need("nginx", "nginx-light"), "-c", str(place / "nginx.conf"), "-e", "stderr"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((host, self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < until, "nginx does not listen"
                time.sleep(0.02)
            else:
                return

    def lines_of(self, source: str, request: bytes, *headers: bytes) -> dict[str, bytes]:
        """What both logs say about one request from this address; nginx may log a moment after its last byte."""
        before = {name: log.stat().st_size for name, log in self.logs.items()}
        with socket.create_connection((self.host, self.port), timeout=10, source_address=(source, 0)) as client:
            client.sendall(b"\r\n".join([request, b"Host: shop", b"Connection: close", *headers, b"", b""]))
            while client.recv(65536):
                pass
        until = time.monotonic() + 10
        while not all(log.stat().st_size > before[name] for name, log in self.logs.items()):
            assert time.monotonic() < until, "nginx did not log the request"
            time.sleep(0.005)
        return {name: log.read_bytes()[before[name] :] for name, log in self.logs.items()}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


def named(user: bytes) -> bytes:
    """The header of somebody who says to be this user."""
    return b"Authorization: Basic " + base64.b64encode(user + b":x")
