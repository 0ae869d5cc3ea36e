"""A wire to a server: it can be slow, and led to another server, as a virtual address is at a failover."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class Wire:
    """Listens on `port` and carries bytes to `target`, each bundle `delay` seconds late."""

    def __init__(self, target: int) -> None:
        self.target, self.delay = target, 0.0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="wire", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def lead(self, target: int) -> None:
        """From now on to another server; what was open ends."""
        self.target = target
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except ConnectionRefusedError:
                near.close()
                continue
            except OSError:
                return
            far.settimeout(None)
            self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := one.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay)
                other.sendall(said)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            self._open.discard(each)
            each.close()
