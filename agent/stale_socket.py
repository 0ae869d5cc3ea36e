"""A unix socket's file that nobody listens on any more: it is in the way of whoever wants to listen there next."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from agent.action import CannotReach

LONGEST_PATH: Final = 107
"""Bytes that Linux takes for the name of a unix socket (unix(7))."""


def clear(path: Path, *, shorten: str, mend: str) -> None:
    """Take it away. `shorten` and `mend` end the sentences for a name that is too long, and for somebody who answers.

    Raises:
        CannotReach: somebody listens there, the name is too long, or it is no socket.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise CannotReach(f"cannot listen on {path}: a socket may have {LONGEST_PATH} bytes; {shorten}")
    if not path.exists():
        return
    if not path.is_socket():
        raise CannotReach(f"cannot listen on {path}: a file is there that is no socket; move it away")
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(2.0)
        try:
            there.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise CannotReach(f"cannot look at {path}: {error}") from error
    raise CannotReach(f"cannot listen on {path}: another agent answers there; {mend}")
