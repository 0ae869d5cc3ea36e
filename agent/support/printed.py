"""What a program prints, up to an end in time and in size."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Printed(NamedTuple):
    """What a program said on both its outputs, and what is wrong with that; empty where it ended well."""

    text: str
    why: str = ""


def printed(command: Sequence[str], *, seconds: float, most: int, more: Mapping[str, str] | None = None) -> Printed:
    """Run a program without a shell; it is killed when it is late or has printed `most` bytes, and what it said so far counts.

    `more` are variables beside PATH and the language.
    """
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    program = shutil.which(command[0], path=path)
    if program is None:
        return Printed("", f"there is no program {command[0]} here")
    environment = {"PATH": path, "LC_ALL": "C.UTF-8", **(more or {})}
    try:
        process = subprocess.Popen(
            [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        return Printed("", f"{command[0]} cannot be run: {error.strerror}")
    with process:
        said, why = _drained(process, time.monotonic() + seconds, most)
        if why:
            process.kill()
    text = said.decode(errors="backslashreplace")
    if why:
        text = text[: text.rfind("\n") + 1]  # half a line might hold half a secret
    elif process.returncode:
        why = f"it ended with {process.returncode}"
    return Printed(text, why)


def _drained(process: subprocess.Popen[bytes], until: float, most: int) -> tuple[bytes, str]:
    said = bytearray()
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type] # it is a pipe
        while waiting.select(max(0.0, until - time.monotonic())):
            more = os.read(process.stdout.fileno(), 65536)  # type: ignore[union-attr] # it is a pipe
            said += more
            if not more:
                return bytes(said), "" if _ended(process, until) else "it did not end in time"
            if len(said) > most:
                return bytes(said[:most]), f"it printed more than {most >> 10} KiB"
    return bytes(said), "it did not end in time"


def _ended(process: subprocess.Popen[bytes], until: float) -> bool:
    try:
        process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
