"""Cut a connection off when its answer takes too long, for libraries that cannot be interrupted."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from agent.schema import spell


@contextmanager
def cut_off(fileno: int, within: timedelta) -> Iterator[None]:
    """Shut the socket down, from a thread of its own, if the block is not left `within`.

    The library inside sees the end of the stream at once. A server's own time limit does not help where the server is
    stopped, and a limit per read does not help against one that sends a byte now and then.

    Raises:
        TimeoutError: it was cut off, in place of whatever the library made of that.
    """
    wire = socket.socket(fileno=os.dup(fileno))  # a copy, so that the number cannot mean another socket by then
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):  # it ended by itself in the same moment
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, within.total_seconds()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        wire.close()
        if late.is_set():
            raise TimeoutError(f"no answer within {spell(within)}")
